//! Q8_0: 32 weights, one f16 scale. w = d * q. Also the format of keys and values in q8_0 pages.

mod block;

use super::{
    AHEAD, IntPanel, Panel, Record, add_block, add_record, pack_blocks, prefetch_distant, put_dwords,
    repeated, scales, sixteen,
};
use crate::buffer::Plain;
use crate::simd::{LANES, Simd};
use half::f16;

pub(crate) use block::Block;

/// In a file: the scale, then the weights as i8.
pub(crate) const BLOCK_BYTES: usize = 34;
pub(crate) const LEN: usize = 32;

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Q8_0Panel {
    d: [u16; LANES],
    /// Dword r of chunk i of 64 bytes is weights 4i..4i+4 of row r, each plus 128.
    q: [u8; LEN * LANES],
}

const _: () = assert!(size_of::<Q8_0Panel>() == LANES * BLOCK_BYTES);

// SAFETY: plain numbers.
unsafe impl Plain for Q8_0Panel {}

impl Q8_0Panel {
    /// Takes a block of each of 16 rows.
    fn pack(&mut self, rows: [&[u8]; LANES]) {
        for (r, row) in rows.iter().enumerate() {
            self.put(r, u16::from_le_bytes([row[0], row[1]]), [sixteen(row, 2), sixteen(row, 18)]);
        }
    }

    /// Makes a block row `r`: its scale, and its weights 0..16 and 16..32.
    #[inline(always)]
    fn put(&mut self, r: usize, d: u16, [low, high]: [u128; 2]) {
        self.d[r] = d;
        let (first, second) = self.q.split_first_chunk_mut::<256>().expect("512 bytes");
        put_dwords(first, r, low ^ repeated(128));
        put_dwords(second.first_chunk_mut::<256>().expect("512 bytes"), r, high ^ repeated(128));
    }

    /// Makes `block` row `r`.
    #[inline(always)]
    pub(crate) fn put_block(&mut self, r: usize, block: &Block) {
        let q = block.q.map(|q| q as u8);
        self.put(r, block.d, [sixteen(&q, 0), sixteen(&q, 16)]);
    }

    /// Weight `k` of row `r`.
    pub(crate) fn weight(&self, r: usize, k: usize) -> f32 {
        f16::from_bits(self.d[r]).to_f32() * self.integer(r, k)
    }

    fn integer(&self, r: usize, k: usize) -> f32 {
        f32::from(self.q[k / 4 * 64 + r * 4 + k % 4]) - 128.0
    }

    /// [`IntPanel::dot`]; while panel b is used, what lies `ahead` bytes behind it is asked for.
    #[inline(always)]
    pub(crate) fn dot_ahead<S: Simd, const R: usize, const T: usize>(
        s: S,
        panels: [&[Self]; R],
        x: [&Record; T],
        y: &mut [[S::F; T]; R],
        ahead: Option<usize>,
    ) {
        let mut u = [[s.splat(0.0); T]; R];
        for b in 0..panels[0].len() {
            if let Some(ahead) = ahead {
                for r in 0..R {
                    prefetch_distant(s, &panels[r][b], ahead);
                }
            }
            let mut sums = [[s.splat_i32(0); T]; R];
            let (q, a) = (panels.map(|p| &p[b].q), x.map(|x| x.q_32(b)));
            s.sum_i8(q, a, x.map(|x| x.sum_32(b)), &mut sums);
            add_block(s, sums, panels.map(|p| &p[b].d), &mut u);
        }
        add_record(s, u, x, y);
    }
}

impl Panel for Q8_0Panel {
    const LEN: usize = LEN;
    const ROW_BYTES: usize = BLOCK_BYTES;

    fn pack_rows(panels: &mut [Self], rows: [&[u8]; LANES]) {
        pack_blocks(panels, rows, Self::pack);
    }

    fn unpack(&self, out: &mut [[f32; LANES]]) {
        let d = scales(&self.d);
        for k in 0..LEN {
            out[k] = std::array::from_fn(|r| d[r] * self.integer(r, k));
        }
    }
}

impl IntPanel for Q8_0Panel {
    /// u = fma(f32(sum of q * a), d, u) over the record's blocks; y = fma(u, a_scale, y).
    #[inline(always)]
    fn dot<S: Simd, const R: usize, const T: usize>(
        s: S,
        panels: [&[Self]; R],
        x: [&Record; T],
        y: &mut [[S::F; T]; R],
    ) {
        Self::dot_ahead(s, panels, x, y, (R == 1).then_some(AHEAD));
    }
}
