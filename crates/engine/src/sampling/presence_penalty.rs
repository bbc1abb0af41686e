//! `presence_penalty` a: l -= a where c\[t\] > 0, with c counted over the output (OpenAI's formula, vLLM's
//! scope).

use super::candidates::Candidates;
use super::chain::LogitsProcessor;
use super::history::History;

#[derive(Debug)]
pub(super) struct PresencePenalty(pub(super) f32);

impl LogitsProcessor for PresencePenalty {
    fn name(&self) -> &'static str {
        "presence_penalty"
    }

    fn apply(&self, candidates: &mut Candidates, history: &History) {
        for count in history.counts().iter().filter(|count| count.n_output > 0) {
            candidates.edit(count.id, |l| l - self.0);
        }
    }
}
