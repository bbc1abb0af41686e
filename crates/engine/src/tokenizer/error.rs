//! What can be wrong with a tokenizer, or with a text for it.

use std::path::PathBuf;

use crate::weights::WeightsError;

/// Each names the field (a GGUF key, or file and key), what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The tokenizer of this file, or folder, cannot be used.
    #[error("{}: {cause}", path.display())]
    File { path: PathBuf, cause: Box<TokenizerError> },
    #[error(transparent)]
    Metadata(#[from] WeightsError),
    #[error("{field} is missing: {why}")]
    Missing { field: &'static str, why: &'static str },
    #[error("{field} is `{found}`, which is not supported; known: {known}")]
    Unknown { field: &'static str, found: String, known: String },
    #[error("{field}: found {found}, expected {expected}")]
    Invalid { field: &'static str, found: String, expected: String },
    #[error("the tokenizer failed on this text: {0}")]
    Encode(String),
}

impl TokenizerError {
    pub(super) fn invalid(
        field: &'static str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        TokenizerError::Invalid { field, found: found.into(), expected: expected.into() }
    }
}
