//! From the tokens of a text to the text, and when it ends.

use crate::TokenId;
use crate::sampling::{FinishReason, StopMatcher};
use crate::tokenizer::{Detokenizer, Tokenizer};

/// How many tokens a text may have, and what it means that it has them.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct TokenLimit {
    pub(super) max_tokens: usize,
    pub(super) reason: FinishReason,
}

/// Where a text stands.
#[derive(Clone)]
pub(super) struct Output {
    stops: StopMatcher,
    detokenizer: Detokenizer,
    limit: TokenLimit,
    n_tokens: usize,
    /// The text of the token at hand.
    piece: String,
}

impl Output {
    /// A text that continues `prompt`.
    pub(super) fn new(
        stops: StopMatcher,
        limit: TokenLimit,
        prompt: &[TokenId],
        tokenizer: &Tokenizer,
    ) -> Self {
        let detokenizer = Detokenizer::after(tokenizer, prompt);
        Self { stops, detokenizer, limit, n_tokens: 0, piece: String::new() }
    }

    /// Becomes a copy of `other`, in the memory that is there.
    pub(super) fn copy_from(&mut self, other: &Self) {
        let Self { stops, detokenizer, limit, n_tokens, piece: _ } = other;
        self.stops.copy_from(stops);
        self.detokenizer.clone_from(detokenizer);
        self.limit.clone_from(limit);
        self.n_tokens = *n_tokens;
    }

    pub(super) fn limit(&self) -> &TokenLimit {
        &self.limit
    }

    /// Takes a token, writes the text that it releases to `out`, and gives the reason if the text ends with it.
    pub(super) fn push(
        &mut self,
        id: TokenId,
        tokenizer: &Tokenizer,
        out: &mut String,
    ) -> Option<FinishReason> {
        self.n_tokens += 1;
        let reason = self
            .stops
            .token(id)
            .or_else(|| self.text_ends(id, tokenizer, out))
            .or_else(|| (self.n_tokens == self.limit.max_tokens).then(|| self.limit.reason.clone()));
        match &reason {
            // The matcher has released what came before the stop string; what comes after is dropped.
            None | Some(FinishReason::StopString { .. }) => {}
            Some(FinishReason::StopId { .. }) if self.stops.includes_stop() => {
                self.stops.finish(out);
                self.detokenizer.push(tokenizer, id, out);
                self.detokenizer.finish(out);
            }
            Some(_) => self.release(out),
        }
        reason
    }

    /// Hands the token's text to the stop strings.
    fn text_ends(&mut self, id: TokenId, tokenizer: &Tokenizer, out: &mut String) -> Option<FinishReason> {
        self.piece.clear();
        self.detokenizer.push(tokenizer, id, &mut self.piece);
        self.stops.text(&self.piece, out)
    }

    /// Writes out what was held back for a stop string, and a character that stays incomplete: nothing more will come.
    /// (One that the prompt left incomplete is no part of a text without tokens.)
    pub(super) fn release(&mut self, out: &mut String) {
        if self.n_tokens > 0 {
            self.stops.finish(out);
            self.detokenizer.finish(out);
        }
    }
}
