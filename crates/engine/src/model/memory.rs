//! What a model will take, known from the header before anything is loaded.

use super::config::{LayerConfig, MixerConfig, ModelConfig};
use super::tensors;
use super::workspace::{self, BatchLimits, Workspace};
use super::{ModelError, kv_layout};
use crate::kv::{KvGroupLayout, KvLayout};
use crate::sampling::Candidates;
use crate::weights::WeightsFile;
use limpid_kernels::buffer::Rows;
use limpid_kernels::matrix::Matrix;
use limpid_kernels::ops::{Compute, Kinds, KvFormat, KvStorage};

/// The parts of a model's memory, in bytes.
pub struct MemoryPlan<'a> {
    config: &'a ModelConfig,
    layout: KvLayout,
    weights: usize,
    kinds: Kinds,
    n_threads: usize,
}

impl<'a> MemoryPlan<'a> {
    /// Fails where loading would: a tensor that is missing, misshapen or has no place.
    pub fn new(
        file: &WeightsFile,
        config: &'a ModelConfig,
        compute: Compute,
        kv_format: KvFormat,
        n_threads: usize,
    ) -> Result<Self, ModelError> {
        tensors::check(file, config)?;
        let mut weights = 0_usize;
        for spec in tensors::tensors(config) {
            let bytes = match spec.shape[..] {
                [rows, cols] => Matrix::packed_bytes(rows, cols, tensors::find(file, &spec)?.format),
                _ => Rows::bytes_for(1, spec.shape[0]),
            };
            weights = weights.saturating_add(bytes);
        }
        let kinds = workspace::kinds(file, config, compute);
        Ok(Self { config, layout: kv_layout(config, kv_format), weights, kinds, n_threads })
    }

    /// All tensors as they lie in memory.
    pub fn weights(&self) -> usize {
        self.weights
    }

    pub fn kv_layout(&self) -> &KvLayout {
        &self.layout
    }

    /// What one more token takes while no window is full: the sum over attention layers of
    /// 2 * n_kv_heads * head_dim * bytes of an element.
    pub fn kv_bytes_per_token(&self) -> usize {
        self.layout.groups.iter().map(|group| group.shape.bytes_per_token()).sum()
    }

    /// Keys and values of one sequence of `n` tokens, of which up to `n_new` come at a time: whole pages, and no more
    /// than the window's where there is one.
    pub fn kv(&self, n: usize, n_new: usize) -> usize {
        self.kv_of_forks(1, 0, n, n_new)
    }

    /// The same of `n_sequences` forks of one sequence, whose first `n_shared` tokens are common to all.
    pub fn kv_of_forks(&self, n_sequences: usize, n_shared: usize, n: usize, n_new: usize) -> usize {
        let of_group = |group: &KvGroupLayout| {
            let n_pages = group.pages_needed_by(n_sequences, n_shared, n, n_new);
            n_pages.saturating_mul(KvStorage::page_bytes(&group.shape))
        };
        self.layout.groups.iter().map(of_group).fold(0, usize::saturating_add)
    }

    /// The buffers of a forward pass, and those in which tokens are chosen from their logits, for each thread that can
    /// do so at the same time (with log-probabilities, one more number a token of the vocabulary).
    pub fn workspace(&self, limits: BatchLimits) -> usize {
        let forward = Workspace::bytes(self.config, &self.layout, limits, self.kinds, self.n_threads);
        let values = self.config.vocab_size.saturating_mul(size_of::<f32>());
        let scratch = Candidates::bytes_for(self.config.vocab_size).saturating_add(values);
        let n_choosers = self.n_threads.min(limits.max_logit_rows);
        forward.saturating_add(scratch.saturating_mul(n_choosers))
    }

    pub fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }

    /// For comparison: the scores of all pairs of `n` positions in one layer, as f32, n_heads * n^2 of them. Limpid
    /// never holds them.
    pub fn score_matrix(&self, n: usize) -> usize {
        let n_heads = |layer: &LayerConfig| {
            let MixerConfig::Attention(attention) = &layer.mixer;
            attention.n_heads
        };
        let n_heads = self.config.layers.iter().map(n_heads).max().unwrap_or(0);
        n.saturating_mul(n).saturating_mul(n_heads).saturating_mul(size_of::<f32>())
    }
}
