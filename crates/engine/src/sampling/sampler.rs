//! Runs the chain and picks a token.

use thiserror::Error;

use super::candidates::Candidates;
use super::chain::Chain;
use super::history::History;
use super::params::{ParamError, SamplingParams};
use super::rng::{Purpose, Stream};
use crate::TokenId;
use crate::trace::Recorder;

/// Why no token could be chosen.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum SampleError {
    /// NaN, +inf or beyond 1e30. (-inf is a masked token.)
    #[error("the logit of token {} at output position {position} is {value}: the weights are damaged or \
             overflow, get the model again", id.0)]
    BadLogit { id: TokenId, value: f32, position: u32 },
    #[error(
        "no token is left to choose from at output position {position}: every one is masked, \
             allow EOS or a stop token"
    )]
    NothingLeft { position: u32 },
}

/// Chooses the tokens of one sequence. It has no state of its own: the same logits and history give the same
/// token.
#[derive(Debug)]
pub struct Sampler {
    chain: Chain,
    greedy: bool,
    stream: Stream,
}

impl Sampler {
    /// `eos` and `stop_ids` are what `min_tokens` and `ignore_eos` mask. Refuses parameters out of range.
    pub fn new(
        params: &SamplingParams,
        eos: &[TokenId],
        stop_ids: &[TokenId],
    ) -> Result<Sampler, ParamError> {
        params.validate()?;
        Ok(Sampler {
            chain: Chain::new(params, eos, stop_ids),
            greedy: params.temperature == 0.0,
            stream: Stream::new(params.seed),
        })
    }

    /// Draws the random numbers of another of a request's texts than its first.
    pub fn for_choice(mut self, choice: u32) -> Sampler {
        self.stream.choice = choice;
        self
    }

    /// The token after `history`, from the raw logits (one a token of the vocabulary). `scratch` holds
    /// nothing between calls.
    pub fn sample(
        &self,
        logits: &[f32],
        history: &History,
        scratch: &mut Candidates,
        recorder: &mut dyn Recorder,
    ) -> Result<TokenId, SampleError> {
        let position = history.n_output();
        self.process(logits, history, scratch, recorder)?;
        let token = if self.greedy { scratch.argmax() } else { self.draw(scratch, position) };
        token.ok_or(SampleError::NothingLeft { position })
    }

    /// What the chain makes of `logits`, in `scratch`; nothing is drawn. Beams give it log-probabilities.
    pub fn process(
        &self,
        logits: &[f32],
        history: &History,
        scratch: &mut Candidates,
        recorder: &mut dyn Recorder,
    ) -> Result<(), SampleError> {
        let position = history.n_output();
        let bad_logit = |id: TokenId| SampleError::BadLogit { id, value: logits[id.0 as usize], position };
        scratch.fill(logits).map_err(bad_logit)?;
        self.chain.apply(scratch, history, recorder);
        Ok(())
    }

    /// Inverse CDF in descending order of probability: the first token at which the running sum exceeds
    /// floor(u * W).
    fn draw(&self, candidates: &mut Candidates, position: u32) -> Option<TokenId> {
        let total = candidates.total_weight();
        candidates.at_share(self.stream.below(total, position, Purpose::Draw))
    }
}
