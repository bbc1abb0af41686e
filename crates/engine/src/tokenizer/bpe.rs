//! Byte-pair encoding: the checks that stand before the crate's own.

use tokenizers::models::bpe::{BPE, BpeBuilder, Merges, Vocab};

use super::error::TokenizerError;

/// The crate's BPE model. `merges` come in order of rank.
///
/// The crate copies each merge's union into a buffer as long as the longest token, unchecked: a longer union (which
/// cannot be a token) is refused here.
pub(super) fn build(
    builder: BpeBuilder,
    vocab: Vocab,
    merges: Merges,
    field: &'static str,
) -> Result<BPE, TokenizerError> {
    let longest_token = vocab.keys().map(String::len).max().unwrap_or(0);
    if let Some((left, right)) = merges.iter().find(|(left, right)| left.len() + right.len() > longest_token)
    {
        return Err(TokenizerError::invalid(
            field,
            format!("the merge `{left} {right}`"),
            "merges that make a token of the vocabulary",
        ));
    }
    builder.vocab_and_merges(vocab, merges).build().map_err(|error| {
        TokenizerError::invalid(field, error.to_string(), "merges of tokens that make a token")
    })
}
