//! The numbers of a decoder from a Hugging Face config.json.

use super::{Decoder, MAX_CONTEXT, MAX_HEAD_DIM, MAX_LAYERS, MAX_VOCAB, MAX_WIDTH, ModelError, Names};
use super::{EPSILON, POSITIVE, check, config_error, is_epsilon, is_positive, one_to, unsupported};
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

/// One object of RoPE settings.
struct RopeSettings {
    theta: Option<f32>,
    scaling: RopeScaling,
}

impl<'a> Fields<'a> {
    pub(super) fn new(path: &'a Path, object: &'a Value) -> Self {
        Self { path, object, prefix: "" }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn found(&self, key: &str) -> String {
        self.get(key).map_or_else(|| "nothing".to_owned(), Value::to_string)
    }

    pub(super) fn error(&self, key: &str, expected: impl ToString) -> ModelError {
        config_error(self.path, self.name(key), self.found(key), expected)
    }

    pub(super) fn unsupported(&self, key: &str, expected: impl ToString) -> ModelError {
        unsupported(self.path, self.name(key), self.found(key), expected)
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

    /// A count or a size: 1 to `max`.
    fn number(&self, key: &str, max: usize) -> Result<Option<usize>, ModelError> {
        self.read(key, &one_to(max), |value| {
            usize::try_from(value.as_u64()?).ok().filter(|number| (1..=max).contains(number))
        })
    }

    fn require_number(&self, key: &str, max: usize) -> Result<usize, ModelError> {
        self.number(key, max)?.ok_or_else(|| self.error(key, one_to(max)))
    }

    /// How many keys a row sees at most: as many as it likes where the field is null, `default` where it is absent.
    pub(super) fn window_or(&self, key: &str, default: u32) -> Result<Option<u32>, ModelError> {
        if self.object.get(key).is_none() {
            return Ok(Some(default));
        }
        Ok(self.number(key, u32::MAX as usize)?.map(|window| window as u32))
    }

    fn positive(&self, key: &str) -> Result<Option<f32>, ModelError> {
        self.read(key, POSITIVE, |value| Some(value.as_f64()? as f32).filter(|&x| is_positive(x)))
    }

    fn require_positive(&self, key: &str) -> Result<f32, ModelError> {
        self.positive(key)?.ok_or_else(|| self.error(key, POSITIVE))
    }

    fn epsilon(&self, key: &str) -> Result<Option<f32>, ModelError> {
        self.read(key, EPSILON, |value| Some(value.as_f64()? as f32).filter(|&x| is_epsilon(x)))
    }

    pub(super) fn bool(&self, key: &str) -> Result<Option<bool>, ModelError> {
        self.read(key, "true or false", Value::as_bool)
    }

    fn str(&self, key: &str) -> Result<Option<&'a str>, ModelError> {
        self.read(key, "a string", Value::as_str)
    }

    pub(super) fn require_str(&self, key: &str) -> Result<&'a str, ModelError> {
        self.str(key)?.ok_or_else(|| self.error(key, "a string"))
    }

    /// A field that may only have the value that the forward pass has anyway.
    fn must_be(&self, key: &str, allowed: &[Value]) -> Result<(), ModelError> {
        match self.get(key) {
            Some(found) if !allowed.contains(found) => {
                let names: Vec<_> = allowed.iter().map(Value::to_string).collect();
                Err(self.unsupported(key, names.join(" or ")))
            }
            _ => Ok(()),
        }
    }

    /// `architectures` names transformers' classes, such as LlamaForCausalLM, and must be of the model's own type.
    pub(super) fn check_architectures(&self, model_type: &str) -> Result<(), ModelError> {
        const KEY: &str = "architectures";
        let classes = self.read(KEY, "a list of names", |value| {
            value.as_array()?.iter().map(Value::as_str).collect::<Option<Vec<_>>>()
        })?;
        let is_of_type = |class: &str| class.to_lowercase().starts_with(model_type);
        if classes.iter().flatten().all(|class| is_of_type(class)) {
            return Ok(());
        }
        Err(self.error(KEY, format!("classes of model_type {model_type:?}")))
    }

    pub(super) fn decoder(&self) -> Result<Decoder, ModelError> {
        self.must_be("hidden_act", &["silu".into(), "swish".into()])?;
        let hidden_size = self.require_number("hidden_size", MAX_WIDTH)?;
        let n_heads = self.require_number("num_attention_heads", MAX_WIDTH)?;
        let head_dim = match self.number("head_dim", MAX_HEAD_DIM)? {
            Some(head_dim) => head_dim,
            None if hidden_size.is_multiple_of(n_heads) => hidden_size / n_heads,
            None => {
                let expected = format!("a divisor of hidden_size, {hidden_size}");
                return Err(self.error("num_attention_heads", expected));
            }
        };
        let decoder = Decoder {
            architecture: self.require_str("model_type")?.to_owned(),
            vocab_size: self.require_number("vocab_size", MAX_VOCAB)?,
            hidden_size,
            intermediate_size: self.require_number("intermediate_size", MAX_WIDTH)?,
            n_layers: self.require_number("num_hidden_layers", MAX_LAYERS)?,
            n_heads,
            n_kv_heads: self.number("num_key_value_heads", MAX_WIDTH)?.unwrap_or(n_heads),
            head_dim,
            rms_norm_eps: self.epsilon("rms_norm_eps")?.unwrap_or(1e-6),
            context_length: self.require_number("max_position_embeddings", MAX_CONTEXT)?,
            context_length_source: "config.json: max_position_embeddings".to_owned(),
            // transformers' own default for these families.
            tied_embeddings: self.bool("tie_word_embeddings")?.unwrap_or(false),
            rope: self.rope(head_dim)?,
        };
        let names = Names {
            n_heads: "num_attention_heads".to_owned(),
            n_kv_heads: "num_key_value_heads".to_owned(),
            head_dim: "head_dim".to_owned(),
            rotary_dim: "head_dim".to_owned(),
        };
        check(self.path, &names, decoder)
    }

    /// Both spellings: `rope_theta` with `rope_scaling`, and `rope_parameters` with everything in it. A file that has
    /// both must mean the same by them: which one counts has changed between versions of transformers.
    fn rope(&self, head_dim: usize) -> Result<RopeConfig, ModelError> {
        const PARAMETERS: &str = "rope_parameters";
        self.must_be("partial_rotary_factor", &[1.0.into(), 1.into()])?;
        let outer_theta = self.positive("rope_theta")?;
        let [new, old] = [(PARAMETERS, "rope_parameters."), ("rope_scaling", "rope_scaling.")];
        let (new, old) = (self.rope_settings(new.0, new.1)?, self.rope_settings(old.0, old.1)?);
        if let (Some(new), Some(old)) = (&new, &old)
            && (new.scaling != old.scaling || old.theta.is_some_and(|theta| new.theta != Some(theta)))
        {
            let expected = format!("the same as rope_parameters, {}", self.found(PARAMETERS));
            return Err(self.error("rope_scaling", expected));
        }
        let settings = new.or(old).unwrap_or(RopeSettings { theta: None, scaling: RopeScaling::None });
        if let (Some(inner), Some(outer)) = (settings.theta, outer_theta)
            && inner != outer
        {
            return Err(self.error("rope_theta", format!("the same as within the RoPE settings, {inner}")));
        }
        let theta = settings.theta.or(outer_theta).unwrap_or(10_000.0);
        Ok(RopeConfig { theta, rotary_dim: head_dim, style: RopeStyle::HalfSplit, scaling: settings.scaling })
    }

    /// What an object of RoPE settings says, if it is there.
    fn rope_settings(&self, key: &str, prefix: &'static str) -> Result<Option<RopeSettings>, ModelError> {
        let object = self.read(key, "an object", |value| value.is_object().then_some(value))?;
        let Some(object) = object else { return Ok(None) };
        let fields = Fields { path: self.path, object, prefix };
        Ok(Some(RopeSettings { theta: fields.positive("rope_theta")?, scaling: fields.rope_scaling()? }))
    }

    fn rope_scaling(&self) -> Result<RopeScaling, ModelError> {
        self.must_be("partial_rotary_factor", &[1.0.into(), 1.into()])?;
        let key = if self.get("rope_type").is_some() { "rope_type" } else { "type" };
        match self.str(key)? {
            None | Some("default") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear { factor: self.require_positive("factor")? }),
            Some("llama3") => self.llama3_scaling(),
            Some(_) => Err(self.unsupported(key, "\"default\", \"linear\" or \"llama3\"")),
        }
    }

    fn llama3_scaling(&self) -> Result<RopeScaling, ModelError> {
        let low_freq_factor = self.require_positive("low_freq_factor")?;
        let high_freq_factor = self.require_positive("high_freq_factor")?;
        if high_freq_factor <= low_freq_factor {
            let expected = format!("more than low_freq_factor, {low_freq_factor}");
            return Err(self.error("high_freq_factor", expected));
        }
        let original_context = self.require_number("original_max_position_embeddings", MAX_CONTEXT)?;
        Ok(RopeScaling::Llama3 {
            factor: self.require_positive("factor")?,
            low_freq_factor,
            high_freq_factor,
            original_context: original_context as u32,
        })
    }
}
