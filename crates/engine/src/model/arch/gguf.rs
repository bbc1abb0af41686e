//! The numbers of a decoder from the metadata of a GGUF file.

use super::names::Role;
use super::{Decoder, MAX_LAYERS, ModelError, Switches, check, config_error, within};
use crate::model::config::RopeConfig;
use crate::weights::gguf::GgufMetadata;
use crate::weights::{WeightsError, WeightsFile};
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

    fn require(&self, suffix: &str) -> Result<usize, WeightsError> {
        self.metadata.require(&self.key(suffix), "an integer of 0 or more", GgufMetadata::usize)
    }

    fn usize(&self, suffix: &str) -> Result<Option<usize>, WeightsError> {
        self.metadata.usize(&self.key(suffix))
    }

    fn f32(&self, suffix: &str) -> Result<Option<f32>, WeightsError> {
        self.metadata.f32(&self.key(suffix))
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
        let hidden_size = self.require("embedding_length")?;
        let n_heads = within(
            self.path(),
            &self.key("attention.head_count"),
            self.require("attention.head_count")?,
            1 << 20,
        )?;
        let head_dim = match self.usize("attention.key_length")? {
            Some(head_dim) => head_dim,
            None if hidden_size.is_multiple_of(n_heads) => hidden_size / n_heads,
            None => {
                let expected = format!("a divisor of the hidden size, {hidden_size}");
                return Err(config_error(self.path(), self.key("attention.head_count"), n_heads, expected));
            }
        };
        if let Some(found) = self.usize("attention.value_length")?.filter(|&length| length != head_dim) {
            let key = self.key("attention.value_length");
            return Err(config_error(self.path(), key, found, format!("the key length, {head_dim}")));
        }
        let rotary_dim = self.usize("rope.dimension_count")?.unwrap_or(head_dim);
        let decoder = Decoder {
            architecture: self.architecture.to_owned(),
            vocab_size: self.vocab_size()?,
            hidden_size,
            intermediate_size: self.require("feed_forward_length")?,
            n_layers: within(
                self.path(),
                &self.key("block_count"),
                self.require("block_count")?,
                MAX_LAYERS,
            )?,
            n_heads,
            n_kv_heads: self.usize("attention.head_count_kv")?.unwrap_or(n_heads),
            head_dim,
            rms_norm_eps: self.metadata.require(
                &self.key("attention.layer_norm_rms_epsilon"),
                "a floating-point number",
                GgufMetadata::f32,
            )?,
            context_length: self.require("context_length")?,
            context_length_source: self.key("context_length"),
            tied_embeddings: self.file.tensor(&Role::LmHead.gguf(0)).is_none(),
            rope: RopeConfig {
                theta: self.f32("rope.freq_base")?.unwrap_or(10_000.0),
                rotary_dim,
                style,
                scaling: self.rope_scaling(rotary_dim)?,
            },
        };
        check(self.path(), decoder)
    }

    /// The rows of the embedding: what the tokenizer's list must fit into.
    fn vocab_size(&self) -> Result<usize, ModelError> {
        let name = Role::Embed.gguf(0);
        let shape = self.file.tensor(&name).map(|t| t.shape.to_vec());
        match shape.as_deref() {
            Some(&[rows, _]) => Ok(rows),
            Some(other) => Err(config_error(self.path(), name, format!("{other:?}"), "a matrix")),
            None => Err(self
                .file
                .require(&name, &[0, 0])
                .err()
                .map_or_else(|| config_error(self.path(), name, "nothing", "a matrix"), ModelError::from)),
        }
    }

    /// `rope_freqs.weight` (one divisor for each pair; how converters write Llama 3's scaling) goes before the keys.
    fn rope_scaling(&self, rotary_dim: usize) -> Result<RopeScaling, ModelError> {
        let name = Role::RopeFactors.gguf(0);
        if self.file.tensor(&name).is_some() {
            let factors = self.file.require(&name, &[rotary_dim / 2])?;
            return Ok(RopeScaling::Factors(crate::model::tensors::f32_values(&factors, self.file)?));
        }
        let key = self.key("rope.scaling.type");
        match self.metadata.str(&key)? {
            None | Some("none") => Ok(RopeScaling::None),
            Some("linear") => {
                let factor = self.f32("rope.scaling.factor")?.unwrap_or(1.0);
                Ok(RopeScaling::Linear { factor })
            }
            Some(other) => Err(config_error(self.path(), key, format!("{other:?}"), "none or linear")),
        }
    }

    /// Keys by which a file asks for another forward pass than this one.
    fn refuse_what_is_not_built(&self) -> Result<(), ModelError> {
        let asked = [
            ("expert_count", "no experts: mixtures of experts are not built yet"),
            ("attention.layer_indices", "attention in every layer"),
            ("attention.temperature_length", "no scaling of attention by position"),
        ];
        for (suffix, expected) in asked {
            let key = self.key(suffix);
            if let Some(value) = self.metadata.get(&key).filter(|value| value.to_string() != "0") {
                return Err(config_error(self.path(), key, value, expected));
            }
        }
        for (suffix, neutral) in [
            ("logit_scale", 1.0),
            ("embedding_scale", 1.0),
            ("residual_scale", 1.0),
            ("attention.scale", 0.0),
        ] {
            if let Some(found) = self.f32(suffix)?.filter(|&x| x != neutral) {
                return Err(config_error(
                    self.path(),
                    self.key(suffix),
                    found,
                    format!("{neutral} or nothing"),
                ));
            }
        }
        Ok(())
    }
}
