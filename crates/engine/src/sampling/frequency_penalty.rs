//! `frequency_penalty` a: l -= a * c\[t\], with c\[t\] = how often token t occurs in the scope (OpenAI's
//! formula; the default scope is vLLM's, the output).

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};
use super::penalty_scope::Scope;

#[derive(Debug)]
pub(super) struct FrequencyPenalty {
    pub(super) penalty: f32,
    pub(super) scope: Scope,
}

impl LogitsProcessor for FrequencyPenalty {
    fn name(&self) -> &'static str {
        "frequency_penalty"
    }

    fn apply(&self, candidates: &mut Candidates, step: &Step<'_>) {
        self.scope.edit_each(candidates, step.history, |l, count| l - self.penalty * count as f32);
    }
}
