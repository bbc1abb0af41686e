//! Ways to decode that look at more than one sequence or at more than the chosen token. Plain values: what is forked,
//! extended and dropped here belongs to the engine.
//!
//! - `choices`: several texts of one prompt, and the best of them.  `beam`: beam search.
//! - `logprobs`: log-probabilities of tokens that were generated or given.

mod beam;
mod choices;
mod logprobs;

pub use beam::{BeamCandidate, BeamParams, BeamSearch, EarlyStopping, Hypothesis, MAX_BEAMS};
pub use choices::Choices;
pub use logprobs::{
    LogprobParams, Logprobs, LogprobsMode, MAX_LOGPROBS, TokenLogprobs, TopLogprob, log_softmax,
};

/// How a prompt becomes texts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Decoding {
    /// Each text for itself, token by token.
    Choices(Choices),
    /// The most likely texts, found by looking at several at a time.
    Beams(BeamParams),
}

impl Default for Decoding {
    fn default() -> Self {
        Decoding::Choices(Choices::default())
    }
}

impl Decoding {
    /// Refuses numbers that do not go together, by name.
    pub fn validate(&self) -> Result<(), crate::sampling::ParamError> {
        match self {
            Decoding::Choices(choices) => choices.validate(),
            Decoding::Beams(beams) => beams.validate(),
        }
    }

    /// The most sequences that run side by side.
    pub fn width(&self) -> usize {
        match self {
            Decoding::Choices(choices) => choices.best_of,
            Decoding::Beams(beams) => beams.num_beams,
        }
    }

    /// Texts that come of it.
    pub fn n_texts(&self) -> usize {
        match self {
            Decoding::Choices(choices) => choices.n,
            Decoding::Beams(beams) => beams.num_return_sequences,
        }
    }
}
