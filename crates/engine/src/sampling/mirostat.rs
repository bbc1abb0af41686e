//! Mirostat v2: drops tokens whose surprise -log2 p is above mu, at least one stays; after the draw mu -= eta *
//! (surprise - tau), where p is that of the final distribution. mu starts at 2 tau (Basu et al. 2020; as in llama.cpp).
//!
//! It always comes last. mu is kept in the sequence's [`History`](super::History), so that a fork has its own.

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};

#[derive(Clone, Copy, Debug)]
pub(super) struct Mirostat {
    pub(super) tau: f64,
    pub(super) eta: f64,
}

impl Mirostat {
    /// mu, given what the history remembers of it.
    fn mu(&self, remembered: Option<f64>) -> f64 {
        remembered.unwrap_or(2.0 * self.tau)
    }

    /// mu after a token was drawn that has the probability `p`.
    pub(super) fn next_mu(&self, remembered: Option<f64>, p: f64) -> f64 {
        self.mu(remembered) - self.eta * (-libm::log2(p) - self.tau)
    }
}

impl LogitsProcessor for Mirostat {
    fn name(&self) -> &'static str {
        "mirostat"
    }

    fn apply(&self, candidates: &mut Candidates, step: &Step<'_>) {
        candidates.keep_p_from(libm::exp2(-self.mu(step.history.mirostat_mu)));
    }
}
