//! The virtual vector in plain Rust: runs anywhere, and the oracle of the other implementations.
//!
//! Nothing is inlined: a fused multiply-add without the instruction is a call anyway, and kernels in which 16 calls
//! stand for each of them would take minutes to compile.

use super::{LANES, PEAK_STEPS, Peak, Simd, repeat};
use half::{bf16, f16};

#[derive(Clone, Copy)]
pub struct Portable;

#[inline(always)]
fn each<T: Copy, U>(a: [T; LANES], f: impl Fn(T) -> U) -> [U; LANES] {
    a.map(f)
}

#[inline(always)]
fn zip<T: Copy, U>(a: [T; LANES], b: [T; LANES], f: impl Fn(T, T) -> U) -> [U; LANES] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

/// Weight k of 32 of a row, where two lie in a byte.
fn nibble(w: &[u8; 256], lane: usize, k: usize) -> i32 {
    let byte = w[k % 16 / 4 * 64 + lane * 4 + k % 4];
    i32::from(if k < 16 { byte & 15 } else { byte >> 4 })
}

/// `acc[r][t]` += the sum over 32 k of scale * weight * a, both as functions of panel, lane and k.
fn add_dots<const R: usize, const T: usize>(
    a: [&[i8; 32]; T],
    scale: impl Fn(usize, usize, usize) -> i32,
    weight: impl Fn(usize, usize, usize) -> i32,
    acc: &mut [[[i32; LANES]; T]; R],
) {
    for r in 0..R {
        for lane in 0..LANES {
            let w: [i32; 32] = std::array::from_fn(|k| scale(r, lane, k) * weight(r, lane, k));
            for t in 0..T {
                acc[r][t][lane] += (0..32).map(|k| w[k] * i32::from(a[t][k])).sum::<i32>();
            }
        }
    }
}

impl Simd for Portable {
    type F = [f32; LANES];
    type I = [i32; LANES];
    type Scale = [i32; LANES];
    type Pair = [[i32; LANES]; 2];

    const REGISTERS: usize = 4;
    const INT_TILE: usize = 1;
    const F32_TILE: usize = 1;
    const PAIRS: bool = false;

    #[inline(never)]
    fn splat(self, x: f32) -> Self::F {
        [x; LANES]
    }
    #[inline(never)]
    fn load(self, x: &[f32; LANES]) -> Self::F {
        *x
    }
    #[inline(never)]
    fn store(self, x: Self::F, to: &mut [f32; LANES]) {
        *to = x;
    }
    #[inline(never)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a + b)
    }
    #[inline(never)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a - b)
    }
    #[inline(never)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a * b)
    }
    #[inline(never)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a / b)
    }
    #[inline(never)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(never)]
    fn fnma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|i| (-a[i]).mul_add(b[i], c[i]))
    }
    #[inline(never)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(never)]
    fn select_gt(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
        std::array::from_fn(|i| if a[i] > b[i] { x[i] } else { y[i] })
    }
    #[inline(never)]
    fn round_to_i32(self, a: Self::F) -> Self::I {
        each(a, |a| a.round_ties_even() as i32)
    }

    #[inline(never)]
    fn sub_32_times(self, a: Self::I, b: Self::I) -> Self::I {
        zip(a, b, |a, b| a - 32 * b)
    }
    #[inline(never)]
    fn splat_i32(self, x: i32) -> Self::I {
        [x; LANES]
    }
    #[inline(never)]
    fn to_f32(self, a: Self::I) -> Self::F {
        each(a, |a| a as f32)
    }
    #[inline(never)]
    fn exp2_i32(self, a: Self::I) -> Self::F {
        each(a, |a| f32::from_bits(((a + 127) << 23) as u32))
    }

    #[inline(never)]
    fn load_f16(self, from: &[u16; LANES]) -> Self::F {
        each(*from, |x| f16::from_bits(x).to_f32())
    }
    #[inline(never)]
    fn store_f16(self, x: Self::F, to: &mut [u16; LANES]) {
        *to = each(x, |x| f16::from_f32(x).to_bits());
    }
    #[inline(never)]
    fn load_bf16_pairs(self, from: &[u16; 2 * LANES]) -> (Self::F, Self::F) {
        let of = |odd: usize| std::array::from_fn(|i| bf16::from_bits(from[2 * i + odd]).to_f32());
        (of(0), of(1))
    }
    type Bf16 = [Self::F; 2];
    #[inline(never)]
    fn load_bf16(self, from: &[u16; 2 * LANES]) -> Self::Bf16 {
        self.load_bf16_pairs(from).into()
    }
    #[inline(never)]
    fn dot_bf16(self, acc: Self::F, w: Self::Bf16, a: &[u16; 2]) -> Self::F {
        let a = a.map(|bits| self.splat(bf16::from_bits(bits).to_f32()));
        self.fma(w[0], a[0], self.fma(w[1], a[1], acc))
    }
    #[inline(never)]
    fn load_i8(self, from: &[i8; LANES]) -> Self::I {
        each(*from, i32::from)
    }
    #[inline(never)]
    fn load_u8(self, from: &[u8; LANES]) -> Self::I {
        each(*from, i32::from)
    }
    #[inline(never)]
    fn store_i8(self, x: Self::I, to: &mut [i8; LANES]) {
        *to = each(x, |x| x as i8);
    }

    #[inline(never)]
    fn scale_u8(self, from: &[u8; LANES]) -> Self::Scale {
        self.load_u8(from)
    }
    #[inline(never)]
    fn scale_i8(self, from: &[i8; LANES]) -> Self::Scale {
        self.load_i8(from)
    }
    fn sum_u4<const R: usize, const T: usize>(
        self,
        w: [&[u8; 256]; R],
        a: [&[i8; 32]; T],
        acc: &mut [[Self::I; T]; R],
    ) {
        self.dot_u4(w, a, [[1; LANES]; R], acc);
    }

    fn dot_u4<const R: usize, const T: usize>(
        self,
        w: [&[u8; 256]; R],
        a: [&[i8; 32]; T],
        scale: [Self::Scale; R],
        acc: &mut [[Self::I; T]; R],
    ) {
        let weight = |r: usize, lane, k| nibble(w[r], lane, k);
        add_dots(a, |r, lane, _| scale[r][lane], weight, acc);
    }

    fn sum_u5<const R: usize, const T: usize>(
        self,
        low: [&[u8; 256]; R],
        high: [&[u8; 64]; R],
        a: [&[i8; 32]; T],
        acc: &mut [[Self::I; T]; R],
    ) {
        self.dot_u5(low, high, a, [[1; LANES]; R], acc);
    }

    fn dot_u5<const R: usize, const T: usize>(
        self,
        low: [&[u8; 256]; R],
        high: [&[u8; 64]; R],
        a: [&[i8; 32]; T],
        scale: [Self::Scale; R],
        acc: &mut [[Self::I; T]; R],
    ) {
        let weight = |r: usize, lane: usize, k: usize| {
            let bit = high[r][lane * 4 + k % 4] >> (k / 16 * 4 + k % 16 / 4) & 1;
            nibble(low[r], lane, k) | i32::from(bit) << 4
        };
        add_dots(a, |r, lane, _| scale[r][lane], weight, acc);
    }

    fn dot_u6<const R: usize, const T: usize>(
        self,
        low: [&[u8; 256]; R],
        high: [&[u8; 128]; R],
        a: [&[i8; 32]; T],
        scale: [[Self::Scale; 2]; R],
        acc: &mut [[Self::I; T]; R],
    ) {
        let weight = |r: usize, lane: usize, k: usize| {
            let chunk = k % 16 / 4;
            let bits = high[r][chunk / 2 * 64 + lane * 4 + k % 4] >> (chunk % 2 * 4 + k / 16 * 2) & 3;
            nibble(low[r], lane, k) | i32::from(bits) << 4
        };
        add_dots(a, |r, lane, k| scale[r][k / 16][lane], weight, acc);
    }

    fn sum_i8<const R: usize, const T: usize>(
        self,
        w: [&[u8; 512]; R],
        a: [&[i8; 32]; T],
        _: [i32; T],
        acc: &mut [[Self::I; T]; R],
    ) {
        let weight = |r: usize, lane, k| i32::from(w[r][k / 4 * 64 + lane * 4 + k % 4]) - 128;
        add_dots(a, |_, _, _| 1, weight, acc);
    }

    #[inline(never)]
    fn pair_u8(self, first: &[u8; LANES], second: &[u8; LANES]) -> Self::Pair {
        [self.load_u8(first), self.load_u8(second)]
    }
    #[inline(never)]
    fn pair_i8(self, first: &[i8; LANES], second: &[i8; LANES]) -> Self::Pair {
        [self.load_i8(first), self.load_i8(second)]
    }
    #[inline(never)]
    fn dot_pair<const R: usize, const T: usize>(
        self,
        pair: [Self::Pair; R],
        a: [&[i16; 2]; T],
        acc: &mut [[Self::I; T]; R],
    ) {
        for r in 0..R {
            for t in 0..T {
                let [first, second] = a[t].map(i32::from);
                for lane in 0..LANES {
                    acc[r][t][lane] += pair[r][0][lane] * first + pair[r][1][lane] * second;
                }
            }
        }
    }

    fn peak(self, kind: Peak, rounds: usize) -> usize {
        match kind {
            Peak::F32 | Peak::Bf16 => {
                let one = self.splat(1.0);
                repeat::<_, PEAK_STEPS>(rounds, self.splat(0.0), |sum, x| self.fma(x, one, sum));
            }
            Peak::Int4 | Peak::Int8 => {
                let step = |sum: [i32; LANES], x: [i32; LANES]| zip(sum, x, |sum, x| sum + 7 * x);
                repeat::<_, PEAK_STEPS>(rounds, [0; LANES], step);
            }
        }
        1
    }

    #[inline(always)]
    fn prefetch<T>(self, _: *const T) {}
}
