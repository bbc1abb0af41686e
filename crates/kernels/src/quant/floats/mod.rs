//! F32, F16 and BF16: a panel is two columns of 16 rows.

use super::{FloatPanel, Panel};
use crate::buffer::Plain;
use crate::simd::{LANES, Simd};
use half::{bf16, f16};

/// `[column][row]`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct F32Pair([[f32; LANES]; 2]);

/// `[column][row]`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct F16Pair([[u16; LANES]; 2]);

/// `[row][column]`: the pairs lie together, as the bf16 dot product instructions want them.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Bf16Pair([u16; 2 * LANES]);

// SAFETY: plain numbers.
unsafe impl Plain for F32Pair {}
// SAFETY: plain numbers.
unsafe impl Plain for F16Pair {}
// SAFETY: plain numbers.
unsafe impl Plain for Bf16Pair {}

/// Calls `put(panel, row, pair)` for every two columns, of N bytes together, of every row. A single last column is
/// paired with zeros; nothing is put for rows that are not there: panels are zeros before.
fn pack_pairs<P, const N: usize>(
    panels: &mut [P],
    rows: [&[u8]; LANES],
    put: impl Fn(&mut P, usize, [u8; N]),
) {
    /// So few panels at a time that they stay in the first-level cache while 16 rows go through them.
    const AT_ONCE: usize = 16;
    for (i, panels) in panels.chunks_mut(AT_ONCE).enumerate() {
        for (r, row) in rows.iter().enumerate() {
            let (pairs, rest) = row.get(i * AT_ONCE * N..).unwrap_or(&[]).as_chunks::<N>();
            for (panel, &pair) in panels.iter_mut().zip(pairs) {
                put(panel, r, pair);
            }
            if let (Some(panel), false) = (panels.get_mut(pairs.len()), rest.is_empty()) {
                let mut pair = [0; N];
                pair[..rest.len()].copy_from_slice(rest);
                put(panel, r, pair);
            }
        }
    }
}

/// The two numbers of a pair.
fn halves<const N: usize, const HALF: usize>(pair: [u8; N]) -> [[u8; HALF]; 2] {
    std::array::from_fn(|i| *pair[i * HALF..].first_chunk().expect("N is twice HALF"))
}

impl Panel for F32Pair {
    const LEN: usize = 2;
    const ROW_BYTES: usize = 8;

    fn pack_rows(panels: &mut [Self], rows: [&[u8]; LANES]) {
        pack_pairs::<_, 8>(panels, rows, |panel, r, pair| {
            [panel.0[0][r], panel.0[1][r]] = halves(pair).map(f32::from_le_bytes);
        });
    }

    fn unpack(&self, out: &mut [[f32; LANES]]) {
        out.copy_from_slice(&self.0);
    }
}

impl FloatPanel for F32Pair {
    #[inline(always)]
    fn pair<S: Simd>(&self, s: S) -> (S::F, S::F) {
        (s.load(&self.0[0]), s.load(&self.0[1]))
    }
}

impl Panel for F16Pair {
    const LEN: usize = 2;
    const ROW_BYTES: usize = 4;

    fn pack_rows(panels: &mut [Self], rows: [&[u8]; LANES]) {
        pack_pairs::<_, 4>(panels, rows, |panel, r, pair| {
            [panel.0[0][r], panel.0[1][r]] = halves(pair).map(u16::from_le_bytes);
        });
    }

    fn unpack(&self, out: &mut [[f32; LANES]]) {
        out.copy_from_slice(&self.0.map(|column| column.map(|bits| f16::from_bits(bits).to_f32())));
    }
}

impl FloatPanel for F16Pair {
    #[inline(always)]
    fn pair<S: Simd>(&self, s: S) -> (S::F, S::F) {
        (s.load_f16(&self.0[0]), s.load_f16(&self.0[1]))
    }
}

impl Panel for Bf16Pair {
    const LEN: usize = 2;
    const ROW_BYTES: usize = 4;

    fn pack_rows(panels: &mut [Self], rows: [&[u8]; LANES]) {
        pack_pairs::<_, 4>(panels, rows, |panel, r, pair| {
            [panel.0[2 * r], panel.0[2 * r + 1]] = halves(pair).map(u16::from_le_bytes);
        });
    }

    fn unpack(&self, out: &mut [[f32; LANES]]) {
        for (r, pair) in self.0.as_chunks::<2>().0.iter().enumerate() {
            [out[0][r], out[1][r]] = pair.map(|bits| bf16::from_bits(bits).to_f32());
        }
    }
}

impl Bf16Pair {
    /// For activations that are rounded to bf16.
    #[inline(always)]
    pub(crate) fn bf16<S: Simd>(&self, s: S) -> S::Bf16 {
        s.load_bf16(&self.0)
    }
}

impl FloatPanel for Bf16Pair {
    #[inline(always)]
    fn pair<S: Simd>(&self, s: S) -> (S::F, S::F) {
        s.load_bf16_pairs(&self.0)
    }
}
