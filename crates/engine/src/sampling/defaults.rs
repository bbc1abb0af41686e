//! What is in force where a request is silent, and where it comes from.
//!
//! Knob by knob: the model's own files, if they spell the key out; else Limpid's own (temperature 0.8, top_p
//! 0.95, everything else off).

use std::fmt;

use serde_json::Value;

use super::params::{IgnoreEos, ParamError, SamplingParams};

/// Where a default comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The model's `generation_config.json`.
    GenerationConfig,
    /// The `general.sampling.*` keys of a GGUF file.
    GgufHints,
    /// Limpid's own choice: the model's files say nothing.
    Limpid,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::GenerationConfig => "generation_config.json",
            Source::GgufHints => "GGUF general.sampling.*",
            Source::Limpid => "Limpid's own",
        })
    }
}

/// A default value and where it comes from.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Setting<T> {
    pub value: T,
    pub source: Source,
}

/// The defaults of the knobs that a model's files can set.
#[derive(Clone, PartialEq, Debug)]
pub struct Defaults {
    pub temperature: Setting<f32>,
    pub top_p: Setting<f32>,
    pub top_k: Setting<u32>,
    pub min_p: Setting<f32>,
    pub repetition_penalty: Setting<f32>,
    /// Keys in which the files ask for a way of sampling that Limpid does not have: worth a warning.
    pub not_followed: Vec<String>,
}

impl Defaults {
    /// Where the model's files say nothing.
    pub fn limpid() -> Defaults {
        Defaults {
            temperature: Setting { value: 0.8, source: Source::Limpid },
            top_p: Setting { value: 0.95, source: Source::Limpid },
            top_k: Setting { value: 0, source: Source::Limpid },
            min_p: Setting { value: 0.0, source: Source::Limpid },
            repetition_penalty: Setting { value: 1.0, source: Source::Limpid },
            not_followed: Vec::new(),
        }
    }

    /// From the object in `generation_config.json`. Only keys that it spells out count (a null does not);
    /// `do_sample: false` means temperature 0, whatever temperature stands beside it.
    pub fn from_generation_config(config: &Value) -> Result<Defaults, ParamError> {
        const NOT_FOLLOWED: [(&str, f64); 6] = [
            ("typical_p", 1.0),
            ("epsilon_cutoff", 0.0),
            ("eta_cutoff", 0.0),
            ("no_repeat_ngram_size", 0.0),
            ("encoder_repetition_penalty", 1.0),
            ("num_beams", 1.0),
        ];
        let mut defaults = Defaults::limpid();
        let mut read = |key: &str| match config.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) => Ok(Some(number)),
                None => Err(ParamError::new(&format!("{key} in generation_config.json"), value, "a number")),
            },
        };
        let keys = ["temperature", "top_p", "top_k", "min_p", "repetition_penalty"];
        defaults.set(Source::GenerationConfig, keys, &mut read)?;
        defaults.note_not_followed(&NOT_FOLLOWED, &mut read)?;
        match config.get("do_sample") {
            None | Some(Value::Null | Value::Bool(true)) => {}
            Some(Value::Bool(false)) => {
                defaults.temperature = Setting { value: 0.0, source: Source::GenerationConfig };
            }
            Some(value) => {
                return Err(ParamError::new("do_sample in generation_config.json", value, "true or false"));
            }
        }
        Ok(defaults)
    }

    /// From a GGUF file's hints: `get` looks up a key's number (integer or float) and gives none where the
    /// key is absent.
    pub fn from_hints(get: impl Fn(&str) -> Option<f64>) -> Result<Defaults, ParamError> {
        // llama.cpp's penalty_last_n would narrow the scope of the penalty; Limpid's is the whole text.
        const NOT_FOLLOWED: [(&str, f64); 3] = [
            ("general.sampling.xtc_probability", 0.0),
            ("general.sampling.mirostat", 0.0),
            ("general.sampling.penalty_last_n", -1.0),
        ];
        let mut defaults = Defaults::limpid();
        let mut read = |key: &str| Ok(get(key));
        let keys = [
            "general.sampling.temp",
            "general.sampling.top_p",
            "general.sampling.top_k",
            "general.sampling.min_p",
            "general.sampling.penalty_repeat",
        ];
        defaults.set(Source::GgufHints, keys, &mut read)?;
        defaults.note_not_followed(&NOT_FOLLOWED, &mut read)?;
        Ok(defaults)
    }

    /// The parameters of a request that is silent about everything but its seed.
    pub fn params(&self, seed: u64) -> SamplingParams {
        SamplingParams {
            temperature: self.temperature.value,
            top_p: self.top_p.value,
            top_k: self.top_k.value,
            min_p: self.min_p.value,
            repetition_penalty: self.repetition_penalty.value,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            seed,
            min_tokens: 0,
            ignore_eos: IgnoreEos::No,
        }
    }

    /// `keys`: the file's names of temperature, top_p, top_k, min_p and repetition penalty.
    fn set(
        &mut self,
        source: Source,
        keys: [&str; 5],
        read: &mut dyn FnMut(&str) -> Result<Option<f64>, ParamError>,
    ) -> Result<(), ParamError> {
        let [temperature, top_p, top_k, min_p, repetition_penalty] = keys;
        for (key, setting) in [
            (temperature, &mut self.temperature),
            (top_p, &mut self.top_p),
            (min_p, &mut self.min_p),
            (repetition_penalty, &mut self.repetition_penalty),
        ] {
            if let Some(value) = read(key)? {
                *setting = Setting { value: value as f32, source };
            }
        }
        if let Some(value) = read(top_k)? {
            if value.fract() != 0.0 || value > f64::from(u32::MAX) {
                return Err(ParamError::new(top_k, value, "a whole number; 0 or less is off"));
            }
            // Below 0 saturates to 0: vLLM and llama.cpp write -1 for "off".
            self.top_k = Setting { value: value as u32, source };
        }
        self.params(0)
            .validate()
            .map_err(|error| ParamError { name: format!("{} ({source})", error.name), ..error })
    }

    /// Notes the keys that are there with a value other than the one that means "off".
    fn note_not_followed(
        &mut self,
        keys: &[(&str, f64)],
        read: &mut dyn FnMut(&str) -> Result<Option<f64>, ParamError>,
    ) -> Result<(), ParamError> {
        for &(key, off) in keys {
            if read(key)?.is_some_and(|value| value != off) {
                self.not_followed.push(key.to_owned());
            }
        }
        Ok(())
    }
}
