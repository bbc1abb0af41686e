//! `suppress_tokens`: these tokens get the logit -inf (transformers).

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};
use crate::TokenId;

#[derive(Debug)]
pub(super) struct SuppressTokens(pub(super) Vec<TokenId>);

impl LogitsProcessor for SuppressTokens {
    fn name(&self) -> &'static str {
        "suppress_tokens"
    }

    fn apply(&self, candidates: &mut Candidates, _: &Step<'_>) {
        self.0.iter().for_each(|&id| candidates.mask(id));
    }
}
