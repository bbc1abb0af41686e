//! The exact reason of an ending, beside the coarse one of OpenAI's API.

use limpid_engine::sampling::FinishReason;
use serde::Serialize;

/// Why exactly a text ended.
#[derive(Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub(crate) enum StopJson<'a> {
    Eos {
        token_id: u32,
    },
    /// Which of the stop strings, and at which byte of the text it begins.
    StopString {
        index: usize,
        string: &'a str,
        at: usize,
    },
    StopToken {
        token_id: u32,
    },
    MaxTokens,
    Context,
    TimeLimit,
    Cancelled,
    Error,
}

impl<'a> StopJson<'a> {
    pub(crate) fn new(reason: &'a FinishReason) -> Self {
        match reason {
            FinishReason::Eos { id } => Self::Eos { token_id: id.0 },
            FinishReason::StopString { index, text, at } => {
                Self::StopString { index: *index, string: text, at: *at }
            }
            FinishReason::StopId { id } => Self::StopToken { token_id: id.0 },
            FinishReason::MaxTokens => Self::MaxTokens,
            FinishReason::Context => Self::Context,
            FinishReason::TimeLimit => Self::TimeLimit,
            FinishReason::Cancelled => Self::Cancelled,
            FinishReason::Error => Self::Error,
        }
    }
}
