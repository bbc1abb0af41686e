//! Perplexity: how surprised a model is by a text. PPL = exp(mean of -ln p(token | the tokens before it)).
//!
//! The text is cut as llama.cpp's llama-perplexity cuts it, so that numbers can be compared: windows of n tokens
//! without overlap, what is left at the end is dropped. A model that wants BOS gets it in the place of each window's
//! first token. The first half of a window gives context: scored are the tokens at n / 2 + 1 to n - 1, counted from 0.
//!
//! -ln p = ln(sum of e^logit) - logit, from raw logits, in f64, by [`vocab::log_sum_exp`]; the scores are added in
//! order. So the same text gives the same bits for any number of threads, batch and instruction set.

use super::{EvaluationError, each_logits};
use crate::TokenId;
use crate::kv::KvCache;
use crate::model::Forward;
use limpid_kernels::Cpu;
use limpid_kernels::ops::vocab;

/// The shortest window that has a token to score.
pub const MIN_WINDOW: usize = 3;

/// A text and how it is cut.
#[derive(Clone, Copy, Debug)]
pub struct Windows<'a> {
    pub tokens: &'a [TokenId],
    /// Tokens of a window, [`MIN_WINDOW`] or more.
    pub len: usize,
    /// What takes the place of each window's first token.
    pub bos: Option<TokenId>,
}

impl Windows<'_> {
    /// Whole windows.
    pub fn n_windows(&self) -> usize {
        self.tokens.len() / self.len
    }

    /// Tokens that the model computes: nothing follows the last one of a window.
    pub fn n_computed(&self) -> usize {
        self.n_windows() * (self.len - 1)
    }

    /// Whether the token after this position of a window is scored.
    fn is_scored(&self, position: usize) -> bool {
        (self.len / 2..self.len - 1).contains(&position)
    }
}

/// The scores of a text, each a -ln p, summed up.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Perplexity {
    pub n_scored: usize,
    sum: f64,
    sum_of_squares: f64,
}

impl Perplexity {
    fn add(&mut self, score: f64) {
        self.n_scored += 1;
        self.sum += score;
        self.sum_of_squares += score * score;
    }

    /// The mean of -ln p, in nats; NaN if nothing was scored.
    pub fn mean(&self) -> f64 {
        self.sum / self.n_scored as f64
    }

    /// exp(mean).
    pub fn value(&self) -> f64 {
        libm::exp(self.mean())
    }

    /// Of the value, as llama-perplexity gives it: PPL * sqrt((mean of squares - square of the mean) / (n - 1)). `None`
    /// for fewer than two scores. It takes scores for independent, which neighbours in a text are not.
    pub fn standard_error(&self) -> Option<f64> {
        let n_others = self.n_scored.checked_sub(1).filter(|&n| n > 0)?;
        let variance = self.sum_of_squares / self.n_scored as f64 - self.mean() * self.mean();
        Some(self.value() * (variance.max(0.0) / n_others as f64).sqrt())
    }
}

/// Scores all whole windows of a text. `progress` gets the number of tokens computed so far.
pub fn perplexity(
    model: &mut dyn Forward,
    kv: &mut KvCache,
    cpu: &Cpu,
    text: Windows<'_>,
    progress: &mut dyn FnMut(usize),
) -> Result<Perplexity, EvaluationError> {
    assert!(text.len >= MIN_WINDOW, "a window of {} tokens scores none", text.len);
    let mut perplexity = Perplexity::default();
    for (i, window) in text.tokens.chunks_exact(text.len).enumerate() {
        let mut context = window[..text.len - 1].to_vec();
        context[0] = text.bos.unwrap_or(context[0]);
        let n_before = i * context.len();
        let mut score = |position: usize, logits: &[f32]| {
            let token = window[position + 1];
            let score =
                vocab::log_sum_exp(cpu, logits).unwrap_or(f64::NAN) - f64::from(logits[token.0 as usize]);
            perplexity.add(score);
            let not_finite = EvaluationError::NotFinite { position: i * text.len + position };
            if score.is_finite() { Ok(()) } else { Err(not_finite) }
        };
        let wanted = |position| text.is_scored(position);
        each_logits(model, kv, &context, &wanted, &mut |n| progress(n_before + n), &mut score)?;
    }
    Ok(perplexity)
}
