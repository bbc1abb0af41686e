//! A request inside the engine: first it waits, then it runs.

use super::event::{Events, RequestError, Usage};
use super::request::RequestId;
use super::sequence::{Sequence, TokenLimit};
use crate::TokenId;
use crate::kv::KvCache;
use crate::sampling::{FinishReason, Sampler, StopMatcher};
use crate::stats::RequestRecorder;
use crate::tokenizer::Tokenizer;
use std::time::Duration;

/// A request that was let in and has not begun.
pub(super) struct Waiting {
    pub(super) id: RequestId,
    pub(super) prompt: Vec<TokenId>,
    pub(super) sampler: Sampler,
    pub(super) stops: StopMatcher,
    pub(super) limit: TokenLimit,
    /// The pages, by layer group, that it needs at worst.
    pub(super) n_pages: Vec<usize>,
    pub(super) recorder: RequestRecorder,
}

impl Waiting {
    pub(super) fn start(mut self, kv: &mut KvCache, tokenizer: &Tokenizer, now: Duration) -> Running {
        self.recorder.started(now);
        let seq = kv.create(self.prompt.len() + self.limit.max_tokens);
        let sequence = Sequence::new(seq, self.prompt, self.sampler, self.stops, self.limit, tokenizer);
        Running {
            id: self.id,
            sequences: vec![sequence],
            n_pages: self.n_pages,
            recorder: self.recorder,
            computed_tokens: 0,
            error: None,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        Usage { prompt_tokens: self.prompt.len(), ..Usage::default() }
    }
}

/// A request that the model works on.
pub(super) struct Running {
    pub(super) id: RequestId,
    /// All of one prompt. One today; several choices and beams fork it.
    pub(super) sequences: Vec<Sequence>,
    pub(super) n_pages: Vec<usize>,
    pub(super) recorder: RequestRecorder,
    pub(super) computed_tokens: usize,
    pub(super) error: Option<RequestError>,
}

impl Running {
    /// Why the request ended, once all of its sequences have.
    pub(super) fn reason(&self) -> Option<&FinishReason> {
        if self.error.is_some() {
            return Some(&FinishReason::Error);
        }
        self.sequences
            .iter()
            .map(|sequence| sequence.reason.as_ref())
            .reduce(|first, next| next.and(first))
            .flatten()
    }

    pub(super) fn usage(&self) -> Usage {
        Usage {
            prompt_tokens: self.sequences.first().map_or(0, Sequence::n_prompt),
            completion_tokens: self.sequences.iter().map(Sequence::n_generated).sum(),
            computed_tokens: self.computed_tokens,
        }
    }

    /// Appends a token to a sequence and says so. Whether it released text.
    pub(super) fn push(&mut self, i: usize, id: TokenId, tokenizer: &Tokenizer, events: &mut Events) -> bool {
        let sequence = &mut self.sequences[i];
        events.token(self.id, id, |out| sequence.push(id, tokenizer, out))
    }

    /// Says what was held back, for a request that is cut off.
    pub(super) fn release_text(&mut self, events: &mut Events) {
        for sequence in &mut self.sequences {
            events.text(self.id, |out| sequence.release_text(out));
        }
    }
}
