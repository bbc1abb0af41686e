//! The virtual vector on AVX2, FMA and F16C: two ymm registers, lanes 0..8 and 8..16.
//!
//! SAFETY (the whole file): every block calls intrinsics of AVX2, FMA or F16C, which the processor has: a value of
//! `Avx2` is made only by `run`, whose caller promises it. Loads and stores are unaligned and stay inside the array
//! that the argument borrows.
#![allow(clippy::undocumented_unsafe_blocks, reason = "one argument for all of them, above")]

use super::{Kernel, LANES, PEAK_STEPS, Peak, Simd, repeat};
use std::arch::asm;
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub struct Avx2(());

/// # Safety
/// The processor must have AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

/// Eight lanes, twice.
macro_rules! both {
    ($half:ident => $body:expr) => {
        unsafe {
            [
                {
                    let $half = 0;
                    $body
                },
                {
                    let $half = 1;
                    $body
                },
            ]
        }
    };
}

/// A token's activations k..k+4 in every dword.
#[inline(always)]
fn broadcast_4(a: &[i8; 32], k: usize) -> __m256i {
    let four = [a[k], a[k + 1], a[k + 2], a[k + 3]].map(|x| x as u8);
    unsafe { _mm256_set1_epi32(i32::from_le_bytes(four)) }
}

/// Half h of chunk i of 64 bytes: rows 8 h .. 8 h + 8.
#[inline(always)]
fn chunk<const N: usize>(w: &[u8; N], i: usize, h: usize) -> __m256i {
    assert!(h < 2 && (i + 1) * 64 <= N);
    unsafe { _mm256_loadu_si256(w.as_ptr().add(i * 64 + h * 32).cast()) }
}

/// The low (`part` 0) or the high nibbles of 32 bytes.
#[inline(always)]
fn nibble(v: __m256i, part: usize) -> __m256i {
    unsafe { _mm256_and_si256(if part == 0 { v } else { _mm256_srli_epi16::<4>(v) }, _mm256_set1_epi8(15)) }
}

/// a | b & mask.
#[inline(always)]
fn or_masked(a: __m256i, b: __m256i, mask: __m256i) -> __m256i {
    unsafe { _mm256_or_si256(a, _mm256_and_si256(b, mask)) }
}

/// How 16 rows hold 32 weights of few bits.
trait Unpack {
    /// Results of `maddubs` that an i16 holds the sum of: 2, 4 or 8.
    const FITTING: usize;
    /// Of half h of chunk i: weights 4i..4i+4 (`part` 0), or 16+4i..20+4i (1).
    fn unpack(&self, i: usize, h: usize, part: usize) -> __m256i;
}

struct U4<'a>(&'a [u8; 256]);
struct U5<'a>(&'a [u8; 256], &'a [u8; 64]);
struct U6<'a>(&'a [u8; 256], &'a [u8; 128]);

impl Unpack for U4<'_> {
    /// 8 * 15 * 127 * 2 = 30,480.
    const FITTING: usize = 8;

    #[inline(always)]
    fn unpack(&self, i: usize, h: usize, part: usize) -> __m256i {
        nibble(chunk(self.0, i, h), part)
    }
}

impl Unpack for U5<'_> {
    /// 4 * 31 * 127 * 2 = 31,496.
    const FITTING: usize = 4;

    #[inline(always)]
    fn unpack(&self, i: usize, h: usize, part: usize) -> __m256i {
        let bits = chunk(self.1, 0, h);
        // Bit 4 lies at bit 4 * part + i.
        unsafe {
            let moved = match 4 * part + i {
                0 => _mm256_slli_epi16::<4>(bits),
                1 => _mm256_slli_epi16::<3>(bits),
                2 => _mm256_slli_epi16::<2>(bits),
                3 => _mm256_slli_epi16::<1>(bits),
                4 => bits,
                5 => _mm256_srli_epi16::<1>(bits),
                6 => _mm256_srli_epi16::<2>(bits),
                _ => _mm256_srli_epi16::<3>(bits),
            };
            or_masked(nibble(chunk(self.0, i, h), part), moved, _mm256_set1_epi8(0x10))
        }
    }
}

impl Unpack for U6<'_> {
    /// 2 * 63 * 127 * 2 = 32,004.
    const FITTING: usize = 2;

    #[inline(always)]
    fn unpack(&self, i: usize, h: usize, part: usize) -> __m256i {
        let bits = chunk(self.1, i / 2, h);
        // Bits 4 and 5 lie at 4 * (i % 2) + 2 * part.
        unsafe {
            let moved = match 2 * (i % 2) + part {
                0 => _mm256_slli_epi16::<4>(bits),
                1 => _mm256_slli_epi16::<2>(bits),
                2 => bits,
                _ => _mm256_srli_epi16::<2>(bits),
            };
            or_masked(nibble(chunk(self.0, i, h), part), moved, _mm256_set1_epi8(0x30))
        }
    }
}

/// acc += scale * (sum of w * a) over those parts (first and last 16) of the 32 k. As many products as fit are summed
/// in 16 bits and then widened once, by the multiplication with the scale.
///
/// The chunks are written out: in a loop that the compiler keeps, the shifts of `unpack` would be looked up.
#[inline(always)]
fn add_dots<W: Unpack, const T: usize>(
    w: W,
    a: [&[i8; 32]; T],
    parts: [bool; 2],
    scale: [__m256i; 2],
    acc: &mut [[__m256i; 2]; T],
) {
    let zero = [[unsafe { _mm256_setzero_si256() }; 2]; T];
    let n_chunks = W::FITTING / (usize::from(parts[0]) + usize::from(parts[1]));
    let mut sums = zero;
    add_chunk::<W, T, 0>(&w, a, parts, &mut sums);
    add_chunk::<W, T, 1>(&w, a, parts, &mut sums);
    if n_chunks < 4 {
        add_scaled(sums, scale, acc);
        sums = zero;
    }
    add_chunk::<W, T, 2>(&w, a, parts, &mut sums);
    add_chunk::<W, T, 3>(&w, a, parts, &mut sums);
    add_scaled(sums, scale, acc);
}

/// sums += the products of those parts of chunk I. One part at a time: eight sums of four tokens and two vectors of
/// weights fit the 16 registers.
#[inline(always)]
fn add_chunk<W: Unpack, const T: usize, const I: usize>(
    w: &W,
    a: [&[i8; 32]; T],
    parts: [bool; 2],
    sums: &mut [[__m256i; 2]; T],
) {
    for part in 0..2 {
        if parts[part] {
            let v = [w.unpack(I, 0, part), w.unpack(I, 1, part)];
            for t in 0..T {
                let x = broadcast_4(a[t], 16 * part + 4 * I);
                sums[t] = both!(h => _mm256_add_epi16(sums[t][h], _mm256_maddubs_epi16(v[h], x)));
            }
            for t in 0..T {
                sums[t] = both!(h => in_order(sums[t][h]));
            }
        }
    }
}

/// Nothing, but what is added to `sums` before and after stays so. Else the compiler adds in an order of its own, in
/// which it keeps all activations of a sub-block at hand, on the stack: Q4_0 with 64 tokens was a fifth slower.
#[inline]
#[target_feature(enable = "avx2")]
fn in_order(mut sums: __m256i) -> __m256i {
    unsafe { asm!("/* {0} */", inout(ymm_reg) sums, options(nomem, nostack, preserves_flags)) }
    sums
}

/// acc += scale * sums, which widens them.
#[inline(always)]
fn add_scaled<const T: usize>(sums: [[__m256i; 2]; T], scale: [__m256i; 2], acc: &mut [[__m256i; 2]; T]) {
    for t in 0..T {
        acc[t] = both!(h => _mm256_add_epi32(acc[t][h], _mm256_madd_epi16(sums[t][h], scale[h])));
    }
}

impl Avx2 {
    #[inline(always)]
    fn scale_one(self) -> [__m256i; 2] {
        unsafe { [_mm256_set1_epi16(1); 2] }
    }
}

impl Simd for Avx2 {
    type F = [__m256; 2];
    type I = [__m256i; 2];
    /// The factor as i16, twice in each dword: `vpmaddwd` adds two neighbours and multiplies by it at once.
    type Scale = [__m256i; 2];
    /// (first, second) as i16 in each dword.
    type Pair = [__m256i; 2];

    const REGISTERS: usize = 8;
    const INT_TILE: usize = 4;
    const F32_TILE: usize = 2;
    const PAIRS: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        unsafe { [_mm256_set1_ps(x); 2] }
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::F {
        both!(h => _mm256_loadu_ps(x.as_ptr().add(h * 8)))
    }
    #[inline(always)]
    fn store(self, x: Self::F, to: &mut [f32; LANES]) {
        both!(h => _mm256_storeu_ps(to.as_mut_ptr().add(h * 8), x[h]));
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        both!(h => _mm256_add_ps(a[h], b[h]))
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        both!(h => _mm256_sub_ps(a[h], b[h]))
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        both!(h => _mm256_mul_ps(a[h], b[h]))
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        both!(h => _mm256_div_ps(a[h], b[h]))
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        both!(h => _mm256_fmadd_ps(a[h], b[h], c[h]))
    }
    #[inline(always)]
    fn fnma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        both!(h => _mm256_fnmadd_ps(a[h], b[h], c[h]))
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        both!(h => _mm256_max_ps(a[h], b[h])) // exactly a > b ? a : b
    }
    #[inline(always)]
    fn select_gt(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
        both!(h => _mm256_blendv_ps(y[h], x[h], _mm256_cmp_ps::<_CMP_GT_OQ>(a[h], b[h])))
    }
    #[inline(always)]
    fn round_to_i32(self, a: Self::F) -> Self::I {
        both!(h => _mm256_cvtps_epi32(a[h]))
    }

    #[inline(always)]
    fn sub_32_times(self, a: Self::I, b: Self::I) -> Self::I {
        both!(h => _mm256_sub_epi32(a[h], _mm256_slli_epi32::<5>(b[h])))
    }
    #[inline(always)]
    fn splat_i32(self, x: i32) -> Self::I {
        unsafe { [_mm256_set1_epi32(x); 2] }
    }
    #[inline(always)]
    fn to_f32(self, a: Self::I) -> Self::F {
        both!(h => _mm256_cvtepi32_ps(a[h]))
    }
    #[inline(always)]
    fn exp2_i32(self, a: Self::I) -> Self::F {
        both!(h => _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(a[h], _mm256_set1_epi32(127)))))
    }

    #[inline(always)]
    fn load_f16(self, from: &[u16; LANES]) -> Self::F {
        both!(h => _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().add(h * 8).cast())))
    }
    #[inline(always)]
    fn store_f16(self, x: Self::F, to: &mut [u16; LANES]) {
        both!(h => _mm_storeu_si128(
            to.as_mut_ptr().add(h * 8).cast(),
            _mm256_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT }>(x[h]),
        ));
    }
    #[inline(always)]
    fn load_bf16_pairs(self, from: &[u16; 2 * LANES]) -> (Self::F, Self::F) {
        let pairs: [__m256i; 2] = both!(h => _mm256_loadu_si256(from.as_ptr().add(h * LANES).cast()));
        let first = both!(h => _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs[h])));
        let high = unsafe { _mm256_set1_epi32(0xffff_0000_u32 as i32) };
        let second = both!(h => _mm256_castsi256_ps(_mm256_and_si256(pairs[h], high)));
        (first, second)
    }
    type Bf16 = [Self::F; 2];
    #[inline(always)]
    fn load_bf16(self, from: &[u16; 2 * LANES]) -> Self::Bf16 {
        self.load_bf16_pairs(from).into()
    }
    #[inline(always)]
    fn dot_bf16(self, acc: Self::F, w: Self::Bf16, a: &[u16; 2]) -> Self::F {
        let (first, second) = unsafe {
            let pair = _mm256_set1_epi32(i32::from(a[0]) | i32::from(a[1]) << 16);
            let high = _mm256_set1_epi32(0xffff_0000_u32 as i32);
            (
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pair)),
                _mm256_castsi256_ps(_mm256_and_si256(pair, high)),
            )
        };
        self.fma(w[0], [first; 2], self.fma(w[1], [second; 2], acc))
    }
    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> Self::I {
        both!(h => _mm256_cvtepi8_epi32(_mm_loadl_epi64(from.as_ptr().add(h * 8).cast())))
    }
    #[inline(always)]
    fn load_u8(self, from: &[u8; LANES]) -> Self::I {
        both!(h => _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.as_ptr().add(h * 8).cast())))
    }
    #[inline(always)]
    fn store_i8(self, x: Self::I, to: &mut [i8; LANES]) {
        unsafe {
            // Packing works within each half of a register, so quarters 1 and 2 come out in each other's place.
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(x[0], x[1]));
            let bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(to.as_mut_ptr().cast(), bytes);
        }
    }

    #[inline(always)]
    fn scale_u8(self, from: &[u8; LANES]) -> Self::Scale {
        let wide = self.load_u8(from);
        both!(h => _mm256_or_si256(wide[h], _mm256_slli_epi32::<16>(wide[h])))
    }
    #[inline(always)]
    fn scale_i8(self, from: &[i8; LANES]) -> Self::Scale {
        self.pair_i8(from, from)
    }
    #[inline(always)]
    fn sum_u4<const R: usize, const T: usize>(
        self,
        w: [&[u8; 256]; R],
        a: [&[i8; 32]; T],
        acc: &mut [[Self::I; T]; R],
    ) {
        self.dot_u4(w, a, [self.scale_one(); R], acc);
    }

    #[inline(always)]
    fn dot_u4<const R: usize, const T: usize>(
        self,
        w: [&[u8; 256]; R],
        a: [&[i8; 32]; T],
        scale: [Self::Scale; R],
        acc: &mut [[Self::I; T]; R],
    ) {
        for r in 0..R {
            add_dots(U4(w[r]), a, [true; 2], scale[r], &mut acc[r]);
        }
    }

    #[inline(always)]
    fn sum_u5<const R: usize, const T: usize>(
        self,
        low: [&[u8; 256]; R],
        high: [&[u8; 64]; R],
        a: [&[i8; 32]; T],
        acc: &mut [[Self::I; T]; R],
    ) {
        self.dot_u5(low, high, a, [self.scale_one(); R], acc);
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
        for r in 0..R {
            add_dots(U5(low[r], high[r]), a, [true; 2], scale[r], &mut acc[r]);
        }
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
        for r in 0..R {
            add_dots(U6(low[r], high[r]), a, [true, false], scale[r][0], &mut acc[r]);
            add_dots(U6(low[r], high[r]), a, [false, true], scale[r][1], &mut acc[r]);
        }
    }

    /// |w| as unsigned bytes, the sign moved to the activation: 128 * 127 * 2 = 32,512 fits an i16, once.
    #[inline(always)]
    fn sum_i8<const R: usize, const T: usize>(
        self,
        w: [&[u8; 512]; R],
        a: [&[i8; 32]; T],
        _: [i32; T],
        acc: &mut [[Self::I; T]; R],
    ) {
        let (one, offset) = unsafe { (_mm256_set1_epi16(1), _mm256_set1_epi8(-128)) };
        for r in 0..R {
            for i in 0..8 {
                let v: [__m256i; 2] = both!(h => _mm256_xor_si256(chunk(w[r], i, h), offset));
                let size: [__m256i; 2] = both!(h => _mm256_abs_epi8(v[h]));
                for t in 0..T {
                    let x = broadcast_4(a[t], 4 * i);
                    acc[r][t] = both!(h => {
                        let products = _mm256_maddubs_epi16(size[h], _mm256_sign_epi8(x, v[h]));
                        _mm256_add_epi32(acc[r][t][h], _mm256_madd_epi16(products, one))
                    });
                }
            }
        }
    }

    #[inline(always)]
    fn pair_u8(self, first: &[u8; LANES], second: &[u8; LANES]) -> Self::Pair {
        let (first, second) = (self.load_u8(first), self.load_u8(second));
        both!(h => _mm256_or_si256(first[h], _mm256_slli_epi32::<16>(second[h])))
    }
    #[inline(always)]
    fn pair_i8(self, first: &[i8; LANES], second: &[i8; LANES]) -> Self::Pair {
        let (first, second) = (self.load_i8(first), self.load_i8(second));
        let low = unsafe { _mm256_set1_epi32(0xffff) };
        both!(h => _mm256_or_si256(_mm256_and_si256(first[h], low), _mm256_slli_epi32::<16>(second[h])))
    }
    #[inline(always)]
    fn dot_pair<const R: usize, const T: usize>(
        self,
        pair: [Self::Pair; R],
        a: [&[i16; 2]; T],
        acc: &mut [[Self::I; T]; R],
    ) {
        for t in 0..T {
            let x = unsafe { _mm256_set1_epi32(i32::from(a[t][0] as u16) | i32::from(a[t][1]) << 16) };
            for r in 0..R {
                acc[r][t] = both!(h => _mm256_add_epi32(acc[r][t][h], _mm256_madd_epi16(pair[r][h], x)));
            }
        }
    }

    #[inline(always)]
    fn peak(self, kind: Peak, rounds: usize) -> usize {
        // Twelve sums fit the registers: twice those of a whole step are half vectors.
        const HALVES: usize = 12;
        let rounds = rounds * 2 * PEAK_STEPS / HALVES;
        unsafe {
            let zero = _mm256_setzero_si256();
            match kind {
                Peak::F32 | Peak::Bf16 => {
                    let one = _mm256_set1_ps(1.0);
                    repeat::<_, HALVES>(rounds, _mm256_setzero_ps(), |sum, x| _mm256_fmadd_ps(x, one, sum));
                    1
                }
                Peak::Int4 => {
                    let w = _mm256_set1_epi8(7);
                    let step = |sum, x| _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x));
                    repeat::<_, HALVES>(rounds, zero, step);
                    4
                }
                Peak::Int8 => {
                    let w = _mm256_set1_epi16(7);
                    let step = |sum, x| _mm256_add_epi32(sum, _mm256_madd_epi16(w, x));
                    repeat::<_, HALVES>(rounds, zero, step);
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
            let x = _mm256_add_ps(x[0], x[1]);
            let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)))
        }
    }
    #[inline(always)]
    fn max_lane(self, x: Self::F) -> f32 {
        unsafe {
            let x = _mm256_max_ps(x[0], x[1]);
            let x = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)))
        }
    }
}
