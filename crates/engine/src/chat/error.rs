//! What can go wrong between messages and a prompt.

/// Lines are those of the template's source, from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
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
    #[error("no thread to run the chat template on: {0}")]
    Thread(std::io::Error),
    #[error("the template argument `{name}` is one that every template is given; choose another name")]
    ReservedArgument { name: String },
    #[error("message {index} is not a JSON object with the keys `role` and `content`")]
    NoMessage { index: usize },
    #[error("the messages hold all of the noncharacters U+FDD0 to U+FDEF; take one of them out")]
    NoMark,
}
