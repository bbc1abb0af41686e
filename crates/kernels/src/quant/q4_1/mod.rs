//! Q4_1: 32 weights, an f16 scale and an f16 minimum. w = d * q + m.

use super::q4_0::nibble;
use super::{
    IntPanel, Panel, Record, add_block, add_record, pack_blocks, prefetch_ahead, put_dwords, scales, sixteen,
    sums_32,
};
use crate::buffer::Plain;
use crate::simd::{LANES, Simd};

/// In a file: scale, minimum, then the nibbles as in Q4_0.
const BLOCK_BYTES: usize = 20;
const LEN: usize = 32;

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Q4_1Panel {
    d: [u16; LANES],
    m: [u16; LANES],
    q: [u8; LEN / 2 * LANES],
}

const _: () = assert!(size_of::<Q4_1Panel>() == LANES * BLOCK_BYTES);

// SAFETY: plain numbers.
unsafe impl Plain for Q4_1Panel {}

impl Q4_1Panel {
    /// Takes a block of each of 16 rows.
    fn pack(&mut self, rows: [&[u8]; LANES]) {
        self.d = rows.map(|row| u16::from_le_bytes([row[0], row[1]]));
        self.m = rows.map(|row| u16::from_le_bytes([row[2], row[3]]));
        for (r, row) in rows.iter().enumerate() {
            put_dwords(&mut self.q, r, sixteen(row, 4));
        }
    }
}

impl Panel for Q4_1Panel {
    const LEN: usize = LEN;
    const ROW_BYTES: usize = BLOCK_BYTES;

    fn pack_rows(panels: &mut [Self], rows: [&[u8]; LANES]) {
        pack_blocks(panels, rows, Self::pack);
    }

    fn unpack(&self, out: &mut [[f32; LANES]]) {
        let (d, m) = (scales(&self.d), scales(&self.m));
        for k in 0..LEN {
            out[k] = std::array::from_fn(|r| d[r] * f32::from(nibble(&self.q, k, r)) + m[r]);
        }
    }
}

impl IntPanel for Q4_1Panel {
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
            s.sum_u4(panels.map(|p| &p[b].q), x.map(|x| x.q_32(b)), &mut sums);
            add_block(s, sums, panels.map(|p| &p[b].d), &mut u);
            add_block(s, sums_32(s, x, b, 1), panels.map(|p| &p[b].m), &mut u);
        }
        add_record(s, u, x, y);
    }
}
