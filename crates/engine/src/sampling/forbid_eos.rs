//! `ignore_eos: forbid`: EOS tokens get the logit -inf.

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};
use crate::TokenId;

#[derive(Debug)]
pub(super) struct ForbidEos {
    eos: Vec<TokenId>,
}

impl ForbidEos {
    pub(super) fn new(eos: &[TokenId]) -> Self {
        ForbidEos { eos: eos.to_vec() }
    }
}

impl LogitsProcessor for ForbidEos {
    fn name(&self) -> &'static str {
        "ignore_eos"
    }

    fn apply(&self, candidates: &mut Candidates, _: &Step<'_>) {
        self.eos.iter().for_each(|&id| candidates.mask(id));
    }
}
