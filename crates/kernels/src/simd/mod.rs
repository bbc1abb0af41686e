//! The virtual vector of 16 lanes: what every kernel is written in.
//!
//! A kernel is a value that implements [`Kernel`]; its body is generic over a [`Simd`] and written once.
//! [`run`] calls it inside a function that has the instruction set switched on, so that everything that is
//! `#[inline(always)]` below it is compiled for that instruction set. Sixteen lanes are one zmm, two ymm or
//! `[f32; 16]`: a lane's arithmetic is the same on all of them, and no lane ever talks to another except
//! through [`Simd::sum`] and [`Simd::max_lane`], whose trees are fixed. That is what makes the bytes equal.
//!
//! A value of a `Simd` type is the proof that the processor has the instruction set: only `run` makes one.

pub mod math;
mod portable;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

#[cfg(test)]
mod tests;

use crate::isa::Isa;

pub use crate::buffer::LANES;

/// `rounds` times: `N` independent sums, each a step further with an operand from the first-level cache.
#[inline(always)]
fn repeat<V: Copy, const N: usize>(rounds: usize, zero: V, step: impl Fn(V, V) -> V) {
    let mut sums = [zero; N];
    let operands = [zero; N];
    for _ in 0..rounds {
        // Kept from being computed once for all rounds.
        let operands = std::hint::black_box(&operands);
        for i in 0..N {
            sums[i] = step(sums[i], operands[i]);
        }
    }
    std::hint::black_box(sums);
}

/// Kinds of arithmetic whose limit can be measured ([`Simd::peak`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peak {
    /// Weights of 4 bits times int8.
    Int4,
    /// Weights of 8 bits times int8.
    Int8,
    F32,
    Bf16,
}

/// Independent sums in a round of [`Simd::peak`].
pub const PEAK_STEPS: usize = 12;

/// Something to compute, written once for all instruction sets.
pub trait Kernel {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Runs `kernel` with `isa`, which the processor must have.
pub fn run<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    match isa {
        Isa::Portable => kernel.run(portable::Portable),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` other than `Portable` comes from `Isa::choose` or `Isa::available`, which ask the processor.
        Isa::Avx2 => unsafe { avx2::run(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512 => unsafe { avx512::run(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512Vnni | Isa::Avx512Bf16 => unsafe { avx512::run_vnni(kernel) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => unreachable!("Isa::choose gives Portable only"),
    }
}

/// As [`run`], for a kernel that uses no integer core: VNNI is nothing to it, so it need not be compiled for that.
pub fn run_f32<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as in `run`; AVX-512 with VNNI includes AVX-512.
        Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Bf16 => unsafe { avx512::run(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as in `run`.
        Isa::Avx2 => unsafe { avx2::run(kernel) },
        _ => kernel.run(portable::Portable),
    }
}

/// As [`run_f32`], for a kernel that uses [`Simd::dot_bf16`].
pub fn run_bf16<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as in `run`.
        Isa::Avx512Bf16 => unsafe { avx512::run_bf16(kernel) },
        _ => run_f32(isa, kernel),
    }
}

/// Operations on 16 lanes of f32 (`F`) or i32 (`I`), and the integer cores of the quantized formats.
///
/// Rounding is to nearest even; multiply-add is fused; nothing is approximate.
pub trait Simd: Copy {
    type F: Copy;
    type I: Copy;
    /// Sixteen small integers (one a row) in the form in which the integer cores multiply by them.
    type Scale: Copy;

    /// Vectors of 16 lanes that the registers hold.
    const REGISTERS: usize;
    /// Tokens of a tile of one panel, at most: 8, 4, 2 or 1. They share its unpacked weights. Of the integer cores, and
    /// of the f32 core.
    const INT_TILE: usize;
    const F32_TILE: usize;
    /// Whether the registers hold tiles of two panels, which share what is read of the tokens.
    const PAIRS: bool;

    // ---- f32
    fn splat(self, x: f32) -> Self::F;
    fn load(self, x: &[f32; LANES]) -> Self::F;
    fn store(self, x: Self::F, to: &mut [f32; LANES]);
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// a * b + c, rounded once.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// c - a * b, rounded once.
    fn fnma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `a > b ? a : b`, lane by lane: `b` where either is NaN.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a > b ? x : y`, lane by lane.
    fn select_gt(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F;
    /// To the nearest integer, ties to even; lanes must be within the range of i32.
    fn round_to_i32(self, a: Self::F) -> Self::I;

    // ---- i32
    fn splat_i32(self, x: i32) -> Self::I;
    /// a - 32 * b.
    fn sub_32_times(self, a: Self::I, b: Self::I) -> Self::I;
    /// Rounded once, to nearest even.
    fn to_f32(self, a: Self::I) -> Self::F;
    /// 2^a for a in -126..=127.
    fn exp2_i32(self, a: Self::I) -> Self::F;

    // ---- other number formats, 16 of them at `from`
    fn load_f16(self, from: &[u16; LANES]) -> Self::F;
    fn store_f16(self, x: Self::F, to: &mut [u16; LANES]);
    /// 16 pairs of bf16: the first and the second of each.
    fn load_bf16_pairs(self, from: &[u16; 2 * LANES]) -> (Self::F, Self::F);
    /// The same pairs in the form in which `dot_bf16` multiplies by them.
    type Bf16: Copy;
    fn load_bf16(self, from: &[u16; 2 * LANES]) -> Self::Bf16;
    /// For each pair w of weights: fma(w[0], a[0], fma(w[1], a[1], acc)), a token's pair of bf16. That is what
    /// `vdpbf16ps` does with all numbers but those below 2^-126, which it takes, and gives, as 0: there, and only
    /// there, instruction sets may differ.
    fn dot_bf16(self, acc: Self::F, w: Self::Bf16, a: &[u16; 2]) -> Self::F;
    fn load_i8(self, from: &[i8; LANES]) -> Self::I;
    fn load_u8(self, from: &[u8; LANES]) -> Self::I;
    /// Lanes must be within the range of i8.
    fn store_i8(self, x: Self::I, to: &mut [i8; LANES]);

    // ---- integer cores: exact sums over a sub-block of 32 k, for R panels of 16 rows and T tokens. `w[r]` holds row
    // 16 r + i in dword i of each 64 bytes; `a[t]` are a token's activations. Every core adds to `acc[r][t]`.

    /// A factor of 0..=63, or of -128..=127.
    fn scale_u8(self, from: &[u8; LANES]) -> Self::Scale;
    fn scale_i8(self, from: &[i8; LANES]) -> Self::Scale;

    /// acc += sum of w * a; weights 0..=15.
    /// Chunk i of 64 bytes: low nibbles are k = 4i..4i+4, high nibbles k = 16+4i..20+4i.
    fn sum_u4<const R: usize, const T: usize>(
        self,
        w: [&[u8; 256]; R],
        a: [&[i8; 32]; T],
        acc: &mut [[Self::I; T]; R],
    );

    /// acc += scale * (sum of w * a); as `sum_u4`.
    fn dot_u4<const R: usize, const T: usize>(
        self,
        w: [&[u8; 256]; R],
        a: [&[i8; 32]; T],
        scale: [Self::Scale; R],
        acc: &mut [[Self::I; T]; R],
    );

    /// acc += sum of w * a; weights 0..=31.
    /// `low` as in `sum_u4`; `high`: bit 4. Chunk i's low nibbles have it in bit i of the byte at the same place of
    /// `high`, its high nibbles in bit 4 + i.
    fn sum_u5<const R: usize, const T: usize>(
        self,
        low: [&[u8; 256]; R],
        high: [&[u8; 64]; R],
        a: [&[i8; 32]; T],
        acc: &mut [[Self::I; T]; R],
    );

    /// acc += scale * (sum of w * a); as `sum_u5`.
    fn dot_u5<const R: usize, const T: usize>(
        self,
        low: [&[u8; 256]; R],
        high: [&[u8; 64]; R],
        a: [&[i8; 32]; T],
        scale: [Self::Scale; R],
        acc: &mut [[Self::I; T]; R],
    );

    /// acc += scale[0] * (first 16 k) + scale[1] * (last 16 k); weights 0..=63.
    /// `low` as in `sum_u4`; `high`: bits 4 and 5, chunk c of 64 bytes holds in its bits 2f, 2f+1 those of the low
    /// nibbles (even f) or high nibbles (odd f) of chunk 2c + f/2 of `low`.
    fn dot_u6<const R: usize, const T: usize>(
        self,
        low: [&[u8; 256]; R],
        high: [&[u8; 128]; R],
        a: [&[i8; 32]; T],
        scale: [[Self::Scale; 2]; R],
        acc: &mut [[Self::I; T]; R],
    );

    /// acc += sum of (w - 128) * a; chunk i of 64 bytes: k = 4i..4i+4. `a_sums[t]` is the sum of `a[t]`.
    fn sum_i8<const R: usize, const T: usize>(
        self,
        w: [&[u8; 512]; R],
        a: [&[i8; 32]; T],
        a_sums: [i32; T],
        acc: &mut [[Self::I; T]; R],
    );

    /// acc += first * a[t][0] + second * a[t][1]; products and sums must fit i32.
    fn dot_pair<const R: usize, const T: usize>(
        self,
        pair: [Self::Pair; R],
        a: [&[i16; 2]; T],
        acc: &mut [[Self::I; T]; R],
    );
    /// Two small integers a row (one for each half of a sub-block, or of two sub-blocks), as i16.
    type Pair: Copy;
    fn pair_u8(self, first: &[u8; LANES], second: &[u8; LANES]) -> Self::Pair;
    fn pair_i8(self, first: &[i8; LANES], second: &[i8; LANES]) -> Self::Pair;

    /// `rounds` times [`PEAK_STEPS`] steps of nothing but the arithmetic that the kernels live on, for
    /// [`crate::limits`]. Gives how many products a lane makes in a step.
    fn peak(self, kind: Peak, rounds: usize) -> usize;

    /// Asks for the cache line at `at`, which need not be a valid address, to be brought near. Changes nothing else.
    fn prefetch<T>(self, at: *const T);

    // ---- between lanes: fixed trees
    /// ((0+8)+(4+12)) + ... : halves are added until one lane is left.
    #[inline(always)]
    fn sum(self, x: Self::F) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(x, &mut lanes);
        let mut half = LANES / 2;
        while half > 0 {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
            half /= 2;
        }
        lanes[0]
    }

    /// The largest lane, by the same tree with `a > b ? a : b`.
    #[inline(always)]
    fn max_lane(self, x: Self::F) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(x, &mut lanes);
        let mut half = LANES / 2;
        while half > 0 {
            for i in 0..half {
                if lanes[i] > lanes[i + half] {
                    continue;
                }
                lanes[i] = lanes[i + half];
            }
            half /= 2;
        }
        lanes[0]
    }

    /// Up to 15 lanes; the others are 0.
    #[inline(always)]
    fn load_partial(self, x: &[f32]) -> Self::F {
        let mut lanes = [0.0; LANES];
        lanes[..x.len()].copy_from_slice(x);
        self.load(&lanes)
    }

    /// Up to 16 lanes; the others are 0.
    #[inline(always)]
    fn load_up_to(self, x: &[f32]) -> Self::F {
        match x.as_array() {
            Some(x) => self.load(x),
            None => self.load_partial(x),
        }
    }

    /// The first `to.len()` lanes, up to 15.
    #[inline(always)]
    fn store_partial(self, x: Self::F, to: &mut [f32]) {
        let mut lanes = [0.0; LANES];
        self.store(x, &mut lanes);
        to.copy_from_slice(&lanes[..to.len()]);
    }
}
