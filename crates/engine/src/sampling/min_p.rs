//! `min_p` m: tokens with p >= m * p_max (Nguyen et al. 2024).
//!
//! In integers: w >= floor(m * 2^40), where w = 2^40 for the most likely token.

use limpid_kernels::ops::mass::MASS_BITS;

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};

#[derive(Debug)]
pub(super) struct MinP(pub(super) f32);

impl LogitsProcessor for MinP {
    fn name(&self) -> &'static str {
        "min_p"
    }

    fn apply(&self, candidates: &mut Candidates, _: &Step<'_>) {
        let least = f64::from(self.0) * (1u64 << MASS_BITS) as f64;
        candidates.keep_mass_from(least as u64);
    }
}
