//! The numbers of a decoder from the metadata of a GGUF file.

use super::names::Role;
use super::{
    Decoder, MAX_CONTEXT, MAX_HEAD_DIM, MAX_LAYERS, MAX_VOCAB, MAX_WIDTH, ModelError, Names, Switches,
};
use super::{EPSILON, POSITIVE, check, config_error, is_epsilon, is_positive, unsupported, within};
use crate::model::config::RopeConfig;
use crate::weights::WeightsFile;
use crate::weights::gguf::{GgufMetadata, Value};
use limpid_kernels::ops::{RopeScaling, RopeStyle};
use std::path::Path;

/// The keys of one architecture, `{architecture}.…`, and the list of tensors.
pub(super) struct Keys<'a> {
    file: &'a WeightsFile,
    metadata: &'a GgufMetadata,
    architecture: &'a str,
}

impl<'a> Keys<'a> {
    pub(super) fn new(file: &'a WeightsFile, metadata: &'a GgufMetadata, architecture: &'a str) -> Self {
        Self { file, metadata, architecture }
    }

    fn path(&self) -> &Path {
        self.file.path()
    }

    fn key(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.architecture)
    }

    /// A count or a size: 1 to `max`.
    fn number(&self, suffix: &str, max: usize) -> Result<Option<usize>, ModelError> {
        let key = self.key(suffix);
        self.metadata.usize(&key)?.map(|found| within(self.path(), &key, found, max)).transpose()
    }

    fn require_number(&self, suffix: &str, max: usize) -> Result<usize, ModelError> {
        let key = self.key(suffix);
        let found = self.metadata.require(&key, "an integer of 1 or more", GgufMetadata::usize)?;
        within(self.path(), &key, found, max)
    }

    fn f32(&self, suffix: &str) -> Result<Option<f32>, ModelError> {
        Ok(self.metadata.f32(&self.key(suffix))?)
    }

    fn positive(&self, suffix: &str) -> Result<Option<f32>, ModelError> {
        match self.f32(suffix)? {
            Some(found) if !is_positive(found) => Err(self.error(suffix, found, POSITIVE)),
            found => Ok(found),
        }
    }

    fn epsilon(&self) -> Result<f32, ModelError> {
        const SUFFIX: &str = "attention.layer_norm_rms_epsilon";
        let found = self.metadata.require(&self.key(SUFFIX), "a floating-point number", GgufMetadata::f32)?;
        if is_epsilon(found) { Ok(found) } else { Err(self.error(SUFFIX, found, EPSILON)) }
    }

    fn error(&self, suffix: &str, found: impl ToString, expected: impl ToString) -> ModelError {
        config_error(self.path(), self.key(suffix), found, expected)
    }

    fn unsupported(&self, suffix: &str, found: impl ToString, expected: impl ToString) -> ModelError {
        unsupported(self.path(), self.key(suffix), found, expected)
    }

    /// Whether the first layer has this tensor; a family's layers are alike, and loading misses one that is not there.
    pub(super) fn has(&self, role: Role) -> bool {
        self.file.tensor(&role.gguf(0)).is_some()
    }

    /// The same window in all layers, if there is one (llama.cpp's converter writes it for Mistral).
    pub(super) fn window_of_all(&self) -> Result<Option<u32>, ModelError> {
        let key = self.key("attention.sliding_window");
        match self.metadata.u32(&key)? {
            Some(0) | None => Ok(None),
            window => Ok(window),
        }
    }

    /// What the tensors say: biases and norms are there or not. `windows` is the same for all layers.
    pub(super) fn switches(&self, decoder: &Decoder) -> Result<Switches, ModelError> {
        Ok(Switches {
            windows: vec![self.window_of_all()?; decoder.n_layers],
            qkv_bias: self.has(Role::QBias),
            o_bias: self.has(Role::OBias),
            ffn_bias: self.has(Role::GateBias),
            qk_norm: self.has(Role::QNorm),
        })
    }

    /// `style`: how the architecture's converter leaves q and k for RoPE.
    pub(super) fn decoder(&self, style: RopeStyle) -> Result<Decoder, ModelError> {
        self.refuse_what_is_not_built()?;
        let hidden_size = self.require_number("embedding_length", MAX_WIDTH)?;
        let n_heads = self.require_number("attention.head_count", MAX_WIDTH)?;
        let head_dim = self.head_dim(hidden_size, n_heads)?;
        let rotary_dim = self.number("rope.dimension_count", MAX_HEAD_DIM)?;
        let names = Names {
            n_heads: self.key("attention.head_count"),
            n_kv_heads: self.key("attention.head_count_kv"),
            head_dim: self.key("attention.key_length"),
            rotary_dim: self.key(if rotary_dim.is_some() {
                "rope.dimension_count"
            } else {
                "attention.key_length"
            }),
        };
        let rotary_dim = rotary_dim.unwrap_or(head_dim);
        let decoder = Decoder {
            architecture: self.architecture.to_owned(),
            vocab_size: self.vocab_size(hidden_size)?,
            hidden_size,
            intermediate_size: self.require_number("feed_forward_length", MAX_WIDTH)?,
            n_layers: self.require_number("block_count", MAX_LAYERS)?,
            n_heads,
            n_kv_heads: self.number("attention.head_count_kv", MAX_WIDTH)?.unwrap_or(n_heads),
            head_dim,
            rms_norm_eps: self.epsilon()?,
            context_length: self.require_number("context_length", MAX_CONTEXT)?,
            context_length_source: self.key("context_length"),
            tied_embeddings: self.file.tensor(&Role::LmHead.gguf(0)).is_none(),
            rope: RopeConfig {
                theta: self.positive("rope.freq_base")?.unwrap_or(10_000.0),
                rotary_dim,
                style,
                scaling: self.rope_scaling(rotary_dim)?,
            },
        };
        check(self.path(), &names, decoder)
    }

    /// Elements of a key, which are as many as those of a value.
    fn head_dim(&self, hidden_size: usize, n_heads: usize) -> Result<usize, ModelError> {
        let head_dim = match self.number("attention.key_length", MAX_HEAD_DIM)? {
            Some(head_dim) => head_dim,
            None if hidden_size.is_multiple_of(n_heads) => hidden_size / n_heads,
            None => {
                let expected = format!("a divisor of the hidden size, {hidden_size}");
                return Err(self.error("attention.head_count", n_heads, expected));
            }
        };
        match self.number("attention.value_length", MAX_HEAD_DIM)? {
            Some(found) if found != head_dim => {
                let expected = format!("the key length, {head_dim}");
                Err(self.unsupported("attention.value_length", found, expected))
            }
            _ => Ok(head_dim),
        }
    }

    /// The rows of the embedding: what the tokenizer's list must fit into.
    fn vocab_size(&self, hidden_size: usize) -> Result<usize, ModelError> {
        let name = Role::Embed.gguf(0);
        let expected = format!("a matrix of rows of {hidden_size} numbers, one for each token");
        match self.file.tensor(&name).map(|tensor| tensor.shape) {
            Some(&[rows, _]) => within(self.path(), &format!("rows of {name}"), rows, MAX_VOCAB),
            Some(other) => Err(config_error(self.path(), name, format!("shape {other:?}"), expected)),
            None => Err(config_error(self.path(), name, "no such tensor", expected)),
        }
    }

    /// What the keys say, or the tensor `rope_freqs.weight`: one divisor for each pair (how converters write Llama 3's
    /// scaling).
    fn rope_scaling(&self, rotary_dim: usize) -> Result<RopeScaling, ModelError> {
        const TYPE: &str = "rope.scaling.type";
        let factor = self.positive("rope.scaling.factor")?;
        let scaling = match (self.metadata.str(&self.key(TYPE))?, factor) {
            (Some("none"), _) | (None, None) => RopeScaling::None,
            // As in llama.cpp, a factor without a type is a linear one.
            (Some("linear") | None, Some(factor)) => RopeScaling::Linear { factor },
            (Some("linear"), None) => {
                return Err(self.error("rope.scaling.factor", "nothing", POSITIVE));
            }
            (Some(other), _) => {
                return Err(self.unsupported(TYPE, format!("{other:?}"), "\"none\" or \"linear\""));
            }
        };
        let name = Role::RopeFactors.gguf(0);
        if self.file.tensor(&name).is_none() {
            return Ok(scaling);
        }
        if scaling != RopeScaling::None {
            let expected = format!("no scaling beside that of the tensor {name}");
            return Err(self.unsupported("rope.scaling.factor", factor.unwrap_or(1.0), expected));
        }
        let factors = self.file.require(&name, &[rotary_dim / 2])?;
        let factors = crate::model::tensors::f32_values(&factors, self.file)?;
        match factors.iter().find(|&&factor| !is_positive(factor)) {
            Some(factor) => Err(config_error(self.path(), name, factor, "numbers above 0")),
            None => Ok(RopeScaling::Factors(factors)),
        }
    }

    /// Keys by which a file asks for another forward pass than this one.
    fn refuse_what_is_not_built(&self) -> Result<(), ModelError> {
        for (suffix, neutral, expected) in [
            ("expert_count", Value::Int(0), "0: mixtures of experts are not built yet"),
            ("attention.causal", Value::Bool(true), "boolean true: a text model sees what came before only"),
            ("attention.temperature_length", Value::Int(0), "0: no scaling of attention by position"),
        ] {
            if let Some(found) = self.metadata.get(&self.key(suffix)).filter(|&found| *found != neutral) {
                return Err(self.unsupported(suffix, found, expected));
            }
        }
        if let Some(found) = self.metadata.get(&self.key("attention.layer_indices")) {
            return Err(self.unsupported("attention.layer_indices", found, "attention in every layer"));
        }
        for (suffix, neutral) in [
            ("logit_scale", 1.0),
            ("embedding_scale", 1.0),
            ("residual_scale", 1.0),
            ("attention.scale", 0.0),
            ("rope.scale_linear", 1.0),
        ] {
            if let Some(found) = self.f32(suffix)?.filter(|&x| x != neutral) {
                return Err(self.unsupported(suffix, found, format!("{neutral} or nothing")));
            }
        }
        Ok(())
    }
}
