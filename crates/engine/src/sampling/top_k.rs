//! `top_k` k: the k largest logits; all ties at the k-th value are kept (as in HF and vLLM).

use super::candidates::Candidates;
use super::chain::LogitsProcessor;
use super::history::History;

#[derive(Debug)]
pub(super) struct TopK(pub(super) u32);

impl LogitsProcessor for TopK {
    fn name(&self) -> &'static str {
        "top_k"
    }

    fn apply(&self, candidates: &mut Candidates, _: &History) {
        candidates.keep_largest(self.0 as usize);
    }
}
