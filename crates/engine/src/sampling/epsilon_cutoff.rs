//! `epsilon_cutoff` e: tokens with p >= e; at least the most likely one (Hewitt et al. 2022; as in transformers).

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};

#[derive(Debug)]
pub(super) struct EpsilonCutoff(pub(super) f32);

impl LogitsProcessor for EpsilonCutoff {
    fn name(&self) -> &'static str {
        "epsilon_cutoff"
    }

    fn apply(&self, candidates: &mut Candidates, _: &Step<'_>) {
        candidates.keep_p_from(f64::from(self.0));
    }
}
