//! Everything that the forward pass needs to know about a model, validated once.
//!
//! A model is data: an architecture is a function from a file's metadata to this, and nothing else.

use limpid_kernels::ops::{RopeScaling, RopeStyle};

/// A decoder: embedding, layers of a mixer and a feed-forward part around a residual stream, norm, head.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// The family as its file names it, such as `llama`.
    pub architecture: String,
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// The most positions that the model was made for.
    pub context_length: usize,
    /// Where that number was found, such as `llama.context_length`.
    pub context_length_source: String,
    pub rms_norm_eps: f32,
    /// The head multiplies by the embedding matrix.
    pub tied_embeddings: bool,
    pub rope: RopeConfig,
    pub layers: Vec<LayerConfig>,
}

/// Rotary position embedding, the same in all layers.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    pub theta: f32,
    /// Elements of a head that are rotated; the others stay.
    pub rotary_dim: usize,
    pub style: RopeStyle,
    pub scaling: RopeScaling,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LayerConfig {
    pub mixer: MixerConfig,
    pub ffn: FfnConfig,
}

/// What mixes positions.
#[derive(Clone, Debug, PartialEq)]
pub enum MixerConfig {
    Attention(AttentionConfig),
}

#[derive(Clone, Debug, PartialEq)]
pub struct AttentionConfig {
    pub n_heads: usize,
    pub n_kv_heads: usize,
    pub head_dim: usize,
    /// A position p attends to p - window + 1 ..= p; all before it where there is none.
    pub window: Option<u32>,
    /// q, k and v have biases.
    pub qkv_bias: bool,
    pub o_bias: bool,
    /// Each head of q and k goes through a norm of its own (Qwen3).
    pub qk_norm: bool,
}

/// What works on each position by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum FfnConfig {
    /// down(silu(gate(x)) * up(x)).
    Dense { intermediate_size: usize, bias: bool },
}

impl ModelConfig {
    /// The widest row that a matrix of the model reads.
    pub fn max_input_width(&self) -> usize {
        let of_layer = |layer: &LayerConfig| {
            let MixerConfig::Attention(attention) = &layer.mixer;
            let FfnConfig::Dense { intermediate_size, .. } = layer.ffn;
            intermediate_size.max(attention.n_heads * attention.head_dim)
        };
        self.layers.iter().map(of_layer).max().unwrap_or(0).max(self.hidden_size)
    }
}
