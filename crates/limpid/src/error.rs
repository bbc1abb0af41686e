//! What ends a command: one line on standard error, and an exit code.

use crate::console;
use crate::line::one_line;
use limpid_engine::chat::ChatError;
use limpid_engine::engine::{ConfigError, RequestError, SubmitError};
use limpid_engine::evaluation::EvaluationError;
use limpid_engine::model::{ForwardError, ModelError};
use limpid_engine::sampling::{DefaultsError, ParamError};
use limpid_engine::tokenizer::TokenizerError;
use limpid_engine::weights::WeightsError;
use limpid_kernels::buffer::AllocError;
use limpid_kernels::isa::IsaError;
use std::process::ExitCode;

/// The command could not be done.
pub(crate) const FAILURE: u8 = 1;
/// What was asked makes no sense; clap's code too.
pub(crate) const USAGE: u8 = 2;
/// Ctrl-C, as shells count it: 128 + SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;

/// Errors of the engine are shown as they are.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// An option or argument that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// What no library has a name for.
    #[error("{0}")]
    Failure(String),
    /// Nobody reads standard output any more (`| head`).
    #[error("nobody reads standard output")]
    ClosedPipe,
    #[error("--{} is {}, allowed is {}", .0.name.replace('_', "-"), .0.value, .0.allowed)]
    Param(ParamError),
    #[error(transparent)]
    Submit(SubmitError),
    #[error(transparent)]
    Isa(#[from] IsaError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error(transparent)]
    Chat(#[from] ChatError),
    #[error(transparent)]
    Defaults(#[from] DefaultsError),
    #[error(transparent)]
    Config(ConfigError),
    /// What a model, called so, could not do.
    #[error("{model}: {error}")]
    Request { model: String, error: RequestError },
    #[error(transparent)]
    Forward(#[from] ForwardError),
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    #[error("{0}; end other programs, or ask for less: a shorter prompt, a smaller --prefill-chunk")]
    Alloc(#[from] AllocError),
}

impl CliError {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub(crate) fn failure(message: impl Into<String>) -> Self {
        Self::Failure(message.into())
    }

    /// Prints the message, unless there is nobody to blame, and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if matches!(self, Self::ClosedPipe) {
            return ExitCode::SUCCESS;
        }
        console::print_line(&format!("limpid: error: {}", one_line(&self.to_string())));
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Param(_) | Self::Isa(_) => USAGE,
            Self::Submit(SubmitError::EmptyPrompt | SubmitError::UnknownToken { .. }) => USAGE,
            Self::Chat(ChatError::ReservedArgument { .. } | ChatError::UnknownArgument { .. }) => USAGE,
            _ => FAILURE,
        }
    }
}

/// An option that asks for too much is the command line's fault, and is called as it is spelled there.
impl From<SubmitError> for CliError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Param(error) => Self::Param(error),
            SubmitError::TooLong { .. } | SubmitError::NoRoomForPrompt { .. } => {
                Self::usage(error.to_string().replace("max_tokens", "--max-tokens"))
            }
            other => Self::Submit(other),
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Alloc(error) => Self::Alloc(error),
            other => Self::Config(other),
        }
    }
}

/// An option of the command line that is out of range: its name is the parameter's, spelled as a flag.
impl From<ParamError> for CliError {
    fn from(error: ParamError) -> Self {
        Self::Param(error)
    }
}
