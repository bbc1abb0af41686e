//! Q4_0: 32 weights, one f16 scale. w = d * (q - 8).

use super::{
    IntPanel, Panel, Record, add_block, add_record, pack_blocks, prefetch_ahead, put_dwords, scales, sixteen,
    sums_32,
};
use crate::buffer::Plain;
use crate::simd::{LANES, Simd};

/// In a file: the scale, then byte i holds weight i (low nibble) and weight i + 16 (high nibble).
const BLOCK_BYTES: usize = 18;
const LEN: usize = 32;

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Q4_0Panel {
    d: [u16; LANES],
    /// Dword r of each 64 bytes is four bytes of row r's block.
    q: [u8; LEN / 2 * LANES],
}

const _: () = assert!(size_of::<Q4_0Panel>() == LANES * BLOCK_BYTES);

// SAFETY: plain numbers.
unsafe impl Plain for Q4_0Panel {}

/// Nibble k of `row`, of 32.
pub(super) fn nibble(q: &[u8; 256], k: usize, row: usize) -> u8 {
    let byte = q[k % 16 / 4 * 64 + row * 4 + k % 4];
    if k < 16 { byte & 15 } else { byte >> 4 }
}

impl Q4_0Panel {
    /// Takes a block of each of 16 rows.
    fn pack(&mut self, rows: [&[u8]; LANES]) {
        self.d = rows.map(|row| u16::from_le_bytes([row[0], row[1]]));
        for (r, row) in rows.iter().enumerate() {
            put_dwords(&mut self.q, r, sixteen(row, 2));
        }
    }
}

impl Panel for Q4_0Panel {
    const LEN: usize = LEN;
    const ROW_BYTES: usize = BLOCK_BYTES;

    fn pack_rows(panels: &mut [Self], rows: [&[u8]; LANES]) {
        pack_blocks(panels, rows, Self::pack);
    }

    fn unpack(&self, out: &mut [[f32; LANES]]) {
        let d = scales(&self.d);
        for k in 0..LEN {
            out[k] = std::array::from_fn(|r| d[r] * (f32::from(nibble(&self.q, k, r)) - 8.0));
        }
    }
}

impl IntPanel for Q4_0Panel {
    /// u = fma(f32(sum of (q - 8) * a), d, u) over the record's blocks; y = fma(u, a_scale, y).
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
            let mut sums = sums_32(s, x, b, -8);
            s.sum_u4(panels.map(|p| &p[b].q), x.map(|x| x.q_32(b)), &mut sums);
            add_block(s, sums, panels.map(|p| &p[b].d), &mut u);
        }
        add_record(s, u, x, y);
    }
}
