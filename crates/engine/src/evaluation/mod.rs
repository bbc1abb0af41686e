//! What a model says of tokens that are given, without sampling: the logits after each, the perplexity of a text.

mod logits;
mod perplexity;

pub use logits::{HandOut, each_logits};
pub use perplexity::{MIN_WINDOW, Perplexity, Windows, perplexity};

use crate::kv::OutOfPages;
use crate::model::ForwardError;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EvaluationError {
    #[error(transparent)]
    Forward(#[from] ForwardError),
    #[error(transparent)]
    OutOfPages(#[from] OutOfPages),
    /// The model's numbers overflow: damaged weights, or a fault here.
    #[error(
        "the logits after token {position} of the text are not finite; the model is damaged, get it again"
    )]
    NotFinite { position: usize },
}
