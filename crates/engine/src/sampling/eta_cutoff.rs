//! `eta_cutoff` e: with H the entropy, tokens with p >= min(e, sqrt(e) * exp(-H)); at least the most likely one (Hewitt
//! et al. 2022; as in transformers).

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};

#[derive(Debug)]
pub(super) struct EtaCutoff(pub(super) f32);

impl LogitsProcessor for EtaCutoff {
    fn name(&self) -> &'static str {
        "eta_cutoff"
    }

    fn apply(&self, candidates: &mut Candidates, _: &Step<'_>) {
        if candidates.len() > 0 {
            let (e, entropy) = (f64::from(self.0), candidates.moments().entropy());
            candidates.keep_p_from(e.min(libm::sqrt(e) * libm::exp(-entropy)));
        }
    }
}
