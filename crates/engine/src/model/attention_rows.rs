//! What a row attends to, for somebody who looks: computed again from the keys in the cache, for that row only. The
//! forward pass itself never holds these numbers.

use limpid_kernels::buffer::Rows;
use limpid_kernels::ops::{AttentionParams, AttentionRow, KvSlot, KvStorage, PAGE_LEN};

/// One layer's queries and keys.
pub(super) struct Looked<'a> {
    pub(super) kv: &'a KvStorage,
    pub(super) layer_in_group: usize,
    /// As attention takes them: normed and rotated, `[n_rows, n_heads * head_dim]`.
    pub(super) q: &'a Rows,
    pub(super) rows: &'a [AttentionRow],
    pub(super) tables: &'a [u32],
    pub(super) params: AttentionParams,
}

impl Looked<'_> {
    /// For each head softmax over j of scale * (q . k\[j\]), `[position + 1]`; 0 before the window. In f64, from keys
    /// as they are stored, so equal to what the pass weighs with up to its rounding (and in q8_0 that of the query).
    pub(super) fn weights(&self, row: usize) -> Vec<Vec<f64>> {
        let AttentionParams { n_heads, scale, window } = self.params;
        let shape = *self.kv.shape();
        let heads_per_kv_head = n_heads / shape.n_kv_heads;
        let AttentionRow { position, table } = &self.rows[row];
        let table = &self.tables[table.start as usize..table.end as usize];
        let len = *position as usize + 1;
        let first = len.saturating_sub(window.map_or(len, |window| window as usize));
        let mut weights = vec![vec![f64::NEG_INFINITY; len]; n_heads];
        let (mut key, mut value) = (vec![0.0; shape.head_dim], vec![0.0; shape.head_dim]);
        for kv_head in 0..shape.n_kv_heads {
            for j in first..len {
                let slot = KvSlot { page: table[j / PAGE_LEN], offset: (j % PAGE_LEN) as u32 };
                self.kv.read(self.layer_in_group, kv_head, slot, &mut key, &mut value);
                for head in kv_head * heads_per_kv_head..(kv_head + 1) * heads_per_kv_head {
                    let q = &self.q.row(row)[head * shape.head_dim..][..shape.head_dim];
                    weights[head][j] = f64::from(scale) * dot(q, &key);
                }
            }
        }
        weights.iter_mut().for_each(|weights| softmax(weights));
        weights
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn softmax(scores: &mut [f64]) {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|score| *score = libm::exp(*score - max));
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|weight| *weight /= sum);
}
