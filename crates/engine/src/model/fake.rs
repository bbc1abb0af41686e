//! A model for tests of what stands above [`Forward`]: its logits are a hash of the sequence's whole history.
//!
//! It remembers nothing by itself: a row's token is written into its slot of the KV cache, and the history is read back
//! by walking the page tables. A wrong page, a missing copy or a stale slot changes every logit after it.

use super::{Batch, BatchRow, Forward, ForwardError, Want, check_batch};
use crate::TokenId;
use crate::kv::{KvCache, KvGroupLayout, KvLayout};
use crate::trace::Recorder;
use limpid_kernels::Cpu;
use limpid_kernels::buffer::{AllocError, Rows};
use limpid_kernels::isa::Isa;
use limpid_kernels::ops::{self, KvFormat, KvShape};
use std::sync::Arc;

/// The limits of a [`FakeModel`].
#[derive(Clone, Debug)]
pub struct FakeConfig {
    pub vocab_size: usize,
    pub context_length: usize,
    pub max_batch_rows: usize,
    /// One layer group for each, as in [`KvGroupLayout`].
    pub windows: Vec<Option<u32>>,
    /// The logits of a row with this token are NaN.
    pub poison: Option<TokenId>,
    pub n_threads: usize,
}

/// See the module.
pub struct FakeModel {
    config: FakeConfig,
    layout: KvLayout,
    cpu: Arc<Cpu>,
    /// The token at hand as the one number of a key or value.
    number: Rows,
    logits: Rows,
}

impl FakeModel {
    pub fn new(config: FakeConfig) -> Result<Self, AllocError> {
        // One number a position: the token id, exact in an f32 below 2^24.
        let shape = KvShape { n_layers: 1, n_kv_heads: 1, head_dim: 1, format: KvFormat::F32 };
        let group = |(i, &window)| KvGroupLayout { shape, layers: vec![i], window };
        let layout = KvLayout { groups: config.windows.iter().enumerate().map(group).collect() };
        let mut number = Rows::new(1, 1)?;
        number.set_n_rows(1);
        let logits = Rows::new(config.max_batch_rows, config.vocab_size)?;
        let cpu = Arc::new(Cpu::new(Isa::Portable, config.n_threads));
        Ok(Self { config, layout, cpu, number, logits })
    }

    /// Writes the row's token into its slot in every layer group.
    fn remember(&mut self, row: &BatchRow, kv: &mut KvCache) {
        self.number.row_mut(0)[0] = row.token.0 as f32;
        for group in 0..self.layout.groups.len() {
            let slot = kv.slot(row.seq, group, row.position as usize);
            ops::kv_write(&self.cpu, kv.storage_mut(group), 0, &[slot], &self.number, &self.number);
        }
    }

    /// A hash of all that the row attends to, in every layer group.
    fn hash_history(&self, row: &BatchRow, kv: &KvCache) -> u64 {
        let position = row.position as usize;
        let mut hash = mix(position as u64);
        for (group, window) in self.config.windows.iter().enumerate() {
            let first = window.map_or(0, |window| (position + 1).saturating_sub(window as usize));
            for key in first..=position {
                let (mut token, mut value) = ([0.0], [0.0]);
                kv.storage(group).read(0, 0, kv.slot(row.seq, group, key), &mut token, &mut value);
                hash = mix(hash ^ u64::from(token[0].to_bits()));
            }
        }
        hash
    }
}

impl Forward for FakeModel {
    fn cpu(&self) -> &Arc<Cpu> {
        &self.cpu
    }

    fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }

    fn context_length(&self) -> usize {
        self.config.context_length
    }

    fn kv_layout(&self) -> &KvLayout {
        &self.layout
    }

    fn max_batch_rows(&self) -> usize {
        self.config.max_batch_rows
    }

    fn max_logit_rows(&self) -> usize {
        self.config.max_batch_rows
    }

    fn forward(
        &mut self,
        batch: &Batch,
        kv: &mut KvCache,
        _recorder: &mut dyn Recorder,
    ) -> Result<&Rows, ForwardError> {
        check_batch(self, batch)?;
        self.logits.set_n_rows(batch.n_logits());
        let mut n_logits = 0;
        for row in &batch.rows {
            self.remember(row, kv);
            if row.want == Want::Logits {
                let hash = self.hash_history(row, kv);
                let poisoned = self.config.poison == Some(row.token);
                fill(self.logits.row_mut(n_logits), hash, poisoned);
                n_logits += 1;
            }
        }
        Ok(&self.logits)
    }
}

/// Logits in [-4, 4), each from its own hash.
fn fill(logits: &mut [f32], hash: u64, poisoned: bool) {
    for (id, logit) in (0..).zip(logits) {
        let unit = (mix(hash ^ mix(id)) >> 40) as f32 / (1 << 24) as f32;
        *logit = if poisoned { f32::NAN } else { unit * 8.0 - 4.0 };
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): each bit of `x` changes about half of the result's.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
