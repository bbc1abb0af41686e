//! Weights of few bits in zmm registers, ready to be multiplied as bytes.
//!
//! SAFETY (the whole file): that of `avx512`, whose kernels alone call what stands here.
#![allow(clippy::undocumented_unsafe_blocks, reason = "one argument for all of them, above")]

use std::arch::x86_64::*;

/// A token's activations k..k+4 in every dword.
#[inline(always)]
pub(super) fn broadcast_4(a: &[i8; 32], k: usize) -> __m512i {
    let four = [a[k], a[k + 1], a[k + 2], a[k + 3]].map(|x| x as u8);
    unsafe { _mm512_set1_epi32(i32::from_le_bytes(four)) }
}

/// The low and the high nibbles of 64 bytes.
#[inline(always)]
fn nibbles(v: __m512i) -> (__m512i, __m512i) {
    unsafe {
        let mask = _mm512_set1_epi8(15);
        (_mm512_and_si512(v, mask), _mm512_and_si512(_mm512_srli_epi16::<4>(v), mask))
    }
}

/// Chunk i of 64 bytes.
#[inline(always)]
pub(super) fn chunk<const N: usize>(w: &[u8; N], i: usize) -> __m512i {
    assert!((i + 1) * 64 <= N);
    unsafe { _mm512_loadu_si512(w.as_ptr().add(i * 64).cast()) }
}

/// How R panels of 16 rows hold 32 weights of few bits. (Types, not closures: a closure that the compiler chooses not
/// to inline would be compiled without the instruction set.)
pub(super) trait Unpack<const R: usize> {
    /// Results of `maddubs` that an i16 holds the sum of: 2, 4 or 8.
    const FITTING: usize;
    /// Chunk i of panel r: its weights 4i..4i+4, and 16+4i..20+4i.
    fn unpack(&self, r: usize, i: usize) -> (__m512i, __m512i);
}

pub(super) struct U4<'a, const R: usize>(pub [&'a [u8; 256]; R]);
pub(super) struct U5<'a, const R: usize>(pub [&'a [u8; 256]; R], pub [&'a [u8; 64]; R]);
pub(super) struct U6<'a, const R: usize>(pub [&'a [u8; 256]; R], pub [&'a [u8; 128]; R]);

impl<const R: usize> Unpack<R> for U4<'_, R> {
    /// 8 * 15 * 127 * 2 = 30,480.
    const FITTING: usize = 8;

    #[inline(always)]
    fn unpack(&self, r: usize, i: usize) -> (__m512i, __m512i) {
        nibbles(chunk(self.0[r], i))
    }
}

impl<const R: usize> Unpack<R> for U5<'_, R> {
    /// 4 * 31 * 127 * 2 = 31,496.
    const FITTING: usize = 4;

    #[inline(always)]
    fn unpack(&self, r: usize, i: usize) -> (__m512i, __m512i) {
        // Bit 4 of the low nibbles' weights lies at bit i, of the high nibbles' at 4 + i.
        let (first, second) = nibbles(chunk(self.0[r], i));
        let bits = chunk(self.1[r], 0);
        unsafe {
            let (up, down) = match i {
                0 => (_mm512_slli_epi16::<4>(bits), bits),
                1 => (_mm512_slli_epi16::<3>(bits), _mm512_srli_epi16::<1>(bits)),
                2 => (_mm512_slli_epi16::<2>(bits), _mm512_srli_epi16::<2>(bits)),
                _ => (_mm512_slli_epi16::<1>(bits), _mm512_srli_epi16::<3>(bits)),
            };
            let mask = _mm512_set1_epi8(0x10);
            (or_masked(first, up, mask), or_masked(second, down, mask))
        }
    }
}

impl<const R: usize> Unpack<R> for U6<'_, R> {
    /// 2 * 63 * 127 * 2 = 32,004.
    const FITTING: usize = 2;

    #[inline(always)]
    fn unpack(&self, r: usize, i: usize) -> (__m512i, __m512i) {
        // Bits 4 and 5 of the low nibbles' weights lie at 0 or 4 of `bits`, of the high nibbles' at 2 or 6.
        let (first, second) = nibbles(chunk(self.0[r], i));
        let bits = chunk(self.1[r], i / 2);
        unsafe {
            let (up, down) = if i.is_multiple_of(2) {
                (_mm512_slli_epi16::<4>(bits), _mm512_slli_epi16::<2>(bits))
            } else {
                (bits, _mm512_srli_epi16::<2>(bits))
            };
            let mask = _mm512_set1_epi8(0x30);
            (or_masked(first, up, mask), or_masked(second, down, mask))
        }
    }
}

/// a | b & mask.
#[inline(always)]
fn or_masked(a: __m512i, b: __m512i, mask: __m512i) -> __m512i {
    unsafe { _mm512_ternarylogic_epi32::<0xf8>(a, b, mask) }
}
