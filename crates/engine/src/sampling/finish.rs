//! Why a sequence ended.

use std::fmt;

use crate::TokenId;

/// The exact reason; [`FinishReason::name`] is the coarse one of OpenAI's API.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FinishReason {
    /// The model ended its text with this token.
    Eos { id: TokenId },
    /// The text came to contain the stop string number `index`, from byte `at` of the generated text on.
    StopString { index: usize, text: String, at: usize },
    /// A token of `stop_token_ids` was generated.
    StopId { id: TokenId },
    /// `max_tokens` are generated.
    MaxTokens,
    /// The context is full.
    Context,
    /// The request's time is up.
    TimeLimit,
    /// The client went away or said stop.
    Cancelled,
    /// The request failed; the error comes beside.
    Error,
}

impl FinishReason {
    /// `stop`, `length`, `cancelled` or `error`.
    pub fn name(&self) -> &'static str {
        match self {
            FinishReason::Eos { .. } | FinishReason::StopString { .. } | FinishReason::StopId { .. } => {
                "stop"
            }
            FinishReason::MaxTokens | FinishReason::Context | FinishReason::TimeLimit => "length",
            FinishReason::Cancelled => "cancelled",
            FinishReason::Error => "error",
        }
    }
}

impl fmt::Display for FinishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FinishReason::Eos { id } => write!(f, "stop (EOS, token {})", id.0),
            FinishReason::StopString { text, at, .. } => write!(f, "stop (string {text:?} at byte {at})"),
            FinishReason::StopId { id } => write!(f, "stop (token {})", id.0),
            FinishReason::MaxTokens => f.write_str("length (max_tokens)"),
            FinishReason::Context => f.write_str("length (context)"),
            FinishReason::TimeLimit => f.write_str("length (time limit)"),
            FinishReason::Cancelled => f.write_str("cancelled"),
            FinishReason::Error => f.write_str("error"),
        }
    }
}
