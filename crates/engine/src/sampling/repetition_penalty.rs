//! `repetition_penalty` r, over prompt and output: l / r where l > 0, else l * r (Keskar et al. 2019, CTRL;
//! as in HF and vLLM).

use super::candidates::Candidates;
use super::chain::LogitsProcessor;
use super::history::History;

#[derive(Debug)]
pub(super) struct RepetitionPenalty(pub(super) f32);

impl LogitsProcessor for RepetitionPenalty {
    fn name(&self) -> &'static str {
        "repetition_penalty"
    }

    fn apply(&self, candidates: &mut Candidates, history: &History) {
        for count in history.counts() {
            candidates.edit(count.id, |l| if l > 0.0 { l / self.0 } else { l * self.0 });
        }
    }
}
