//! The virtual vector on AVX-512 (F, BW, DQ, VL), with and without VNNI and BF16: one zmm register.
//!
//! SAFETY (the whole file, and `unpack`): every block calls intrinsics of AVX-512 F, BW, DQ or VL (or VNNI or BF16,
//! where `VNNI` or `BF16` is true), which the processor has: a value of `Avx512` is made only by `run`, `run_vnni` and
//! `run_bf16`, whose callers promise it. Loads and stores are unaligned and stay inside the array that the argument
//! borrows.
#![allow(clippy::undocumented_unsafe_blocks, reason = "one argument for all of them, above")]

mod unpack;

use super::{Kernel, LANES, PEAK_STEPS, Peak, Simd, repeat};
use std::arch::x86_64::*;
use unpack::{U4, U5, U6, Unpack, broadcast_4, chunk};

#[derive(Clone, Copy)]
pub struct Avx512<const VNNI: bool, const BF16: bool>(());

/// # Safety
/// The processor must have AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512::<false, false>(()))
}

/// # Safety
/// The processor must have AVX-512 F, BW, DQ, VL and VNNI.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe fn run_vnni<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512::<true, false>(()))
}

/// # Safety
/// The processor must have AVX-512 F, BW, DQ, VL, VNNI and BF16.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")]
pub unsafe fn run_bf16<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512::<true, true>(()))
}

/// The first and the second bf16 of each dword.
#[inline(always)]
fn bf16_pairs(pairs: __m512i) -> (__m512, __m512) {
    unsafe {
        let high = _mm512_set1_epi32(0xffff_0000_u32 as i32);
        (
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs)),
            _mm512_castsi512_ps(_mm512_and_si512(pairs, high)),
        )
    }
}

/// The same bits under the name that the dot product wants.
#[inline(always)]
fn bf16_lanes(pairs: __m512i) -> __m512bh {
    unsafe { std::mem::transmute(pairs) }
}

impl<const VNNI: bool, const BF16: bool> Avx512<VNNI, BF16> {
    /// acc + the four products of unsigned `w` and signed `a` in each dword. Without VNNI the products of two bytes
    /// are summed in 16 bits, so `w` must be at most 128: 128 * 127 * 2 = 32,512.
    #[inline(always)]
    fn dot_bytes(self, acc: __m512i, w: __m512i, a: __m512i) -> __m512i {
        unsafe {
            if VNNI {
                _mm512_dpbusd_epi32(acc, w, a)
            } else {
                let pairs = _mm512_maddubs_epi16(w, a);
                _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
            }
        }
    }

    /// With VNNI: the sums of the first (`half` 0) or the last (1) 16 k, from zero.
    #[inline(always)]
    fn half<const R: usize, const T: usize>(
        self,
        a: [&[i8; 32]; T],
        w: &impl Unpack<R>,
        half: usize,
    ) -> [[__m512i; T]; R] {
        let mut sums = [[self.splat_i32(0); T]; R];
        for i in 0..4 {
            let mut v = [self.splat_i32(0); R];
            for r in 0..R {
                let (first, second) = w.unpack(r, i);
                v[r] = if half == 0 { first } else { second };
            }
            for t in 0..T {
                let x = broadcast_4(a[t], 16 * half + 4 * i);
                for r in 0..R {
                    sums[r][t] = self.dot_bytes(sums[r][t], v[r], x);
                }
            }
        }
        sums
    }

    /// With VNNI: `sums` plus the products of all 32 k.
    #[inline(always)]
    fn wholes<const R: usize, const T: usize>(
        self,
        a: [&[i8; 32]; T],
        w: impl Unpack<R>,
        mut sums: [[__m512i; T]; R],
    ) -> [[__m512i; T]; R] {
        if R * T < 4 {
            // Few sums: two chains each, or they would wait for the latency of the dot product.
            let halves = [self.half(a, &w, 0), self.half(a, &w, 1)];
            for r in 0..R {
                for t in 0..T {
                    let both = unsafe { _mm512_add_epi32(halves[0][r][t], halves[1][r][t]) };
                    sums[r][t] = unsafe { _mm512_add_epi32(sums[r][t], both) };
                }
            }
            return sums;
        }
        for i in 0..4 {
            let mut v = [(self.splat_i32(0), self.splat_i32(0)); R];
            for r in 0..R {
                v[r] = w.unpack(r, i);
            }
            for t in 0..T {
                let (first, second) = (broadcast_4(a[t], 4 * i), broadcast_4(a[t], 16 + 4 * i));
                for r in 0..R {
                    sums[r][t] = self.dot_bytes(sums[r][t], v[r].0, first);
                    sums[r][t] = self.dot_bytes(sums[r][t], v[r].1, second);
                }
            }
        }
        sums
    }

    /// acc += scale * (sum of w * a) over all 32 k.
    #[inline(always)]
    fn add_dots<const R: usize, const T: usize>(
        self,
        a: [&[i8; 32]; T],
        w: impl Unpack<R>,
        scale: [__m512i; R],
        acc: &mut [[__m512i; T]; R],
    ) {
        if VNNI {
            let sums = self.wholes(a, w, [[self.splat_i32(0); T]; R]);
            self.add_scaled(sums, scale, acc);
        } else {
            self.add_in_16_bits(a, &w, [true; 2], scale, acc);
        }
    }

    /// acc += sum of w * a over all 32 k.
    #[inline(always)]
    fn add_sums<const R: usize, const T: usize>(
        self,
        a: [&[i8; 32]; T],
        w: impl Unpack<R>,
        acc: &mut [[__m512i; T]; R],
    ) {
        if VNNI {
            *acc = self.wholes(a, w, *acc);
        } else {
            let one = unsafe { _mm512_set1_epi16(1) };
            self.add_in_16_bits(a, &w, [true; 2], [one; R], acc);
        }
    }

    /// Without VNNI: acc += scale * (sum of w * a) over those halves of the 32 k. As many products as fit are summed
    /// in 16 bits and then widened once, by the multiplication with the scale.
    #[inline(always)]
    fn add_in_16_bits<const R: usize, const T: usize, W: Unpack<R>>(
        self,
        a: [&[i8; 32]; T],
        w: &W,
        halves: [bool; 2],
        scale: [__m512i; R],
        acc: &mut [[__m512i; T]; R],
    ) {
        let n_chunks = W::FITTING / (usize::from(halves[0]) + usize::from(halves[1]));
        for first in (0..4).step_by(n_chunks) {
            let mut sums = [[self.splat_i32(0); T]; R];
            for i in first..first + n_chunks {
                let mut v = [[self.splat_i32(0); 2]; R];
                for r in 0..R {
                    (v[r][0], v[r][1]) = w.unpack(r, i);
                }
                for t in 0..T {
                    let x = [broadcast_4(a[t], 4 * i), broadcast_4(a[t], 16 + 4 * i)];
                    for r in 0..R {
                        for half in 0..2 {
                            if halves[half] {
                                let products = unsafe { _mm512_maddubs_epi16(v[r][half], x[half]) };
                                sums[r][t] = unsafe { _mm512_add_epi16(sums[r][t], products) };
                            }
                        }
                    }
                }
            }
            for r in 0..R {
                for t in 0..T {
                    let wide = unsafe { _mm512_madd_epi16(sums[r][t], scale[r]) };
                    acc[r][t] = unsafe { _mm512_add_epi32(acc[r][t], wide) };
                }
            }
        }
    }

    /// acc += scale * sums, with VNNI.
    #[inline(always)]
    fn add_scaled<const R: usize, const T: usize>(
        self,
        sums: [[__m512i; T]; R],
        scale: [__m512i; R],
        acc: &mut [[__m512i; T]; R],
    ) {
        for r in 0..R {
            for t in 0..T {
                acc[r][t] = unsafe { _mm512_add_epi32(acc[r][t], _mm512_mullo_epi32(sums[r][t], scale[r])) };
            }
        }
    }
}

impl<const VNNI: bool, const BF16: bool> Simd for Avx512<VNNI, BF16> {
    type F = __m512;
    type I = __m512i;
    /// With VNNI as i32. Without, as i16, twice in each dword: `vpmaddwd` adds two neighbours and multiplies by it at
    /// once.
    type Scale = __m512i;
    /// (first, second) as i16 in each dword.
    type Pair = __m512i;

    const REGISTERS: usize = 32;
    const INT_TILE: usize = 8;
    const F32_TILE: usize = 8;
    const PAIRS: bool = true;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::F {
        unsafe { _mm512_loadu_ps(x.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, x: Self::F, to: &mut [f32; LANES]) {
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), x) }
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn fnma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        unsafe { _mm512_max_ps(a, b) } // exactly a > b ? a : b
    }
    #[inline(always)]
    fn select_gt(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b), y, x) }
    }
    #[inline(always)]
    fn round_to_i32(self, a: Self::F) -> Self::I {
        unsafe { _mm512_cvtps_epi32(a) }
    }

    #[inline(always)]
    fn sub_32_times(self, a: Self::I, b: Self::I) -> Self::I {
        unsafe { _mm512_sub_epi32(a, _mm512_slli_epi32::<5>(b)) }
    }
    #[inline(always)]
    fn splat_i32(self, x: i32) -> Self::I {
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    fn to_f32(self, a: Self::I) -> Self::F {
        unsafe { _mm512_cvtepi32_ps(a) }
    }
    #[inline(always)]
    fn exp2_i32(self, a: Self::I) -> Self::F {
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_add_epi32(a, _mm512_set1_epi32(127)))) }
    }

    #[inline(always)]
    fn load_f16(self, from: &[u16; LANES]) -> Self::F {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn store_f16(self, x: Self::F, to: &mut [u16; LANES]) {
        unsafe {
            let halves = _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT }>(x);
            _mm256_storeu_si256(to.as_mut_ptr().cast(), halves);
        }
    }
    #[inline(always)]
    fn load_bf16_pairs(self, from: &[u16; 2 * LANES]) -> (Self::F, Self::F) {
        bf16_pairs(self.load_bf16(from))
    }
    type Bf16 = __m512i;
    #[inline(always)]
    fn load_bf16(self, from: &[u16; 2 * LANES]) -> Self::Bf16 {
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn dot_bf16(self, acc: Self::F, w: Self::Bf16, a: &[u16; 2]) -> Self::F {
        unsafe {
            let a = _mm512_set1_epi32(i32::from(a[0]) | i32::from(a[1]) << 16);
            if BF16 {
                return _mm512_dpbf16_ps(acc, bf16_lanes(w), bf16_lanes(a));
            }
            let ((w0, w1), (a0, a1)) = (bf16_pairs(w), bf16_pairs(a));
            self.fma(w0, a0, self.fma(w1, a1, acc))
        }
    }
    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> Self::I {
        unsafe { _mm512_cvtepi8_epi32(_mm_loadu_si128(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_u8(self, from: &[u8; LANES]) -> Self::I {
        unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn store_i8(self, x: Self::I, to: &mut [i8; LANES]) {
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(x)) }
    }

    #[inline(always)]
    fn scale_u8(self, from: &[u8; LANES]) -> Self::Scale {
        if VNNI { self.load_u8(from) } else { self.pair_u8(from, from) }
    }
    #[inline(always)]
    fn scale_i8(self, from: &[i8; LANES]) -> Self::Scale {
        if VNNI { self.load_i8(from) } else { self.pair_i8(from, from) }
    }
    #[inline(always)]
    fn sum_u4<const R: usize, const T: usize>(
        self,
        w: [&[u8; 256]; R],
        a: [&[i8; 32]; T],
        acc: &mut [[Self::I; T]; R],
    ) {
        self.add_sums(a, U4(w), acc);
    }

    #[inline(always)]
    fn dot_u4<const R: usize, const T: usize>(
        self,
        w: [&[u8; 256]; R],
        a: [&[i8; 32]; T],
        scale: [Self::Scale; R],
        acc: &mut [[Self::I; T]; R],
    ) {
        self.add_dots(a, U4(w), scale, acc);
    }

    #[inline(always)]
    fn sum_u5<const R: usize, const T: usize>(
        self,
        low: [&[u8; 256]; R],
        high: [&[u8; 64]; R],
        a: [&[i8; 32]; T],
        acc: &mut [[Self::I; T]; R],
    ) {
        self.add_sums(a, U5(low, high), acc);
    }

    #[inline(always)]
    fn dot_u5<const R: usize, const T: usize>(
        self,
        low: [&[u8; 256]; R],
        high: [&[u8; 64]; R],
        a: [&[i8; 32]; T],
        scale: [Self::Scale; R],
        acc: &mut [[Self::I; T]; R],
    ) {
        self.add_dots(a, U5(low, high), scale, acc);
    }

    #[inline(always)]
    fn dot_u6<const R: usize, const T: usize>(
        self,
        low: [&[u8; 256]; R],
        high: [&[u8; 128]; R],
        a: [&[i8; 32]; T],
        scale: [[Self::Scale; 2]; R],
        acc: &mut [[Self::I; T]; R],
    ) {
        let w = U6(low, high);
        let mut scales = [[self.splat_i32(0); R]; 2];
        for r in 0..R {
            [scales[0][r], scales[1][r]] = scale[r];
        }
        for half in 0..2 {
            if VNNI {
                self.add_scaled(self.half(a, &w, half), scales[half], acc);
            } else {
                self.add_in_16_bits(a, &w, [half == 0, half == 1], scales[half], acc);
            }
        }
    }

    /// With VNNI the weights are multiplied as they lie, 128 too large, and the sums start that much lower. Without,
    /// |w| as unsigned bytes, the sign moved to the activation.
    #[inline(always)]
    fn sum_i8<const R: usize, const T: usize>(
        self,
        w: [&[u8; 512]; R],
        a: [&[i8; 32]; T],
        a_sums: [i32; T],
        acc: &mut [[Self::I; T]; R],
    ) {
        if VNNI {
            let mut sums = [[self.splat_i32(0); T]; R];
            for t in 0..T {
                let start = self.splat_i32(-128 * a_sums[t]);
                for r in 0..R {
                    sums[r][t] = start;
                }
            }
            for i in 0..8 {
                let mut v = [self.splat_i32(0); R];
                for r in 0..R {
                    v[r] = chunk(w[r], i);
                }
                for t in 0..T {
                    let x = broadcast_4(a[t], 4 * i);
                    for r in 0..R {
                        // Two chains, or few sums would wait for the latency of the dot product.
                        let sum = if i % 2 == 0 && R * T < 4 { &mut acc[r][t] } else { &mut sums[r][t] };
                        *sum = self.dot_bytes(*sum, v[r], x);
                    }
                }
            }
            for r in 0..R {
                for t in 0..T {
                    acc[r][t] = unsafe { _mm512_add_epi32(acc[r][t], sums[r][t]) };
                }
            }
            return;
        }
        for i in 0..8 {
            for r in 0..R {
                let v = unsafe { _mm512_xor_si512(chunk(w[r], i), _mm512_set1_epi8(-128)) };
                let size = unsafe { _mm512_abs_epi8(v) };
                let negative = unsafe { _mm512_movepi8_mask(v) };
                for t in 0..T {
                    let x = broadcast_4(a[t], 4 * i);
                    let signed = unsafe { _mm512_mask_sub_epi8(x, negative, _mm512_setzero_si512(), x) };
                    acc[r][t] = self.dot_bytes(acc[r][t], size, signed);
                }
            }
        }
    }

    #[inline(always)]
    fn pair_u8(self, first: &[u8; LANES], second: &[u8; LANES]) -> Self::Pair {
        let (first, second) = (self.load_u8(first), self.load_u8(second));
        unsafe { _mm512_or_si512(first, _mm512_slli_epi32::<16>(second)) }
    }
    #[inline(always)]
    fn pair_i8(self, first: &[i8; LANES], second: &[i8; LANES]) -> Self::Pair {
        let (first, second) = (self.load_i8(first), self.load_i8(second));
        unsafe {
            let first = _mm512_and_si512(first, _mm512_set1_epi32(0xffff));
            _mm512_or_si512(first, _mm512_slli_epi32::<16>(second))
        }
    }
    #[inline(always)]
    fn dot_pair<const R: usize, const T: usize>(
        self,
        pair: [Self::Pair; R],
        a: [&[i16; 2]; T],
        acc: &mut [[Self::I; T]; R],
    ) {
        for t in 0..T {
            unsafe {
                let x = _mm512_set1_epi32(i32::from(a[t][0] as u16) | i32::from(a[t][1]) << 16);
                for r in 0..R {
                    acc[r][t] = if VNNI {
                        _mm512_dpwssd_epi32(acc[r][t], pair[r], x)
                    } else {
                        _mm512_add_epi32(acc[r][t], _mm512_madd_epi16(pair[r], x))
                    };
                }
            }
        }
    }

    #[inline(always)]
    fn peak(self, kind: Peak, rounds: usize) -> usize {
        let zero = self.splat_i32(0);
        unsafe {
            match kind {
                Peak::Bf16 if BF16 => {
                    let one = bf16_lanes(_mm512_set1_epi16(0x3f80));
                    let step = |sum, x| _mm512_dpbf16_ps(sum, bf16_lanes(_mm512_castps_si512(x)), one);
                    repeat::<_, PEAK_STEPS>(rounds, self.splat(0.0), step);
                    2
                }
                Peak::F32 | Peak::Bf16 => {
                    let one = self.splat(1.0);
                    repeat::<_, PEAK_STEPS>(rounds, self.splat(0.0), |sum, x| _mm512_fmadd_ps(x, one, sum));
                    1
                }
                Peak::Int4 | Peak::Int8 if VNNI => {
                    let w = _mm512_set1_epi8(7);
                    repeat::<_, PEAK_STEPS>(rounds, zero, |sum, x| _mm512_dpbusd_epi32(sum, w, x));
                    4
                }
                Peak::Int4 => {
                    let w = _mm512_set1_epi8(7);
                    let step = |sum, x| _mm512_add_epi16(sum, _mm512_maddubs_epi16(w, x));
                    repeat::<_, PEAK_STEPS>(rounds, zero, step);
                    4
                }
                Peak::Int8 => {
                    let w = _mm512_set1_epi16(7);
                    let step = |sum, x| _mm512_add_epi32(sum, _mm512_madd_epi16(w, x));
                    repeat::<_, PEAK_STEPS>(rounds, zero, step);
                    2
                }
            }
        }
    }

    #[inline(always)]
    fn prefetch<T>(self, at: *const T) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    #[inline(always)]
    fn sum(self, x: Self::F) -> f32 {
        unsafe {
            let x = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x));
            let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)))
        }
    }
    #[inline(always)]
    fn max_lane(self, x: Self::F) -> f32 {
        unsafe {
            let x = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x));
            let x = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)))
        }
    }
}
