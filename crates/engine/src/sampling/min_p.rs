//! `min_p` m: tokens with p >= m * p_max (Nguyen et al. 2024).
//!
//! In integers: w >= floor(m * 2^40), where w = 2^40 for the most likely token.

use super::candidates::Candidates;
use super::chain::LogitsProcessor;
use super::history::History;
use super::weight::WEIGHT_BITS;

#[derive(Debug)]
pub(super) struct MinP(pub(super) f32);

impl LogitsProcessor for MinP {
    fn name(&self) -> &'static str {
        "min_p"
    }

    fn apply(&self, candidates: &mut Candidates, _: &History) {
        let floor = f64::from(self.0) * (1u64 << WEIGHT_BITS) as f64;
        candidates.keep_weight_from(floor as u64);
    }
}
