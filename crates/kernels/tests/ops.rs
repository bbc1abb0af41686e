//! The small operations against their two oracles: the portable path, bit for bit, and the plain formula in f64 within
//! a bound that is derived. `u` is 2^-24, what one rounding of an f32 costs at most, relative.

mod support;

use limpid_kernels::buffer::Rows;
use limpid_kernels::isa::Isa;
use limpid_kernels::ops::{
    Activations, Kinds, KvFormat, KvShape, KvSlot, KvStorage, NormInput, PAGE_LEN, RopeAngles, RopeError,
    RopeScaling, RopeStyle, RopeTable, add, add_bias, kv_write, rms_norm_heads, rope, vocab,
};
use limpid_kernels::{Cpu, reference};
use support::Random;

const U: f64 = 1.0 / (1 << 24) as f64;

fn copy(rows: &Rows) -> Rows {
    let mut copy = Rows::new(rows.n_rows(), rows.width()).expect("memory");
    copy.set_n_rows(rows.n_rows());
    for i in 0..rows.n_rows() {
        copy.row_mut(i).copy_from_slice(rows.row(i));
    }
    copy
}

/// Without anything added, and in no other form.
fn rms_norm(cpu: &Cpu, x: &Rows, weight: &Rows, eps: f32, out: &mut Rows) {
    let mut residual = copy(x);
    let mut activations = Activations::new(x.n_rows(), x.width(), Kinds::default()).expect("memory");
    let input = NormInput { residual: &mut residual, added: None, weight, eps };
    activations.rms_norm(cpu, input, out, Kinds::default());
}

fn swiglu(cpu: &Cpu, gate: &Rows, up: &Rows, out: &mut Rows) {
    let mut activations = Activations::new(gate.n_rows(), gate.width(), Kinds::default()).expect("memory");
    activations.swiglu(cpu, gate, up, out, Kinds::default());
}

fn bits(x: f32) -> u32 {
    if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }
}

/// Runs `op`, which returns rows, on every instruction set with 1, 2 and 3 threads. Asserts that all give the same bits
/// and leave the padding 0, and returns the rows.
fn same_on_all(op: impl Fn(&Cpu) -> Rows) -> Rows {
    let expected = op(&Cpu::new(Isa::Portable, 1));
    for isa in Isa::available() {
        for n_threads in [1, 2, 3] {
            let found = op(&Cpu::new(isa, n_threads));
            assert_eq!(found.n_rows(), expected.n_rows());
            for i in 0..found.n_rows() {
                let (found, expected) = (found.padded_row(i), expected.row(i));
                for (j, (&found, &expected)) in found.iter().zip(expected).enumerate() {
                    assert_eq!(
                        bits(found),
                        bits(expected),
                        "{isa}, {n_threads} threads, row {i}, column {j}"
                    );
                }
                assert!(found[expected.len()..].iter().all(|&x| x == 0.0), "{isa}: the padding");
            }
        }
    }
    expected
}

#[test]
fn rms_norm_is_the_formula() {
    let mut random = Random(1);
    for width in [1, 2, 15, 16, 17, 31, 32, 33, 48, 65, 100, 576, 2053] {
        for (n_rows, scale) in [(1, 1.0), (5, 30.0), (3, 1e-4)] {
            let (x, weight) = (random.rows(n_rows, width, scale), random.rows(1, width, 2.0));
            let out = same_on_all(|cpu| {
                let mut out = Rows::new(n_rows, width).expect("memory");
                rms_norm(cpu, &x, &weight, 1e-5, &mut out);
                out
            });
            // Squares are not negative, so their sum has a relative error of at most one u for each addition that one
            // of them passes: n / 32 in its lane, 5 between lanes. Mean and eps add 2; the root halves all that and
            // adds 1, the reciprocal and two products add 3.
            let bound = ((width as f64 / 32.0 + 1.0 + 5.0 + 2.0) / 2.0 + 4.0) * U * 1.001;
            for i in 0..n_rows {
                let truth = reference::norm::rms_norm(x.row(i), weight.row(0), 1e-5);
                for (&y, truth) in out.row(i).iter().zip(truth) {
                    assert!((f64::from(y) - truth).abs() <= bound * truth.abs(), "{y} is not {truth}");
                }
            }
        }
    }
}

/// The sum of two accumulators of 16 lanes, for even and odd vectors: the order that norms and the vocabulary define.
fn sum_in_lanes(x: &[f32], add: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [[0.0; 16]; 2];
    for (i, &x) in x.iter().enumerate() {
        let lane = &mut lanes[i / 16 % 2][i % 16];
        *lane = add(x, *lane);
    }
    let [mut even, odd] = lanes;
    (0..16).for_each(|i| even[i] += odd[i]);
    for half in [8, 4, 2, 1] {
        (0..half).for_each(|i| even[i] += even[i + half]);
    }
    even[0]
}

#[test]
fn rms_norm_sums_in_the_order_defined() {
    for width in [7, 16, 40, 48, 1000] {
        let x = Random(12).rows(1, width, 3.0);
        let mut out = Rows::new(1, width).expect("memory");
        let weight = Rows::from_vector(&vec![1.5; width]).expect("memory");
        rms_norm(&Cpu::new(Isa::detect(), 1), &x, &weight, 1e-6, &mut out);
        let mean = sum_in_lanes(x.row(0), |x, sum| x.mul_add(x, sum)) / width as f32;
        let scale = 1.0 / (mean + 1e-6).sqrt();
        for (&y, &x) in out.row(0).iter().zip(x.row(0)) {
            assert_eq!(y, x * scale * 1.5);
        }
    }
}

#[test]
fn each_head_is_normed_by_itself() {
    let mut random = Random(2);
    for (head_dim, n_heads) in [(8, 3), (16, 1), (20, 3), (64, 4), (80, 3), (96, 2), (128, 5)] {
        let (x, weight) = (random.rows(4, n_heads * head_dim, 3.0), random.rows(1, head_dim, 2.0));
        let out = same_on_all(|cpu| {
            let mut out = copy(&x);
            rms_norm_heads(cpu, &mut out, &weight, 1e-6);
            out
        });
        for i in 0..4 {
            for columns in (0..n_heads).map(|head| head * head_dim..(head + 1) * head_dim) {
                let head = Rows::from_vector(&x.row(i)[columns.clone()]).expect("memory");
                let mut alone = Rows::new(1, head_dim).expect("memory");
                rms_norm(&Cpu::new(Isa::detect(), 1), &head, &weight, 1e-6, &mut alone);
                assert_eq!(alone.row(0), &out.row(i)[columns]);
            }
        }
    }
}

#[test]
fn norms_pass_nan_on() {
    let mut x = Random(3).rows(2, 40, 1.0);
    x.row_mut(1)[37] = f32::NAN;
    let weight = Rows::from_vector(&[1.0; 40]).expect("memory");
    let out = same_on_all(|cpu| {
        let mut out = Rows::new(2, 40).expect("memory");
        rms_norm(cpu, &x, &weight, 1e-6, &mut out);
        out
    });
    assert!(out.row(0).iter().all(|y| y.is_finite()) && out.row(1).iter().all(|y| y.is_nan()));
}

#[test]
fn sums_of_rows_are_rounded_once() {
    let mut random = Random(4);
    for width in [1, 16, 17, 100] {
        let (x, y, bias) =
            (random.rows(3, width, 1.0), random.rows(3, width, 1e-3), random.rows(1, width, 9.0));
        let sum = same_on_all(|cpu| {
            let mut out = copy(&x);
            add(cpu, &mut out, &y);
            out
        });
        let biased = same_on_all(|cpu| {
            let mut out = copy(&x);
            add_bias(cpu, &mut out, &bias);
            out
        });
        for i in 0..3 {
            for j in 0..width {
                assert_eq!(sum.row(i)[j], x.row(i)[j] + y.row(i)[j]);
                assert_eq!(biased.row(i)[j], x.row(i)[j] + bias.row(0)[j]);
            }
        }
    }
}

#[test]
fn swiglu_is_the_formula() {
    let mut random = Random(5);
    for (n_rows, width, scale) in
        [(1, 1, 5.0), (3, 17, 5.0), (2, 1000, 90.0), (2, 1040, 1.0), (3, 3000, 10.0)]
    {
        let (gate, up) = (random.rows(n_rows, width, scale), random.rows(n_rows, width, 4.0));
        let out = same_on_all(|cpu| {
            let mut out = Rows::new(n_rows, width).expect("memory");
            swiglu(cpu, &gate, &up, &mut out);
            out
        });
        for i in 0..n_rows {
            let truth = reference::glu::swiglu(gate.row(i), up.row(i));
            for ((&y, truth), &up) in out.row(i).iter().zip(truth).zip(up.row(i)) {
                // e^-x is 1 ulp off, at most 2u; the sum, the quotient and the product round once each. Where e^-x is
                // infinite, for x below -88.37, the result is 0 instead of less than 4e-37.
                let bound = 5.001 * U * truth.abs() + 4e-37 * f64::from(up.abs());
                assert!((f64::from(y) - truth).abs() <= bound, "{y} is not {truth}");
            }
        }
    }
}

const STYLES: [RopeStyle; 2] = [RopeStyle::Interleaved, RopeStyle::HalfSplit];

#[test]
fn rope_turns_the_first_elements_of_each_head() {
    let mut random = Random(6);
    let positions = [0, 1, 131_071, 77, 4095];
    for (head_dim, rotary_dim) in
        [(2, 2), (8, 8), (20, 20), (64, 64), (80, 80), (96, 96), (80, 32), (24, 6), (128, 128)]
    {
        for style in STYLES {
            let table = RopeTable::new(rotary_dim, 10_000.0, style, &RopeScaling::None).expect("valid");
            assert_eq!(table.rotary_dim(), rotary_dim);
            let x = random.rows(positions.len(), 3 * head_dim, 4.0);
            let out = same_on_all(|cpu| {
                let mut out = copy(&x);
                let mut angles = RopeAngles::new(8, &table).expect("memory");
                angles.fill(cpu, &table, &positions);
                rope(cpu, &mut out, head_dim, &angles);
                out
            });
            for (i, &position) in positions.iter().enumerate() {
                let heads = x.row(i).chunks_exact(head_dim).zip(out.row(i).chunks_exact(head_dim));
                for (head, turned) in heads {
                    let truth = reference::rope::rope(head, table.inv_freq(), style, position);
                    for (&y, truth) in turned.iter().zip(truth) {
                        // Cosine and sine, the product and the sum: 3 roundings of numbers below 4 and one below 6.
                        assert!(
                            (f64::from(y) - truth).abs() <= (2.0 * 4.0 + 4.0 + 6.0) * U,
                            "{y} is not {truth}"
                        );
                    }
                    assert_eq!(head[rotary_dim..], turned[rotary_dim..]);
                    if position == 0 {
                        assert_eq!(head, turned);
                    }
                }
            }
        }
    }
}

/// Distance in units of the last place, for positive numbers.
fn ulps(a: f32, b: f32) -> u32 {
    a.to_bits().abs_diff(b.to_bits())
}

/// What transformers 5.24 computes (`modeling_rope_utils.py`), as bits of f32.
#[test]
fn rope_frequencies_are_those_of_transformers() {
    let llama3 = RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 8192,
    };
    let cases: [(usize, f32, RopeScaling, &[u32]); 3] = [
        (
            20,
            1e6,
            RopeScaling::None,
            &[
                0x3f800000, 0x3e809bcc, 0x3d813856, 0x3c81d59d, 0x3b8273a6, 0x3a83126f, 0x3983b1f5,
                0x38845245, 0x3784f351, 0x36859528,
            ],
        ),
        (
            16,
            1e4,
            RopeScaling::Linear { factor: 4.0 },
            &[0x3e800000, 0x3da1e89b, 0x3ccccccd, 0x3c0186e3, 0x3b23d70a, 0x3a4f3e38, 0x3983126f, 0x38a5cb60],
        ),
        (
            64,
            5e5,
            llama3,
            &[
                0x3f800000, 0x3f29e1c6, 0x3ee177bc, 0x3e959ee3, 0x3e4693b0, 0x3e03c6a0, 0x3daee4ad,
                0x3d681e67, 0x3d1a08c8, 0x3ccc6f49, 0x3c87a9c3, 0x3c340d6d, 0x3beef74f, 0x3b9e9402,
                0x3b527720, 0x3aa9279b, 0x39e13620, 0x38cb98f7, 0x37a3418d, 0x3758ac81, 0x370fc8f8,
                0x36bed4f4, 0x367d45c3, 0x3628126b, 0x35df10c4, 0x359406cb, 0x35447610, 0x35025f34,
                0x34ad07a7, 0x3465a54d, 0x341864a7, 0x33ca41b0,
            ],
        ),
    ];
    for (rotary_dim, theta, scaling, expected) in cases {
        let table = RopeTable::new(rotary_dim, theta, RopeStyle::HalfSplit, &scaling).expect("valid");
        assert_eq!(table.inv_freq().len(), expected.len());
        for (i, (&found, &expected)) in table.inv_freq().iter().zip(expected).enumerate() {
            let expected = f32::from_bits(expected);
            // torch's own power is good to an ulp.
            assert!(ulps(found, expected) <= 1, "{scaling:?}: frequency {i} is {found:e}, not {expected:e}");
        }
    }
}

/// At the last position of a long context, where an angle of 131,071 radians leaves an f32 with 7 bits after the point:
/// the same angle, so nearly the same cosine.
#[test]
fn rope_is_that_of_transformers_far_out() {
    let table = RopeTable::new(16, 1e4, RopeStyle::HalfSplit, &RopeScaling::None).expect("valid");
    let cos = [
        -0.817_983_5,
        -0.30849707,
        0.930_128,
        -0.4815346,
        -0.786_407_8,
        0.978_586_1,
        0.640_311_7,
        -0.821_027_8,
    ];
    let sin = [
        -0.575_241_7,
        -0.951_225_3,
        0.36723557,
        -0.87642705,
        -0.61770767,
        -0.20583814,
        -0.76811516,
        -0.570_888_2,
    ];
    let mut x = Rows::from_vector(&[[1.0f32; 8], [0.0; 8]].concat()).expect("memory");
    let cpu = Cpu::new(Isa::detect(), 1);
    let mut angles = RopeAngles::new(1, &table).expect("memory");
    angles.fill(&cpu, &table, &[131_071]);
    rope(&cpu, &mut x, 16, &angles);
    for (found, expected) in x.row(0).iter().zip([cos, sin].concat()) {
        assert!((found - expected).abs() < 2e-7, "{found} is not {expected}");
    }
}

#[test]
fn rope_factors_divide_frequencies() {
    let factors = vec![1.0, 2.0, 8.0, 32.0];
    let plain = RopeTable::new(8, 1e4, RopeStyle::Interleaved, &RopeScaling::None).expect("valid");
    let scaled = RopeTable::new(8, 1e4, RopeStyle::Interleaved, &RopeScaling::Factors(factors.clone()))
        .expect("valid");
    for i in 0..4 {
        assert_eq!(scaled.inv_freq()[i], plain.inv_freq()[i] / factors[i]);
    }
}

#[test]
fn wrong_rope_settings_are_named() {
    let table = |dim, theta, scaling: RopeScaling| RopeTable::new(dim, theta, RopeStyle::HalfSplit, &scaling);
    for dim in [0, 7] {
        assert_eq!(table(dim, 1e4, RopeScaling::None), Err(RopeError::RotaryDim(dim)));
    }
    for theta in [0.0, -1.0, f32::INFINITY] {
        assert_eq!(table(8, theta, RopeScaling::None), Err(RopeError::Theta(theta)));
    }
    assert!(matches!(table(8, f32::NAN, RopeScaling::None), Err(RopeError::Theta(_))));
    let name = |scaling| match table(8, 1e4, scaling) {
        Err(RopeError::Scaling { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(name(RopeScaling::Linear { factor: 0.0 }), "factor");
    assert_eq!(name(RopeScaling::Factors(vec![1.0, 1.0, -1.0, 1.0])), "a factor");
    let llama3 = |factor, low_freq_factor, high_freq_factor, original_context| RopeScaling::Llama3 {
        factor,
        low_freq_factor,
        high_freq_factor,
        original_context,
    };
    assert_eq!(name(llama3(f32::NAN, 1.0, 4.0, 8192)), "factor");
    assert_eq!(name(llama3(8.0, 0.0, 4.0, 8192)), "low_freq_factor");
    assert_eq!(name(llama3(8.0, 4.0, 4.0, 8192)), "high_freq_factor");
    assert_eq!(name(llama3(8.0, 1.0, 4.0, 0)), "original_max_position_embeddings");
    let count = table(8, 1e4, RopeScaling::Factors(vec![1.0; 3]));
    assert_eq!(count, Err(RopeError::FactorCount { found: 3, expected: 4 }));
}

/// Everything in the storage: `[page][layer][kv_head][offset]` keys and values.
fn contents(kv: &KvStorage) -> Vec<Vec<f32>> {
    let KvShape { n_layers, n_kv_heads, head_dim, .. } = *kv.shape();
    let mut all = Vec::new();
    for page in 0..kv.n_pages() as u32 {
        for (layer, kv_head) in (0..n_layers).flat_map(|layer| (0..n_kv_heads).map(move |head| (layer, head)))
        {
            for offset in 0..PAGE_LEN as u32 {
                let mut both = vec![0.0; 2 * head_dim];
                let (key, value) = both.split_at_mut(head_dim);
                kv.read(layer, kv_head, KvSlot { page, offset }, key, value);
                all.push(both);
            }
        }
    }
    all
}

/// A key or a value of a head as it comes back: the definition of the formats.
fn stored(format: KvFormat, x: &[f32]) -> Vec<f32> {
    let f16 = |x: f32| half::f16::from_f32(x).to_f32();
    match format {
        KvFormat::F32 => x.to_vec(),
        KvFormat::F16 => x.iter().map(|&x| f16(x)).collect(),
        KvFormat::Q8_0 => x.chunks(32).flat_map(|x| block(x, f16)).collect(),
    }
}

fn block(x: &[f32], f16: impl Fn(f32) -> f32) -> Vec<f32> {
    let amax = x.iter().fold(0.0f32, |amax, x| if x.is_nan() { f32::NAN } else { amax.max(x.abs()) });
    let d = f16(amax / 127.0);
    if x.iter().any(|x| !x.is_finite()) || !d.is_finite() {
        return vec![f32::NAN; x.len()];
    }
    let q = |x: f32| if d == 0.0 { 0.0 } else { (x * (127.0 / amax)).round_ties_even() };
    x.iter().map(|&x| d * q(x)).collect()
}

#[test]
fn q8_0_blocks_of_extreme_numbers() {
    let x: Vec<f32> = (0..32).map(|i| (i as f32 - 15.5) / 16.0).collect();
    let with = |i: usize, extreme: f32| {
        let mut x = x.clone();
        x[i] = extreme;
        x
    };
    let times = |factor: f32| x.iter().map(|x| x * factor).collect::<Vec<_>>();
    let blocks = [
        vec![0.0; 32],
        vec![-0.0; 32],
        with(3, f32::NAN),
        with(0, -f32::NAN),
        with(31, f32::INFINITY),
        with(17, f32::NEG_INFINITY),
        with(5, 8.4e6),
        with(5, -8.3e6),
        with(5, f32::MAX),
        times(f32::MIN_POSITIVE),
        times(f32::from_bits(1)),
        // Scales about half of the smallest f16, and subnormal ones.
        times(3.8e-6),
        times(4.0e-6),
        times(1e-5),
        times(1e-3),
        // Halves, which go to the even neighbour.
        (0..32).map(|i| if i == 0 { 127.0 } else { i as f32 - 15.5 }).collect(),
    ];
    let row: Vec<f32> = blocks.concat();
    let shape = KvShape { n_layers: 1, n_kv_heads: 1, head_dim: row.len(), format: KvFormat::Q8_0 };
    let rows = Rows::from_vector(&row).expect("memory");
    let slot = KvSlot { page: 0, offset: 37 };
    for isa in Isa::available() {
        let mut kv = KvStorage::new(shape, 1).expect("memory");
        kv_write(&Cpu::new(isa, 1), &mut kv, 0, &[slot], &rows, &rows);
        let (mut key, mut value) = (vec![1.0; row.len()], vec![1.0; row.len()]);
        kv.read(0, 0, slot, &mut key, &mut value);
        for (i, expected) in stored(KvFormat::Q8_0, &row).into_iter().enumerate() {
            for found in [key[i], value[i]] {
                let is_same = found == expected || found.is_nan() && expected.is_nan();
                assert!(is_same, "{isa}, block {}: {found} is not {expected}", i / 32);
            }
        }
        assert!(key[..64].iter().all(|&x| x == 0.0) && key[64..6 * 32].iter().all(|x| x.is_nan()));
        assert!(key[6 * 32 + 5].is_nan() && key[7 * 32 + 5].is_finite());
    }
}

#[test]
fn what_is_written_is_read_and_nothing_else_changes() {
    let mut random = Random(7);
    for head_dim in [1, 8, 24, 64, 80, 96] {
        for format in KvFormat::ALL {
            let shape = KvShape { n_layers: 2, n_kv_heads: 3, head_dim, format };
            let slots =
                [(0, 0), (2, 63), (1, 17), (2, 16), (1, 17)].map(|(page, offset)| KvSlot { page, offset });
            let (k, v) = (random.rows(5, 3 * head_dim, 9.0), random.rows(5, 3 * head_dim, 9.0));
            let mut expected = vec![vec![0.0; 2 * head_dim]; 3 * 2 * 3 * PAGE_LEN];
            // Slot 1, 17 appears twice: row 4 stays.
            for i in [0, 1, 3, 4] {
                for head in 0..3 {
                    let columns = head * head_dim..(head + 1) * head_dim;
                    let [key, value] = [&k, &v].map(|x| stored(format, &x.row(i)[columns.clone()]));
                    let place =
                        ((slots[i].page as usize * 2 + 1) * 3 + head) * PAGE_LEN + slots[i].offset as usize;
                    expected[place] = [key, value].concat();
                }
            }
            for cpu in Isa::available().flat_map(|isa| [1, 2, 3].map(|n| Cpu::new(isa, n))) {
                let mut kv = KvStorage::new(shape, 3).expect("memory");
                kv_write(&cpu, &mut kv, 1, &slots, &k, &v);
                assert_eq!(contents(&kv), expected, "{} head_dim {head_dim}", cpu.isa);
            }
        }
    }
}

#[test]
fn a_copied_page_is_the_page() {
    let mut random = Random(8);
    for format in KvFormat::ALL {
        let shape = KvShape { n_layers: 2, n_kv_heads: 1, head_dim: 8, format };
        let mut kv = KvStorage::new(shape, 3).expect("memory");
        let cpu = Cpu::new(Isa::detect(), 1);
        for layer in 0..2 {
            for page in 0..3 {
                let slots: Vec<KvSlot> = (0..64).map(|offset| KvSlot { page, offset }).collect();
                let (k, v) = (random.rows(64, 8, 1.0), random.rows(64, 8, 1.0));
                kv_write(&cpu, &mut kv, layer, &slots, &k, &v);
            }
        }
        let mut expected = contents(&kv);
        kv.copy_page(0, 2);
        let page_len = expected.len() / 3;
        let first = expected[..page_len].to_vec();
        expected[2 * page_len..].clone_from_slice(&first);
        assert_eq!(contents(&kv), expected);
    }
}

#[test]
fn a_token_takes_exactly_its_elements() {
    let shape = KvShape { n_layers: 16, n_kv_heads: 8, head_dim: 64, format: KvFormat::F16 };
    assert_eq!(shape.bytes_per_token(), 32 * 1024);
    assert_eq!(KvStorage::page_bytes(&shape), 2 << 20);
    let odd = KvShape { n_layers: 3, n_kv_heads: 5, head_dim: 24, format: KvFormat::F32 };
    assert_eq!(odd.bytes_per_token(), 2 * 3 * 5 * 24 * 4);
    assert!(KvStorage::new(shape, usize::MAX / 1000).is_err());
    // 34 bytes for each 32 elements, the last of which are filled up.
    let of = |head_dim| KvShape { head_dim, format: KvFormat::Q8_0, ..shape }.bytes_per_token();
    assert_eq!([64, 65, 80].map(of), [2, 3, 3].map(|blocks| 2 * 16 * 8 * blocks * 34));
}

#[test]
#[should_panic(expected = "is not in 2 pages")]
fn a_slot_outside_is_refused() {
    let shape = KvShape { n_layers: 1, n_kv_heads: 1, head_dim: 8, format: KvFormat::F16 };
    let mut kv = KvStorage::new(shape, 2).expect("memory");
    let row = Random(9).rows(1, 8, 1.0);
    kv_write(&Cpu::new(Isa::Portable, 1), &mut kv, 0, &[KvSlot { page: 2, offset: 0 }], &row, &row);
}

fn cpus() -> impl Iterator<Item = Cpu> {
    Isa::available().flat_map(|isa| [1, 2, 3].map(|n_threads| Cpu::new(isa, n_threads)))
}

#[test]
fn argmax_takes_the_lowest_of_equals() {
    let mut random = Random(10);
    for cpu in cpus() {
        for n in [1, 5, 16, 33, 1000, 5000] {
            let mut x = random.floats(n, 10.0);
            assert_eq!(vocab::argmax(&cpu, &x), Some(reference::vocab::argmax(&x)));
            // A second one of the same size, before or after.
            let (best, other) = (reference::vocab::argmax(&x), random.next() as usize % n);
            x[other] = x[best];
            assert_eq!(vocab::argmax(&cpu, &x), Some(best.min(other)));
            assert_eq!(vocab::max(&cpu, &x), Some(x[best]));
            x[random.next() as usize % n] = f32::NAN;
            assert_eq!((vocab::argmax(&cpu, &x), vocab::max(&cpu, &x)), (None, None));
        }
        assert_eq!(vocab::argmax(&cpu, &[]), None);
        assert_eq!(vocab::argmax(&cpu, &[-0.0, 0.0]), Some(0));
        assert_eq!(vocab::argmax(&cpu, &[f32::NEG_INFINITY; 20]), Some(0));
        assert_eq!(vocab::argmax(&cpu, &[1.0, f32::INFINITY, f32::NEG_INFINITY]), Some(1));
    }
}

/// The relative error of a sum of n numbers that are not negative: an addition each in its lane of a partial of 4,096
/// (128), then 5 between lanes; f64 after that.
fn sum_bound(n: usize) -> f64 {
    ((n as f64 / 32.0 + 1.0).min(128.0) + 5.0) * U
}

#[test]
fn exponentials_of_the_vocabulary() {
    let mut random = Random(11);
    // 64 partials are 262,144 elements: also one more than fits.
    for n in [1, 17, 4096, 4097, 50_000, 270_001] {
        let mut x = random.floats(n, 30.0);
        x[n / 2] = f32::NEG_INFINITY;
        x[0] = 31.0;
        let max = 31.0;
        let mut expected: Option<(Vec<f32>, f64, f64)> = None;
        for cpu in cpus() {
            let mut out = vec![7.0; n];
            let sum = vocab::exp_sub(&cpu, &x, max, &mut out);
            let log_sum_exp = vocab::log_sum_exp(&cpu, &x).expect("numbers");
            let (first, first_sum, first_lse) =
                expected.get_or_insert_with(|| (out.clone(), sum, log_sum_exp));
            assert!(out == *first && sum == *first_sum && log_sum_exp == *first_lse, "{}: {n}", cpu.isa);
        }
        let (out, sum, log_sum_exp) = expected.expect("at least one instruction set");
        for (&y, &x) in out.iter().zip(&x) {
            // The difference rounds once, which the exponential turns into a relative error; itself it is 1 ulp off.
            let truth = f64::from(x - max).exp();
            assert!(
                (f64::from(y) - truth).abs() <= (f64::from(x - max).abs() + 2.0) * U * truth * 1.001
                    || x < -56.0
            );
        }
        let partials = out.chunks(4096).map(|chunk| f64::from(sum_in_lanes(chunk, |x, sum| sum + x)));
        assert_eq!(sum, partials.fold(0.0, |sum, partial| sum + partial), "the order that is defined");
        let exact: f64 = out.iter().copied().map(f64::from).sum();
        assert!((sum - exact).abs() <= sum_bound(n) * exact);
        // ln turns a relative error into an absolute one. Differences are below 61, most weight is where they are
        // small.
        let truth = reference::vocab::log_sum_exp(&x);
        assert!(
            (log_sum_exp - truth).abs() <= sum_bound(n) + (61.0 + 2.0) * U,
            "{log_sum_exp} is not {truth}"
        );
    }
}

#[test]
fn log_sum_exp_at_its_ends() {
    for cpu in cpus() {
        assert_eq!(vocab::log_sum_exp(&cpu, &[1.0, f32::NAN]), None);
        assert_eq!(vocab::log_sum_exp(&cpu, &[]), None);
        assert_eq!(vocab::log_sum_exp(&cpu, &[f32::NEG_INFINITY; 3]), Some(f64::NEG_INFINITY));
        assert_eq!(vocab::log_sum_exp(&cpu, &[2.0, f32::NEG_INFINITY]), Some(2.0));
    }
}
