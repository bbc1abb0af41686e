//! Q6_K: a super-block of 256 weights in 16 groups of 16, each with a signed 8-bit scale. w = (d * scale) * (q - 32).

use super::unsigned::nibble;
use super::{IntPanel, Panel, Record, pack_blocks, prefetch_ahead, put_dwords, repeated, scales, sixteen};
use crate::buffer::Plain;
use crate::simd::{LANES, Simd};

/// In a file, twice (for 128 weights each): 64 bytes of low nibbles, 32 bytes of high bit pairs; first all nibbles,
/// then all pairs, then 16 scales, then d.
const BLOCK_BYTES: usize = 210;
const LEN: usize = 256;
const N_SUB_BLOCKS: usize = 8;

/// 32 weights of 16 rows: nibbles as in Q4_0; `high` as `Simd::dot_u6` wants it.
#[derive(Clone, Copy)]
#[repr(C)]
struct SubBlock {
    low: [u8; 256],
    high: [u8; 128],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Q6KPanel {
    d: [u16; LANES],
    /// Two for a sub-block: of its first and its last 16 weights.
    scales: [[i8; LANES]; 2 * N_SUB_BLOCKS],
    q: [SubBlock; N_SUB_BLOCKS],
}

const _: () = assert!(size_of::<Q6KPanel>() == LANES * BLOCK_BYTES);

// SAFETY: plain numbers.
unsafe impl Plain for Q6KPanel {}

impl SubBlock {
    /// Weight k of `row`, 0..=63.
    fn get(&self, k: usize, row: usize) -> u8 {
        let (byte, shift) = SubBlock::high_place(k, row);
        nibble(&self.low, k, row) | (self.high[byte] >> shift & 3) << 4
    }

    /// Where the high bits of weight k of `row` lie: a byte of `high`, and the shift within it.
    fn high_place(k: usize, row: usize) -> (usize, usize) {
        let chunk = k % 16 / 4;
        (chunk / 2 * 64 + row * 4 + k % 4, chunk % 2 * 4 + k / 16 * 2)
    }
}

impl Q6KPanel {
    /// Takes a block of each of 16 rows.
    fn pack(&mut self, rows: [&[u8]; LANES]) {
        for (r, row) in rows.iter().enumerate() {
            self.d[r] = u16::from_le_bytes([row[208], row[209]]);
            for g in 0..2 * N_SUB_BLOCKS {
                self.scales[g][r] = row[192 + g] as i8;
            }
            for (j, sub_block) in self.q.iter_mut().enumerate() {
                // Within each 128 weights: four runs of 32. Runs 0 and 1 are the low nibbles of bytes 0..32 and 32..64,
                // runs 2 and 3 the high ones; run i has bits 2i, 2i+1 of the 32 bytes of pairs.
                let (half, run) = (j / 4, j % 4);
                let low =
                    |start| sixteen(row, half * 64 + run % 2 * 32 + start) >> (run / 2 * 4) & repeated(15);
                put_dwords(&mut sub_block.low, r, low(0) | low(16) << 4);
                let high = |start| sixteen(row, 128 + half * 32 + start) >> (2 * run) & repeated(3);
                // Four bits for each two weights: those of dwords 1 and 3 go above those of dwords 0 and 2.
                let fours = high(0) | high(16) << 2;
                let (first, second) = (fours | fours >> 28, (fours | fours >> 28) >> 64);
                sub_block.high[r * 4..][..4].copy_from_slice(&(first as u32).to_le_bytes());
                sub_block.high[64 + r * 4..][..4].copy_from_slice(&(second as u32).to_le_bytes());
            }
        }
    }
}

impl Panel for Q6KPanel {
    const LEN: usize = LEN;
    const ROW_BYTES: usize = BLOCK_BYTES;

    fn pack_rows(panels: &mut [Self], rows: [&[u8]; LANES]) {
        pack_blocks(panels, rows, Self::pack);
    }

    fn unpack(&self, out: &mut [[f32; LANES]]) {
        let d = scales(&self.d);
        for (k, out) in out.iter_mut().enumerate() {
            *out = std::array::from_fn(|r| {
                let scale = d[r] * f32::from(self.scales[k / 16][r]);
                scale * (f32::from(self.q[k / 32].get(k % 32, r)) - 32.0)
            });
        }
    }
}

impl IntPanel for Q6KPanel {
    const PAIRS_PAY: bool = false;

    /// S = sum of scale * (q - 32) * a (at most 16 * 128 * 16 * 32 * 127 = 134 M; its parts, with q up to 63, twice
    /// that); y = fma(f32(S) * d, a_scale, y).
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
                // Loops: a closure that is not inlined would lose the instruction set.
                let mut scales = [[s.scale_i8(&panel[0].scales[2 * j]); 2]; R];
                for r in 0..R {
                    scales[r][0] = s.scale_i8(&panel[r].scales[2 * j]);
                    scales[r][1] = s.scale_i8(&panel[r].scales[2 * j + 1]);
                }
                let (low, high) = (panel.map(|p| &p.q[j].low), panel.map(|p| &p.q[j].high));
                s.dot_u6(low, high, x.map(|x| x.q_32(j)), scales, &mut sums);
            }
            // After the weights, so that the registers hold one set of sums at a time.
            let mut offsets = [[s.splat_i32(0); T]; R];
            for j in 0..N_SUB_BLOCKS {
                let mut pair = [s.pair_i8(&panel[0].scales[2 * j], &panel[0].scales[2 * j + 1]); R];
                for r in 1..R {
                    pair[r] = s.pair_i8(&panel[r].scales[2 * j], &panel[r].scales[2 * j + 1]);
                }
                s.dot_pair(pair, x.map(|x| &x.sums_16[j]), &mut offsets);
            }
            for r in 0..R {
                let d = s.load_f16(&panel[r].d);
                for t in 0..T {
                    let sum = s.sub_32_times(sums[r][t], offsets[r][t]);
                    y[r][t] = s.fma(s.mul(s.to_f32(sum), d), s.splat(x[t].scale), y[r][t]);
                }
            }
        }
    }
}
