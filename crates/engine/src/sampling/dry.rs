//! DRY ("don't repeat yourself"): l -= dry_multiplier * dry_base^(n - dry_allowed_length) for a token that would make a
//! repeat of n >= dry_allowed_length tokens longer (p-e-w, text-generation-webui, pull request 5677, 2024).
//!
//! n is the length of the longest run of tokens that ends the text, prompt included, and that the token has followed
//! before. A breaker (dry_breakers) belongs to no run, and is never made less likely. The penalty ends at 1e30.

use super::candidates::Candidates;
use super::chain::{LogitsProcessor, Step};
use super::params::SamplingParams;
use crate::TokenId;

const MAX_PENALTY: f64 = 1e30;

#[derive(Debug)]
pub(super) struct Dry {
    multiplier: f64,
    base: f64,
    allowed_length: u32,
    /// In ascending order.
    breakers: Vec<TokenId>,
}

impl Dry {
    pub(super) fn new(params: &SamplingParams) -> Self {
        let mut breakers = params.dry_breakers.clone();
        breakers.sort_unstable();
        Dry {
            multiplier: f64::from(params.dry_multiplier),
            base: f64::from(params.dry_base),
            allowed_length: params.dry_allowed_length,
            breakers,
        }
    }

    fn is_breaker(&self, id: TokenId) -> bool {
        self.breakers.binary_search(&id).is_ok()
    }

    fn penalty(&self, n: u32) -> f32 {
        let power = libm::pow(self.base, f64::from(n - self.allowed_length));
        (self.multiplier * power).min(MAX_PENALTY) as f32
    }
}

impl LogitsProcessor for Dry {
    fn name(&self) -> &'static str {
        "dry"
    }

    fn apply(&self, candidates: &mut Candidates, step: &Step<'_>) {
        let tokens = step.history.tokens();
        let longest = tokens.iter().rev().take_while(|&&id| !self.is_breaker(id)).count();
        if longest < self.allowed_length as usize {
            return;
        }
        candidates.with_scratch(step.history.capacity(), |candidates, scratch| {
            common_suffixes(tokens, scratch);
            // In place: (token, n) for every token that is penalized, each time that it is.
            let mut n_repeats = 0;
            for back in 1..tokens.len() {
                let n = scratch[back].min(longest as u64);
                let next = tokens[tokens.len() - back];
                if n >= u64::from(self.allowed_length) && !self.is_breaker(next) {
                    scratch[n_repeats] = u64::from(next.0) << 32 | n;
                    n_repeats += 1;
                }
            }
            let repeats = &mut scratch[..n_repeats];
            repeats.sort_unstable();
            for same in repeats.chunk_by(|a, b| a >> 32 == b >> 32) {
                let longest = same[same.len() - 1];
                let penalty = self.penalty(longest as u32);
                candidates.edit(TokenId((longest >> 32) as u32), |l| l - penalty);
            }
        });
    }
}

/// `lengths[back]`: how many tokens the text has in common, from the right, with itself less its last `back` tokens.
///
/// The Z algorithm (Gusfield 1997) on the reversed text: linear, since what lies within the stretch known to be equal
/// is looked up.
fn common_suffixes(tokens: &[TokenId], lengths: &mut Vec<u64>) {
    let n = tokens.len();
    let from_end = |i: usize| tokens[n - 1 - i];
    lengths.resize(n, 0);
    let (mut start, mut end) = (0, 0);
    for back in 1..n {
        let mut length = if back < end { (lengths[back - start] as usize).min(end - back) } else { 0 };
        while back + length < n && from_end(length) == from_end(back + length) {
            length += 1;
        }
        if back + length > end {
            (start, end) = (back, back + length);
        }
        lengths[back] = length as u64;
    }
}
