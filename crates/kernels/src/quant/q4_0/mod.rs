//! Q4_0: 32 weights, one f16 scale. w = d * (q - 8). Q5_0 is the same with another middle.

use super::unsigned::{U4, Unsigned};
use super::{IntPanel, Panel, Record, add_block, add_record, pack_blocks, prefetch_ahead, scales, sums_32};
use crate::buffer::Plain;
use crate::simd::{LANES, Simd};

/// In a file: the scale, then byte i holds weight i (low nibble) and weight i + 16 (high nibble).
pub(crate) type Q4_0Panel = OffsetPanel<U4>;

const _: () = assert!(size_of::<Q4_0Panel>() == LANES * 18);

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct OffsetPanel<W> {
    d: [u16; LANES],
    q: W,
}

// SAFETY: plain numbers, and plain weights.
unsafe impl<W: Unsigned> Plain for OffsetPanel<W> {}

impl<W: Unsigned> OffsetPanel<W> {
    /// The q that is worth 0.
    const MIDDLE: u8 = 1 << (W::BITS - 1);
}

impl<W: Unsigned> OffsetPanel<W> {
    /// Takes a block of each of 16 rows.
    fn pack(&mut self, rows: [&[u8]; LANES]) {
        self.d = rows.map(|row| u16::from_le_bytes([row[0], row[1]]));
        for (r, row) in rows.iter().enumerate() {
            self.q.set_row(r, &W::row_of_block(&row[2..]));
        }
    }
}

impl<W: Unsigned> Panel for OffsetPanel<W> {
    const LEN: usize = 32;
    const ROW_BYTES: usize = 2 + W::ROW_BYTES;

    fn pack_rows(panels: &mut [Self], rows: [&[u8]; LANES]) {
        pack_blocks(panels, rows, Self::pack);
    }

    fn unpack(&self, out: &mut [[f32; LANES]]) {
        let (d, middle) = (scales(&self.d), f32::from(Self::MIDDLE));
        for k in 0..Self::LEN {
            out[k] = std::array::from_fn(|r| d[r] * (f32::from(self.q.get(k, r)) - middle));
        }
    }
}

impl<W: Unsigned> IntPanel for OffsetPanel<W> {
    /// u = fma(f32(sum of (q - middle) * a), d, u) over the record's blocks; y = fma(u, a_scale, y).
    #[inline(always)]
    fn dot<S: Simd, const R: usize, const T: usize>(
        s: S,
        panels: [&[Self]; R],
        x: [&Record; T],
        y: &mut [[S::F; T]; R],
    ) {
        let mut u = [[s.splat(0.0); T]; R];
        for b in 0..panels[0].len() {
            prefetch_ahead(s, R, &panels[0][b]);
            let mut sums = sums_32(s, x, b, -i32::from(Self::MIDDLE));
            W::sum(s, panels.map(|p| &p[b].q), x.map(|x| x.q_32(b)), &mut sums);
            add_block(s, sums, panels.map(|p| &p[b].d), &mut u);
        }
        add_record(s, u, x, y);
    }
}
