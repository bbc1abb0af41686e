//! Log-probabilities: ln p = logit - ln(sum of e^logit), by [`vocab::log_sum_exp`], rounded to f32 once. So they are
//! the same bits on every instruction set.

use crate::TokenId;
use crate::sampling::ParamError;
use limpid_kernels::Cpu;
use limpid_kernels::ops::vocab;

/// The most alternatives of a token.
pub const MAX_LOGPROBS: usize = 100;

/// Of which distribution.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum LogprobsMode {
    /// The model's own, before anything that a request asks for.
    #[default]
    Raw,
    /// The one that the token was drawn from: masks, penalties, temperature and filters applied. At temperature 0
    /// there are no filters, and it is the one that the largest was taken of.
    Processed,
}

/// The log-probabilities that a request asks for; none by default.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LogprobParams {
    /// Of each generated token, and of so many of the likeliest in its place.
    pub output: Option<usize>,
    /// Of each prompt token but the first, likewise. Always the model's own: nothing was drawn there.
    pub prompt: Option<usize>,
    pub mode: LogprobsMode,
}

impl LogprobParams {
    pub fn validate(&self) -> Result<(), ParamError> {
        let check = |name: &str, asked: Option<usize>| match asked {
            Some(n) if n > MAX_LOGPROBS => {
                Err(ParamError::new(name, n, &format!("from 0 to {MAX_LOGPROBS}")))
            }
            _ => Ok(()),
        };
        check("logprobs", self.output)?;
        check("prompt_logprobs", self.prompt)
    }
}

/// One of the likeliest tokens in a place.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TopLogprob {
    pub id: TokenId,
    pub logprob: f32,
}

/// What is known of one place in a text.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TokenLogprobs<'a> {
    /// Of the token that stands there.
    pub logprob: f32,
    /// Likeliest first, ties by the lower id; fewer than asked for where fewer tokens were in play.
    pub top: &'a [TopLogprob],
}

/// The log-probabilities of a run of tokens.
#[derive(PartialEq, Default, Debug)]
pub struct Logprobs {
    n_top: usize,
    chosen: Vec<f32>,
    /// The alternatives of all tokens, and where those of each end.
    top: Vec<TopLogprob>,
    ends: Vec<usize>,
}

impl Logprobs {
    /// Room for `n_tokens`, so that no more is allocated, with `n_top` alternatives each.
    pub fn new(n_tokens: usize, n_top: usize) -> Self {
        Self {
            n_top,
            chosen: Vec::with_capacity(n_tokens),
            top: Vec::with_capacity(n_tokens.saturating_mul(n_top)),
            ends: Vec::with_capacity(n_tokens),
        }
    }

    pub fn len(&self) -> usize {
        self.chosen.len()
    }

    pub fn is_empty(&self) -> bool {
        self.chosen.is_empty()
    }

    /// That of token `i` of the run.
    pub fn get(&self, i: usize) -> TokenLogprobs<'_> {
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before]);
        TokenLogprobs { logprob: self.chosen[i], top: &self.top[start..self.ends[i]] }
    }

    pub fn iter(&self) -> impl Iterator<Item = TokenLogprobs<'_>> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// Their mean; 0 for no tokens.
    pub fn mean(&self) -> f64 {
        let sum: f64 = self.chosen.iter().map(|&logprob| f64::from(logprob)).sum();
        sum / self.len().max(1) as f64
    }

    pub fn clear(&mut self) {
        self.chosen.clear();
        self.top.clear();
        self.ends.clear();
    }

    /// Becomes a copy of `other`, in the memory that is there.
    pub fn copy_from(&mut self, other: &Self) {
        self.n_top = other.n_top;
        self.chosen.clone_from(&other.chosen);
        self.top.clone_from(&other.top);
        self.ends.clone_from(&other.ends);
    }

    /// A token whose log-probability is known already, without alternatives.
    pub fn push_known(&mut self, logprob: f32) {
        self.chosen.push(logprob);
        self.ends.push(self.top.len());
    }

    /// The token `id` out of `logits`, one a token of the vocabulary, -inf where one is not in play. False, and nothing
    /// is added, if they are not finite.
    #[must_use]
    pub fn push(&mut self, cpu: &Cpu, logits: &[f32], id: TokenId) -> bool {
        let Some(norm) = finite_norm(cpu, logits) else { return false };
        self.chosen.push(normed(logits[id.0 as usize], norm));
        self.push_top(logits, norm);
        self.ends.push(self.top.len());
        true
    }

    fn push_top(&mut self, logits: &[f32], norm: f64) {
        let start = self.top.len();
        for (id, &logit) in (0..).zip(logits) {
            let is_full = self.top.len() == start + self.n_top;
            let lowest =
                if is_full { self.top[start..].last().map(|t| t.logprob) } else { Some(f32::NEG_INFINITY) };
            if lowest.is_none_or(|lowest| logit <= lowest) {
                continue;
            }
            if is_full {
                self.top.pop();
            }
            // Ids ascend: an equal one that is there goes first.
            let at = start + self.top[start..].partition_point(|t| t.logprob >= logit);
            self.top.insert(at, TopLogprob { id: TokenId(id), logprob: logit });
        }
        // They were ranked by logits, which do not collide where a log-probability rounds.
        self.top[start..].iter_mut().for_each(|t| t.logprob = normed(t.logprob, norm));
    }
}

/// `out` becomes the log-probabilities of `logits`; false if they are not finite, or all masked.
#[must_use]
pub fn log_softmax(cpu: &Cpu, logits: &[f32], out: &mut Vec<f32>) -> bool {
    let Some(norm) = finite_norm(cpu, logits) else { return false };
    out.clear();
    out.extend(logits.iter().map(|&logit| normed(logit, norm)));
    true
}

fn finite_norm(cpu: &Cpu, logits: &[f32]) -> Option<f64> {
    vocab::log_sum_exp(cpu, logits).filter(|norm| norm.is_finite())
}

fn normed(logit: f32, norm: f64) -> f32 {
    (f64::from(logit) - norm) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use limpid_kernels::isa::Isa;

    fn cpu() -> Cpu {
        Cpu::new(Isa::Portable, 1)
    }

    #[test]
    fn a_copy_is_equal_and_goes_on_as_the_original() {
        let mut logprobs = Logprobs::new(2, 2);
        assert!(logprobs.push(&cpu(), &[1.0, 2.0, 3.0], TokenId(0)));
        let mut copy = Logprobs::new(2, 0);
        copy.push_known(-1.0);
        copy.copy_from(&logprobs);
        assert_eq!(copy, logprobs);
        for one in [&mut copy, &mut logprobs] {
            assert!(one.push(&cpu(), &[3.0, 2.0, 1.0], TokenId(1)));
        }
        assert_eq!(copy, logprobs);
        assert_eq!(copy.get(1).top.len(), 2);
    }

    fn top(logits: &[f32], id: u32, n_top: usize) -> (f32, Vec<u32>) {
        let mut logprobs = Logprobs::new(1, n_top);
        assert!(logprobs.push(&cpu(), logits, TokenId(id)));
        let found = logprobs.get(0);
        (found.logprob, found.top.iter().map(|t| t.id.0).collect())
    }

    #[test]
    fn the_likeliest_first_and_ties_by_the_lower_id() {
        let logits = [0.0, 2.0, 1.0, 2.0, f32::NEG_INFINITY, 3.0];
        assert_eq!(top(&logits, 2, 3).1, [5, 1, 3]);
        assert_eq!(top(&logits, 2, 4).1, [5, 1, 3, 2]);
        assert_eq!(top(&logits, 2, 0).1, [0; 0]);
        assert_eq!(top(&logits, 2, 9).1, [5, 1, 3, 2, 0], "what is masked is no alternative");
    }

    #[test]
    fn they_are_those_of_the_formula() {
        let logits = [0.5, -1.0, 2.0];
        let sum: f64 = logits.iter().map(|&l: &f32| libm::exp(f64::from(l))).sum();
        for (id, &logit) in (0..).zip(&logits) {
            let expected = f64::from(logit) - libm::log(sum);
            assert!((f64::from(top(&logits, id, 0).0) - expected).abs() < 1e-6);
        }
        assert_eq!(top(&[7.0], 0, 1), (0.0, vec![0]), "one token is certain");
    }

    #[test]
    fn each_token_has_its_own_alternatives() {
        let mut logprobs = Logprobs::new(3, 1);
        assert!(logprobs.push(&cpu(), &[1.0, 0.0], TokenId(0)));
        logprobs.push_known(-2.0);
        assert!(logprobs.push(&cpu(), &[0.0, 1.0], TokenId(0)));
        assert!(!logprobs.push(&cpu(), &[f32::NAN, 1.0], TokenId(0)));
        assert!(!logprobs.push(&cpu(), &[f32::NEG_INFINITY; 2], TokenId(0)));
        let tops: Vec<Vec<u32>> = logprobs.iter().map(|of| of.top.iter().map(|t| t.id.0).collect()).collect();
        assert_eq!(tops, [vec![0], vec![], vec![1]]);
        let mean = (f64::from(logprobs.get(0).logprob) - 2.0 + f64::from(logprobs.get(2).logprob)) / 3.0;
        assert!((logprobs.mean() - mean).abs() < 1e-12);
    }
}
