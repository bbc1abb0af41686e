//! What can go wrong between messages and a prompt.

use crate::weights::WeightsError;
use std::path::{Path, PathBuf};

/// Lines are those of the template's source, from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The template of this file, or folder, is at fault.
    #[error("{}: {cause}; take other messages, go without the template, or get the model again", path.display())]
    Template { path: PathBuf, cause: Box<ChatError> },
    #[error(transparent)]
    Metadata(#[from] WeightsError),
    #[error("the chat template is not valid Jinja, line {line}: {message}")]
    Syntax { line: usize, message: String },
    #[error("the chat template failed in line {line}: {message}")]
    Render { line: usize, message: String },
    /// The template called `raise_exception`: these messages are not what the model was trained on.
    #[error("the chat template refuses these messages: {message} (line {line} of the template)")]
    Refused { line: usize, message: String },
    #[error(
        "the chat template takes more than {limit} steps (line {line}); it loops, or the conversation is far beyond \
         what it was written for"
    )]
    TooManySteps { line: usize, limit: u64 },
    #[error("the chat template is refused: a {what} of {n_bytes} bytes, at most {limit} are allowed")]
    TooLong { what: &'static str, n_bytes: usize, limit: usize },
    #[error(
        "no thread with a stack of {} MiB to run the chat template on: {source}; allow more memory or threads \
         (ulimit -v, ulimit -u), end other programs, or go without the template", stack_bytes >> 20
    )]
    Thread { stack_bytes: usize, source: std::io::Error },
    #[error("the template argument `{name}` is one that every template is given; choose another name")]
    ReservedArgument { name: String },
    /// Nothing would come of it: it is misspelled, or meant for another model.
    #[error("the template argument `{name}` is not read by the model's chat template; {known}")]
    UnknownArgument { name: String, known: String },
    #[error("message {index} is not a JSON object with the keys `role` and `content`")]
    NoMessage { index: usize },
    #[error("the messages hold all of the noncharacters U+FDD0 to U+FDEF; take one of them out")]
    NoMark,
}

impl ChatError {
    /// Names the model whose template is at fault; what the caller or the system did wrong stays as it is.
    pub(super) fn in_model(self, path: Option<&Path>) -> Self {
        let is_the_templates = matches!(
            self,
            Self::Syntax { .. }
                | Self::Render { .. }
                | Self::Refused { .. }
                | Self::TooManySteps { .. }
                | Self::TooLong { .. }
        );
        match path {
            Some(path) if is_the_templates => Self::Template { path: path.to_owned(), cause: Box::new(self) },
            _ => self,
        }
    }
}
