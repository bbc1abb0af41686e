//! `matmul` and `embed` against their two oracles: the portable path, bit for bit, and the plain formula in f64.

mod support;

use limpid_kernels::buffer::Rows;
use limpid_kernels::isa::Isa;
use limpid_kernels::matrix::{Matrix, MatrixError};
use limpid_kernels::ops::{self, Activations, Compute, Kinds};
use limpid_kernels::quant::Format;
use limpid_kernels::{Cpu, reference};
use support::Random;

/// Writes the f16 scale (and the minimum, where there is one) of a block.
fn set_scales(format: Format, block: &mut [u8], scale: f32, min: f32) {
    let [scale, min] = [scale, min].map(|x| half::f16::from_f32(x).to_le_bytes());
    match format {
        Format::F32 | Format::F16 | Format::BF16 => {}
        Format::Q4_0 | Format::Q5_0 | Format::Q8_0 => block[..2].copy_from_slice(&scale),
        Format::Q4_1 | Format::Q5_1 | Format::Q4_K | Format::Q5_K => {
            block[..2].copy_from_slice(&scale);
            block[2..4].copy_from_slice(&min);
        }
        Format::Q6_K => block[208..].copy_from_slice(&scale),
    }
}

/// Weights as they could lie in a file: any bits, but scales of a size that does not overflow.
fn weights(random: &mut Random, format: Format, rows: usize, cols: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..rows * cols / format.block_len() {
        let mut block: Vec<u8> = (0..format.block_bytes()).map(|_| random.next() as u8).collect();
        match format {
            Format::F32 => block.copy_from_slice(&random.float(1.0).to_le_bytes()),
            Format::F16 => block.copy_from_slice(&half::f16::from_f32(random.float(1.0)).to_le_bytes()),
            Format::BF16 => block.copy_from_slice(&half::bf16::from_f32(random.float(1.0)).to_le_bytes()),
            _ => set_scales(format, &mut block, random.float(1.0) / 8.0, random.float(1.0)),
        }
        bytes.extend(block);
    }
    bytes
}

fn activations(random: &mut Random, n_tokens: usize, width: usize) -> Vec<Vec<f32>> {
    (0..n_tokens).map(|_| random.floats(width, 4.0)).collect()
}

fn rows_of(x: &[Vec<f32>], width: usize) -> Rows {
    let mut rows = Rows::new(x.len(), width).expect("memory");
    rows.set_n_rows(x.len());
    for (i, x) in x.iter().enumerate() {
        rows.row_mut(i).copy_from_slice(x);
    }
    rows
}

fn product(cpu: &Cpu, w: &Matrix, compute: Compute, x: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let x = rows_of(x, w.cols());
    let kinds = Kinds::of(w.format(), compute);
    let mut activations = Activations::new(x.n_rows(), w.cols(), kinds).expect("memory");
    let prepared = activations.prepare(cpu, &x, kinds);
    let mut out = Rows::new(x.n_rows(), w.rows()).expect("memory");
    ops::matmul(cpu, w, compute, &prepared, &mut out);
    (0..out.n_rows()).map(|i| out.row(i).to_vec()).collect()
}

/// Bits, with all NaNs alike.
fn bits(rows: &[Vec<f32>]) -> Vec<Vec<u32>> {
    let of = |x: &f32| if x.is_nan() { u32::MAX } else { x.to_bits() };
    rows.iter().map(|row| row.iter().map(of).collect()).collect()
}

/// Widths that are no multiple of anything, as far as the format allows.
fn widths(format: Format) -> Vec<usize> {
    match format.block_len() {
        1 => vec![1, 2, 17, 80, 301],
        32 => vec![32, 160, 288, 512],
        _ => vec![256, 768],
    }
}

const COMPUTES: [Compute; 2] = [Compute::F32, Compute::Fast];

#[test]
fn every_instruction_set_and_thread_count_gives_the_portable_bits() {
    let mut random = Random(1);
    for format in Format::ALL {
        for width in widths(format) {
            for n_rows in [1, 16, 35] {
                let bytes = weights(&mut random, format, n_rows, width);
                let x = activations(&mut random, 11, width);
                for compute in COMPUTES {
                    let portable = Cpu::new(Isa::Portable, 1);
                    let w = Matrix::pack(&portable, n_rows, width, format, &bytes).expect("valid");
                    let expected = bits(&product(&portable, &w, compute, &x));
                    for isa in Isa::available() {
                        for n_threads in [1, 3] {
                            let cpu = Cpu::new(isa, n_threads);
                            let found = bits(&product(&cpu, &w, compute, &x));
                            assert_eq!(found, expected, "{format} {width} {compute:?} {isa} {n_threads}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_token_alone_gives_the_bits_it_gives_among_others() {
    let mut random = Random(2);
    for format in Format::ALL {
        let width = *widths(format).last().expect("not empty");
        let bytes = weights(&mut random, format, 40, width);
        let x = activations(&mut random, 37, width);
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, 2);
            let w = Matrix::pack(&cpu, 40, width, format, &bytes).expect("valid");
            for compute in COMPUTES {
                let together = bits(&product(&cpu, &w, compute, &x));
                for n in [1, 2, 3, 5, 8] {
                    let apart: Vec<_> =
                        x.chunks(n).flat_map(|x| bits(&product(&cpu, &w, compute, x))).collect();
                    assert_eq!(apart, together, "{format} {compute:?} {isa}, {n} at a time");
                }
            }
        }
    }
}

/// A chain of m roundings of values no larger than `size` (the sum of the magnitudes of all that is added) is off by at
/// most m * 2^-24 * size, to first order; twice that covers the rest at these lengths. In f32 mode m is the width; in
/// fast mode it is smaller, since products are summed exactly. A weight d * q + m counts with |d * q| + |m|.
#[test]
fn the_product_is_that_of_the_formula_within_the_bound() {
    let mut random = Random(3);
    let cpu = Cpu::new(Isa::detect(), 2);
    for format in Format::ALL {
        for width in widths(format) {
            let bytes = weights(&mut random, format, 21, width);
            let dense = reference::matmul::dequantize(format, &bytes);
            // Zeroing the minimums and negating nothing: |d * q| + |m| <= |w| + 2 |m|, and |m| <= 63 in these tests.
            let with_minimum = [Format::Q4_1, Format::Q5_1, Format::Q4_K, Format::Q5_K].contains(&format);
            let extra = if with_minimum { 2.0 * 63.0 } else { 0.0 };
            let w = Matrix::pack(&cpu, 21, width, format, &bytes).expect("valid");
            let x = activations(&mut random, 3, width);
            for compute in COMPUTES {
                let found = product(&cpu, &w, compute, &x);
                for (x, found) in x.iter().zip(&found) {
                    let x = as_computed(format, compute, x);
                    let x_size: f64 = x.iter().map(|x| x.abs()).sum();
                    for (r, &found) in found.iter().enumerate() {
                        let (expected, size) = reference::matmul::dot(&dense[r * width..][..width], &x);
                        let n_roundings = width as f64 + 8.0;
                        let bound = 2.0 * n_roundings * 2f64.powi(-24) * (size + extra * x_size);
                        let error = (f64::from(found) - expected).abs();
                        assert!(error <= bound, "{format} {width} {compute:?}: {error} > {bound}");
                    }
                }
            }
        }
    }
}

/// The activations that the mode multiplies with.
fn as_computed(format: Format, compute: Compute, x: &[f32]) -> Vec<f64> {
    let kinds = Kinds::of(format, compute);
    if kinds.int8 {
        reference::matmul::quantize_row(x)
    } else if kinds.bf16 {
        x.iter().map(|&x| half::bf16::from_f32(x).to_f64()).collect()
    } else {
        x.iter().map(|&x| f64::from(x)).collect()
    }
}

#[test]
fn embedding_rows_are_the_weights_bit_for_bit() {
    let mut random = Random(4);
    for format in Format::ALL {
        for width in widths(format) {
            let bytes = weights(&mut random, format, 37, width);
            let dense = reference::matmul::dequantize(format, &bytes);
            for isa in Isa::available() {
                let cpu = Cpu::new(isa, 2);
                let w = Matrix::pack(&cpu, 37, width, format, &bytes).expect("valid");
                let mut out = Rows::new(4, width).expect("memory");
                let ids = [36, 0, 17, 16];
                ops::embed(&cpu, &w, &ids, &mut out);
                for (i, &id) in ids.iter().enumerate() {
                    let expected = &dense[id as usize * width..][..width];
                    let same = out.row(i).iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{format} {width} row {id} on {isa}");
                }
            }
        }
    }
}

/// The largest products everywhere: nothing may saturate on any path.
#[test]
fn the_worst_case_does_not_saturate() {
    for format in Format::ALL.into_iter().filter(|format| format.block_len() > 1) {
        let width = format.block_len().max(64);
        for fill in [0x00, 0xff, 0x80, 0x7f] {
            let mut bytes = vec![fill; 16 * format.row_bytes(width).expect("whole blocks")];
            bytes.chunks_exact_mut(format.block_bytes()).for_each(|b| set_scales(format, b, 1.0, 1.0));
            let dense = reference::matmul::dequantize(format, &bytes);
            for activation in [127.0, -127.0] {
                let x = vec![vec![activation; width]];
                let (expected, _) =
                    reference::matmul::dot(&dense[..width], &vec![f64::from(activation); width]);
                for isa in Isa::available() {
                    let cpu = Cpu::new(isa, 1);
                    let w = Matrix::pack(&cpu, 16, width, format, &bytes).expect("valid");
                    let found = product(&cpu, &w, Compute::Fast, &x);
                    let error = (f64::from(found[0][0]) - expected).abs();
                    assert!(error <= expected.abs() * 1e-6, "{format} {fill:#x} {isa}: {found:?} {expected}");
                }
            }
        }
    }
}

#[test]
fn activations_that_are_not_finite_give_nan_in_fast_mode() {
    let mut random = Random(5);
    let cpu = Cpu::new(Isa::detect(), 1);
    let bytes = weights(&mut random, Format::Q8_0, 16, 64);
    let w = Matrix::pack(&cpu, 16, 64, Format::Q8_0, &bytes).expect("valid");
    let mut x = activations(&mut random, 2, 64);
    x[0][3] = f32::INFINITY;
    let found = product(&cpu, &w, Compute::Fast, &x);
    assert!(found[0].iter().all(|y| y.is_nan()));
    assert!(found[1].iter().all(|y| y.is_finite()));
}

#[test]
fn a_matrix_of_the_wrong_size_is_refused() {
    let cpu = Cpu::new(Isa::Portable, 1);
    let partial = Matrix::pack(&cpu, 1, 33, Format::Q8_0, &[0; 34]);
    assert_eq!(partial.err(), Some(MatrixError::PartialBlock { cols: 33, format: Format::Q8_0 }));
    let short = Matrix::pack(&cpu, 2, 4, Format::F32, &[0; 31]).err().expect("too short");
    assert_eq!(short.to_string(), "a 2 x 4 matrix in F32 takes 32 bytes, not 31");
}
