//! Weight formats, one folder each.
//!
//! A format says how its weights lie in a file (`Block`), how 16 rows of them lie in memory (a [`Panel`]), and what
//! they are worth. The layout of a panel is the same for every instruction set: lane r belongs to row r, what a
//! block needs first (scales) lies in front of its weights, and memory is read strictly upwards.

pub mod floats;
pub mod q4_0;
pub mod q4_1;
pub mod q4_k;
pub mod q5_0;
pub mod q5_1;
pub mod q5_k;
pub mod q6_k;
pub mod q8_0;
mod record;
mod unsigned;

use crate::buffer::Plain;
use crate::simd::{LANES, Simd};
use std::fmt;

pub(crate) use record::Record;

/// `LEN` neighbouring weights of 16 rows, as they lie in memory after loading.
pub(crate) trait Panel: Plain {
    const LEN: usize;
    /// Bytes that `LEN` weights of one row take in a file.
    const ROW_BYTES: usize;

    /// Takes 16 whole rows as they lie in a file; those that are not there are empty and stand for zeros. `panels` are
    /// zeros before.
    fn pack_rows(panels: &mut [Self], rows: [&[u8]; LANES]);

    /// The weights as f32, bit for bit as the `gguf` package dequantizes them: `out[k][row]`, `LEN` of them.
    /// Plain code: only f32 mode and the embedding use it, and one copy for all instruction sets is enough.
    fn unpack(&self, out: &mut [[f32; LANES]]);
}

/// Calls `pack` for each panel with its block of each row.
fn pack_blocks<P: Panel>(panels: &mut [P], rows: [&[u8]; LANES], pack: impl Fn(&mut P, [&[u8]; LANES])) {
    /// All formats read zeros as weights of 0.
    const ZEROS: [u8; Format::MAX_BLOCK_BYTES] = [0; Format::MAX_BLOCK_BYTES];
    for (b, panel) in panels.iter_mut().enumerate() {
        let block = b * P::ROW_BYTES..(b + 1) * P::ROW_BYTES;
        pack(panel, rows.map(|row| row.get(block.clone()).unwrap_or(&ZEROS[..P::ROW_BYTES])));
    }
}

/// Sixteen bytes from `start` on, to be worked on all at once.
#[inline(always)]
fn sixteen(bytes: &[u8], start: usize) -> u128 {
    u128::from_le_bytes(*bytes[start..].first_chunk().expect("a whole block"))
}

/// The same byte sixteen times.
const fn repeated(byte: u8) -> u128 {
    u128::from_le_bytes([byte; 16])
}

/// Dword i of `bytes` becomes dword `row` of chunk i of 64 bytes: how weights lie in a panel.
#[inline(always)]
fn put_dwords<const N: usize>(chunks: &mut [u8; N], row: usize, bytes: u128) {
    for (i, dword) in bytes.to_le_bytes().as_chunks::<4>().0.iter().enumerate() {
        chunks[i * 64 + row * 4..][..4].copy_from_slice(dword);
    }
}

/// 16 scales as f32.
fn scales(halves: &[u16; LANES]) -> [f32; LANES] {
    halves.map(|bits| half::f16::from_bits(bits).to_f32())
}

/// A format whose products with int8 activations are exact integers.
pub(crate) trait IntPanel: Panel {
    /// Whether two panels at a time are faster than one where there are many tokens: measured (SPEED.md).
    const PAIRS_PAY: bool = true;

    /// Adds to `y[r][t]` what the panels `panels[r]` (those of up to 256 weights, so of one record) give with the
    /// records `x[t]`.
    fn dot<S: Simd, const R: usize, const T: usize>(
        s: S,
        panels: [&[Self]; R],
        x: [&Record; T],
        y: &mut [[S::F; T]; R],
    );
}

/// How far ahead of what is read memory is asked for, in bytes.
/// Measured with one token: 4 and 8 KiB are alike, 2 and 16 slower (SPEED.md).
const AHEAD: usize = 8192;

/// Asks for what lies [`AHEAD`] of `piece`. Only tiles of one panel do so: with two there are many tokens, and the
/// panels stay in the cache.
#[inline(always)]
pub(crate) fn prefetch_ahead<S: Simd, T>(s: S, n_panels: usize, piece: &T) {
    if n_panels > 1 {
        return;
    }
    prefetch_distant(s, piece, AHEAD);
}

/// Asks for what lies `distance` bytes behind `piece`, as long as it is.
#[inline(always)]
pub(crate) fn prefetch_distant<S: Simd, T>(s: S, piece: &T, distance: usize) {
    let at = (&raw const *piece).cast::<u8>().wrapping_add(distance);
    for line in (0..size_of::<T>()).step_by(64) {
        s.prefetch(at.wrapping_add(line));
    }
}

// What follows are loops and not `map`, so that nothing with vectors in it is a closure: one that the compiler chooses
// not to inline would be compiled without the instruction set.

/// `factor` times the sum of each token's 32 activations in block b, for R panels.
#[inline(always)]
fn sums_32<S: Simd, const R: usize, const T: usize>(
    s: S,
    x: [&Record; T],
    b: usize,
    factor: i32,
) -> [[S::I; T]; R] {
    let mut sums = [[s.splat_i32(0); T]; R];
    for t in 0..T {
        let sum = s.splat_i32(factor * x[t].sum_32(b));
        for r in 0..R {
            sums[r][t] = sum;
        }
    }
    sums
}

/// `u[r][t] = fma(f32(sums[r][t]), d[r], u[r][t])`; d as f16.
#[inline(always)]
fn add_block<S: Simd, const R: usize, const T: usize>(
    s: S,
    sums: [[S::I; T]; R],
    d: [&[u16; LANES]; R],
    u: &mut [[S::F; T]; R],
) {
    for r in 0..R {
        let d = s.load_f16(d[r]);
        for t in 0..T {
            u[r][t] = s.fma(s.to_f32(sums[r][t]), d, u[r][t]);
        }
    }
}

/// `y[r][t] = fma(u[r][t], scale of x[t], y[r][t])`.
#[inline(always)]
fn add_record<S: Simd, const R: usize, const T: usize>(
    s: S,
    u: [[S::F; T]; R],
    x: [&Record; T],
    y: &mut [[S::F; T]; R],
) {
    for t in 0..T {
        let scale = s.splat(x[t].scale);
        for r in 0..R {
            y[r][t] = s.fma(u[r][t], scale, y[r][t]);
        }
    }
}

/// A format of plain floats: a panel is a pair of columns.
pub(crate) trait FloatPanel: Panel {
    fn pair<S: Simd>(&self, s: S) -> (S::F, S::F);
}

/// How the numbers of a tensor are stored in its file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[allow(non_camel_case_types, reason = "the field's spelling")]
pub enum Format {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4_K,
    Q5_K,
    Q6_K,
}

impl Format {
    pub const ALL: [Format; 11] = [
        Format::F32,
        Format::F16,
        Format::BF16,
        Format::Q4_0,
        Format::Q4_1,
        Format::Q5_0,
        Format::Q5_1,
        Format::Q8_0,
        Format::Q4_K,
        Format::Q5_K,
        Format::Q6_K,
    ];

    /// The longest block of any format.
    pub const MAX_BLOCK_LEN: usize = 256;
    const MAX_BLOCK_BYTES: usize = 256;

    /// Weights in one quantization block; 1 for plain floats. A row is a whole number of blocks.
    pub const fn block_len(self) -> usize {
        match self {
            Format::F32 | Format::F16 | Format::BF16 => 1,
            Format::Q4_0 | Format::Q4_1 | Format::Q5_0 | Format::Q5_1 | Format::Q8_0 => 32,
            Format::Q4_K | Format::Q5_K | Format::Q6_K => 256,
        }
    }

    /// Bytes of one quantization block in a file.
    pub const fn block_bytes(self) -> usize {
        match self {
            Format::F32 => 4,
            Format::F16 | Format::BF16 => 2,
            Format::Q4_0 => 18,
            Format::Q4_1 => 20,
            Format::Q5_0 => 22,
            Format::Q5_1 => 24,
            Format::Q8_0 => 34,
            Format::Q4_K => 144,
            Format::Q5_K => 176,
            Format::Q6_K => 210,
        }
    }

    /// Bytes of a row of `cols` weights in a file; `None` if `cols` is no whole number of blocks.
    pub const fn row_bytes(self, cols: usize) -> Option<usize> {
        if !cols.is_multiple_of(self.block_len()) {
            return None;
        }
        (cols / self.block_len()).checked_mul(self.block_bytes())
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
