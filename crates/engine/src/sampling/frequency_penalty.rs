//! `frequency_penalty` a: l -= a * c\[t\], with c counted over the output (OpenAI's formula, vLLM's scope).

use super::candidates::Candidates;
use super::chain::LogitsProcessor;
use super::history::History;

#[derive(Debug)]
pub(super) struct FrequencyPenalty(pub(super) f32);

impl LogitsProcessor for FrequencyPenalty {
    fn name(&self) -> &'static str {
        "frequency_penalty"
    }

    fn apply(&self, candidates: &mut Candidates, history: &History) {
        for count in history.counts() {
            candidates.edit(count.id, |l| l - self.0 * count.n_output as f32);
        }
    }
}
