//! `top_n_sigma` n: l >= l_max - n * sigma, where sigma is the standard deviation of the logits in play, as of a whole
//! population (Tang et al. 2024, "Top-n-sigma: not all logits are you need"). Temperature before it changes nothing.

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};

#[derive(Debug)]
pub(super) struct TopNSigma(pub(super) f32);

impl LogitsProcessor for TopNSigma {
    fn name(&self) -> &'static str {
        "top_n_sigma"
    }

    fn apply(&self, candidates: &mut Candidates, _: &Step<'_>) {
        if candidates.len() > 0 {
            let (max, sigma) = candidates.max_and_sigma();
            candidates.keep_logits_from((f64::from(max) - f64::from(self.0) * sigma) as f32);
        }
    }
}
