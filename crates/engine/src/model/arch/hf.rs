//! The numbers of a decoder from a Hugging Face config.json.

use super::{Decoder, MAX_LAYERS, ModelError, check, config_error, within};
use crate::model::config::RopeConfig;
use limpid_kernels::ops::{RopeScaling, RopeStyle};
use serde_json::Value;
use std::path::Path;

/// A JSON object of configuration. `null` counts as not there, as in transformers.
pub(super) struct Fields<'a> {
    path: &'a Path,
    object: &'a Value,
    /// Prefix of field names in messages, such as `rope_scaling.`.
    prefix: &'static str,
}

impl<'a> Fields<'a> {
    pub(super) fn new(path: &'a Path, object: &'a Value) -> Self {
        Self { path, object, prefix: "" }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn error(&self, key: &str, expected: impl ToString) -> ModelError {
        let found = self.get(key).map_or_else(|| "nothing".to_owned(), Value::to_string);
        config_error(self.path, format!("{}{key}", self.prefix), found, expected)
    }

    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.error(key, expected))
    }

    pub(super) fn usize(&self, key: &str) -> Result<Option<usize>, ModelError> {
        self.read(key, "an integer of 0 or more", |value| usize::try_from(value.as_u64()?).ok())
    }

    pub(super) fn f32(&self, key: &str) -> Result<Option<f32>, ModelError> {
        self.read(key, "a number", |value| Some(value.as_f64()? as f32))
    }

    pub(super) fn bool(&self, key: &str) -> Result<Option<bool>, ModelError> {
        self.read(key, "true or false", Value::as_bool)
    }

    pub(super) fn str(&self, key: &str) -> Result<Option<&'a str>, ModelError> {
        self.read(key, "a string", Value::as_str)
    }

    pub(super) fn require_str(&self, key: &str) -> Result<&'a str, ModelError> {
        self.str(key)?.ok_or_else(|| self.error(key, "a string"))
    }

    fn require_usize(&self, key: &str) -> Result<usize, ModelError> {
        self.usize(key)?.ok_or_else(|| self.error(key, "an integer of 0 or more"))
    }

    /// A field that may only have the value that the forward pass has anyway.
    pub(super) fn must_be(&self, key: &str, allowed: &[Value]) -> Result<(), ModelError> {
        match self.get(key) {
            Some(found) if !allowed.contains(found) => {
                let names: Vec<_> = allowed.iter().map(Value::to_string).collect();
                Err(self.error(key, names.join(" or ")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn decoder(&self) -> Result<Decoder, ModelError> {
        self.must_be("hidden_act", &["silu".into(), "swish".into()])?;
        let hidden_size = self.require_usize("hidden_size")?;
        let n_heads =
            within(self.path, "num_attention_heads", self.require_usize("num_attention_heads")?, 1 << 20)?;
        let head_dim = match self.usize("head_dim")? {
            Some(head_dim) => head_dim,
            None if hidden_size.is_multiple_of(n_heads) => hidden_size / n_heads,
            None => {
                let expected = format!("a divisor of hidden_size, {hidden_size}");
                return Err(self.error("num_attention_heads", expected));
            }
        };
        let n_layers = self.require_usize("num_hidden_layers")?;
        let decoder = Decoder {
            architecture: self.require_str("model_type")?.to_owned(),
            vocab_size: self.require_usize("vocab_size")?,
            hidden_size,
            intermediate_size: self.require_usize("intermediate_size")?,
            n_layers: within(self.path, "num_hidden_layers", n_layers, MAX_LAYERS)?,
            n_heads,
            n_kv_heads: self.usize("num_key_value_heads")?.unwrap_or(n_heads),
            head_dim,
            rms_norm_eps: self.f32("rms_norm_eps")?.unwrap_or(1e-6),
            context_length: self.require_usize("max_position_embeddings")?,
            context_length_source: "config.json: max_position_embeddings".to_owned(),
            // transformers' own default for these families.
            tied_embeddings: self.bool("tie_word_embeddings")?.unwrap_or(false),
            rope: self.rope(head_dim)?,
        };
        check(self.path, decoder)
    }

    /// Both spellings: `rope_theta` with `rope_scaling`, and `rope_parameters` with everything in it.
    fn rope(&self, head_dim: usize) -> Result<RopeConfig, ModelError> {
        let nested = |key, prefix| {
            self.read(key, "an object", |value| value.is_object().then_some(value))
                .map(|found| found.map(|object| Fields { path: self.path, object, prefix }))
        };
        let parameters = match nested("rope_parameters", "rope_parameters.")? {
            Some(parameters) => Some(parameters),
            None => nested("rope_scaling", "rope_scaling.")?,
        };
        let theta = match &parameters {
            Some(parameters) => parameters.f32("rope_theta")?,
            None => None,
        };
        let theta = match theta {
            Some(theta) => theta,
            None => self.f32("rope_theta")?.unwrap_or(10_000.0),
        };
        self.must_be("partial_rotary_factor", &[1.0.into(), 1.into()])?;
        let scaling = parameters.map_or(Ok(RopeScaling::None), |parameters| parameters.rope_scaling())?;
        Ok(RopeConfig { theta, rotary_dim: head_dim, style: RopeStyle::HalfSplit, scaling })
    }

    fn original_context(&self) -> Result<u32, ModelError> {
        const KEY: &str = "original_max_position_embeddings";
        let found = self.require_usize(KEY)?;
        u32::try_from(found).map_err(|_| self.error(KEY, "an integer below 2^32"))
    }

    fn rope_scaling(&self) -> Result<RopeScaling, ModelError> {
        self.must_be("partial_rotary_factor", &[1.0.into(), 1.into()])?;
        let key = if self.get("rope_type").is_some() { "rope_type" } else { "type" };
        let number = |key: &str| self.f32(key)?.ok_or_else(|| self.error(key, "a number"));
        match self.str(key)? {
            None | Some("default") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear { factor: number("factor")? }),
            Some("llama3") => Ok(RopeScaling::Llama3 {
                factor: number("factor")?,
                low_freq_factor: number("low_freq_factor")?,
                high_freq_factor: number("high_freq_factor")?,
                original_context: self.original_context()?,
            }),
            Some(_) => Err(self.error(key, "default, linear or llama3")),
        }
    }
}
