//! Operations in one pass give the bytes of the same operations one after the other.

mod support;

use limpid_kernels::Cpu;
use limpid_kernels::buffer::Rows;
use limpid_kernels::isa::Isa;
use limpid_kernels::matrix::Matrix;
use limpid_kernels::ops::{self, Activations, Compute, Kinds, NormInput, Prepared};
use limpid_kernels::quant::Format;
use support::Random;

const KINDS: Kinds = Kinds { int8: true, bf16: true };

fn copy(rows: &Rows) -> Rows {
    let mut copy = Rows::new(rows.n_rows(), rows.width()).expect("memory");
    copy.set_n_rows(rows.n_rows());
    (0..rows.n_rows()).for_each(|i| copy.row_mut(i).copy_from_slice(rows.row(i)));
    copy
}

/// Of Q8_0 or BF16, so that both forms of activations are read.
fn matrix(cpu: &Cpu, random: &mut Random, rows: usize, cols: usize, format: Format) -> Matrix {
    let n_bytes = format.row_bytes(cols).expect("whole blocks") * rows;
    // Small numbers in every place: exponents of scales and of bf16 stay moderate.
    let bytes: Vec<u8> = (0..n_bytes).map(|_| random.floats(1, 40.0)[0].abs() as u8).collect();
    Matrix::pack(cpu, rows, cols, format, &bytes).expect("valid")
}

fn products(cpu: &Cpu, weights: [&Matrix; 3], x: &Prepared<'_>) -> Vec<Vec<u32>> {
    let room = |w: &Matrix| Rows::new(8, w.rows()).expect("memory");
    let [mut a, mut b, mut c] = weights.map(room);
    let [wa, wb, wc] = weights;
    ops::matmuls(cpu, Compute::Fast, x, [(wa, &mut a), (wb, &mut b), (wc, &mut c)]);
    let mut bits = Vec::new();
    for (w, together) in [(wa, a), (wb, b), (wc, c)] {
        let mut alone = room(w);
        ops::matmul(cpu, w, Compute::Fast, x, &mut alone);
        for i in 0..alone.n_rows() {
            let of = |rows: &Rows| rows.row(i).iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(of(&together), of(&alone), "matrices together and alone");
            bits.push(of(&alone));
        }
    }
    bits
}

#[test]
fn a_norm_with_addition_and_forms_is_the_three_by_themselves() {
    let mut random = Random(1);
    for (n_rows, width) in [(1, 32), (3, 96), (5, 288), (8, 544)] {
        let (x, added, weight) =
            (random.rows(n_rows, width, 2.0), random.rows(n_rows, width, 2.0), random.rows(1, width, 1.0));
        for (isa, n_threads) in Isa::available().flat_map(|isa| [(isa, 1), (isa, 2)]) {
            let cpu = Cpu::new(isa, n_threads);
            let w = [(40, Format::Q8_0), (7, Format::BF16), (100, Format::Q8_0)]
                .map(|(rows, format)| matrix(&cpu, &mut Random(7), rows, width, format));
            let w = [&w[0], &w[1], &w[2]];
            let mut activations = Activations::new(8, width, KINDS).expect("memory");

            let (mut residual, mut out) = (copy(&x), copy(&x));
            let input =
                NormInput { residual: &mut residual, added: Some(&added), weight: &weight, eps: 1e-5 };
            let fused = products(&cpu, w, &activations.rms_norm(&cpu, input, &mut out, KINDS));

            let mut sum = copy(&x);
            ops::add(&cpu, &mut sum, &added);
            (0..n_rows).for_each(|i| assert_eq!(sum.row(i), residual.row(i)));
            let mut normed = copy(&x);
            let input = NormInput { residual: &mut sum, added: None, weight: &weight, eps: 1e-5 };
            activations.rms_norm(&cpu, input, &mut normed, Kinds::default());
            assert_eq!(fused, products(&cpu, w, &activations.prepare(&cpu, &normed, KINDS)), "{isa}");
        }
    }
}
