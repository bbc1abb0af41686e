//! Runs the chain and picks a token.

use std::sync::Arc;

use thiserror::Error;

use super::candidates::Candidates;
use super::chain::{Chain, Step, mirostat};
use super::history::History;
use super::mirostat::Mirostat;
use super::params::{ParamError, SamplingParams};
use super::rng::{Purpose, Stream};
use crate::TokenId;
use crate::trace::{Recorder, What};

/// Why no token could be chosen.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum SampleError {
    /// NaN, +inf or beyond 1e30. (-inf is a masked token.)
    #[error("the logit of token {} at output position {position} is {value}: the weights are damaged or \
             overflow, get the model again", id.0)]
    BadLogit { id: TokenId, value: f32, position: u32 },
    #[error(
        "no token is left to choose from at output position {position}: every one is masked, \
             lower min_tokens, or ban fewer tokens"
    )]
    NothingLeft { position: u32 },
}

/// Chooses the tokens of one sequence. It has no state of its own: the same logits and history give the same
/// token.
#[derive(Clone, Debug)]
pub struct Sampler {
    chain: Arc<Chain>,
    greedy: bool,
    mirostat: Option<Mirostat>,
    stream: Stream,
}

impl Sampler {
    /// `eos` and `stop_ids` are what `min_tokens` and `ignore_eos` mask. Refuses parameters out of range, tokens
    /// that the vocabulary does not have, and bans that leave none.
    pub fn new(
        params: &SamplingParams,
        eos: &[TokenId],
        stop_ids: &[TokenId],
        vocab_size: usize,
    ) -> Result<Sampler, ParamError> {
        params.validate()?;
        params.validate_ids(vocab_size)?;
        params.validate_bans(eos, vocab_size)?;
        Ok(Sampler {
            chain: Arc::new(Chain::new(params, eos, stop_ids)),
            greedy: params.is_greedy(),
            mirostat: (params.mirostat_tau > 0.0).then(|| mirostat(params)),
            stream: Stream::new(params.seed),
        })
    }

    /// Draws the random numbers of another of a request's texts than its first.
    pub fn for_choice(mut self, choice: u32) -> Sampler {
        self.stream.choice = choice;
        self
    }

    /// The token after `history`, from the raw logits (one a token of the vocabulary). The history keeps what mirostat
    /// remembers of the draw; the token itself is the caller's to push. `scratch` holds nothing between calls.
    pub fn sample(
        &self,
        logits: &[f32],
        history: &mut History,
        scratch: &mut Candidates,
        recorder: &mut dyn Recorder,
    ) -> Result<TokenId, SampleError> {
        self.process(logits, history, scratch, recorder)?;
        let position = history.n_output();
        let token = if self.greedy { scratch.argmax() } else { self.draw(scratch, history) };
        let token = token.ok_or(SampleError::NothingLeft { position })?;
        if recorder.wants(What::Stages) {
            let u = self.stream.uniform(position, Purpose::Draw);
            recorder.chosen(token, (!self.greedy).then_some(u));
        }
        Ok(token)
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
        self.chain.apply(scratch, &Step { history, stream: self.stream }, recorder);
        Ok(())
    }

    /// Inverse CDF in descending order of probability: the first token at which the running sum exceeds
    /// floor(u * W).
    fn draw(&self, candidates: &mut Candidates, history: &mut History) -> Option<TokenId> {
        let total = candidates.total_mass();
        let share = self.stream.below(total, history.n_output(), Purpose::Draw);
        let (token, mass) = candidates.at_share(share)?;
        if let Some(mirostat) = &self.mirostat {
            history.mirostat_mu = Some(mirostat.next_mu(history.mirostat_mu, mass as f64 / total as f64));
        }
        Some(token)
    }
}
