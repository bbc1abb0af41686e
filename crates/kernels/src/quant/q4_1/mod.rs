//! Q4_1: 32 weights, an f16 scale and an f16 minimum. w = d * q + m. Q5_1 is the same.

use super::unsigned::{U4, Unsigned};
use super::{IntPanel, Panel, Record, add_block, add_record, pack_blocks, prefetch_ahead, scales, sums_32};
use crate::buffer::Plain;
use crate::simd::{LANES, Simd};

/// In a file: scale, minimum, then the nibbles as in Q4_0.
pub(crate) type Q4_1Panel = MinPanel<U4>;

const _: () = assert!(size_of::<Q4_1Panel>() == LANES * 20);

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct MinPanel<W> {
    d: [u16; LANES],
    m: [u16; LANES],
    q: W,
}

// SAFETY: plain numbers, and plain weights.
unsafe impl<W: Unsigned> Plain for MinPanel<W> {}

impl<W: Unsigned> MinPanel<W> {
    /// Takes a block of each of 16 rows.
    fn pack(&mut self, rows: [&[u8]; LANES]) {
        self.d = rows.map(|row| u16::from_le_bytes([row[0], row[1]]));
        self.m = rows.map(|row| u16::from_le_bytes([row[2], row[3]]));
        for (r, row) in rows.iter().enumerate() {
            self.q.set_row(r, &W::row_of_block(&row[4..]));
        }
    }
}

impl<W: Unsigned> Panel for MinPanel<W> {
    const LEN: usize = 32;
    const ROW_BYTES: usize = 4 + W::ROW_BYTES;

    fn pack_rows(panels: &mut [Self], rows: [&[u8]; LANES]) {
        pack_blocks(panels, rows, Self::pack);
    }

    fn unpack(&self, out: &mut [[f32; LANES]]) {
        let (d, m) = (scales(&self.d), scales(&self.m));
        for k in 0..Self::LEN {
            out[k] = std::array::from_fn(|r| d[r] * f32::from(self.q.get(k, r)) + m[r]);
        }
    }
}

impl<W: Unsigned> IntPanel for MinPanel<W> {
    /// u = fma(f32(sum of q * a), d, u), then u = fma(f32(sum of a), m, u); y = fma(u, a_scale, y).
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
            let mut sums = [[s.splat_i32(0); T]; R];
            W::sum(s, panels.map(|p| &p[b].q), x.map(|x| x.q_32(b)), &mut sums);
            add_block(s, sums, panels.map(|p| &p[b].d), &mut u);
            add_block(s, sums_32(s, x, b, 1), panels.map(|p| &p[b].m), &mut u);
        }
        add_record(s, u, x, y);
    }
}
