//! `typical_p` q (locally typical sampling): with H the entropy, the smallest set of tokens with the smallest
//! |-ln p - H| whose probabilities sum to q or more; at least one (Meister et al. 2022; as in transformers).
//!
//! With d = l - l_max and Z the sum of e^d, -ln p = ln Z - d and H = ln Z - (the mean of d under p). So the ranking is
//! that by the distance of d from its mean. Equally typical tokens rank by id.

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};

#[derive(Debug)]
pub(super) struct TypicalP(pub(super) f32);

impl LogitsProcessor for TypicalP {
    fn name(&self) -> &'static str {
        "typical_p"
    }

    fn apply(&self, candidates: &mut Candidates, _: &Step<'_>) {
        let total = candidates.total_mass();
        if total > 0 {
            let target = f64::from(self.0) * total as f64;
            let mean = candidates.moments().mean;
            candidates.keep_closest(mean, target.ceil() as u64);
        }
    }
}
