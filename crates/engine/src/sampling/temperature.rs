//! `temperature` T: l <- l / T. T = 0 is no stage: the sampler then takes the largest logit.

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};

#[derive(Debug)]
pub(super) struct Temperature(pub(super) f32);

impl LogitsProcessor for Temperature {
    fn name(&self) -> &'static str {
        "temperature"
    }

    fn apply(&self, candidates: &mut Candidates, _: &Step<'_>) {
        candidates.divide(self.0);
    }
}
