//! XTC ("exclude top choices"): with `xtc_probability`, of the tokens with p >= `xtc_threshold` all but the least
//! likely go, if they are two or more (p-e-w, text-generation-webui, pull request 6335, 2024).
//!
//! Whether it happens is a draw of its own. Of equally likely ones the highest id stays.

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};
use super::rng::Purpose;

#[derive(Debug)]
pub(super) struct Xtc {
    pub(super) threshold: f32,
    pub(super) probability: f32,
}

impl LogitsProcessor for Xtc {
    fn name(&self) -> &'static str {
        "xtc"
    }

    fn apply(&self, candidates: &mut Candidates, step: &Step<'_>) {
        // u < probability, where u * 2^53 is whole and the product is exact.
        let u = step.stream.below(1 << 53, step.history.n_output(), Purpose::Xtc);
        if (u as f64) < f64::from(self.probability) * (1u64 << 53) as f64 {
            let least = (f64::from(self.threshold) * candidates.total_mass() as f64).ceil();
            candidates.mask_all_but_last_from(least as u64);
        }
    }
}
