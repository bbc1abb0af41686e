//! Q4_K: a super-block of 256 weights in 8 sub-blocks of 32, each with a 6-bit scale and a 6-bit minimum.
//! w = (d * scale) * q - (dmin * min). Q5_K is the same.

use super::unsigned::{U4, Unsigned};
use super::{IntPanel, Panel, Record, pack_blocks, prefetch_ahead, scales};
use crate::buffer::Plain;
use crate::simd::{LANES, Simd};

/// In a file: d, dmin (f16), 12 bytes of packed scales and minimums, then 4 times 32 bytes: low nibbles are sub-block
/// 2j, high nibbles sub-block 2j + 1. Here the packed numbers take a byte each: 2.8 % more.
pub(crate) type Q4KPanel = SuperPanel<U4>;

const _: () = assert!(size_of::<Q4KPanel>() == LANES * (144 + 4));

const N_SUB_BLOCKS: usize = 8;
/// Of a row in a file: what lies in front of its weights.
const HEADER_BYTES: usize = 16;

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct SuperPanel<W> {
    d: [u16; LANES],
    dmin: [u16; LANES],
    scales: [[u8; LANES]; N_SUB_BLOCKS],
    mins: [[u8; LANES]; N_SUB_BLOCKS],
    q: [W; N_SUB_BLOCKS],
}

// SAFETY: plain numbers, and plain weights.
unsafe impl<W: Unsigned> Plain for SuperPanel<W> {}

/// Scale and minimum of sub-block `j`. The first four of each are the low 6 bits of bytes 0..4 and 4..8; the others
/// have their low 4 bits in bytes 8..12 and their high 2 in the top bits of the first eight.
fn scale_and_min(packed: &[u8], j: usize) -> (u8, u8) {
    if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        ((packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4, (packed[j + 4] >> 4) | (packed[j] >> 6) << 4)
    }
}

impl<W: Unsigned> SuperPanel<W> {
    /// Takes a block of each of 16 rows.
    fn pack(&mut self, rows: [&[u8]; LANES]) {
        for (r, row) in rows.iter().enumerate() {
            let (header, weights) = row.split_at(HEADER_BYTES);
            self.d[r] = u16::from_le_bytes([header[0], header[1]]);
            self.dmin[r] = u16::from_le_bytes([header[2], header[3]]);
            for j in 0..N_SUB_BLOCKS {
                (self.scales[j][r], self.mins[j][r]) = scale_and_min(&header[4..], j);
                self.q[j].set_row(r, &W::row_of_super_block(weights, j));
            }
        }
    }
}

impl<W: Unsigned> Panel for SuperPanel<W> {
    const LEN: usize = 256;
    const ROW_BYTES: usize = HEADER_BYTES + N_SUB_BLOCKS * W::ROW_BYTES;

    fn pack_rows(panels: &mut [Self], rows: [&[u8]; LANES]) {
        pack_blocks(panels, rows, Self::pack);
    }

    fn unpack(&self, out: &mut [[f32; LANES]]) {
        let (d, dmin) = (scales(&self.d), scales(&self.dmin));
        for (k, out) in out.iter_mut().enumerate() {
            let j = k / 32;
            *out = std::array::from_fn(|r| {
                let (scale, min) =
                    (d[r] * f32::from(self.scales[j][r]), dmin[r] * f32::from(self.mins[j][r]));
                scale * f32::from(self.q[j].get(k % 32, r)) - min
            });
        }
    }
}

impl<W: Unsigned> IntPanel for SuperPanel<W> {
    /// S = sum of scale * q * a (at most 8 * 63 * 32 * 31 * 127 = 64 M), M = sum of min * a (at most 8 * 63 * 4,064);
    /// t = f32(S) * d; t = fnma(f32(M), dmin, t); y = fma(t, a_scale, y).
    #[inline(always)]
    fn dot<S: Simd, const R: usize, const T: usize>(
        s: S,
        panels: [&[Self]; R],
        x: [&Record; T],
        y: &mut [[S::F; T]; R],
    ) {
        for b in 0..panels[0].len() {
            let panel = panels.map(|p| &p[b]);
            let mut sums = [[s.splat_i32(0); T]; R];
            for j in 0..N_SUB_BLOCKS {
                prefetch_ahead(s, R, &panel[0].q[j]);
                let mut scale = [s.scale_u8(&panel[0].scales[j]); R];
                for r in 1..R {
                    scale[r] = s.scale_u8(&panel[r].scales[j]);
                }
                W::dot(s, panel.map(|p| &p.q[j]), x.map(|x| x.q_32(j)), scale, &mut sums);
            }
            // After the weights, so that the registers hold one set of sums at a time.
            let mut mins = [[s.splat_i32(0); T]; R];
            for j in 0..N_SUB_BLOCKS / 2 {
                // Loops: a closure that is not inlined would lose the instruction set.
                let mut pair = [s.pair_u8(&panel[0].mins[2 * j], &panel[0].mins[2 * j + 1]); R];
                for r in 1..R {
                    pair[r] = s.pair_u8(&panel[r].mins[2 * j], &panel[r].mins[2 * j + 1]);
                }
                s.dot_pair(pair, x.map(|x| &x.sums_32[j]), &mut mins);
            }
            for r in 0..R {
                let (d, dmin) = (s.load_f16(&panel[r].d), s.load_f16(&panel[r].dmin));
                for t in 0..T {
                    let total = s.fnma(s.to_f32(mins[r][t]), dmin, s.mul(s.to_f32(sums[r][t]), d));
                    y[r][t] = s.fma(total, s.splat(x[t].scale), y[r][t]);
                }
            }
        }
    }
}
