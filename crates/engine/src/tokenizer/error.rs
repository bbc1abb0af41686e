//! What can be wrong with a tokenizer, or with a text for it.

use std::path::PathBuf;

use crate::weights::WeightsError;

/// Each names the field (a GGUF key, or file and key), what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The tokenizer of this file, or folder, cannot be used.
    #[error("{}: {cause}{}", path.display(), cause.remedy())]
    File { path: PathBuf, cause: Box<TokenizerError> },
    #[error(transparent)]
    Metadata(#[from] WeightsError),
    #[error("{field} is missing: {why}")]
    Missing { field: &'static str, why: &'static str },
    #[error("{field} is `{found}`, which is not supported; known: {known}")]
    Unknown { field: &'static str, found: String, known: String },
    #[error("{field}: found {found}, expected {expected}")]
    Invalid { field: &'static str, found: String, expected: String },
    #[error(
        "the tokenizer failed on this text: {0}; change the text, or use another conversion of the model"
    )]
    Encode(String),
}

impl TokenizerError {
    /// What to do about a file's tokenizer, as the end of a message.
    fn remedy(&self) -> &'static str {
        match self {
            TokenizerError::Missing { .. } => "; get the model again, with all of its tokenizer",
            TokenizerError::Unknown { .. } => "; use a model with a tokenizer of a known kind",
            TokenizerError::Invalid { .. } => {
                "; the tokenizer is damaged or of an unknown kind, get the model again"
            }
            TokenizerError::File { .. } | TokenizerError::Metadata(_) | TokenizerError::Encode(_) => "",
        }
    }

    pub(super) fn invalid(
        field: &'static str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        TokenizerError::Invalid { field, found: found.into(), expected: expected.into() }
    }
}
