//! Rows of a matrix, as f32: the embedding of tokens.

use crate::Cpu;
use crate::buffer::{Rows, SharedRows};
use crate::matrix::{Matrix, Panels};
use crate::quant::{Format, Panel};
use crate::simd::LANES;

/// out[i] = w[ids[i]], dequantized exactly. Panics if an id is no row of `w`: the caller has checked its tokens.
pub fn embed(cpu: &Cpu, w: &Matrix, ids: &[u32], out: &mut Rows) {
    assert_eq!(w.cols(), out.width());
    assert!(ids.iter().all(|&id| (id as usize) < w.rows()), "a token id beyond the vocabulary");
    out.set_n_rows(ids.len());
    let (cols, out) = (w.cols(), out.shared());
    match w.panels() {
        Panels::F32(panels) => gather(cpu, panels, cols, ids, out),
        Panels::F16(panels) => gather(cpu, panels, cols, ids, out),
        Panels::BF16(panels) => gather(cpu, panels, cols, ids, out),
        Panels::Q4_0(panels) => gather(cpu, panels, cols, ids, out),
        Panels::Q4_1(panels) => gather(cpu, panels, cols, ids, out),
        Panels::Q5_0(panels) => gather(cpu, panels, cols, ids, out),
        Panels::Q5_1(panels) => gather(cpu, panels, cols, ids, out),
        Panels::Q8_0(panels) => gather(cpu, panels, cols, ids, out),
        Panels::Q4_K(panels) => gather(cpu, panels, cols, ids, out),
        Panels::Q5_K(panels) => gather(cpu, panels, cols, ids, out),
        Panels::Q6_K(panels) => gather(cpu, panels, cols, ids, out),
    }
}

fn gather<P: Panel>(cpu: &Cpu, panels: &[P], cols: usize, ids: &[u32], out: SharedRows<'_>) {
    let n_blocks = cols.div_ceil(P::LEN);
    cpu.pool.for_each(ids.len(), &|i| {
        let id = ids[i] as usize;
        // SAFETY: row i is written by this item only.
        let to = unsafe { out.part(i, 0, cols) };
        let panel = &panels[id / LANES * n_blocks..][..n_blocks];
        let mut weights = [[0.0; LANES]; Format::MAX_BLOCK_LEN];
        for (block, to) in panel.iter().zip(to.chunks_mut(P::LEN)) {
            block.unpack(&mut weights[..P::LEN]);
            for (to, weights) in to.iter_mut().zip(&weights) {
                *to = weights[id % LANES];
            }
        }
    });
}
