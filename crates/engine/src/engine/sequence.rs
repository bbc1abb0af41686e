//! One sequence that the model continues: its tokens, how far the model has come, and where its text stands.

use super::output::Output;
use crate::TokenId;
use crate::decode::{BeamCandidate, Hypothesis, Logprobs};
use crate::kv::SeqId;
use crate::model::{Batch, BatchRow, Want};
use crate::sampling::{FinishReason, History, TokenCount};
use crate::tokenizer::Tokenizer;

/// What `n` sequences of up to `max_len` positions keep beside their keys and values: tokens, how often each occurred,
/// log-probabilities. A search keeps two for each of its beams, so that the next ones can be made out of them.
pub fn bytes_of_sequences(n: usize, max_len: usize, vocab_size: usize) -> usize {
    // Distinct tokens of the prompt, and of the output.
    let n_counts = max_len.min(vocab_size.saturating_mul(2));
    let of_position = size_of::<TokenId>() + size_of::<f32>() + size_of::<usize>();
    let of_one = max_len.saturating_mul(of_position).saturating_add(n_counts * size_of::<TokenCount>());
    of_one.saturating_mul(n)
}

pub(super) struct Sequence {
    /// Its keys and values.
    pub(super) seq: SeqId,
    /// The prompt, and after it what was generated. Has room for all that may come from the start.
    history: History,
    /// Tokens whose keys and values are in the cache.
    n_computed: usize,
    /// Tokens that are in the batch at hand, and how many of those want logits.
    n_in_batch: usize,
    n_wanted: usize,
    /// Prompt tokens before this one want no logits (any more).
    n_scored: usize,
    output: Output,
    /// Of the generated tokens, where they are asked for.
    pub(super) logprobs: Logprobs,
    /// Of a beam: the sum of its processed log-probabilities.
    total: f64,
    /// Why it ended, once it has.
    pub(super) reason: Option<FinishReason>,
}

impl Sequence {
    /// `scores_prompt`: the logits of every prompt token are wanted.
    pub(super) fn new(
        seq: SeqId,
        prompt: &[TokenId],
        output: Output,
        logprobs: Logprobs,
        scores_prompt: bool,
        tokenizer: &Tokenizer,
    ) -> Self {
        // Everything that grows with the output gets its room now, so that a step allocates nothing.
        let max_tokens = output.limit().max_tokens;
        Self {
            seq,
            history: History::new(prompt, max_tokens, tokenizer.vocab_size()),
            n_computed: 0,
            n_in_batch: 0,
            n_wanted: 0,
            n_scored: if scores_prompt { 0 } else { prompt.len() },
            output,
            logprobs,
            total: 0.0,
            reason: None,
        }
    }

    /// The same, with the first tokens in the cache already.
    pub(super) fn with_computed(self, n_computed: usize) -> Self {
        Self { n_computed, ..self }
    }

    /// Another sequence with the same prompt, as far as the model has come, its keys and values in `seq`.
    pub(super) fn fork(&self, seq: SeqId, logprobs: Logprobs, tokenizer: &Tokenizer) -> Self {
        let prompt = &self.tokens()[..self.n_prompt()];
        let fork = Self::new(seq, prompt, self.output.clone(), logprobs, false, tokenizer);
        Self { n_computed: self.n_computed, ..fork }
    }

    /// Tokens that the model has not computed yet: 1 while decoding, more during prefill; none if it has ended.
    pub(super) fn n_pending(&self) -> usize {
        if self.reason.is_some() { 0 } else { self.tokens().len() - self.n_computed }
    }

    /// Whether all pending tokens want logits, not only the last one.
    pub(super) fn scores_prompt(&self) -> bool {
        self.n_scored + 1 < self.n_prompt()
    }

    /// The tokens whose keys and values are in the cache.
    pub(super) fn computed(&self) -> &[TokenId] {
        &self.tokens()[..self.n_computed]
    }

    fn tokens(&self) -> &[TokenId] {
        self.history.tokens()
    }

    pub(super) fn n_prompt(&self) -> usize {
        self.history.n_prompt()
    }

    /// What was generated.
    pub(super) fn generated(&self) -> &[TokenId] {
        self.history.output()
    }

    pub(super) fn n_in_batch(&self) -> usize {
        self.n_in_batch
    }

    pub(super) fn n_wanted(&self) -> usize {
        self.n_wanted
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// For the choice of its next token, which may change what mirostat remembers. Until it is back the sequence has
    /// none.
    pub(super) fn lend_history(&mut self) -> History {
        std::mem::take(&mut self.history)
    }

    pub(super) fn return_history(&mut self, history: History) {
        self.history = history;
    }

    pub(super) fn total(&self) -> f64 {
        self.total
    }

    /// Adds the next `n_rows` pending tokens to the batch; the last of all wants logits.
    pub(super) fn add_rows(&mut self, n_rows: usize, batch: &mut Batch) {
        self.n_in_batch = n_rows;
        self.n_wanted = 0;
        let (tokens, n_prompt) = (self.history.tokens(), self.history.n_prompt());
        for position in self.n_computed..self.n_computed + n_rows {
            let is_scored = position >= self.n_scored && position + 1 < n_prompt;
            let is_wanted = is_scored || position + 1 == tokens.len();
            self.n_wanted += usize::from(is_wanted);
            let want = if is_wanted { Want::Logits } else { Want::Nothing };
            let (token, seq) = (tokens[position], self.seq);
            batch.rows.push(BatchRow { token, position: position as u32, seq, want });
        }
    }

    /// The prompt token whose place the logits after `position` are about, if they are wanted for that.
    pub(super) fn scored_token(&mut self, position: usize) -> Option<TokenId> {
        if position + 1 >= self.n_prompt() || position < self.n_scored {
            return None;
        }
        self.n_scored = position + 1;
        Some(self.tokens()[position + 1])
    }

    /// The model has computed the batch. Whether nothing is pending any more, so that there are logits.
    pub(super) fn advance(&mut self) -> bool {
        self.n_computed += self.n_in_batch;
        self.n_in_batch > 0 && self.n_computed == self.tokens().len()
    }

    /// The cache has nothing of this sequence any more: all tokens are pending again.
    pub(super) fn forget_computed(&mut self) {
        self.n_computed = 0;
    }

    /// Appends a token, writes the text that it releases to `out`, and decides whether the sequence goes on.
    pub(super) fn push(&mut self, id: TokenId, tokenizer: &Tokenizer, out: &mut String) {
        self.history.push(id);
        self.reason = self.output.push(id, tokenizer, out);
    }

    /// Writes out what was held back.
    pub(super) fn release_text(&mut self, out: &mut String) {
        self.output.release(out);
    }

    /// Becomes the beam `parent` continued by `candidate`, whose log-probability is reported as `logprob`. Whose keys
    /// and values it has is decided later.
    pub(super) fn continue_beam(
        &mut self,
        parent: &Sequence,
        candidate: &BeamCandidate,
        logprob: f32,
        tokenizer: &Tokenizer,
        text: &mut String,
    ) {
        self.n_computed = parent.n_computed;
        self.n_scored = parent.n_scored;
        self.history.copy_from(&parent.history);
        self.output.copy_from(&parent.output);
        self.logprobs.copy_from(&parent.logprobs);
        self.logprobs.push_known(logprob);
        self.total = candidate.total;
        self.push(candidate.id, tokenizer, text);
    }

    /// A beam that has ended, as what is kept of it.
    pub(super) fn hypothesis(&self, score: f64, reason: FinishReason) -> Hypothesis {
        let logprobs = self.logprobs.iter().map(|of| of.logprob).collect();
        Hypothesis { tokens: self.generated().to_vec(), logprobs, score, reason }
    }
}
