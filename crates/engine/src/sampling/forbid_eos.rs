//! `ignore_eos: forbid`: EOS tokens get the logit -inf.

use super::candidates::Candidates;
use super::chain::LogitsProcessor;
use super::history::History;
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

    fn apply(&self, candidates: &mut Candidates, _: &History) {
        for &id in &self.eos {
            candidates.edit(id, |_| f32::NEG_INFINITY);
        }
    }
}
