//! Weights that are unsigned integers of few bits, 32 of 16 rows at a time: how they lie in a file and in memory, and
//! which integer cores multiply by them. What they are worth is for each format to say.

use super::{put_dwords, repeated, sixteen};
use crate::buffer::Plain;
use crate::simd::{LANES, Simd};

/// 32 weights of one row, as both files and memory hold them.
pub(crate) struct Row {
    /// Byte i: the low four bits of weight i, above them those of weight i + 16.
    nibbles: u128,
    /// Bit k: the fifth bit of weight k, if there are five.
    high: u32,
}

/// 32 weights of 16 rows.
pub(crate) trait Unsigned: Plain {
    /// Bits of a weight.
    const BITS: usize;
    /// Bytes that 32 weights of one row take in a file.
    const ROW_BYTES: usize = 32 * Self::BITS / 8;

    /// The weights of a block of 32 in a file, without its scales.
    fn row_of_block(block: &[u8]) -> Row;
    /// The weights of sub-block `j` of a super-block of 256 in a file, without its scales.
    fn row_of_super_block(block: &[u8], j: usize) -> Row;

    fn set_row(&mut self, r: usize, row: &Row);
    /// Weight k of row r.
    fn get(&self, k: usize, r: usize) -> u8;

    /// `acc[r][t]` += sum of w[r] * a[t].
    fn sum<S: Simd, const R: usize, const T: usize>(
        s: S,
        w: [&Self; R],
        a: [&[i8; 32]; T],
        acc: &mut [[S::I; T]; R],
    );
    /// `acc[r][t]` += scale[r] * (sum of w[r] * a[t]).
    fn dot<S: Simd, const R: usize, const T: usize>(
        s: S,
        w: [&Self; R],
        a: [&[i8; 32]; T],
        scale: [S::Scale; R],
        acc: &mut [[S::I; T]; R],
    );
}

/// Four bits, as [`Simd::sum_u4`] wants them.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct U4([u8; 16 * LANES]);

// SAFETY: plain numbers.
unsafe impl Plain for U4 {}

impl Unsigned for U4 {
    const BITS: usize = 4;

    fn row_of_block(block: &[u8]) -> Row {
        Row { nibbles: sixteen(block, 0), high: 0 }
    }

    fn row_of_super_block(block: &[u8], j: usize) -> Row {
        Row { nibbles: nibbles_of_super_block(block, j), high: 0 }
    }

    fn set_row(&mut self, r: usize, row: &Row) {
        put_dwords(&mut self.0, r, row.nibbles);
    }

    fn get(&self, k: usize, r: usize) -> u8 {
        nibble(&self.0, k, r)
    }

    #[inline(always)]
    fn sum<S: Simd, const R: usize, const T: usize>(
        s: S,
        w: [&Self; R],
        a: [&[i8; 32]; T],
        acc: &mut [[S::I; T]; R],
    ) {
        s.sum_u4(w.map(|w| &w.0), a, acc);
    }

    #[inline(always)]
    fn dot<S: Simd, const R: usize, const T: usize>(
        s: S,
        w: [&Self; R],
        a: [&[i8; 32]; T],
        scale: [S::Scale; R],
        acc: &mut [[S::I; T]; R],
    ) {
        s.dot_u4(w.map(|w| &w.0), a, scale, acc);
    }
}

/// Five bits, as [`Simd::sum_u5`] wants them.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct U5 {
    high: [u8; 4 * LANES],
    low: [u8; 16 * LANES],
}

// SAFETY: plain numbers.
unsafe impl Plain for U5 {}

impl Unsigned for U5 {
    const BITS: usize = 5;

    /// In a file: all fifth bits, then the nibbles.
    fn row_of_block(block: &[u8]) -> Row {
        let (high, nibbles) = block.split_first_chunk().expect("4 bytes of fifth bits");
        Row { nibbles: sixteen(nibbles, 0), high: u32::from_le_bytes(*high) }
    }

    /// In a file: 32 bytes, byte k has the fifth bit of weight k of sub-block j in its bit j. Then the nibbles.
    fn row_of_super_block(block: &[u8], j: usize) -> Row {
        let (bits, nibbles) = block.split_at(32);
        let eights = bits.as_chunks::<8>().0;
        let high = std::array::from_fn(|i| low_bits(u64::from_le_bytes(eights[i]) >> j));
        Row { nibbles: nibbles_of_super_block(nibbles, j), high: u32::from_le_bytes(high) }
    }

    fn set_row(&mut self, r: usize, row: &Row) {
        put_dwords(&mut self.low, r, row.nibbles);
        // Byte b: of weights b, 4 + b, ... 28 + b.
        let every_fourth = |b: usize| {
            let x = row.high >> b & 0x1111_1111;
            let x = (x | x >> 3) & 0x0303_0303;
            let x = (x | x >> 6) & 0x000f_000f;
            (x | x >> 12) as u8
        };
        self.high[r * 4..][..4].copy_from_slice(&std::array::from_fn::<u8, 4, _>(every_fourth));
    }

    fn get(&self, k: usize, r: usize) -> u8 {
        nibble(&self.low, k, r) | (self.high[r * 4 + k % 4] >> (k / 4) & 1) << 4
    }

    #[inline(always)]
    fn sum<S: Simd, const R: usize, const T: usize>(
        s: S,
        w: [&Self; R],
        a: [&[i8; 32]; T],
        acc: &mut [[S::I; T]; R],
    ) {
        s.sum_u5(w.map(|w| &w.low), w.map(|w| &w.high), a, acc);
    }

    #[inline(always)]
    fn dot<S: Simd, const R: usize, const T: usize>(
        s: S,
        w: [&Self; R],
        a: [&[i8; 32]; T],
        scale: [S::Scale; R],
        acc: &mut [[S::I; T]; R],
    ) {
        s.dot_u5(w.map(|w| &w.low), w.map(|w| &w.high), a, scale, acc);
    }
}

/// Bit 0 of byte i becomes bit i. Multiplied by 2^(7 (8 - i)), bit 8 i goes to 56 + i, and no other one up there; no
/// two meet, so nothing is carried.
fn low_bits(bytes: u64) -> u8 {
    ((bytes & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
}

/// Nibble k of row r, of 32.
pub(super) fn nibble(nibbles: &[u8; 256], k: usize, r: usize) -> u8 {
    let byte = nibbles[k % 16 / 4 * 64 + r * 4 + k % 4];
    if k < 16 { byte & 15 } else { byte >> 4 }
}

/// A super-block's nibbles are 4 times 32 bytes, whose low nibbles are sub-block 2 i and whose high ones 2 i + 1.
fn nibbles_of_super_block(bytes: &[u8], j: usize) -> u128 {
    let nibbles = |start| sixteen(bytes, j / 2 * 32 + start) >> (j % 2 * 4) & repeated(15);
    nibbles(0) | nibbles(16) << 4
}
