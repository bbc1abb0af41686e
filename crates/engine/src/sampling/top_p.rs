//! `top_p` q: the smallest set of most likely tokens whose probabilities sum to q or more; at least one
//! (Holtzman et al. 2020).
//!
//! In integers: with W the sum of all masses, the shortest run in descending order (equal ones by id) whose masses sum
//! to ceil(q * W).

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};

#[derive(Debug)]
pub(super) struct TopP(pub(super) f32);

impl LogitsProcessor for TopP {
    fn name(&self) -> &'static str {
        "top_p"
    }

    fn apply(&self, candidates: &mut Candidates, _: &Step<'_>) {
        // W is exact and rounded to f64 once, so the target is the same whatever order W was summed in.
        let target = f64::from(self.0) * candidates.total_mass() as f64;
        candidates.keep_mass_sum(target.ceil() as u64);
    }
}
