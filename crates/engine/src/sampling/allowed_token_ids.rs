//! `allowed_token_ids`: all other tokens get the logit -inf (vLLM).

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};
use crate::TokenId;

#[derive(Debug)]
pub(super) struct AllowedTokenIds {
    /// In ascending order.
    ids: Vec<TokenId>,
}

impl AllowedTokenIds {
    pub(super) fn new(ids: &[TokenId]) -> Self {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        AllowedTokenIds { ids }
    }
}

impl LogitsProcessor for AllowedTokenIds {
    fn name(&self) -> &'static str {
        "allowed_token_ids"
    }

    fn apply(&self, candidates: &mut Candidates, _: &Step<'_>) {
        candidates.mask_all_but(&self.ids);
    }
}
