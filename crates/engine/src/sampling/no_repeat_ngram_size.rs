//! `no_repeat_ngram_size` n: a token that would complete a run of n tokens that the text, prompt included, holds
//! already gets the logit -inf (Paulus et al. 2017; as in transformers).

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};

#[derive(Debug)]
pub(super) struct NoRepeatNgramSize(pub(super) u32);

impl LogitsProcessor for NoRepeatNgramSize {
    fn name(&self) -> &'static str {
        "no_repeat_ngram_size"
    }

    fn apply(&self, candidates: &mut Candidates, step: &Step<'_>) {
        let (tokens, n) = (step.history.tokens(), self.0 as usize);
        let Some(start) = tokens.len().checked_sub(n - 1) else { return };
        let tail = &tokens[start..];
        for run in tokens.windows(n) {
            if let Some((&last, before)) = run.split_last()
                && before == tail
            {
                candidates.mask(last);
            }
        }
    }
}
