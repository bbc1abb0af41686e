//! One token stream: its tokens, how far the model has come, and where its text stands.

use crate::TokenId;
use crate::kv::SeqId;
use crate::model::{Batch, BatchRow, Want};
use crate::sampling::{Candidates, FinishReason, History, SampleError, Sampler, StopMatcher};
use crate::tokenizer::{Detokenizer, Tokenizer};
use crate::trace::Recorder;

/// How many tokens a sequence may generate, and what it means that it has.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct TokenLimit {
    pub(super) max_tokens: usize,
    pub(super) reason: FinishReason,
}

pub(super) struct Sequence {
    /// Its keys and values.
    pub(super) seq: SeqId,
    /// The prompt, and after it what was generated. Has room for `limit.max_tokens` more from the start.
    tokens: Vec<TokenId>,
    n_prompt: usize,
    /// Tokens whose keys and values are in the cache.
    n_computed: usize,
    /// Tokens that are in the batch at hand.
    n_in_batch: usize,
    sampler: Sampler,
    history: History,
    stops: StopMatcher,
    limit: TokenLimit,
    detokenizer: Detokenizer,
    /// The text of the token at hand.
    piece: String,
    /// Why it ended, once it has.
    pub(super) reason: Option<FinishReason>,
}

impl Sequence {
    pub(super) fn new(
        seq: SeqId,
        prompt: Vec<TokenId>,
        sampler: Sampler,
        stops: StopMatcher,
        limit: TokenLimit,
        tokenizer: &Tokenizer,
    ) -> Self {
        // Everything that grows with the output gets its room now, so that a step allocates nothing.
        let history = History::new(&prompt, limit.max_tokens, tokenizer.vocab_size());
        let detokenizer = Detokenizer::after(tokenizer, &prompt);
        let (n_prompt, mut tokens) = (prompt.len(), prompt);
        tokens.reserve_exact(limit.max_tokens);
        Self {
            seq,
            tokens,
            n_prompt,
            n_computed: 0,
            n_in_batch: 0,
            sampler,
            history,
            stops,
            limit,
            detokenizer,
            piece: String::new(),
            reason: None,
        }
    }

    /// Tokens that the model has not computed yet: 1 while decoding, more during prefill.
    pub(super) fn n_pending(&self) -> usize {
        self.tokens.len() - self.n_computed
    }

    pub(super) fn n_prompt(&self) -> usize {
        self.n_prompt
    }

    pub(super) fn n_generated(&self) -> usize {
        self.tokens.len() - self.n_prompt
    }

    pub(super) fn n_in_batch(&self) -> usize {
        self.n_in_batch
    }

    /// Adds the next `n_rows` pending tokens to the batch; the last of all wants logits.
    pub(super) fn add_rows(&mut self, n_rows: usize, batch: &mut Batch) {
        self.n_in_batch = n_rows;
        for position in self.n_computed..self.n_computed + n_rows {
            let want = if position + 1 == self.tokens.len() { Want::Logits } else { Want::Nothing };
            let (token, seq) = (self.tokens[position], self.seq);
            batch.rows.push(BatchRow { token, position: position as u32, seq, want });
        }
    }

    /// The model has computed the batch. Whether nothing is pending any more, so that there are logits.
    pub(super) fn advance(&mut self) -> bool {
        self.n_computed += self.n_in_batch;
        self.n_computed == self.tokens.len()
    }

    /// The cache has nothing of this sequence any more: all tokens are pending again.
    pub(super) fn forget_computed(&mut self) {
        self.n_computed = 0;
    }

    /// Chooses the next token from the logits of the last one.
    pub(super) fn choose(
        &mut self,
        logits: &[f32],
        candidates: &mut Candidates,
        recorder: &mut dyn Recorder,
    ) -> Result<TokenId, SampleError> {
        self.sampler.sample(logits, &mut self.history, candidates, recorder)
    }

    /// Appends a token, writes the text that it releases to `out`, and decides whether the sequence goes on.
    pub(super) fn push(&mut self, id: TokenId, tokenizer: &Tokenizer, out: &mut String) {
        self.tokens.push(id);
        self.history.push(id);
        self.reason = self
            .stops
            .token(id)
            .or_else(|| self.text_ends(id, tokenizer, out))
            .or_else(|| (self.n_generated() == self.limit.max_tokens).then(|| self.limit.reason.clone()));
        match &self.reason {
            // The matcher has released what came before the stop string; what comes after is dropped.
            None | Some(FinishReason::StopString { .. }) => {}
            Some(FinishReason::StopId { .. }) if self.stops.includes_stop() => {
                self.stops.finish(out);
                self.detokenizer.push(tokenizer, id, out);
                self.detokenizer.finish(out);
            }
            Some(_) => self.release_text(out),
        }
    }

    /// Hands the token's text to the stop strings.
    fn text_ends(&mut self, id: TokenId, tokenizer: &Tokenizer, out: &mut String) -> Option<FinishReason> {
        self.piece.clear();
        self.detokenizer.push(tokenizer, id, &mut self.piece);
        self.stops.text(&self.piece, out)
    }

    /// Writes out what was held back for a stop string, and a character that stays incomplete: nothing more will come.
    pub(super) fn release_text(&mut self, out: &mut String) {
        self.stops.finish(out);
        self.detokenizer.finish(out);
    }
}
