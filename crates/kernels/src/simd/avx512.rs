//! The virtual vector on AVX-512 (F, BW, DQ, VL), with and without VNNI: one zmm register.
//!
//! SAFETY (the whole file): every block calls intrinsics of AVX-512 F, BW, DQ or VL (or VNNI, where `VNNI` is true),
//! which the processor has: a value of `Avx512` is made only by `run` and `run_vnni`, whose callers promise it. Loads
//! and stores are unaligned and stay inside the array that the argument borrows.
#![allow(clippy::undocumented_unsafe_blocks, reason = "one argument for all of them, above")]

use super::{Kernel, LANES, PEAK_STEPS, Peak, Simd, repeat};
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub struct Avx512<const VNNI: bool>(());

/// # Safety
/// The processor must have AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512::<false>(()))
}

/// # Safety
/// The processor must have AVX-512 F, BW, DQ, VL and VNNI.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe fn run_vnni<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512::<true>(()))
}

/// A token's activations k..k+4 in every dword.
#[inline(always)]
fn broadcast_4(a: &[i8; 32], k: usize) -> __m512i {
    let four = [a[k], a[k + 1], a[k + 2], a[k + 3]].map(|x| x as u8);
    unsafe { _mm512_set1_epi32(i32::from_le_bytes(four)) }
}

impl<const VNNI: bool> Avx512<VNNI> {
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
}

impl<const VNNI: bool> Simd for Avx512<VNNI> {
    type F = __m512;
    type I = __m512i;
    /// As i32.
    type Scale = __m512i;
    /// (first, second) as i16 in each dword.
    type Pair = __m512i;

    const REGISTERS: usize = 32;
    const INT_TILE: usize = 8;
    const F32_TILE: usize = 8;

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
        unsafe {
            let pairs = _mm512_loadu_si512(from.as_ptr().cast());
            let high = _mm512_set1_epi32(0xffff_0000_u32 as i32);
            (
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs)),
                _mm512_castsi512_ps(_mm512_and_si512(pairs, high)),
            )
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
    fn scale_u8(self, from: &[u8; LANES]) -> Self::Scale {
        self.load_u8(from)
    }
    #[inline(always)]
    fn scale_i8(self, from: &[i8; LANES]) -> Self::Scale {
        self.load_i8(from)
    }
    #[inline(always)]
    fn scale_one(self) -> Self::Scale {
        self.splat_i32(1)
    }

    #[inline(always)]
    fn dot_u4<const T: usize>(
        self,
        w: &[u8; 256],
        a: [&[i8; 32]; T],
        scale: Self::Scale,
        acc: &mut [Self::I; T],
    ) {
        let mask = unsafe { _mm512_set1_epi8(15) };
        let mut sums = [unsafe { _mm512_setzero_si512() }; T];
        for i in 0..4 {
            let v = unsafe { _mm512_loadu_si512(w.as_ptr().add(i * 64).cast()) };
            let low = unsafe { _mm512_and_si512(v, mask) };
            let high = unsafe { _mm512_and_si512(_mm512_srli_epi16::<4>(v), mask) };
            for t in 0..T {
                sums[t] = self.dot_bytes(sums[t], low, broadcast_4(a[t], 4 * i));
                sums[t] = self.dot_bytes(sums[t], high, broadcast_4(a[t], 16 + 4 * i));
            }
        }
        for t in 0..T {
            acc[t] = unsafe { _mm512_add_epi32(acc[t], _mm512_mullo_epi32(sums[t], scale)) };
        }
    }

    #[inline(always)]
    fn dot_u6<const T: usize>(
        self,
        low: &[u8; 256],
        high: &[u8; 128],
        a: [&[i8; 32]; T],
        scale: [Self::Scale; 2],
        acc: &mut [Self::I; T],
    ) {
        let mask4 = unsafe { _mm512_set1_epi8(0x0f) };
        let mask2 = unsafe { _mm512_set1_epi8(0x30) };
        let mut sums = [[unsafe { _mm512_setzero_si512() }; T]; 2];
        for i in 0..4 {
            let v = unsafe { _mm512_loadu_si512(low.as_ptr().add(i * 64).cast()) };
            let bits = unsafe { _mm512_loadu_si512(high.as_ptr().add(i / 2 * 64).cast()) };
            // Bits 4 and 5 of the low nibbles' weights lie at 0 or 4 of `bits`, of the high nibbles' at 2 or 6.
            let (first, second) = unsafe {
                let even = i % 2 == 0;
                let up = if even { _mm512_slli_epi16::<4>(bits) } else { bits };
                let first = _mm512_or_si512(_mm512_and_si512(v, mask4), _mm512_and_si512(up, mask2));
                let up = if even { _mm512_slli_epi16::<2>(bits) } else { _mm512_srli_epi16::<2>(bits) };
                let nibbles = _mm512_and_si512(_mm512_srli_epi16::<4>(v), mask4);
                (first, _mm512_or_si512(nibbles, _mm512_and_si512(up, mask2)))
            };
            for t in 0..T {
                sums[0][t] = self.dot_bytes(sums[0][t], first, broadcast_4(a[t], 4 * i));
                sums[1][t] = self.dot_bytes(sums[1][t], second, broadcast_4(a[t], 16 + 4 * i));
            }
        }
        for t in 0..T {
            for g in 0..2 {
                acc[t] = unsafe { _mm512_add_epi32(acc[t], _mm512_mullo_epi32(sums[g][t], scale[g])) };
            }
        }
    }

    /// |w| as unsigned bytes, the sign moved to the activation.
    #[inline(always)]
    fn dot_i8<const T: usize>(self, w: &[i8; 512], a: [&[i8; 32]; T], acc: &mut [Self::I; T]) {
        for i in 0..8 {
            let v = unsafe { _mm512_loadu_si512(w.as_ptr().add(i * 64).cast()) };
            let size = unsafe { _mm512_abs_epi8(v) };
            let negative = unsafe { _mm512_movepi8_mask(v) };
            for t in 0..T {
                let x = broadcast_4(a[t], 4 * i);
                let signed = unsafe { _mm512_mask_sub_epi8(x, negative, _mm512_setzero_si512(), x) };
                acc[t] = self.dot_bytes(acc[t], size, signed);
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
    fn dot_pair<const T: usize>(self, pair: Self::Pair, a: [[i16; 2]; T], acc: &mut [Self::I; T]) {
        for t in 0..T {
            unsafe {
                let x = _mm512_set1_epi32(i32::from(a[t][0] as u16) | i32::from(a[t][1]) << 16);
                acc[t] = _mm512_add_epi32(acc[t], _mm512_madd_epi16(pair, x));
            }
        }
    }

    #[inline(always)]
    fn peak(self, kind: Peak, rounds: usize) -> usize {
        let zero = self.splat_i32(0);
        unsafe {
            match kind {
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
