//! `presence_penalty` a: l -= a where c\[t\] > 0, with c\[t\] = how often token t occurs in the scope (OpenAI's
//! formula; the default scope is vLLM's, the output).

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};
use super::penalty_scope::Scope;

#[derive(Debug)]
pub(super) struct PresencePenalty {
    pub(super) penalty: f32,
    pub(super) scope: Scope,
}

impl LogitsProcessor for PresencePenalty {
    fn name(&self) -> &'static str {
        "presence_penalty"
    }

    fn apply(&self, candidates: &mut Candidates, step: &Step<'_>) {
        self.scope.edit_each(candidates, step.history, |l, _| l - self.penalty);
    }
}
