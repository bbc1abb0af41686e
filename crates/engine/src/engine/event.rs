//! What the engine says happened.

use super::request::{Dropped, RequestId};
use crate::TokenId;
use crate::decode::{Logprobs, TokenLogprobs, TopLogprob};
use crate::model::ForwardError;
use crate::sampling::{FinishReason, SampleError};
use crate::stats::RequestTimings;
use std::ops::Range;

/// One thing that happened to one request.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Event<'a> {
    pub request: RequestId,
    pub kind: EventKind<'a>,
}

/// What happened. A request's events come in this order: started, the prompt's log-probabilities, any number of tokens
/// and texts, an end for each of its texts, finished; of one that never started, the last alone. `choice` counts a
/// request's texts; the text of one is the concatenation of all that is told of it. Of texts that are compared before
/// they are known (best_of, beams) choice 0 is the best; what all beams agree on is told early, all else at the end. A
/// search that is out of time gives the texts that it has, which may be fewer than were asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum EventKind<'a> {
    /// The request left the queue. `dropped`: what of its prompt was too much for the context.
    Started { dropped: Option<Dropped> },
    /// Of each prompt token but the first, if they are asked for.
    PromptLogprobs(&'a Logprobs),
    /// A token was chosen. `text` is what it released: empty while a character is incomplete or a stop string is
    /// possible, more than the token's own where held text came free. `logprobs` if they are asked for.
    Token { choice: usize, id: TokenId, text: &'a str, logprobs: Option<TokenLogprobs<'a>> },
    /// Held text came free without a token: the request was cancelled, failed or out of time.
    Text { choice: usize, text: &'a str },
    /// A text is complete. `score`: what it was ranked by, if it was: the mean log-probability of its tokens, or a
    /// beam's score.
    Ended { choice: usize, reason: &'a FinishReason, score: Option<f64> },
    /// The last event. Every request that was submitted gets exactly one.
    Finished(&'a Finished),
}

/// How a request ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Finished {
    /// Of the first text; or why the request was cut off.
    pub reason: FinishReason,
    /// Set if the reason is [`FinishReason::Error`].
    pub error: Option<RequestError>,
    pub usage: Usage,
    pub timings: RequestTimings,
}

/// What went wrong with one request; the others go on. An error in one of its texts ends all of its texts, since their
/// logits are those of one model and one prompt: those that had ended before keep their own reasons.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum RequestError {
    #[error(transparent)]
    Sample(#[from] SampleError),
    #[error(transparent)]
    Forward(#[from] ForwardError),
    #[error(
        "the logits after token {position} of the prompt are not finite: the weights are damaged or overflow, get \
         the model again"
    )]
    PromptLogits { position: usize },
}

/// Tokens of one request.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    pub prompt_tokens: usize,
    /// Tokens generated, an EOS included: of all texts that were made, of beams those that are told.
    pub completion_tokens: usize,
    /// Of the prompt, those that were in the cache already.
    pub cached_tokens: usize,
    /// Keys and values that its sequences held at the end, in whole pages.
    pub kv_bytes: usize,
    /// Rows that the model computed. Without a KV cache each step computes the whole text again.
    pub computed_tokens: usize,
}

enum Entry {
    Started { dropped: Option<Dropped> },
    PromptLogprobs(Box<Logprobs>),
    Token { choice: usize, id: TokenId, text: Range<usize>, logprobs: Option<(f32, Range<usize>)> },
    Text { choice: usize, text: Range<usize> },
    Ended { choice: usize, reason: FinishReason, score: Option<f64> },
    Finished(Box<Finished>),
}

/// The events of one or more steps, in a buffer that the caller clears and uses again.
#[derive(Default)]
pub struct Events {
    entries: Vec<(RequestId, Entry)>,
    text: String,
    top: Vec<TopLogprob>,
}

impl Events {
    pub fn clear(&mut self) {
        self.entries.clear();
        self.text.clear();
        self.top.clear();
    }

    /// Bytes of text so far.
    pub(super) fn n_bytes(&self) -> usize {
        self.text.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// In the order in which they happened.
    pub fn iter(&self) -> impl Iterator<Item = Event<'_>> {
        self.entries.iter().map(|(request, entry)| Event { request: *request, kind: self.kind(entry) })
    }

    fn kind<'a>(&'a self, entry: &'a Entry) -> EventKind<'a> {
        match entry {
            &Entry::Started { dropped } => EventKind::Started { dropped },
            Entry::PromptLogprobs(logprobs) => EventKind::PromptLogprobs(logprobs),
            Entry::Token { choice, id, text, logprobs } => {
                let logprobs = logprobs.as_ref();
                let logprobs = logprobs
                    .map(|(logprob, top)| TokenLogprobs { logprob: *logprob, top: &self.top[top.clone()] });
                EventKind::Token { choice: *choice, id: *id, text: &self.text[text.clone()], logprobs }
            }
            Entry::Text { choice, text } => {
                EventKind::Text { choice: *choice, text: &self.text[text.clone()] }
            }
            Entry::Ended { choice, reason, score } => {
                EventKind::Ended { choice: *choice, reason, score: *score }
            }
            Entry::Finished(finished) => EventKind::Finished(finished),
        }
    }

    pub(super) fn started(&mut self, request: RequestId, dropped: Option<Dropped>) {
        self.entries.push((request, Entry::Started { dropped }));
    }

    pub(super) fn prompt_logprobs(&mut self, request: RequestId, logprobs: Logprobs) {
        self.entries.push((request, Entry::PromptLogprobs(Box::new(logprobs))));
    }

    /// A token, whose text `write` appends to the buffer that it is given. Whether there was any.
    pub(super) fn token(
        &mut self,
        request: RequestId,
        choice: usize,
        id: TokenId,
        logprobs: Option<TokenLogprobs<'_>>,
        write: impl FnOnce(&mut String),
    ) -> bool {
        let text = self.append(write);
        let has_text = !text.is_empty();
        let logprobs = logprobs.map(|TokenLogprobs { logprob, top }| {
            let start = self.top.len();
            self.top.extend_from_slice(top);
            (logprob, start..self.top.len())
        });
        self.entries.push((request, Entry::Token { choice, id, text, logprobs }));
        has_text
    }

    /// Text without a token; no event if `write` appends none.
    pub(super) fn text(&mut self, request: RequestId, choice: usize, write: impl FnOnce(&mut String)) {
        let text = self.append(write);
        if !text.is_empty() {
            self.entries.push((request, Entry::Text { choice, text }));
        }
    }

    /// Lets `write` append text that nobody is told.
    pub(super) fn silent(&mut self, write: impl FnOnce(&mut String)) {
        let text = self.append(write);
        self.text.truncate(text.start);
    }

    pub(super) fn ended(
        &mut self,
        request: RequestId,
        choice: usize,
        reason: FinishReason,
        score: Option<f64>,
    ) {
        self.entries.push((request, Entry::Ended { choice, reason, score }));
    }

    pub(super) fn finished(&mut self, request: RequestId, finished: Finished) {
        self.entries.push((request, Entry::Finished(Box::new(finished))));
    }

    fn append(&mut self, write: impl FnOnce(&mut String)) -> Range<usize> {
        let start = self.text.len();
        write(&mut self.text);
        start..self.text.len()
    }
}
