//! `repetition_penalty` r, over prompt and output or the scope: l / r where l > 0, else l * r (Keskar et al. 2019,
//! CTRL; as in transformers and vLLM).

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};
use super::penalty_scope::Scope;

#[derive(Debug)]
pub(super) struct RepetitionPenalty {
    pub(super) penalty: f32,
    pub(super) scope: Scope,
}

impl LogitsProcessor for RepetitionPenalty {
    fn name(&self) -> &'static str {
        "repetition_penalty"
    }

    fn apply(&self, candidates: &mut Candidates, step: &Step<'_>) {
        let penalize = |l, _| if l > 0.0 { l / self.penalty } else { l * self.penalty };
        self.scope.edit_each(candidates, step.history, penalize);
    }
}
