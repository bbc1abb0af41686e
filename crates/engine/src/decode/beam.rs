//! Beam search: which continuations of several texts go on, and which ended ones are kept. Hugging Face's semantics.
//!
//! A step: every running beam offers its continuations, each with the sum of its log-probabilities as total. The best
//! max(2, 1 + n_ends) * num_beams of all are *candidates*, n_ends being the number of token ids that end a text. One
//! that ends is finished if it ranks among the first num_beams, and else forgotten; the first num_beams others run on.
//!
//! A finished text scores total / n^length_penalty, n its generated tokens, the one that ended it included. The best
//! num_beams of them are kept.
//!
//! Nothing is drawn. Equal totals: the beam that ranked higher, then the larger log-probability before rounding, then
//! the lower id.

use crate::TokenId;
use crate::sampling::{FinishReason, ParamError};

/// The most beams.
pub const MAX_BEAMS: usize = 64;

/// When a search stops that has `num_beams` finished texts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum EarlyStopping {
    /// At once.
    True,
    /// Once the best running beam, if it ended now, would not be better than the worst finished text.
    #[default]
    False,
    /// As `False`, but as if it ended at the longest length that is possible, where length_penalty is above 0.
    Never,
}

/// What a request may ask of the search.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BeamParams {
    pub num_beams: usize,
    /// 0: the text of the highest probability. Above 0 longer texts gain, below 0 they lose.
    pub length_penalty: f64,
    pub early_stopping: EarlyStopping,
    /// Texts that are given, the best first; at most num_beams.
    pub num_return_sequences: usize,
}

impl BeamParams {
    pub fn new(num_beams: usize) -> Self {
        Self { num_beams, length_penalty: 0.0, early_stopping: EarlyStopping::False, num_return_sequences: 1 }
    }

    /// A power of the longest length that any model has must not overflow: hence the range of the penalty.
    pub fn validate(&self) -> Result<(), ParamError> {
        let &Self { num_beams, length_penalty, num_return_sequences, .. } = self;
        if !(1..=MAX_BEAMS).contains(&num_beams) {
            return Err(ParamError::new("num_beams", num_beams, &format!("from 1 to {MAX_BEAMS}")));
        }
        if !(-10.0..=10.0).contains(&length_penalty) {
            return Err(ParamError::new("length_penalty", length_penalty, "from -10 to 10"));
        }
        if !(1..=num_beams).contains(&num_return_sequences) {
            let allowed = format!("from 1 to num_beams ({num_beams})");
            return Err(ParamError::new("num_return_sequences", num_return_sequences, &allowed));
        }
        Ok(())
    }
}

/// A beam continued by one token.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BeamCandidate {
    /// The running beam, by rank.
    pub beam: usize,
    pub id: TokenId,
    /// The sum of the processed log-probabilities, this token's included.
    pub total: f64,
    /// The token's own log-probability, before the processors and after them.
    pub raw: f32,
    pub processed: f32,
    logit: f32,
}

impl BeamCandidate {
    /// Whether it ranks before `other`.
    fn beats(&self, other: &Self) -> bool {
        let ranks = other.total.total_cmp(&self.total).then(self.beam.cmp(&other.beam));
        // Adding 0 makes 0 of -0: they are equal.
        let by_logit = (other.logit + 0.0).total_cmp(&(self.logit + 0.0));
        ranks.then(by_logit).then(self.id.cmp(&other.id)).is_lt()
    }
}

/// A text that has ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Hypothesis {
    pub tokens: Vec<TokenId>,
    pub logprobs: Vec<f32>,
    pub score: f64,
    pub reason: FinishReason,
}

/// The search of one request.
#[derive(Debug)]
pub struct BeamSearch {
    params: BeamParams,
    n_kept: usize,
    /// The longest that a text can become.
    max_tokens: usize,
    /// Of the step at hand, best first.
    candidates: Vec<BeamCandidate>,
    /// Best first.
    finished: Vec<Hypothesis>,
}

impl BeamSearch {
    /// `n_ends` token ids end a text.
    pub fn new(params: BeamParams, n_ends: usize, max_tokens: usize) -> Self {
        let n_kept = (1 + n_ends).max(2) * params.num_beams;
        Self {
            params,
            n_kept,
            max_tokens,
            candidates: Vec::with_capacity(n_kept),
            finished: Vec::with_capacity(params.num_beams + 1),
        }
    }

    pub fn params(&self) -> &BeamParams {
        &self.params
    }

    pub fn begin_step(&mut self) {
        self.candidates.clear();
    }

    /// A beam's continuations: its rank and total, what the processors left in play of its log-probabilities,
    /// `logprobs` as they were before, and the logits that rank what rounds to the same.
    pub fn offer(
        &mut self,
        beam: usize,
        total: f64,
        in_play: impl Iterator<Item = (TokenId, f32)>,
        logprobs: &[f32],
        logits: &[f32],
    ) {
        for (id, processed) in in_play {
            let token = id.0 as usize;
            let total = total + f64::from(processed);
            let (raw, logit) = (logprobs[token], logits[token]);
            let candidate = BeamCandidate { beam, id, total, raw, processed, logit };
            if self.candidates.len() == self.n_kept {
                if self.candidates.last().is_some_and(|last| !candidate.beats(last)) {
                    continue;
                }
                self.candidates.pop();
            }
            let at = self.candidates.partition_point(|other| other.beats(&candidate));
            self.candidates.insert(at, candidate);
        }
    }

    /// The candidates of this step, best first.
    pub fn candidates(&self) -> &[BeamCandidate] {
        &self.candidates
    }

    /// The score of a text of `n` tokens.
    pub fn score(&self, total: f64, n: usize) -> f64 {
        total / libm::pow(n as f64, self.params.length_penalty)
    }

    /// A text has ended; it is kept if it is among the best.
    pub fn finish(&mut self, hypothesis: Hypothesis) {
        let at = self.finished.partition_point(|other| other.score >= hypothesis.score);
        self.finished.insert(at, hypothesis);
        self.finished.truncate(self.params.num_beams);
    }

    /// The texts kept so far, best first.
    pub fn finished(&self) -> &[Hypothesis] {
        &self.finished
    }

    /// Whether the search is over after a step that made texts of `n` tokens. `best`: the largest total of those that
    /// run on, if any does.
    pub fn is_over(&self, best: Option<f64>, n: usize) -> bool {
        let Some(best) = best else { return true };
        let Some(worst) = self.finished.get(self.params.num_beams - 1) else { return false };
        let n = match self.params.early_stopping {
            EarlyStopping::True => return true,
            EarlyStopping::Never if self.params.length_penalty > 0.0 => self.max_tokens,
            EarlyStopping::False | EarlyStopping::Never => n,
        };
        self.score(best, n) <= worst.score
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(params: BeamParams, n_ends: usize) -> BeamSearch {
        BeamSearch::new(params, n_ends, 10)
    }

    /// Offers logits that are log-probabilities already.
    fn offer(search: &mut BeamSearch, beam: usize, total: f64, logprobs: &[f32]) {
        let in_play = (0..).map(TokenId).zip(logprobs.iter().copied());
        search.offer(beam, total, in_play, logprobs, logprobs);
    }

    fn found(search: &BeamSearch) -> Vec<(usize, u32)> {
        search.candidates().iter().map(|c| (c.beam, c.id.0)).collect()
    }

    fn hypothesis(score: f64) -> Hypothesis {
        Hypothesis { tokens: Vec::new(), logprobs: Vec::new(), score, reason: FinishReason::MaxTokens }
    }

    #[test]
    fn candidates_are_the_best_of_all_beams() {
        let mut beams = search(BeamParams::new(2), 1);
        offer(&mut beams, 0, -1.0, &[-1.0, -3.0, -0.5]);
        offer(&mut beams, 1, -1.25, &[-0.5, -0.25, -9.0]);
        assert_eq!(found(&beams), [(0, 2), (1, 1), (1, 0), (0, 0)]);
        beams.begin_step();
        assert_eq!(found(&beams), []);
    }

    #[test]
    fn more_are_kept_where_more_ids_end_a_text() {
        for (n_ends, n_kept) in [(0, 4), (1, 4), (2, 6), (3, 8)] {
            let mut beams = search(BeamParams::new(2), n_ends);
            offer(&mut beams, 0, 0.0, &[-1.0; 20]);
            assert_eq!(beams.candidates().len(), n_kept, "{n_ends}");
        }
    }

    #[test]
    fn ties_go_to_the_better_beam_the_larger_logit_and_the_lower_id() {
        let mut beams = search(BeamParams::new(3), 0);
        offer(&mut beams, 1, -1.0, &[-1.0, -1.0]);
        offer(&mut beams, 0, -1.0, &[-1.0, -1.0]);
        assert_eq!(found(&beams), [(0, 0), (0, 1), (1, 0), (1, 1)]);
        let mut beams = search(BeamParams::new(1), 0);
        beams.offer(0, 0.0, [TokenId(0), TokenId(1)].into_iter().zip([-1.0; 2]), &[-1.0; 2], &[-0.0, 0.0]);
        assert_eq!(found(&beams), [(0, 0), (0, 1)], "0 and -0 are equal");
        let mut beams = search(BeamParams::new(1), 0);
        let ids = [TokenId(0), TokenId(1)];
        beams.offer(0, 0.0, ids.into_iter().zip([-1.0, -1.0]), &[-1.0, -1.0], &[5.0, 5.5]);
        assert_eq!(found(&beams), [(0, 1), (0, 0)]);
    }

    #[test]
    fn a_score_is_the_total_by_a_power_of_the_length() {
        for (length_penalty, score) in [(-1.0, -24.0), (0.0, -6.0), (1.0, -1.5), (2.0, -0.375)] {
            let beams = search(BeamParams { length_penalty, ..BeamParams::new(1) }, 1);
            assert_eq!(beams.score(-6.0, 4), score);
        }
    }

    #[test]
    fn the_best_finished_are_kept_and_the_first_of_equals_goes_first() {
        let mut beams = search(BeamParams::new(2), 1);
        for score in [-3.0, -1.0, -2.0] {
            beams.finish(hypothesis(score));
        }
        beams.finish(Hypothesis { reason: FinishReason::Context, ..hypothesis(-1.0) });
        let kept: Vec<_> = beams.finished().iter().map(|h| (h.score, h.reason.clone())).collect();
        assert_eq!(kept, [(-1.0, FinishReason::MaxTokens), (-1.0, FinishReason::Context)]);
    }

    #[test]
    fn when_it_is_over() {
        let with = |early_stopping, length_penalty| {
            let params = BeamParams { early_stopping, length_penalty, ..BeamParams::new(1) };
            search(params, 1)
        };
        use EarlyStopping::{False, Never, True};
        for (early_stopping, length_penalty, worst, best, is_over) in [
            (True, 0.0, -3.0, -1.0, true),
            (False, 0.0, -3.0, -2.0, false),
            (False, 0.0, -3.0, -3.0, true),
            // 5 tokens of at most 10: -10 / 5 = -2, -10 / 10 = -1.
            (False, 1.0, -1.5, -10.0, true),
            (Never, 1.0, -1.5, -10.0, false),
            (Never, 1.0, -1.0, -10.0, true),
            (Never, 0.0, -11.0, -10.0, false),
            // -1: -1 * 5 = -5; not -1 * 10.
            (Never, -1.0, -6.0, -1.0, false),
        ] {
            let mut beams = with(early_stopping, length_penalty);
            assert!(!beams.is_over(Some(best), 5), "nothing is finished");
            assert!(beams.is_over(None, 5), "nothing runs");
            beams.finish(hypothesis(worst));
            let case = (early_stopping, length_penalty, worst, best);
            assert_eq!(beams.is_over(Some(best), 5), is_over, "{case:?}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_name() {
        let name = |params: BeamParams| params.validate().err().map(|error| error.name);
        assert_eq!(name(BeamParams::new(64)), None);
        for num_beams in [0, 65] {
            assert_eq!(name(BeamParams::new(num_beams)).as_deref(), Some("num_beams"));
        }
        for length_penalty in [f64::NAN, 10.5, f64::NEG_INFINITY] {
            let params = BeamParams { length_penalty, ..BeamParams::new(2) };
            assert_eq!(name(params).as_deref(), Some("length_penalty"));
        }
        for num_return_sequences in [0, 3] {
            let params = BeamParams { num_return_sequences, ..BeamParams::new(2) };
            assert_eq!(name(params).as_deref(), Some("num_return_sequences"));
        }
    }
}
