//! The times of a request, TTFT and TPOT: plain types and a recorder.
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
        }
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
        self.first_token.get_or_insert(at);
        if has_content {
            self.first_content.get_or_insert(at);
        }
        self.last_token = at;
        self.n_output += 1;
    }

    /// Content is handed over whose tokens were counted before.
    pub fn content(&mut self, at: Duration) {
        self.first_content.get_or_insert(at);
    }

    /// The times so far.
    pub fn timings(&self) -> RequestTimings {
        RequestTimings {
            ttft: self.ttft(),
            decode: self.first_token.map_or(Duration::ZERO, |first| self.last_token.saturating_sub(first)),
            n_prefilled: self.n_prefilled,
            n_output: self.n_output,
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
    }
}
