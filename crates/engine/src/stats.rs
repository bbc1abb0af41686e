//! The four metrics (TTFT, TPOT, throughput, memory): plain types and a recorder.
//!
//! There is no clock here. Times are handed in as [`Duration`]s since any one moment, from one monotonic
//! clock.

use std::time::Duration;

/// Time to first token, from "request accepted" to "first token with content handed over". The parts add up
/// to the whole.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ttft {
    /// From accepted to token ids.
    pub tokenize: Duration,
    /// From token ids to the first step that works on the request.
    pub queue: Duration,
    /// From there to the logits of the last prompt token.
    pub prefill: Duration,
    /// From there to the first content handed over: the choice of the token, its text, and further tokens as
    /// long as they bring no content (half a character, text held back for a stop string).
    pub first_sample: Duration,
}

impl Ttft {
    pub fn total(&self) -> Duration {
        self.tokenize + self.queue + self.prefill + self.first_sample
    }
}

/// The times of one request.
#[derive(Clone, PartialEq, Debug)]
pub struct RequestTimings {
    /// None if the request ended before any content.
    pub ttft: Option<Ttft>,
    /// From the first token to the last one.
    pub decode: Duration,
    /// Tokens whose prefill was computed; tokens taken from a cache are not among them.
    pub n_prefilled: usize,
    pub n_output: usize,
    /// The gaps between tokens (ITL), n_output - 1 of them; empty unless asked for.
    pub gaps: Vec<Duration>,
}

impl RequestTimings {
    /// Time per output token, (last token - first token) / (n - 1); none for fewer than two tokens.
    pub fn tpot(&self) -> Option<Duration> {
        let n_gaps = u32::try_from(self.n_output.checked_sub(1)?).ok()?;
        (n_gaps > 0).then(|| self.decode / n_gaps)
    }

    /// Prompt tokens computed a second of prefill.
    pub fn prefill_tok_per_s(&self) -> Option<f64> {
        rate(self.n_prefilled, self.ttft?.prefill)
    }

    /// 1 / TPOT.
    pub fn decode_tok_per_s(&self) -> Option<f64> {
        rate(self.n_output.checked_sub(1)?, self.decode)
    }
}

/// Follows one request from its acceptance to its last token. Each method wants a time not before that of the
/// one called before.
#[derive(Clone, Debug)]
pub struct RequestRecorder {
    accepted: Duration,
    tokenized: Duration,
    started: Option<Duration>,
    prefilled: Option<Duration>,
    first_token: Option<Duration>,
    first_content: Option<Duration>,
    last_token: Duration,
    n_prefilled: usize,
    n_output: usize,
    gaps: Option<Vec<Duration>>,
}

impl RequestRecorder {
    /// A request that was accepted at one time and was token ids at another (the same, if it came as ids).
    pub fn new(accepted: Duration, tokenized: Duration) -> Self {
        RequestRecorder {
            accepted,
            tokenized,
            started: None,
            prefilled: None,
            first_token: None,
            first_content: None,
            last_token: Duration::ZERO,
            n_prefilled: 0,
            n_output: 0,
            gaps: None,
        }
    }

    /// Also keeps the gaps between up to `n_tokens` tokens; gaps beyond that allocate.
    pub fn keep_gaps(&mut self, n_tokens: usize) {
        self.gaps = Some(Vec::with_capacity(n_tokens.saturating_sub(1)));
    }

    /// The first step that works on the request begins; later calls change nothing.
    pub fn started(&mut self, at: Duration) {
        self.started.get_or_insert(at);
    }

    /// The logits of the last prompt token are there, `n_tokens` of the prompt having been computed; later
    /// calls change nothing.
    pub fn prefilled(&mut self, at: Duration, n_tokens: usize) {
        if self.prefilled.is_none() {
            self.prefilled = Some(at);
            self.n_prefilled = n_tokens;
        }
    }

    /// A token is handed over, with or without content.
    pub fn token(&mut self, at: Duration, has_content: bool) {
        if self.first_token.is_none() {
            self.first_token = Some(at);
        } else if let Some(gaps) = &mut self.gaps {
            gaps.push(at.saturating_sub(self.last_token));
        }
        if has_content {
            self.first_content.get_or_insert(at);
        }
        self.last_token = at;
        self.n_output += 1;
    }

    /// The times so far.
    pub fn timings(&self) -> RequestTimings {
        RequestTimings {
            ttft: self.ttft(),
            decode: self.first_token.map_or(Duration::ZERO, |first| self.last_token.saturating_sub(first)),
            n_prefilled: self.n_prefilled,
            n_output: self.n_output,
            gaps: self.gaps.clone().unwrap_or_default(),
        }
    }

    fn ttft(&self) -> Option<Ttft> {
        let (started, prefilled, first_content) = (self.started?, self.prefilled?, self.first_content?);
        Some(Ttft {
            tokenize: self.tokenized.saturating_sub(self.accepted),
            queue: started.saturating_sub(self.tokenized),
            prefill: prefilled.saturating_sub(started),
            first_sample: first_content.saturating_sub(prefilled),
        })
    }
}

/// What was done in a window of time.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Throughput {
    pub window: Duration,
    pub n_requests: usize,
    pub n_prompt_tokens: usize,
    pub n_output_tokens: usize,
}

impl Throughput {
    /// None for an empty window, as of the other two.
    pub fn output_tok_per_s(&self) -> Option<f64> {
        rate(self.n_output_tokens, self.window)
    }

    /// Prompt and output tokens.
    pub fn total_tok_per_s(&self) -> Option<f64> {
        rate(self.n_prompt_tokens + self.n_output_tokens, self.window)
    }

    pub fn requests_per_s(&self) -> Option<f64> {
        rate(self.n_requests, self.window)
    }
}

/// Bytes of memory.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Memory {
    pub weights: u64,
    /// Pages that the cache may fill.
    pub kv_reserved: u64,
    /// Pages in use, at most the reserved ones.
    pub kv_used: u64,
    /// Activations and scratch.
    pub workspace: u64,
    /// The program itself, tokenizer, buffers for text.
    pub runtime: u64,
    /// The most that was resident at once, as measured.
    pub peak: u64,
}

impl Memory {
    /// Weights + KV reserved + workspace + runtime: what the plan says, to be shown beside the measured peak.
    pub fn allocated(&self) -> u64 {
        self.weights + self.kv_reserved + self.workspace + self.runtime
    }
}

fn rate(n: usize, time: Duration) -> Option<f64> {
    (!time.is_zero()).then(|| n as f64 / time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_parts_of_ttft_add_up() {
        let mut recorder = RequestRecorder::new(ms(100), ms(103));
        recorder.started(ms(110));
        recorder.started(ms(120));
        assert_eq!(recorder.timings().ttft, None, "no token yet");
        recorder.prefilled(ms(150), 80);
        recorder.prefilled(ms(155), 1);
        recorder.token(ms(152), false);
        assert_eq!(recorder.timings().ttft, None, "no content yet");
        recorder.token(ms(162), true);
        recorder.token(ms(172), true);
        let timings = recorder.timings();
        let ttft = timings.ttft.expect("content");
        assert_eq!(ttft, Ttft { tokenize: ms(3), queue: ms(7), prefill: ms(40), first_sample: ms(12) });
        assert_eq!(ttft.total(), ms(162 - 100));
        assert_eq!(timings.prefill_tok_per_s(), Some(2000.0));
    }

    #[test]
    fn tpot_is_the_mean_gap_from_the_first_token_on() {
        let mut recorder = RequestRecorder::new(ms(0), ms(0));
        recorder.keep_gaps(4);
        assert_eq!(recorder.timings().tpot(), None);
        recorder.token(ms(500), false);
        assert_eq!(recorder.timings().tpot(), None, "one token has no gap");
        assert_eq!(recorder.timings().decode_tok_per_s(), None);
        for at in [510, 540, 560] {
            recorder.token(ms(at), true);
        }
        let timings = recorder.timings();
        assert_eq!(timings.n_output, 4);
        assert_eq!(timings.tpot(), Some(ms(20)));
        assert_eq!(timings.decode_tok_per_s(), Some(50.0));
        assert_eq!(timings.gaps, [ms(10), ms(30), ms(20)]);
    }

    #[test]
    fn gaps_are_kept_only_when_asked_for() {
        let mut recorder = RequestRecorder::new(ms(0), ms(0));
        recorder.token(ms(1), true);
        recorder.token(ms(2), true);
        assert_eq!(recorder.timings().gaps, []);
    }

    #[test]
    fn throughput_is_over_the_window() {
        let throughput =
            Throughput { window: ms(2000), n_requests: 3, n_prompt_tokens: 100, n_output_tokens: 50 };
        assert_eq!(throughput.output_tok_per_s(), Some(25.0));
        assert_eq!(throughput.total_tok_per_s(), Some(75.0));
        assert_eq!(throughput.requests_per_s(), Some(1.5));
        assert_eq!(Throughput { window: ms(0), ..throughput }.output_tok_per_s(), None);
    }

    #[test]
    fn allocated_counts_reserved_pages_once() {
        let memory =
            Memory { weights: 1, kv_reserved: 10, kv_used: 5, workspace: 100, runtime: 1000, peak: 7 };
        assert_eq!(memory.allocated(), 1111);
    }
}
