//! From logits to a token, and from a token to "go on or stop".
//!
//! - [`SamplingParams`]: what a request asks for; [`Defaults`]: what the model's files suggest, and where it
//!   comes from.
//! - [`Sampler`]: the chain of logits processors (one a file) and the draw. [`Candidates`] is its scratch
//!   memory, [`History`] what it remembers of a sequence.
//! - [`StopMatcher`]: stop ids, EOS and stop strings across token borders; [`FinishReason`]: why a sequence
//!   ended.
//!
//! The chain, in its default order: masks (`min_tokens`, `ignore_eos: forbid`), penalties on the raw logits
//! (repetition, then frequency, then presence), temperature, top_p, top_k, min_p, and one draw by inverse CDF
//! in descending order of probability. Each file states its formula. Everything that decides a token is
//! integer arithmetic or a single IEEE operation, except one exponential (`weight.rs`): the same logits give
//! the same token on every machine.

mod candidates;
mod chain;
mod defaults;
mod finish;
mod forbid_eos;
mod frequency_penalty;
mod history;
mod min_p;
mod min_tokens;
mod params;
mod presence_penalty;
mod repetition_penalty;
mod rng;
mod sampler;
mod stop;
mod temperature;
mod top_k;
mod top_p;
mod weight;

#[cfg(test)]
mod tests;

pub use candidates::Candidates;
pub use defaults::{Defaults, DefaultsError, Setting, Source};
pub use finish::FinishReason;
pub use history::{History, TokenCount};
pub use params::{IgnoreEos, ParamError, SamplingParams};
pub use rng::{Purpose, Stream};
pub use sampler::{SampleError, Sampler};
pub use stop::{MAX_STOP_STRINGS, StopMatcher, StopParams};
