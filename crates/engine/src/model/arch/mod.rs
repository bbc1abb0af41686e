//! From a file's metadata to a [`ModelConfig`]: one file for each family, one line in [`FAMILIES`].
//!
//! The wire names of a configuration and of its tensors (GGUF's keys, Hugging Face's fields) appear in this folder
//! only; the tokenizer's, the chat template's and the sampling defaults' stand in the modules that read those.

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
            fields.check_architectures(found)?;
            (family.from_hf)(&fields)
        }
    }
}

fn unknown(path: &Path, key: &str, found: &str, supported: &[&str]) -> ModelError {
    ModelError::Architecture {
        path: path.to_owned(),
        key: key.to_owned(),
        found: shortened(format!("{found:?}")),
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
const MAX_HEAD_DIM: usize = 1 << 12;
const MAX_VOCAB: usize = 1 << 24;
/// Positions of a model; whoever asks for a length may ask for no more.
pub const MAX_CONTEXT: usize = 1 << 28;

/// Checks a number of the configuration; `key` is what the file calls it.
fn within(path: &Path, key: &str, found: usize, max: usize) -> Result<usize, ModelError> {
    if found == 0 || found > max {
        return Err(config_error(path, key, found, one_to(max)));
    }
    Ok(found)
}

fn one_to(max: usize) -> String {
    format!("an integer from 1 to {max}")
}

const POSITIVE: &str = "a number above 0";

fn is_positive(x: f32) -> bool {
    x > 0.0 && x.is_finite()
}

/// What is added to the mean of squares in a norm.
const EPSILON: &str = "a number from 0 to below 1";

fn is_epsilon(x: f32) -> bool {
    (0.0..1.0).contains(&x)
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
        found: shortened(found.to_string()),
        expected: expected.to_string(),
    }
}

/// For a value that has a meaning, but one that the forward pass does not follow.
fn unsupported(path: &Path, key: impl ToString, found: impl ToString, expected: impl ToString) -> ModelError {
    ModelError::Unsupported {
        path: path.to_owned(),
        key: key.to_string(),
        found: shortened(found.to_string()),
        expected: expected.to_string(),
    }
}

/// A value for a message: a file may have megabytes where a word is expected.
fn shortened(text: String) -> String {
    const MAX_CHARS: usize = 60;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// What a file calls the numbers that [`check`] relates to each other, for messages.
struct Names {
    n_heads: String,
    n_kv_heads: String,
    head_dim: String,
    rotary_dim: String,
}

/// Relations between the numbers that hold in every decoder; each number by itself is in its bounds already.
fn check(path: &Path, names: &Names, decoder: Decoder) -> Result<Decoder, ModelError> {
    let &Decoder { n_heads, n_kv_heads, head_dim, .. } = &decoder;
    within(path, &names.head_dim, head_dim, MAX_HEAD_DIM)?;
    if n_heads.saturating_mul(head_dim) > MAX_WIDTH {
        let expected = format!("at most {MAX_WIDTH} elements in all heads, which have {head_dim} each");
        return Err(config_error(path, &names.n_heads, n_heads, expected));
    }
    if !n_heads.is_multiple_of(n_kv_heads) {
        let expected = format!("a divisor of the number of heads, {n_heads}");
        return Err(config_error(path, &names.n_kv_heads, n_kv_heads, expected));
    }
    let rotary_dim = decoder.rope.rotary_dim;
    if rotary_dim == 0 || !rotary_dim.is_multiple_of(2) || rotary_dim > head_dim {
        let expected = format!("an even number from 2 to the head dimension, {head_dim}");
        return Err(config_error(path, &names.rotary_dim, rotary_dim, expected));
    }
    Ok(decoder)
}
