//! What the engine says happened.

use super::request::RequestId;
use crate::TokenId;
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

/// What happened. A request's events come in this order: started, any number of tokens and texts, finished. Its whole
/// text is the concatenation of all texts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum EventKind<'a> {
    /// The request left the queue.
    Started,
    /// A token was chosen. `text` is what it released: empty while a character is incomplete or a stop string is
    /// possible, more than the token's own where held text came free.
    Token { id: TokenId, text: &'a str },
    /// Held text came free without a token: the request was cancelled or failed.
    Text { text: &'a str },
    /// The last event. Every request that was submitted gets exactly one.
    Finished(&'a Finished),
}

/// How a request ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Finished {
    pub reason: FinishReason,
    /// Set if the reason is [`FinishReason::Error`].
    pub error: Option<RequestError>,
    pub usage: Usage,
    pub timings: RequestTimings,
}

/// What went wrong with one request; the others go on.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum RequestError {
    #[error(transparent)]
    Sample(#[from] SampleError),
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

/// Tokens of one request.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    pub prompt_tokens: usize,
    /// Tokens generated, an EOS included.
    pub completion_tokens: usize,
    /// Rows that the model computed. Without a KV cache each step computes the whole text again.
    pub computed_tokens: usize,
}

enum Entry {
    Started,
    Token { id: TokenId, text: Range<usize> },
    Text { text: Range<usize> },
    Finished(Box<Finished>),
}

/// The events of one or more steps, in a buffer that the caller clears and uses again.
#[derive(Default)]
pub struct Events {
    entries: Vec<(RequestId, Entry)>,
    text: String,
}

impl Events {
    pub fn clear(&mut self) {
        self.entries.clear();
        self.text.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// In the order in which they happened.
    pub fn iter(&self) -> impl Iterator<Item = Event<'_>> {
        self.entries.iter().map(|(request, entry)| {
            let kind = match entry {
                Entry::Started => EventKind::Started,
                Entry::Token { id, text } => EventKind::Token { id: *id, text: &self.text[text.clone()] },
                Entry::Text { text } => EventKind::Text { text: &self.text[text.clone()] },
                Entry::Finished(finished) => EventKind::Finished(finished),
            };
            Event { request: *request, kind }
        })
    }

    pub(super) fn started(&mut self, request: RequestId) {
        self.entries.push((request, Entry::Started));
    }

    /// A token, whose text `write` appends to the buffer that it is given. Whether there was any.
    pub(super) fn token(&mut self, request: RequestId, id: TokenId, write: impl FnOnce(&mut String)) -> bool {
        let text = self.append(write);
        let has_text = !text.is_empty();
        self.entries.push((request, Entry::Token { id, text }));
        has_text
    }

    /// Text without a token; no event if `write` appends none.
    pub(super) fn text(&mut self, request: RequestId, write: impl FnOnce(&mut String)) {
        let text = self.append(write);
        if !text.is_empty() {
            self.entries.push((request, Entry::Text { text }));
        }
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
