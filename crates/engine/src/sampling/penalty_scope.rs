//! Which tokens the penalties count.

use super::candidates::Candidates;
use super::history::{History, TokenCount};
use super::params::PenaltyScope;
use crate::TokenId;

/// A scope with a meaning of its own for each penalty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    Output,
    All,
    Last(u32),
}

impl Scope {
    /// Of the repetition penalty, which has always looked at the prompt too.
    pub(super) fn of_repetition(scope: PenaltyScope) -> Scope {
        match scope {
            PenaltyScope::Output | PenaltyScope::All => Scope::All,
            PenaltyScope::Last(n) => Scope::Last(n),
        }
    }

    /// Of frequency and presence penalty.
    pub(super) fn of_counts(scope: PenaltyScope) -> Scope {
        match scope {
            PenaltyScope::Output => Scope::Output,
            PenaltyScope::All => Scope::All,
            PenaltyScope::Last(n) => Scope::Last(n),
        }
    }

    /// Rewrites the logit of every token that occurs, given how often it does.
    pub(super) fn edit_each(
        self,
        candidates: &mut Candidates,
        history: &History,
        f: impl Fn(f32, u32) -> f32,
    ) {
        let mut edit_counts = |count: fn(&TokenCount) -> u32| {
            for token in history.counts().iter().filter(|&token| count(token) > 0) {
                candidates.edit(token.id, |l| f(l, count(token)));
            }
        };
        match self {
            Scope::Output => edit_counts(|token| token.n_output),
            Scope::All => edit_counts(|token| token.n_prompt + token.n_output),
            Scope::Last(n) => {
                let (tokens, n) = (history.tokens(), n as usize);
                let last = &tokens[tokens.len().saturating_sub(n)..];
                candidates.with_scratch(n.min(history.capacity()), |candidates, sorted| {
                    sorted.extend(last.iter().map(|id| u64::from(id.0)));
                    sorted.sort_unstable();
                    for same in sorted.chunk_by(|a, b| a == b) {
                        candidates.edit(TokenId(same[0] as u32), |l| f(l, same.len() as u32));
                    }
                });
            }
        }
    }
}
