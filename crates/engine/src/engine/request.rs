//! What a caller asks for, and why the engine may refuse it.

use crate::TokenId;
use crate::decode::{Decoding, LogprobParams};
use crate::sampling::{ParamError, SamplingParams, StopParams};
use std::fmt;
use std::time::Duration;

/// A request, numbered in the order of submission.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u64);

/// A conversation, numbered by the caller: requests of which each one's prompt goes on from what the last one had.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConversationId(pub u64);

/// One prompt to be continued.
#[derive(Clone, Debug)]
pub struct Request {
    /// At least one token, BOS included where the model wants it.
    pub prompt: Vec<TokenId>,
    pub sampling: SamplingParams,
    pub stop: StopParams,
    /// At least 1; `None`: what is left of the context or of the KV cache, whichever is less.
    pub max_tokens: Option<usize>,
    pub context_overflow: ContextOverflow,
    pub decoding: Decoding,
    pub logprobs: LogprobParams,
    /// The request ends in the first step that begins so long after `accepted_at`. When that is depends on the machine:
    /// the one thing about a request that is not exact.
    pub time_limit: Option<Duration>,
    /// What was computed stays in the cache for the conversation's next request, as long as nobody needs the pages:
    /// speed, no byte. Where several texts are generated nothing stays.
    pub conversation: Option<ConversationId>,
    /// When the request came, and when its prompt had become token ids, by the engine's clock.
    pub accepted_at: Duration,
    pub tokenized_at: Duration,
}

impl Request {
    /// One text, with nothing asked for but how its tokens are chosen; accepted at 0.
    pub fn new(prompt: Vec<TokenId>, sampling: SamplingParams) -> Self {
        Self {
            prompt,
            sampling,
            stop: StopParams::default(),
            max_tokens: None,
            context_overflow: ContextOverflow::Error,
            decoding: Decoding::default(),
            logprobs: LogprobParams::default(),
            time_limit: None,
            conversation: None,
            accepted_at: Duration::ZERO,
            tokenized_at: Duration::ZERO,
        }
    }

    /// Refuses what is out of range or does not go together, whatever the model and the engine's limits are.
    pub fn validate(&self) -> Result<(), ParamError> {
        self.sampling.validate()?;
        self.decoding.validate()?;
        self.logprobs.validate()?;
        let Decoding::Beams(_) = self.decoding else { return Ok(()) };
        let &SamplingParams { temperature, dynatemp_max, .. } = &self.sampling;
        for (name, value) in [("temperature", temperature), ("dynatemp_max", dynatemp_max)] {
            if value != 0.0 {
                return Err(ParamError::new(name, value, "0 with num_beams: beams do not draw"));
            }
        }
        match self.logprobs.output {
            Some(n) if n > 0 => {
                Err(ParamError::new("logprobs", n, "0 with num_beams: that of the chosen token"))
            }
            _ => Ok(()),
        }
    }
}

/// What becomes of a prompt that leaves too little room for `max_tokens`, or none at all.
///
/// Where a request does not say how much room it needs, a quarter of what there is is made free.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ContextOverflow {
    /// The request is refused.
    #[default]
    Error,
    /// Its last tokens are kept.
    TruncateLeft,
    /// As many of its first as of its last tokens are kept.
    TruncateMiddle,
}

/// Prompt tokens that were dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dropped {
    /// Position of the first.
    pub start: usize,
    pub n_tokens: usize,
}

/// What limits the length of a sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LengthLimit {
    /// The most that the model was made for: nobody can enlarge it.
    Model,
    Context,
    KvCache,
    /// The cache, if so many sequences share it.
    SharedKvCache {
        n_sequences: usize,
    },
}

impl fmt::Display for LengthLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LengthLimit::Model => f.write_str("the model's context"),
            LengthLimit::Context => f.write_str("the context"),
            LengthLimit::KvCache => f.write_str("the KV cache"),
            LengthLimit::SharedKvCache { n_sequences } => {
                write!(f, "the KV cache, shared by {n_sequences} sequences,")
            }
        }
    }
}

/// What prompts are checked against. The engine does so when a request comes; who knows the limits earlier can do it
/// before a model is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PromptLimits {
    pub vocab_size: usize,
    /// The longest sequence, and what makes it so.
    pub limit: LengthLimit,
    pub max_len: usize,
}

impl PromptLimits {
    /// Refuses what cannot be computed, whatever is generated afterwards.
    pub fn check_prompt(&self, prompt: &[TokenId]) -> Result<(), SubmitError> {
        let &Self { vocab_size, limit, max_len } = self;
        if prompt.is_empty() {
            return Err(SubmitError::EmptyPrompt);
        }
        if let Some(position) = prompt.iter().position(|token| token.0 as usize >= vocab_size) {
            return Err(SubmitError::UnknownToken { token: prompt[position], position, vocab_size });
        }
        let n_prompt = prompt.len();
        if n_prompt > max_len { Err(SubmitError::PromptTooLong { n_prompt, limit, max_len }) } else { Ok(()) }
    }

    /// Removes from a prompt that is too long what `overflow` says. Refuses to drop all of it.
    pub fn fit_prompt(
        &self,
        prompt: &mut Vec<TokenId>,
        asked: Option<usize>,
        overflow: ContextOverflow,
    ) -> Result<Option<Dropped>, SubmitError> {
        let &Self { limit, max_len, .. } = self;
        if let Some(max_tokens) = asked.filter(|&asked| asked >= max_len)
            && overflow != ContextOverflow::Error
        {
            return Err(SubmitError::NoRoomForPrompt { max_tokens, limit, max_len });
        }
        let dropped = self.overflow(prompt.len(), asked, overflow);
        if let Some(Dropped { start, n_tokens }) = dropped {
            prompt.drain(start..start + n_tokens);
        }
        Ok(dropped)
    }

    /// What of a prompt is dropped so that `asked` tokens fit behind it; nothing where they do.
    fn overflow(&self, n_prompt: usize, asked: Option<usize>, overflow: ContextOverflow) -> Option<Dropped> {
        let n_kept = match asked {
            Some(asked) => self.max_len.saturating_sub(asked),
            None if n_prompt < self.max_len => n_prompt,
            None => self.max_len - self.max_len.div_ceil(4),
        };
        let n_tokens = n_prompt.saturating_sub(n_kept);
        let start = match overflow {
            _ if n_tokens == 0 || n_kept == 0 => return None,
            ContextOverflow::Error => return None,
            ContextOverflow::TruncateLeft => 0,
            ContextOverflow::TruncateMiddle => n_kept.div_ceil(2),
        };
        Some(Dropped { start, n_tokens })
    }

    /// How many tokens may follow a prompt: what is asked, if that fits, or else all that fits.
    pub fn max_tokens(
        &self,
        n_prompt: usize,
        asked: Option<usize>,
        min_tokens: u32,
    ) -> Result<usize, SubmitError> {
        let &Self { limit, max_len, .. } = self;
        if n_prompt >= max_len {
            return Err(SubmitError::PromptTooLong { n_prompt, limit, max_len });
        }
        let left = max_len - n_prompt;
        let max_tokens = asked.unwrap_or(left);
        if max_tokens == 0 {
            return Err(ParamError::new("max_tokens", 0, "1 or more").into());
        }
        if max_tokens > left {
            return Err(SubmitError::TooLong { n_prompt, max_tokens, limit, max_len });
        }
        if min_tokens as usize > max_tokens {
            let allowed = format!("from 0 to {max_tokens}, the most that may be generated");
            return Err(ParamError::new("min_tokens", min_tokens, &allowed).into());
        }
        Ok(max_tokens)
    }
}

/// A request that is refused for what it asks.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("the prompt is empty; it needs one token at least (BOS would do)")]
    EmptyPrompt,
    #[error(
        "token id {} at position {position} of the prompt is not in the vocabulary; ids go from 0 to {}",
        token.0, vocab_size.saturating_sub(1)
    )]
    UnknownToken { token: TokenId, position: usize, vocab_size: usize },
    /// Nothing could follow it, or it is longer than the limit by itself.
    #[error(
        "the prompt has {}, and {limit} holds {max_len}{}. Shorten the prompt{}",
        tokens(*n_prompt), if n_prompt > max_len { "" } else { ": no room for an answer" }, or_enlarge(*limit)
    )]
    PromptTooLong { n_prompt: usize, limit: LengthLimit, max_len: usize },
    #[error(
        "the prompt has {} and max_tokens is {max_tokens}, but {limit} holds {max_len}. \
         Lower max_tokens to {} or shorten the prompt{}",
        tokens(*n_prompt), max_len - n_prompt, or_enlarge(*limit)
    )]
    TooLong { n_prompt: usize, max_tokens: usize, limit: LengthLimit, max_len: usize },
    /// The prompt may be cut, but not to nothing.
    #[error(
        "max_tokens is {max_tokens}, and {limit} holds {max_len}, prompt included: nothing of the prompt could stay. \
         Lower max_tokens below {max_len}{}", or_enlarge(*limit)
    )]
    NoRoomForPrompt { max_tokens: usize, limit: LengthLimit, max_len: usize },
    #[error(transparent)]
    Param(#[from] ParamError),
    #[error("{max_waiting} requests are waiting already, the most that are let in; try again later")]
    QueueFull { max_waiting: usize },
}

fn tokens(n: usize) -> String {
    format!("{n} token{}", if n == 1 { "" } else { "s" })
}

fn or_enlarge(limit: LengthLimit) -> String {
    match limit {
        LengthLimit::Model => String::new(),
        LengthLimit::Context | LengthLimit::KvCache => format!(", or enlarge {limit}"),
        LengthLimit::SharedKvCache { .. } => ", enlarge the KV cache or ask for fewer sequences".to_owned(),
    }
}
