//! What a request may ask of the sampler. The ranges in which it makes sense stand in `validate.rs`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::order::SamplerOrder;
use crate::TokenId;

/// What the model's own wish to end means.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum IgnoreEos {
    /// An EOS token ends the sequence.
    #[default]
    No,
    /// EOS is a token like any other (vLLM's `ignore_eos`).
    GenerateThrough,
    /// EOS is masked: it is never chosen (llama.cpp's `--ignore-eos`).
    Forbid,
}

/// Which tokens count for the penalties. (DRY and the bans always look at prompt and output.)
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum PenaltyScope {
    /// Frequency and presence: the output; repetition: prompt and output (vLLM).
    #[default]
    Output,
    /// All three: prompt and output.
    All,
    /// All three: the so many last tokens of prompt and output (llama.cpp: 64).
    Last(u32),
}

impl FromStr for PenaltyScope {
    type Err = ParamError;

    /// `output`, `all` or `last_64`.
    fn from_str(text: &str) -> Result<Self, ParamError> {
        let last = |text: &str| text.strip_prefix("last_")?.parse().ok().filter(|&n| n > 0);
        match text {
            "output" => Ok(PenaltyScope::Output),
            "all" => Ok(PenaltyScope::All),
            _ => last(text).map(PenaltyScope::Last).ok_or_else(|| {
                ParamError::new("penalty_scope", text, "output, all, or last_N such as last_64")
            }),
        }
    }
}

impl fmt::Display for PenaltyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PenaltyScope::Output => f.write_str("output"),
            PenaltyScope::All => f.write_str("all"),
            PenaltyScope::Last(n) => write!(f, "last_{n}"),
        }
    }
}

/// How tokens are chosen, every value resolved: [`super::Defaults`] fills in what a request leaves open.
///
/// Formulas, with their sources, stand in the file of each knob, and together in docs/sampling.md.
#[derive(Clone, PartialEq, Debug)]
pub struct SamplingParams {
    /// Logits are divided by it; 0 is greedy.
    pub temperature: f32,
    /// The temperature when the model is sure, and when it is not; both 0 is off. They take the place of
    /// `temperature`, also of 0.
    pub dynatemp_min: f32,
    pub dynatemp_max: f32,
    /// The power of the entropy's share of its maximum.
    pub dynatemp_exponent: f32,
    /// The smallest set of most likely tokens whose sum reaches it; 1 is off, 0 keeps one.
    pub top_p: f32,
    /// The so many largest, with all ties at the last one; 0 is off.
    pub top_k: u32,
    /// Tokens at least so likely as this share of the most likely one's probability; 0 is off.
    pub min_p: f32,
    /// The smallest set of most typical tokens whose sum reaches it; 1 is off, 0 keeps one.
    pub typical_p: f32,
    /// Tokens at least so likely; 0 is off.
    pub epsilon_cutoff: f32,
    /// The same, less strict where the entropy is large; 0 is off.
    pub eta_cutoff: f32,
    /// Logits at most so many standard deviations below the largest; 0 is off.
    pub top_n_sigma: f32,
    /// With `xtc_probability` (0 is off), only the least likely token of those with p >= `xtc_threshold` stays.
    pub xtc_threshold: f32,
    pub xtc_probability: f32,
    /// The surprise in bits that mirostat aims at, and how fast it corrects; tau 0 is off.
    pub mirostat_tau: f32,
    pub mirostat_eta: f32,
    /// l / r where l > 0, else l * r; 1 is off.
    pub repetition_penalty: f32,
    /// l -= penalty * count; 0 is off.
    pub frequency_penalty: f32,
    /// l -= penalty where count > 0; 0 is off.
    pub presence_penalty: f32,
    pub penalty_scope: PenaltyScope,
    /// l -= multiplier * base^(n - allowed_length) where a token would extend a repeat of n tokens; multiplier 0 is
    /// off.
    pub dry_multiplier: f32,
    pub dry_base: f32,
    pub dry_allowed_length: u32,
    /// Repeats do not reach across these.
    pub dry_breakers: Vec<TokenId>,
    /// No so many tokens occur twice in the same order; 0 is off.
    pub no_repeat_ngram_size: u32,
    /// Sequences of tokens that do not occur, each of one or more.
    pub bad_words_ids: Vec<Vec<TokenId>>,
    /// Tokens that are never chosen.
    pub suppress_tokens: Vec<TokenId>,
    /// The only tokens that are chosen; empty is off.
    pub allowed_token_ids: Vec<TokenId>,
    /// Added to logits, before all else.
    pub logit_bias: Vec<(TokenId, f32)>,
    pub sampler_order: SamplerOrder,
    /// Keys the draws. The caller draws one where the request gives none, and reports it.
    pub seed: u64,
    /// EOS and stop ids are masked, and stop strings not searched, before so many tokens are there.
    pub min_tokens: u32,
    pub ignore_eos: IgnoreEos,
}

/// A value that is out of its range.
#[derive(Clone, PartialEq, Debug, Error)]
#[error("{name} is {value}, allowed is {allowed}")]
pub struct ParamError {
    /// The knob as it is spelled in JSON (`top_p`) or the key of a model's file.
    pub name: String,
    pub value: String,
    pub allowed: String,
}

impl ParamError {
    pub fn new(name: &str, value: impl fmt::Display, allowed: &str) -> Self {
        ParamError { name: name.to_owned(), value: value.to_string(), allowed: allowed.to_owned() }
    }
}

impl SamplingParams {
    /// Greedy decoding with everything else off.
    pub fn greedy() -> Self {
        SamplingParams {
            temperature: 0.0,
            dynatemp_min: 0.0,
            dynatemp_max: 0.0,
            dynatemp_exponent: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            typical_p: 1.0,
            epsilon_cutoff: 0.0,
            eta_cutoff: 0.0,
            top_n_sigma: 0.0,
            xtc_threshold: 0.1,
            xtc_probability: 0.0,
            mirostat_tau: 0.0,
            mirostat_eta: 0.1,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            penalty_scope: PenaltyScope::Output,
            dry_multiplier: 0.0,
            dry_base: 1.75,
            dry_allowed_length: 2,
            dry_breakers: Vec::new(),
            no_repeat_ngram_size: 0,
            bad_words_ids: Vec::new(),
            suppress_tokens: Vec::new(),
            allowed_token_ids: Vec::new(),
            logit_bias: Vec::new(),
            sampler_order: SamplerOrder::Notes,
            seed: 0,
            min_tokens: 0,
            ignore_eos: IgnoreEos::No,
        }
    }

    pub(super) fn has_dynatemp(&self) -> bool {
        self.dynatemp_max > 0.0
    }

    /// Whether the largest logit is taken: nothing is drawn, and no filter applies.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0 && !self.has_dynatemp()
    }

    /// The filters that are turned on, by the knobs that do it.
    pub fn filters(&self) -> Vec<&'static str> {
        SamplerOrder::filters_on(self).collect()
    }
}
