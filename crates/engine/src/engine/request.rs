//! What a caller asks for, and why the engine may refuse it.

use crate::TokenId;
use crate::sampling::{ParamError, SamplingParams, StopParams};
use std::fmt;
use std::time::Duration;

/// A request, numbered in the order of submission.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u64);

/// One prompt to be continued.
#[derive(Clone, Debug)]
pub struct Request {
    /// At least one token, BOS included where the model wants it.
    pub prompt: Vec<TokenId>,
    pub sampling: SamplingParams,
    pub stop: StopParams,
    /// At least 1; `None`: what is left of the context or of the KV cache, whichever is less.
    pub max_tokens: Option<usize>,
    /// When the request came, and when its prompt had become token ids, by the engine's clock.
    pub accepted_at: Duration,
    pub tokenized_at: Duration,
}

/// What limits the length of a sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LengthLimit {
    Context,
    KvCache,
}

impl fmt::Display for LengthLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LengthLimit::Context => "the context",
            LengthLimit::KvCache => "the KV cache",
        })
    }
}

/// A request that is refused for what it asks.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("the prompt is empty; it needs one token at least (BOS would do)")]
    EmptyPrompt,
    #[error("token id {} at position {position} of the prompt is not in the vocabulary of {vocab_size}", token.0)]
    UnknownToken { token: TokenId, position: usize, vocab_size: usize },
    #[error(
        "the prompt has {n_prompt} tokens, and {limit} holds {max_len}: no room for an answer. \
         Shorten the prompt or enlarge {limit}"
    )]
    PromptTooLong { n_prompt: usize, limit: LengthLimit, max_len: usize },
    #[error(
        "the prompt has {n_prompt} tokens and max_tokens is {max_tokens}, {} together, but {limit} holds {max_len}. \
         Shorten the prompt, lower max_tokens to {} or enlarge {limit}",
        n_prompt.saturating_add(*max_tokens), max_len - n_prompt
    )]
    TooLong { n_prompt: usize, max_tokens: usize, limit: LengthLimit, max_len: usize },
    #[error(transparent)]
    Param(#[from] ParamError),
    #[error("{max_waiting} requests are waiting already, the most that are let in; try again later")]
    QueueFull { max_waiting: usize },
}
