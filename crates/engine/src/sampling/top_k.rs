//! `top_k` k: the k largest logits; all ties at the k-th value are kept (as in transformers and vLLM).

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};

#[derive(Debug)]
pub(super) struct TopK(pub(super) u32);

impl LogitsProcessor for TopK {
    fn name(&self) -> &'static str {
        "top_k"
    }

    fn apply(&self, candidates: &mut Candidates, _: &Step<'_>) {
        candidates.keep_largest(self.0 as usize);
    }
}
