//! What a chat took so far: the numbers of all answers, added up.

use crate::units;
use limpid_engine::engine::Finished;
use std::time::Duration;

#[derive(Default)]
pub(super) struct Totals {
    n_answers: usize,
    prompt_tokens: usize,
    reused_tokens: usize,
    generated_tokens: usize,
    computed_tokens: usize,
    prefill: Duration,
    decode: Duration,
    /// Tokens behind each answer's first one: those that `decode` is the time of.
    n_decoded: usize,
}

impl Totals {
    pub(super) fn add(&mut self, finished: &Finished) {
        let (usage, timings) = (&finished.usage, &finished.timings);
        self.n_answers += 1;
        self.prompt_tokens += usage.prompt_tokens;
        self.reused_tokens += usage.cached_tokens;
        self.generated_tokens += usage.completion_tokens;
        self.computed_tokens += usage.computed_tokens;
        self.prefill += timings.ttft.map_or(Duration::ZERO, |ttft| ttft.prefill);
        self.decode += timings.decode;
        self.n_decoded += timings.n_output.saturating_sub(1);
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let mut decode = format!("decode {}", units::time(self.decode));
        if self.n_decoded > 0 && !self.decode.is_zero() {
            decode += &format!(", {}", units::rate(self.n_decoded as f64 / self.decode.as_secs_f64()));
        }
        vec![
            format!(
                "{}: {} generated, {} computed",
                units::counted(self.n_answers, "answer"),
                units::counted(self.generated_tokens, "token"),
                units::count(self.computed_tokens),
            ),
            format!(
                "prompts: {}, {} of them reused, prefill {}",
                units::counted(self.prompt_tokens, "token"),
                units::count(self.reused_tokens),
                units::time(self.prefill),
            ),
            decode,
        ]
    }
}
