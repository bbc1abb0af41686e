//! Every implementation against the portable one, bit for bit, and the functions of `math` against f64.

use super::{Kernel, LANES, Simd, math, run, run_bf16, run_f32};
use crate::isa::Isa;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Any bits; or what kernels trip over.
    fn float(&mut self) -> f32 {
        const UGLY: [f32; 16] = [
            0.0,
            -0.0,
            1.0,
            -1.5,
            2.5,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            f32::MIN_POSITIVE,
            1e-45,
            -3e-39,
            f32::MAX,
            65_520.0,
            6e-8,
            0.5,
            -0.333_333_34,
        ];
        match self.next() % 4 {
            0 => UGLY[self.next() as usize % UGLY.len()],
            1 => f32::from_bits(self.next() as u32),
            _ => (self.next() >> 40) as f32 / 65_536.0 - 128.0,
        }
    }

    fn floats(&mut self) -> [f32; LANES] {
        std::array::from_fn(|_| self.float())
    }
}

/// Bits, with all NaNs alike.
fn bits(x: f32) -> u32 {
    if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }
}

/// What a kernel of these tests gives: everything it computed, in order.
#[derive(PartialEq, Debug, Default)]
struct Results(Vec<u32>);

impl Results {
    #[inline(always)]
    fn f<S: Simd>(&mut self, s: S, x: S::F) {
        let mut lanes = [0.0; LANES];
        s.store(x, &mut lanes);
        self.0.extend(lanes.map(bits));
    }

    /// Integers below 2^24, or made of an f32: to f32 they convert exactly.
    #[inline(always)]
    fn i<S: Simd>(&mut self, s: S, x: S::I) {
        let mut lanes = [0.0; LANES];
        s.store(s.to_f32(x), &mut lanes);
        self.0.extend(lanes.map(bits));
    }
}

impl Results {
    #[inline(always)]
    fn all<S: Simd, const R: usize, const T: usize>(&mut self, s: S, x: [[S::I; T]; R]) {
        for r in 0..R {
            for t in 0..T {
                self.i(s, x[r][t]);
            }
        }
    }
}

/// The kernel on every instruction set gives what it gives on the portable one.
fn same_on_all<K: Kernel<Output = Results> + Clone>(kernel: K) {
    let expected = kernel.clone().run(super::portable::Portable);
    for isa in Isa::available() {
        let found = run(isa, kernel.clone());
        assert_eq!(found.0.len(), expected.0.len());
        for (i, (found, expected)) in found.0.iter().zip(&expected.0).enumerate() {
            assert_eq!(found, expected, "{isa}: vector {}, lane {}", i / LANES, i % LANES);
        }
        assert!(run_f32(isa, kernel.clone()) == expected, "{isa}");
    }
}

#[derive(Clone)]
struct Floats([[f32; LANES]; 4]);

impl Kernel for Floats {
    type Output = Results;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Results {
        let mut out = Results::default();
        let [a, b, c, d] = [s.load(&self.0[0]), s.load(&self.0[1]), s.load(&self.0[2]), s.load(&self.0[3])];
        for x in [s.add(a, b), s.sub(a, b), s.mul(a, b), s.div(a, b), s.max(a, b), s.max(b, a)] {
            out.f(s, x);
        }
        out.f(s, s.fma(a, b, c));
        out.f(s, s.fnma(a, b, c));
        out.f(s, s.select_gt(a, b, c, d));
        out.f(s, s.splat(self.0[0][3]));
        out.0.push(bits(s.sum(a)));
        out.0.push(bits(s.max_lane(a)));
        for n in 0..LANES {
            out.f(s, s.load_partial(&self.0[1][..n]));
            let mut to = vec![7.0; n];
            s.store_partial(b, &mut to);
            out.0.extend(to.into_iter().map(bits));
        }
        out.f(s, math::exp(s, a));
        out.f(s, math::silu(s, a));
        out
    }
}

#[test]
fn floats_are_the_same() {
    let mut random = Random(1);
    for _ in 0..2000 {
        same_on_all(Floats(std::array::from_fn(|_| random.floats())));
    }
}

/// Lanes within the range of i32, halves among them.
#[derive(Clone)]
struct Conversions {
    x: [f32; LANES],
    halves: [u16; 2 * LANES],
    bytes: [u8; LANES],
    exponents: [i8; LANES],
}

impl Kernel for Conversions {
    type Output = Results;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Results {
        let mut out = Results::default();
        let signed = self.bytes.map(|x| x as i8);
        let halves: &[u16; LANES] = self.halves.first_chunk().expect("more than 16");
        out.i(s, s.round_to_i32(s.load(&self.x)));
        out.i(s, s.load_u8(&self.bytes));
        out.i(s, s.load_i8(&signed));
        out.i(s, s.splat_i32(i32::from(self.halves[0]) * -255));
        out.f(s, s.exp2_i32(s.load_i8(&self.exponents)));
        out.f(s, s.load_f16(halves));
        let (first, second) = s.load_bf16_pairs(&self.halves);
        out.f(s, first);
        out.f(s, second);
        let mut stored = [0; LANES];
        s.store_f16(s.load(&self.x), &mut stored);
        out.0.extend(stored.map(u32::from));
        out
    }
}

#[test]
fn conversions_are_the_same() {
    let mut random = Random(2);
    for _ in 0..2000 {
        let x = random.floats().map(|x| if x.abs() < 2e9 { x } else { 0.5 });
        // The payload of a NaN is nobody's business.
        let halves = std::array::from_fn(|_| match random.next() as u16 {
            nan if nan & 0x7c00 == 0x7c00 && nan & 0x03ff != 0 => 0x7e00,
            half => half,
        });
        let bytes = std::array::from_fn(|_| random.next() as u8);
        let exponents = std::array::from_fn(|_| (random.next() % 254) as i32 - 126).map(|x: i32| x as i8);
        same_on_all(Conversions { x, halves, bytes, exponents });
    }
    let all: Vec<u16> = (0..=u16::MAX).filter(|x| x & 0x7c00 != 0x7c00).collect();
    for halves in all.chunks_exact(2 * LANES) {
        let halves = *halves.as_array().expect("32");
        // Also what lies half-way between two f16.
        let x = std::array::from_fn(|i| half::f16::from_bits(halves[i]).to_f32() * (1.0 + 1.0 / 2048.0));
        same_on_all(Conversions { x, halves, bytes: [0; LANES], exponents: [0; LANES] });
    }
}

/// Three steps of the bf16 dot product.
#[derive(Clone)]
struct Bf16([[u16; 2 * LANES]; 3], [[u16; 2]; 3], [f32; LANES]);

impl Kernel for Bf16 {
    type Output = Results;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Results {
        let mut out = Results::default();
        let mut acc = s.load(&self.2);
        for (w, a) in self.0.iter().zip(&self.1) {
            acc = s.dot_bf16(acc, s.load_bf16(w), a);
            out.f(s, acc);
        }
        out
    }
}

/// Where nothing is below 2^-126: that is left out of the promise (see `Simd::dot_bf16`).
#[test]
fn bf16_dot_products_are_the_two_steps_that_they_stand_for() {
    let mut random = Random(7);
    for _ in 0..20_000 {
        let mut number = || {
            // Exponents from 2^-30 to 2^33, now and then 0, infinity or NaN; any sign and fraction.
            let exponent = match random.next() % 200 {
                0 => 0,
                1 => 255,
                n => 97 + n as u16 % 64,
            };
            (random.next() as u16 & 0x807f, exponent << 7)
        };
        let mut bf16 = || match number() {
            (fraction, 0) => fraction & 0x8000,
            (fraction, exponent) => fraction | exponent,
        };
        let w = std::array::from_fn(|_| std::array::from_fn(|_| bf16()));
        let a = std::array::from_fn(|_| std::array::from_fn(|_| bf16()));
        let acc = std::array::from_fn(|_| half::bf16::from_bits(bf16()).to_f32() * 1.001);
        let kernel = Bf16(w, a, acc);
        let expected = kernel.clone().run(super::portable::Portable);
        for isa in Isa::available() {
            assert_eq!(run_bf16(isa, kernel.clone()), expected, "{isa}");
        }
    }
}

/// The integer cores for tiles of T tokens.
#[derive(Clone)]
struct Dots<const T: usize> {
    u4: [u8; 256],
    u5_high: [u8; 64],
    u6_high: [u8; 128],
    i8: [u8; 512],
    a: [[i8; 32]; T],
    u8_scale: [u8; LANES],
    i8_scale: [[i8; LANES]; 2],
    pairs: [[i16; 2]; T],
}

impl<const T: usize> Kernel for Dots<T> {
    type Output = Results;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Results {
        let mut out = Results::default();
        self.panels::<S, 1>(s, &mut out);
        if S::PAIRS {
            // Two panels of the same weights: twice the same.
            let mut pair = Results::default();
            self.panels::<S, 2>(s, &mut pair);
            let per_core = T * LANES;
            let (first, second): (Vec<_>, Vec<_>) =
                pair.0.chunks(per_core).enumerate().partition(|(i, _)| i % 2 == 0);
            for panel in [first, second] {
                assert!(panel.iter().flat_map(|(_, bits)| *bits).eq(&out.0));
            }
        }
        out
    }
}

impl<const T: usize> Dots<T> {
    /// Every core with R panels of the same weights.
    #[inline(always)]
    fn panels<S: Simd, const R: usize>(&self, s: S, out: &mut Results) {
        let mut a = [&self.a[0]; T];
        let mut a_sums = [0; T];
        let mut pairs = [&self.pairs[0]; T];
        for t in 0..T {
            a[t] = &self.a[t];
            a_sums[t] = self.a[t].iter().map(|&x| i32::from(x)).sum();
            pairs[t] = &self.pairs[t];
        }
        let start = [[s.splat_i32(-3); T]; R];
        let mut acc = start;
        s.sum_u4([&self.u4; R], a, &mut acc);
        out.all(s, acc);
        let mut acc = start;
        s.sum_u5([&self.u4; R], [&self.u5_high; R], a, &mut acc);
        out.all(s, acc);
        for scale in [s.scale_u8(&self.u8_scale), s.scale_i8(&self.i8_scale[0])] {
            let mut acc = start;
            s.dot_u4([&self.u4; R], a, [scale; R], &mut acc);
            out.all(s, acc);
            let mut acc = start;
            s.dot_u5([&self.u4; R], [&self.u5_high; R], a, [scale; R], &mut acc);
            out.all(s, acc);
        }
        for scales in [
            [s.scale_i8(&self.i8_scale[0]), s.scale_i8(&self.i8_scale[1])],
            [s.scale_u8(&self.u8_scale), s.scale_i8(&self.i8_scale[1])],
        ] {
            let mut acc = start;
            s.dot_u6([&self.u4; R], [&self.u6_high; R], a, [scales; R], &mut acc);
            out.all(s, acc);
        }
        let mut acc = start;
        s.sum_i8([&self.i8; R], a, a_sums, &mut acc);
        out.all(s, acc);
        for pair in [
            s.pair_i8(&self.i8_scale[0], &self.i8_scale[1]),
            s.pair_u8(&self.u8_scale, self.u4.first_chunk().expect("256")),
        ] {
            let mut acc = start;
            s.dot_pair([pair; R], pairs, &mut acc);
            out.all(s, acc);
        }
        for r in 0..R {
            for t in 0..T {
                acc[r][t] = s.sub_32_times(acc[r][t], start[r][t]);
            }
        }
        out.all(s, acc);
    }
}

/// All tile sizes, with numbers drawn by these functions.
fn dots(mut weight: impl FnMut() -> u8, mut a: impl FnMut() -> i8, mut scale: impl FnMut() -> i8) {
    fn tile<const T: usize>(
        weight: &mut impl FnMut() -> u8,
        a: &mut impl FnMut() -> i8,
        scale: &mut impl FnMut() -> i8,
    ) {
        same_on_all(Dots::<T> {
            u4: std::array::from_fn(|_| weight()),
            u5_high: std::array::from_fn(|_| weight()),
            u6_high: std::array::from_fn(|_| weight()),
            i8: std::array::from_fn(|_| weight()),
            a: std::array::from_fn(|_| std::array::from_fn(|_| a())),
            u8_scale: std::array::from_fn(|_| scale() as u8 & 63),
            i8_scale: std::array::from_fn(|_| std::array::from_fn(|_| scale())),
            // Sums of 32 activations at most.
            pairs: std::array::from_fn(|_| std::array::from_fn(|_| i16::from(a()) * 32)),
        });
    }
    tile::<1>(&mut weight, &mut a, &mut scale);
    tile::<2>(&mut weight, &mut a, &mut scale);
    tile::<3>(&mut weight, &mut a, &mut scale);
    tile::<4>(&mut weight, &mut a, &mut scale);
    tile::<6>(&mut weight, &mut a, &mut scale);
    tile::<8>(&mut weight, &mut a, &mut scale);
}

#[test]
fn integer_cores_are_exact_at_their_limits() {
    // Bytes 0xff are weights of 15, 31, 63 and 127, 0x00 those of 0 and -128; activations are at most 127.
    for weight in [0xff, 0x80, 0x7f, 0xf0, 0x0f, 0x00] {
        for a in [127, -127] {
            for scale in [63, -128, 127] {
                dots(|| weight, || a, || scale);
            }
        }
    }
    let mut random = Random(3);
    let mut extreme = Random(4);
    for _ in 0..50 {
        let a = || if random.next().is_multiple_of(2) { 127 } else { -127 };
        dots(|| if extreme.next().is_multiple_of(2) { 0xff } else { 0x00 }, a, || -128);
    }
}

#[test]
fn integer_cores_are_the_same() {
    let (mut w, mut a, mut scale) = (Random(5), Random(6), Random(7));
    for _ in 0..200 {
        dots(
            || w.next() as u8,
            || i8::try_from((a.next() % 255) as i16 - 127).expect("at most 127"),
            || scale.next() as i8,
        );
    }
}

/// The exact sums, not by way of another implementation.
#[test]
fn integer_cores_mean_what_they_say() {
    struct Worst;
    impl Kernel for Worst {
        type Output = [f32; 6];
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> [f32; 6] {
            let a = [127; 32];
            let mut out = [0.0; 6];
            let mut acc = [[[s.splat_i32(0); 1]; 1]; 6];
            s.dot_u4([&[0xff; 256]], [&a], [s.scale_u8(&[63; LANES])], &mut acc[0]);
            let scales = [s.scale_i8(&[-128; LANES]), s.scale_i8(&[127; LANES])];
            s.dot_u6([&[0xff; 256]], [&[0xff; 128]], [&a], [scales], &mut acc[1]);
            s.sum_i8([&[0; 512]], [&a], [32 * 127], &mut acc[2]);
            s.dot_pair([s.pair_i8(&[-128; LANES], &[127; LANES])], [&[4064, -4064]], &mut acc[3]);
            s.sum_u5([&[0xff; 256]], [&[0xff; 64]], [&a], &mut acc[4]);
            s.dot_u5([&[0xff; 256]], [&[0xff; 64]], [&a], [s.scale_u8(&[63; LANES])], &mut acc[5]);
            for i in 0..6 {
                let mut lanes = [0.0; LANES];
                s.store(s.to_f32(acc[i][0][0]), &mut lanes);
                assert!(lanes.iter().all(|&x| x == lanes[0]));
                out[i] = lanes[0];
            }
            out
        }
    }
    let expected = [
        32 * 15 * 127 * 63,
        16 * 63 * 127 * (-128 + 127),
        32 * -128 * 127,
        -128 * 4064 - 127 * 4064,
        32 * 31 * 127,
        32 * 31 * 127 * 63,
    ]
    .map(|x| x as f32);
    for isa in Isa::available() {
        assert_eq!(run(isa, Worst), expected, "{isa}");
    }
}

#[test]
fn sums_and_maxima_go_over_halves() {
    struct Tree([f32; LANES]);
    impl Kernel for Tree {
        type Output = [f32; 2];
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> [f32; 2] {
            let x = s.load(&self.0);
            [s.sum(x), s.max_lane(x)]
        }
    }
    let mut random = Random(8);
    for _ in 0..1000 {
        let x: [f32; LANES] = std::array::from_fn(|_| random.next() as i32 as f32 / 1e3);
        let eight: [f32; 8] = std::array::from_fn(|i| x[i] + x[i + 8]);
        let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
        let sum = (four[0] + four[2]) + (four[1] + four[3]);
        let max = x.iter().copied().fold(f32::MIN, f32::max);
        for isa in Isa::available() {
            assert_eq!(run(isa, Tree(x)), [sum, max], "{isa}");
        }
    }
}

struct Map<F>(Vec<f32>, F);

/// A function of `math`, by name.
#[derive(Clone, Copy)]
enum Function {
    Exp,
    ExpOfNegative,
    Silu,
}

impl Kernel for Map<Function> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) -> Vec<f32> {
        for x in self.0.as_chunks_mut::<LANES>().0 {
            let y = match self.1 {
                Function::Exp => math::exp(s, s.load(x)),
                Function::ExpOfNegative => math::exp_of_negative(s, s.load(x)),
                Function::Silu => math::silu(s, s.load(x)),
            };
            s.store(y, x);
        }
        self.0
    }
}

/// The function over `x`, padded to whole vectors and back, on the best instruction set (they are all the same).
fn map(function: Function, x: &[f32]) -> Vec<f32> {
    let mut padded = x.to_vec();
    padded.resize(x.len().next_multiple_of(LANES), 0.0);
    let mut y = run(Isa::detect(), Map(padded, function));
    y.truncate(x.len());
    y
}

/// The distance between `y` and the true value in units of the last place of the true value.
fn ulps(y: f32, truth: f64) -> f64 {
    let nearest = truth as f32;
    let ulp = f64::from(f32::from_bits(nearest.to_bits() + 1)) - f64::from(nearest);
    (f64::from(y) - truth).abs() / ulp.abs()
}

/// Every f32 whose bits are a multiple of `step` between two, both of one sign.
fn sweep(from: f32, to: f32, step: usize) -> Vec<f32> {
    let (from, to) = (from.to_bits(), to.to_bits());
    (from.min(to)..=from.max(to)).step_by(step).map(f32::from_bits).collect()
}

#[test]
fn exp_is_within_one_ulp() {
    for x in [sweep(1e-12, 88.37, 1009), sweep(-1e-12, -87.33, 1009), sweep(80.0, 88.37, 17)] {
        for (&x, y) in x.iter().zip(map(Function::Exp, &x)) {
            let error = ulps(y, libm::exp(f64::from(x)));
            assert!(error <= 1.0, "e^{x} = {y}: {error} ulp");
        }
    }
}

#[test]
fn exp_at_its_ends() {
    let x = [
        f32::INFINITY,
        88.38,
        1000.0,
        f32::MAX,
        f32::NEG_INFINITY,
        -87.34,
        -1000.0,
        f32::MIN,
        0.0,
        -0.0,
        1e-45,
        -1e-45,
        1e-10,
        -1e-10,
    ];
    let inf = f32::INFINITY;
    assert_eq!(
        map(Function::Exp, &x),
        [inf, inf, inf, inf, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    );
    let nans = [f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001), f32::from_bits(0xffff_ffff)];
    for function in [Function::Exp, Function::ExpOfNegative, Function::Silu] {
        assert!(map(function, &nans).iter().all(|y| y.is_nan()));
    }
}

#[test]
fn exp_of_negative_is_exp() {
    let mut x = sweep(-0.0, -1e3, 10_007);
    x.extend([f32::NEG_INFINITY, f32::MIN, -87.336_54, -87.336_55, -87.336_53, 0.0]);
    let bits = |y: Vec<f32>| y.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(map(Function::ExpOfNegative, &x)), bits(map(Function::Exp, &x)));
}

#[test]
fn silu_is_within_three_ulp() {
    let truth = |x: f32| f64::from(x) / (1.0 + libm::exp(-f64::from(x)));
    for x in [sweep(1e-12, 1e4, 1009), sweep(-1e-12, -87.33, 1009)] {
        for (&x, y) in x.iter().zip(map(Function::Silu, &x)) {
            let error = ulps(y, truth(x));
            assert!(error <= 3.0, "silu({x}) = {y}: {error} ulp");
        }
    }
    // Below, e^-x is infinite and the result 0, off by less than 4e-37.
    for (&x, y) in [-88.4, -100.0, -1e30].iter().zip(map(Function::Silu, &[-88.4, -100.0, -1e30])) {
        assert!(y == 0.0 && truth(x).abs() < 4e-37);
    }
    assert_eq!(map(Function::Silu, &[0.0, f32::INFINITY, 1e-40]), [0.0, f32::INFINITY, 5e-41]);
}
