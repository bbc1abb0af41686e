//! `logit_bias`: l += b for single tokens, before all else (OpenAI's API).

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};
use crate::TokenId;

#[derive(Debug)]
pub(super) struct LogitBias(pub(super) Vec<(TokenId, f32)>);

impl LogitsProcessor for LogitBias {
    fn name(&self) -> &'static str {
        "logit_bias"
    }

    fn apply(&self, candidates: &mut Candidates, _: &Step<'_>) {
        for &(id, bias) in &self.0 {
            candidates.edit(id, |l| l + bias);
        }
    }
}
