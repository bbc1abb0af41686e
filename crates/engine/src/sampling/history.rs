//! What the sampler remembers of a sequence: how often each token occurred, kept up to date as tokens come.

use crate::TokenId;

/// One token of a sequence's past.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenCount {
    pub id: TokenId,
    /// Whether the prompt holds it.
    pub in_prompt: bool,
    /// How often it was generated: c\[t\] of the penalties' formulas.
    pub n_output: u32,
}

/// The counts of one sequence. A fork of the sequence clones it.
///
/// A sorted list, not a table of the vocabulary: it is as long as the text has distinct tokens, so that many
/// sequences and many beams cost little, and adding to it moves a few KB at most.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct History {
    /// By ascending id.
    counts: Vec<TokenCount>,
    n_output: u32,
}

impl History {
    /// A sequence that begins with `prompt`; as long as at most `n_reserved` tokens are pushed, nothing is
    /// allocated.
    pub fn new(prompt: &[TokenId], n_reserved: usize) -> Self {
        let mut ids = prompt.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let mut counts = Vec::with_capacity(ids.len() + n_reserved);
        counts.extend(ids.into_iter().map(|id| TokenCount { id, in_prompt: true, n_output: 0 }));
        History { counts, n_output: 0 }
    }

    /// A token was generated.
    pub fn push(&mut self, id: TokenId) {
        self.n_output += 1;
        match self.counts.binary_search_by_key(&id, |count| count.id) {
            Ok(i) => self.counts[i].n_output += 1,
            Err(i) => self.counts.insert(i, TokenCount { id, in_prompt: false, n_output: 1 }),
        }
    }

    /// How many tokens were generated; also the output position of the next one.
    pub fn n_output(&self) -> u32 {
        self.n_output
    }

    /// Every distinct token so far, by ascending id.
    pub fn counts(&self) -> &[TokenCount] {
        &self.counts
    }
}
