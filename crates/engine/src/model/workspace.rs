//! The buffers of a forward pass: allocated once, from the limits, and used by every step.

use super::config::{FfnConfig, MixerConfig, ModelConfig};
use super::tensors;
use crate::kv::{KvGroupLayout, KvLayout};
use crate::weights::WeightsFile;
use limpid_kernels::buffer::{AllocError, Rows};
use limpid_kernels::ops::{Activations, AttentionScratch, Compute, Kinds, RopeAngles, RopeTable};

/// How much one batch may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchLimits {
    pub max_rows: usize,
    /// Rows that want logits.
    pub max_logit_rows: usize,
    /// The longest sequence.
    pub context_length: usize,
}

/// Widths of the rows that a forward pass keeps at the same time, in floats.
struct Widths {
    hidden: usize,
    q: usize,
    kv: usize,
    ffn: usize,
}

impl Widths {
    fn of(config: &ModelConfig) -> Self {
        let mut widths = Self { hidden: config.hidden_size, q: 0, kv: 0, ffn: 0 };
        for layer in &config.layers {
            let MixerConfig::Attention(a) = &layer.mixer;
            widths.q = widths.q.max(a.n_heads * a.head_dim);
            widths.kv = widths.kv.max(a.n_kv_heads * a.head_dim);
            let FfnConfig::Dense { intermediate_size, .. } = layer.ffn;
            widths.ffn = widths.ffn.max(intermediate_size);
        }
        widths
    }
}

/// Rows `[n_rows of the batch, width]` unless said otherwise.
pub(super) struct Workspace {
    /// The residual stream: hidden_size.
    pub(super) residual: Rows,
    /// A norm's output, and what a layer's part adds to the residual: hidden_size.
    pub(super) normed: Rows,
    pub(super) added: Rows,
    /// n_heads * head_dim.
    pub(super) q: Rows,
    pub(super) mixed: Rows,
    /// n_kv_heads * head_dim.
    pub(super) k: Rows,
    pub(super) v: Rows,
    /// intermediate_size.
    pub(super) gate: Rows,
    pub(super) up: Rows,
    pub(super) activated: Rows,
    /// `[rows that want logits, hidden_size]`, and `[.., vocab_size]`.
    pub(super) last: Rows,
    pub(super) logits: Rows,
    pub(super) activations: Activations,
    pub(super) angles: RopeAngles,
    /// One for each layer group.
    pub(super) attention: Vec<AttentionScratch>,
}

impl Workspace {
    pub(super) fn new(
        config: &ModelConfig,
        layout: &KvLayout,
        limits: BatchLimits,
        kinds: Kinds,
        rope: &RopeTable,
        n_threads: usize,
    ) -> Result<Self, AllocError> {
        let BatchLimits { max_rows, max_logit_rows, .. } = limits;
        let widths = Widths::of(config);
        let rows = |width| Rows::new(max_rows, width);
        Ok(Self {
            residual: rows(widths.hidden)?,
            normed: rows(widths.hidden)?,
            added: rows(widths.hidden)?,
            q: rows(widths.q)?,
            mixed: rows(widths.q)?,
            k: rows(widths.kv)?,
            v: rows(widths.kv)?,
            gate: rows(widths.ffn)?,
            up: rows(widths.ffn)?,
            activated: rows(widths.ffn)?,
            last: Rows::new(max_logit_rows, widths.hidden)?,
            logits: Rows::new(max_logit_rows, config.vocab_size)?,
            activations: Activations::new(max_rows, config.max_input_width(), kinds)?,
            angles: RopeAngles::new(max_rows, rope)?,
            attention: attention_scratch(config, layout, limits, n_threads)?,
        })
    }

    /// Bytes that `new` takes, from the header alone; `usize::MAX` where that is more than can be counted.
    pub(super) fn bytes(
        config: &ModelConfig,
        layout: &KvLayout,
        limits: BatchLimits,
        kinds: Kinds,
        n_threads: usize,
    ) -> usize {
        let BatchLimits { max_rows, max_logit_rows, .. } = limits;
        let w = Widths::of(config);
        let per_row = [w.hidden, w.hidden, w.hidden, w.q, w.q, w.kv, w.kv, w.ffn, w.ffn, w.ffn];
        let angles = [config.rope.rotary_dim / 2; 2];
        let of_batch = per_row.iter().chain(&angles).map(|&width| Rows::bytes_for(max_rows, width));
        let of_logits = [w.hidden, config.vocab_size].map(|width| Rows::bytes_for(max_logit_rows, width));
        let attention = layout.groups.iter().map(|group| {
            let n_heads = n_heads(config, group);
            AttentionScratch::bytes_for(n_threads, max_rows, n_heads, &group.shape, limits.context_length)
        });
        let activations = Activations::bytes(max_rows, config.max_input_width(), kinds);
        of_batch.chain(of_logits).chain(attention).fold(activations, usize::saturating_add)
    }
}

/// The most query heads of a layer in the group.
fn n_heads(config: &ModelConfig, group: &KvGroupLayout) -> usize {
    let of_layer = |&layer: &usize| {
        let MixerConfig::Attention(attention) = &config.layers[layer].mixer;
        attention.n_heads
    };
    group.layers.iter().map(of_layer).max().unwrap_or(0)
}

fn attention_scratch(
    config: &ModelConfig,
    layout: &KvLayout,
    limits: BatchLimits,
    n_threads: usize,
) -> Result<Vec<AttentionScratch>, AllocError> {
    let of_group = |group: &KvGroupLayout| {
        let n_heads = n_heads(config, group);
        AttentionScratch::new(n_threads, limits.max_rows, n_heads, &group.shape, limits.context_length)
    };
    layout.groups.iter().map(of_group).collect()
}

/// The forms of activations that the matrices of a file want.
pub(super) fn kinds(file: &WeightsFile, config: &ModelConfig, compute: Compute) -> Kinds {
    let formats = tensors::tensors(config).into_iter().filter(|spec| spec.shape.len() == 2);
    let formats = formats.filter_map(|spec| file.tensor(&spec.role.name(file.metadata(), spec.layer)));
    formats.map(|view| Kinds::of(view.format, compute)).fold(Kinds::default(), Kinds::or)
}
