//! What a request may ask of the sampler, and the ranges in which it makes sense.

use std::fmt;

use thiserror::Error;

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

/// How tokens are chosen, every value resolved: [`super::Defaults`] fills in what a request leaves open.
#[derive(Clone, PartialEq, Debug)]
pub struct SamplingParams {
    /// Logits are divided by it; 0 is greedy.
    pub temperature: f32,
    /// The smallest set of most likely tokens whose sum reaches it; 1 is off, 0 keeps one.
    pub top_p: f32,
    /// The so many largest, with all ties at the last one; 0 is off.
    pub top_k: u32,
    /// Tokens at least so likely as this share of the most likely one's probability; 0 is off.
    pub min_p: f32,
    /// Over prompt and output: l / r where l > 0, else l * r; 1 is off.
    pub repetition_penalty: f32,
    /// l -= penalty * count, over the output; 0 is off.
    pub frequency_penalty: f32,
    /// l -= penalty where count > 0, over the output; 0 is off.
    pub presence_penalty: f32,
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
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            seed: 0,
            min_tokens: 0,
            ignore_eos: IgnoreEos::No,
        }
    }

    /// Refuses a value that is not a number or out of range, by name.
    ///
    /// Temperature and repetition penalty stay away from 0 because a quotient must not overflow; below 1e-6
    /// no two different logits of a real model are left in play, so nothing is lost by asking for 0. The
    /// range of the two other penalties is that of OpenAI's API and vLLM.
    pub fn validate(&self) -> Result<(), ParamError> {
        check("temperature", self.temperature, "0 (greedy) or from 0.000001 to 1000000", |t| {
            t == 0.0 || (1e-6..=1e6).contains(&t)
        })?;
        check("top_p", self.top_p, "from 0 to 1", |p| (0.0..=1.0).contains(&p))?;
        check("min_p", self.min_p, "from 0 to 1", |p| (0.0..=1.0).contains(&p))?;
        check("repetition_penalty", self.repetition_penalty, "from 0.01 to 100", |r| {
            (0.01..=100.0).contains(&r)
        })?;
        check("frequency_penalty", self.frequency_penalty, "from -2 to 2", |a| (-2.0..=2.0).contains(&a))?;
        check("presence_penalty", self.presence_penalty, "from -2 to 2", |a| (-2.0..=2.0).contains(&a))
    }
}

/// `inside` must be false for NaN, as every comparison with it is.
fn check(name: &str, value: f32, allowed: &str, inside: impl Fn(f32) -> bool) -> Result<(), ParamError> {
    if inside(value) { Ok(()) } else { Err(ParamError::new(name, value, allowed)) }
}
