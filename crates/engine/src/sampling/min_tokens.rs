//! `min_tokens`: EOS tokens and stop ids get the logit -inf until so many tokens are generated.

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};
use crate::TokenId;

#[derive(Debug)]
pub(super) struct MinTokens {
    min_tokens: u32,
    ending: Vec<TokenId>,
}

impl MinTokens {
    pub(super) fn new(min_tokens: u32, eos: &[TokenId], stop_ids: &[TokenId]) -> Self {
        MinTokens { min_tokens, ending: [eos, stop_ids].concat() }
    }
}

impl LogitsProcessor for MinTokens {
    fn name(&self) -> &'static str {
        "min_tokens"
    }

    fn apply(&self, candidates: &mut Candidates, step: &Step<'_>) {
        if step.history.n_output() < self.min_tokens {
            self.ending.iter().for_each(|&id| candidates.mask(id));
        }
    }
}
