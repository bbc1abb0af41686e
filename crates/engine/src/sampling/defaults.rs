//! What is in force where a request is silent, and where it comes from.
//!
//! Knob by knob: the model's own files, if they spell the key out; else Limpid's own (temperature 0.8, top_p
//! 0.95, everything else off).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde_json::Value as Json;

use super::params::{ParamError, SamplingParams};
use crate::TokenId;
use crate::weights::{Metadata, gguf};

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

/// The model's files suggest what makes no sense.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{}: {error}; correct the file or remove the key", path.display())]
pub struct DefaultsError {
    pub path: PathBuf,
    pub error: ParamError,
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
    pub suppress_tokens: Setting<Vec<TokenId>>,
    pub bad_words_ids: Setting<Vec<Vec<TokenId>>>,
    /// What other numbers the files set, by the knob's name.
    pub others: Vec<(&'static str, Setting<f32>)>,
    /// All knobs but those above: off, or as in `others`.
    rest: SamplingParams,
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
            suppress_tokens: Setting { value: Vec::new(), source: Source::Limpid },
            bad_words_ids: Setting { value: Vec::new(), source: Source::Limpid },
            others: Vec::new(),
            rest: SamplingParams::greedy(),
            not_followed: Vec::new(),
        }
    }

    /// What the files of a model with so many tokens suggest.
    pub fn of(metadata: &Metadata, vocab_size: usize) -> Result<Defaults, DefaultsError> {
        let (path, read) = match metadata {
            Metadata::Gguf(gguf) => (gguf.path().to_owned(), Defaults::from_hints(gguf.iter())),
            Metadata::HuggingFace(hf) => (
                hf.folder.join("generation_config.json"),
                hf.generation_config
                    .as_ref()
                    .map_or_else(|| Ok(Defaults::limpid()), Defaults::from_generation_config),
            ),
        };
        let checked = read.and_then(|defaults| {
            defaults.params(0).validate_ids(vocab_size)?;
            Ok(defaults)
        });
        checked.map_err(|error| DefaultsError { path, error })
    }

    /// From the object in `generation_config.json`. Only keys that it spells out count (a null does not);
    /// `do_sample: false` means temperature 0, whatever temperature stands beside it.
    pub fn from_generation_config(config: &Json) -> Result<Defaults, ParamError> {
        let mut defaults = Defaults::limpid();
        let mut read = |key: &str| match config.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) => Ok(Some(number)),
                None => Err(ParamError::new(key, value, "a number")),
            },
        };
        let keys = ["temperature", "top_p", "top_k", "min_p", "repetition_penalty"];
        defaults.set(Source::GenerationConfig, keys, &mut read)?;
        match config.get("do_sample") {
            None | Some(Json::Null | Json::Bool(true)) => {}
            Some(Json::Bool(false)) => {
                defaults.temperature = Setting { value: 0.0, source: Source::GenerationConfig };
            }
            Some(value) => return Err(ParamError::new("do_sample", value, "true or false")),
        }
        for key in CONFIG_OTHERS {
            if let Some(value) = read(key)? {
                defaults.set_other(key, value, Source::GenerationConfig)?;
            }
        }
        defaults.set_lists(config)?;
        for (key, value) in config.as_object().into_iter().flatten() {
            let off = CONFIG_OFF.iter().find(|(name, _)| name == key);
            let is_followed = match off {
                Some(&(_, off)) => read(key)?.is_none_or(|value| value == off),
                None => {
                    let known = [&keys[..], &CONFIG_OTHERS, &CONFIG_LISTS, &CONFIG_SILENT].concat();
                    known.contains(&key.as_str()) || is_empty(value)
                }
            };
            if !is_followed {
                defaults.not_followed.push(key.clone());
            }
        }
        defaults.checked(Source::GenerationConfig)
    }

    /// From the metadata of a GGUF file, of which the keys of llama.cpp's sampling hints count.
    pub fn from_hints<'a>(
        metadata: impl Iterator<Item = (&'a str, &'a gguf::Value)>,
    ) -> Result<Defaults, ParamError> {
        let hints: BTreeMap<_, _> = metadata.filter(|(key, _)| key.starts_with(HINTS)).collect();
        let mut read = |key: &str| match hints.get(key) {
            None => Ok(None),
            Some(gguf::Value::Int(value)) => Ok(Some(*value as f64)),
            Some(gguf::Value::Float(value)) => Ok(Some(*value)),
            Some(value) => Err(ParamError::new(key, value, "a number")),
        };
        let mut defaults = Defaults::limpid();
        let keys = [
            "general.sampling.temp",
            "general.sampling.top_p",
            "general.sampling.top_k",
            "general.sampling.min_p",
            "general.sampling.penalty_repeat",
        ];
        defaults.set(Source::GgufHints, keys, &mut read)?;
        let has_mirostat = read("general.sampling.mirostat")? == Some(2.0);
        let has_xtc = read("general.sampling.xtc_probability")?.is_some_and(|probability| probability > 0.0);
        for (key, knob) in HINTS_OTHERS {
            let is_on = if knob.starts_with("mirostat") { has_mirostat } else { has_xtc };
            if let Some(value) = read(key)?.filter(|_| is_on) {
                defaults.set_other(knob, value, Source::GgufHints)?;
            }
        }
        if has_mirostat && defaults.rest.mirostat_tau == 0.0 {
            // llama.cpp's own.
            defaults.set_other("mirostat_tau", 5.0, Source::GgufHints)?;
        }
        for &key in hints.keys() {
            let off = HINTS_OFF.iter().find(|(name, _)| key[HINTS.len()..] == **name);
            let is_followed = match off {
                Some(_) if has_mirostat && key == "general.sampling.mirostat" => true,
                Some(&(_, off)) => read(key)?.is_none_or(|value| value == off),
                None => keys.contains(&key) || HINTS_OTHERS.iter().any(|&(name, _)| name == key),
            };
            if !is_followed {
                defaults.not_followed.push(key.to_owned());
            }
        }
        defaults.checked(Source::GgufHints)
    }

    /// The same where nothing is drawn: temperature 0, and no mirostat, which learns from draws.
    pub fn greedy(mut self) -> Defaults {
        self.temperature = Setting { value: 0.0, source: Source::Limpid };
        self.rest.mirostat_tau = 0.0;
        self.others.retain(|(name, _)| !name.starts_with("mirostat"));
        self
    }

    /// The parameters of a request that is silent about everything but its seed.
    pub fn params(&self, seed: u64) -> SamplingParams {
        SamplingParams {
            temperature: self.temperature.value,
            top_p: self.top_p.value,
            top_k: self.top_k.value,
            min_p: self.min_p.value,
            repetition_penalty: self.repetition_penalty.value,
            suppress_tokens: self.suppress_tokens.value.clone(),
            bad_words_ids: self.bad_words_ids.value.clone(),
            seed,
            ..self.rest.clone()
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
            if value.fract() != 0.0 || !(-1.0..=f64::from(u32::MAX)).contains(&value) {
                return Err(ParamError::new(top_k, value, "a whole number; 0 and -1 are off"));
            }
            // -1 saturates to 0: vLLM and llama.cpp write it for "off".
            self.top_k = Setting { value: value as u32, source };
        }
        Ok(())
    }

    /// The same error, of a value that no request gave: it says whose default it is.
    pub fn blamed(&self, error: ParamError) -> ParamError {
        match self.source_of(&error.name) {
            None => error,
            Some(source) => ParamError {
                value: format!("{} by default ({source})", error.value),
                allowed: format!("{}; set it yourself", error.allowed),
                ..error
            },
        }
    }

    /// Where the value of a knob comes from, if there is a default.
    fn source_of(&self, knob: &str) -> Option<Source> {
        match knob {
            "temperature" => Some(self.temperature.source),
            "top_p" => Some(self.top_p.source),
            "top_k" => Some(self.top_k.source),
            "min_p" => Some(self.min_p.source),
            "repetition_penalty" => Some(self.repetition_penalty.source),
            "suppress_tokens" => Some(self.suppress_tokens.source),
            "bad_words_ids" => Some(self.bad_words_ids.source),
            _ => self.others.iter().find(|(name, _)| *name == knob).map(|(_, setting)| setting.source),
        }
    }

    /// The knobs that are lists of tokens.
    fn set_lists(&mut self, config: &Json) -> Result<(), ParamError> {
        let source = Source::GenerationConfig;
        let given = |key: &str| config.get(key).filter(|value| !is_empty(value));
        if let Some(value) = given("suppress_tokens") {
            let ids = token_ids(value).ok_or_else(|| {
                ParamError::new(&format!("suppress_tokens ({source})"), value, "a list of token ids")
            })?;
            self.suppress_tokens = Setting { value: ids, source };
        }
        if let Some(value) = given("bad_words_ids") {
            let words = value.as_array().and_then(|words| words.iter().map(token_ids).collect());
            let words = words.ok_or_else(|| {
                ParamError::new(&format!("bad_words_ids ({source})"), value, "a list of lists of token ids")
            })?;
            self.bad_words_ids = Setting { value: words, source };
        }
        Ok(())
    }

    /// A knob that few files set.
    fn set_other(&mut self, knob: &'static str, value: f64, source: Source) -> Result<(), ParamError> {
        let whole = |most: u32| match value {
            n if n.fract() == 0.0 && (0.0..=f64::from(most)).contains(&n) => Ok(n as u32),
            _ => Err(ParamError::new(&format!("{knob} ({source})"), value, "a whole number, 0 or more")),
        };
        let (rest, number) = (&mut self.rest, value as f32);
        match knob {
            "typical_p" => rest.typical_p = number,
            "epsilon_cutoff" => rest.epsilon_cutoff = number,
            "eta_cutoff" => rest.eta_cutoff = number,
            "no_repeat_ngram_size" => rest.no_repeat_ngram_size = whole(u32::MAX)?,
            "xtc_probability" => rest.xtc_probability = number,
            "xtc_threshold" => rest.xtc_threshold = number,
            "mirostat_tau" => rest.mirostat_tau = number,
            "mirostat_eta" => rest.mirostat_eta = number,
            _ => unreachable!("a knob of the tables below"),
        }
        self.others.push((knob, Setting { value: number, source }));
        Ok(())
    }

    /// A file's values are in range, and do not contradict each other.
    fn checked(self, source: Source) -> Result<Defaults, ParamError> {
        match self.params(0).validate() {
            Ok(()) => Ok(self),
            Err(error) => Err(ParamError { name: format!("{} ({source})", error.name), ..error }),
        }
    }
}

/// Where a GGUF file keeps what llama.cpp's sampler takes from it.
const HINTS: &str = "general.sampling.";

/// Hints for what Limpid does not have, with the number that means "off". (penalty_last_n would narrow the scope of the
/// penalty; Limpid's is the whole text.) A hint that stands neither here nor among those that are read is not followed,
/// whatever its value.
const HINTS_OFF: [(&str, f64); 2] = [("mirostat", 0.0), ("penalty_last_n", -1.0)];

/// Hints that are followed, and the knobs that they set. (Those of mirostat count with
/// `mirostat` = 2 only, those of XTC with a probability.)
const HINTS_OTHERS: [(&str, &str); 4] = [
    ("general.sampling.xtc_probability", "xtc_probability"),
    ("general.sampling.xtc_threshold", "xtc_threshold"),
    ("general.sampling.mirostat_tau", "mirostat_tau"),
    ("general.sampling.mirostat_eta", "mirostat_eta"),
];

/// Keys of generation_config.json that are called as the knobs are.
const CONFIG_OTHERS: [&str; 4] = ["typical_p", "epsilon_cutoff", "eta_cutoff", "no_repeat_ngram_size"];

/// Keys of generation_config.json that are lists of tokens.
const CONFIG_LISTS: [&str; 2] = ["suppress_tokens", "bad_words_ids"];

/// Keys of generation_config.json for what Limpid does not have, with the number that means "off".
const CONFIG_OFF: [(&str, f64); 10] = [
    ("encoder_repetition_penalty", 1.0),
    ("encoder_no_repeat_ngram_size", 0.0),
    ("num_beams", 1.0),
    ("num_beam_groups", 1.0),
    ("num_return_sequences", 1.0),
    ("length_penalty", 1.0),
    ("diversity_penalty", 0.0),
    ("guidance_scale", 1.0),
    ("min_length", 0.0),
    // What transformers takes if nobody says anything.
    ("max_length", 20.0),
];

/// Keys that are read elsewhere (the tokenizer's), or that change no text.
const CONFIG_SILENT: [&str; 16] = [
    "do_sample",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "transformers_version",
    "_from_model_config",
    "trust_remote_code",
    "use_cache",
    "cache_implementation",
    "cache_config",
    "output_attentions",
    "output_hidden_states",
    "output_logits",
    "output_scores",
    "return_dict_in_generate",
];

fn token_ids(value: &Json) -> Option<Vec<TokenId>> {
    let id = |value: &Json| Some(TokenId(u32::try_from(value.as_u64()?).ok()?));
    value.as_array()?.iter().map(id).collect()
}

/// A value that asks for nothing.
fn is_empty(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(false) => true,
        Json::Array(values) => values.is_empty(),
        Json::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
