//! What the sampler remembers of a sequence: its tokens, how often each occurred, and where mirostat stands.

use crate::TokenId;

/// One token of a sequence's past.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenCount {
    pub id: TokenId,
    /// How often the prompt holds it.
    pub n_prompt: u32,
    /// How often it was generated: c\[t\] of the penalties' formulas.
    pub n_output: u32,
}

/// The past of one sequence. A fork of the sequence has its own.
///
/// The counts are a sorted list, not a table of the vocabulary: it is as long as the text has distinct tokens, so that
/// many sequences and many beams cost little, and adding to it moves a few KB at most.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct History {
    /// Prompt and output.
    tokens: Vec<TokenId>,
    n_prompt: usize,
    /// By ascending id.
    counts: Vec<TokenCount>,
    /// Mirostat's bound on the surprise, once it has drawn.
    pub(super) mirostat_mu: Option<f64>,
}

impl History {
    /// A sequence that begins with `prompt`; as long as at most `max_tokens` tokens below `vocab_size` are pushed,
    /// nothing is allocated.
    pub fn new(prompt: &[TokenId], max_tokens: usize, vocab_size: usize) -> Self {
        let mut tokens = Vec::with_capacity(prompt.len() + max_tokens);
        tokens.extend_from_slice(prompt);
        let mut sorted = prompt.to_vec();
        sorted.sort_unstable();
        let n_distinct = sorted.chunk_by(|a, b| a == b).count();
        let mut counts = Vec::with_capacity(n_distinct + max_tokens.min(vocab_size));
        counts.extend(sorted.chunk_by(|a, b| a == b).map(|same| TokenCount {
            id: same[0],
            n_prompt: same.len() as u32,
            n_output: 0,
        }));
        History { tokens, n_prompt: prompt.len(), counts, mirostat_mu: None }
    }

    /// Becomes a copy of `other`, in the memory that is there.
    pub fn copy_from(&mut self, other: &Self) {
        let Self { tokens, n_prompt, counts, mirostat_mu } = other;
        self.tokens.clone_from(tokens);
        self.counts.clone_from(counts);
        (self.n_prompt, self.mirostat_mu) = (*n_prompt, *mirostat_mu);
    }

    /// A token was generated.
    pub fn push(&mut self, id: TokenId) {
        self.tokens.push(id);
        match self.counts.binary_search_by_key(&id, |count| count.id) {
            Ok(i) => self.counts[i].n_output += 1,
            Err(i) => self.counts.insert(i, TokenCount { id, n_prompt: 0, n_output: 1 }),
        }
    }

    /// How many tokens were generated; also the output position of the next one.
    pub fn n_output(&self) -> u32 {
        (self.tokens.len() - self.n_prompt) as u32
    }

    /// Prompt and output.
    pub fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    /// Tokens of the prompt.
    pub fn n_prompt(&self) -> usize {
        self.n_prompt
    }

    /// What was generated.
    pub fn output(&self) -> &[TokenId] {
        &self.tokens[self.n_prompt..]
    }

    /// How many tokens there may be without an allocation.
    pub(super) fn capacity(&self) -> usize {
        self.tokens.capacity()
    }

    /// Every distinct token so far, by ascending id.
    pub fn counts(&self) -> &[TokenCount] {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_equal_whatever_was_there() {
        let ids = |ids: &[u32]| ids.iter().copied().map(TokenId).collect::<Vec<_>>();
        let mut history = History::new(&ids(&[3, 1, 3]), 4, 10);
        history.push(TokenId(7));
        history.mirostat_mu = Some(2.5);
        let mut copy = History::new(&ids(&[9]), 1, 10);
        copy.push(TokenId(9));
        copy.copy_from(&history);
        assert_eq!(copy, history);
        assert_eq!((copy.n_prompt(), copy.output()), (3, &ids(&[7])[..]));
    }
}
