//! From a file's metadata to a [`ModelConfig`]: one file for each family, one line in [`FAMILIES`].
//!
//! Wire names (GGUF's keys, Hugging Face's fields, tensor names) appear in this folder only.

mod gguf;
mod hf;
mod llama;
mod mistral;
pub(super) mod names;
mod qwen2;
mod qwen3;

use super::ModelError;
use super::config::{AttentionConfig, FfnConfig, LayerConfig, MixerConfig, ModelConfig, RopeConfig};
use crate::weights::{Metadata, WeightsFile};
use std::path::Path;

/// A family of models: how its configuration is read from each kind of file.
struct Family {
    /// `general.architecture` of its GGUF files, if it has a name of its own there.
    gguf: Option<&'static str>,
    /// `model_type` in its config.json.
    hf: &'static str,
    /// What this family does beyond the plain decoder, from a GGUF file.
    from_gguf: fn(&gguf::Keys<'_>) -> Result<ModelConfig, ModelError>,
    from_hf: fn(&hf::Fields<'_>) -> Result<ModelConfig, ModelError>,
}

const FAMILIES: [Family; 4] = [llama::FAMILY, mistral::FAMILY, qwen2::FAMILY, qwen3::FAMILY];

/// The configuration of the model in `file`. Reads metadata and the list of tensors, no weights.
pub fn read(file: &WeightsFile) -> Result<ModelConfig, ModelError> {
    match file.metadata() {
        Metadata::Gguf(metadata) => {
            let found = metadata.architecture()?;
            let family = FAMILIES.iter().find(|family| family.gguf == Some(found)).ok_or_else(|| {
                let names: Vec<_> = FAMILIES.iter().filter_map(|family| family.gguf).collect();
                unknown(file.path(), "general.architecture", found, &names)
            })?;
            (family.from_gguf)(&gguf::Keys::new(file, metadata, found))
        }
        Metadata::HuggingFace(metadata) => {
            let path = metadata.folder.join("config.json");
            let fields = hf::Fields::new(&path, &metadata.config);
            let found = fields.require_str("model_type")?;
            let family = FAMILIES.iter().find(|family| family.hf == found).ok_or_else(|| {
                let names: Vec<_> = FAMILIES.iter().map(|family| family.hf).collect();
                unknown(&path, "model_type", found, &names)
            })?;
            (family.from_hf)(&fields)
        }
    }
}

fn unknown(path: &Path, key: &str, found: &str, supported: &[&str]) -> ModelError {
    ModelError::Architecture {
        path: path.to_owned(),
        key: key.to_owned(),
        found: format!("{found:?}"),
        supported: supported.join(", "),
    }
}

/// The numbers that every decoder of these families has, wherever they came from.
struct Decoder {
    architecture: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    n_layers: usize,
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    rms_norm_eps: f32,
    context_length: usize,
    context_length_source: String,
    tied_embeddings: bool,
    rope: RopeConfig,
}

/// What families differ in.
struct Switches {
    /// One for each layer.
    windows: Vec<Option<u32>>,
    qkv_bias: bool,
    o_bias: bool,
    ffn_bias: bool,
    qk_norm: bool,
}

impl Decoder {
    fn into_config(self, switches: Switches) -> ModelConfig {
        let layer = |window| LayerConfig {
            mixer: MixerConfig::Attention(AttentionConfig {
                n_heads: self.n_heads,
                n_kv_heads: self.n_kv_heads,
                head_dim: self.head_dim,
                window,
                qkv_bias: switches.qkv_bias,
                o_bias: switches.o_bias,
                qk_norm: switches.qk_norm,
            }),
            ffn: FfnConfig::Dense { intermediate_size: self.intermediate_size, bias: switches.ffn_bias },
        };
        ModelConfig {
            layers: switches.windows.into_iter().map(layer).collect(),
            architecture: self.architecture,
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            context_length: self.context_length,
            context_length_source: self.context_length_source,
            rms_norm_eps: self.rms_norm_eps,
            tied_embeddings: self.tied_embeddings,
            rope: self.rope,
        }
    }
}

/// Bounds that no real model comes near: a hostile header must not make us reserve anything by its word.
const MAX_LAYERS: usize = 1024;
const MAX_WIDTH: usize = 1 << 20;
const MAX_VOCAB: usize = 1 << 24;
const MAX_CONTEXT: usize = 1 << 28;

/// Checks a number of the configuration; `key` is what the file calls it.
fn within(path: &Path, key: &str, found: usize, max: usize) -> Result<usize, ModelError> {
    if found == 0 || found > max {
        return Err(config_error(path, key, found, format!("a number from 1 to {max}")));
    }
    Ok(found)
}

fn config_error(
    path: &Path,
    key: impl ToString,
    found: impl ToString,
    expected: impl ToString,
) -> ModelError {
    ModelError::Config {
        path: path.to_owned(),
        key: key.to_string(),
        found: found.to_string(),
        expected: expected.to_string(),
    }
}

/// Relations between the numbers that hold in every decoder.
fn check(path: &Path, decoder: Decoder) -> Result<Decoder, ModelError> {
    let d = &decoder;
    within(path, "vocabulary size", d.vocab_size, MAX_VOCAB)?;
    within(path, "hidden size", d.hidden_size, MAX_WIDTH)?;
    within(path, "intermediate size", d.intermediate_size, MAX_WIDTH)?;
    within(path, "number of layers", d.n_layers, MAX_LAYERS)?;
    within(path, "number of heads", d.n_heads, MAX_WIDTH)?;
    within(path, "number of key-value heads", d.n_kv_heads, MAX_WIDTH)?;
    within(path, "head dimension", d.head_dim, MAX_WIDTH)?;
    within(path, "width of all heads", d.n_heads.saturating_mul(d.head_dim), MAX_WIDTH)?;
    within(path, "context length", d.context_length, MAX_CONTEXT)?;
    if !d.n_heads.is_multiple_of(d.n_kv_heads) {
        let expected = format!("a divisor of the number of heads, {}", d.n_heads);
        return Err(config_error(path, "number of key-value heads", d.n_kv_heads, expected));
    }
    let rotary_dim = d.rope.rotary_dim;
    if rotary_dim == 0 || !rotary_dim.is_multiple_of(2) || rotary_dim > d.head_dim {
        let expected = format!("an even number up to the head dimension, {}", d.head_dim);
        return Err(config_error(path, "number of rotated dimensions", rotary_dim, expected));
    }
    if !(d.rms_norm_eps >= 0.0 && d.rms_norm_eps < 1.0) {
        return Err(config_error(path, "epsilon of the norms", d.rms_norm_eps, "a number from 0 to 1"));
    }
    if !(d.rope.theta > 0.0 && d.rope.theta.is_finite()) {
        return Err(config_error(path, "theta of RoPE", d.rope.theta, "a number above 0"));
    }
    Ok(decoder)
}
