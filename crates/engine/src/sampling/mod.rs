//! From logits to a token, and from a token to "go on or stop".
//!
//! - [`SamplingParams`]: what a request asks for; [`Defaults`]: what the model's files suggest, and where it
//!   comes from.
//! - [`Sampler`]: the chain of logits processors (one a file) and the draw. [`Candidates`] is its scratch
//!   memory, [`History`] what it remembers of a sequence.
//! - [`StopMatcher`]: stop ids, EOS and stop strings across token borders; [`FinishReason`]: why a sequence
//!   ended.
//!
//! The chain: masks (bias, bans, `min_tokens`, `ignore_eos: forbid`), then penalties, temperature and filters in the
//! order of [`SamplerOrder`], and one draw by inverse CDF in descending order of probability. Each file states its
//! formula; docs/sampling.md has them all. What decides a token is integer arithmetic, single IEEE operations, sums in
//! an order that is written down, crate `libm` and one polynomial for exponentials (`limpid_kernels::ops::mass`): the
//! same logits give the same token on every machine.
//!
//! A constraint (a grammar, say) masks logits: it will be one more mask in the chain, with a state that a fork clones,
//! as [`History`] is.

mod allowed_token_ids;
mod bad_words_ids;
mod candidates;
mod chain;
mod defaults;
mod dry;
mod dynamic_temperature;
mod epsilon_cutoff;
mod eta_cutoff;
mod finish;
mod forbid_eos;
mod frequency_penalty;
mod history;
mod logit_bias;
mod min_p;
mod min_tokens;
mod mirostat;
mod no_repeat_ngram_size;
mod order;
mod params;
mod penalty_scope;
mod presence_penalty;
mod repetition_penalty;
mod rng;
mod sampler;
mod select;
mod stop;
mod sums;
mod suppress_tokens;
mod temperature;
mod top_k;
mod top_n_sigma;
mod top_p;
mod typical_p;
mod validate;
mod xtc;

#[cfg(test)]
mod tests;

pub use candidates::Candidates;
pub use defaults::{Defaults, DefaultsError, Setting, Source};
pub use finish::FinishReason;
pub use history::{History, TokenCount};
pub use order::{SamplerOrder, Stage};
pub use params::{IgnoreEos, ParamError, PenaltyScope, SamplingParams};
pub use rng::{Purpose, Stream};
pub use sampler::{SampleError, Sampler};
pub use stop::{MAX_STOP_BYTES, MAX_STOP_STRINGS, StopMatcher, StopParams};
