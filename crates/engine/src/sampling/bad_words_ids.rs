//! `bad_words_ids`: the last token of a sequence gets the logit -inf where the text, prompt included, ends with the
//! others (transformers). A sequence of one token is banned everywhere.

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};
use crate::TokenId;

#[derive(Debug)]
pub(super) struct BadWordsIds(pub(super) Vec<Vec<TokenId>>);

impl LogitsProcessor for BadWordsIds {
    fn name(&self) -> &'static str {
        "bad_words_ids"
    }

    fn apply(&self, candidates: &mut Candidates, step: &Step<'_>) {
        for word in &self.0 {
            if let Some((&last, before)) = word.split_last()
                && step.history.tokens().ends_with(before)
            {
                candidates.mask(last);
            }
        }
    }
}
