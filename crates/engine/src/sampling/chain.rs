//! The stages between raw logits and the draw.

use super::candidates::Candidates;
use super::forbid_eos::ForbidEos;
use super::frequency_penalty::FrequencyPenalty;
use super::history::History;
use super::min_p::MinP;
use super::min_tokens::MinTokens;
use super::params::{IgnoreEos, SamplingParams};
use super::presence_penalty::PresencePenalty;
use super::repetition_penalty::RepetitionPenalty;
use super::temperature::Temperature;
use super::top_k::TopK;
use super::top_p::TopP;
use crate::TokenId;
use crate::trace::{Recorder, What};

/// One stage: edits logits or removes candidates, and never removes the last one.
pub(super) trait LogitsProcessor: Send + Sync + std::fmt::Debug {
    /// As the knob is spelled in JSON.
    fn name(&self) -> &'static str;

    fn apply(&self, candidates: &mut Candidates, history: &History);
}

/// The stages that a request's parameters turn on, in order.
#[derive(Debug)]
pub(super) struct Chain {
    stages: Vec<Box<dyn LogitsProcessor>>,
}

impl Chain {
    /// The default order ("notes"): masks, penalties, temperature, top_p, top_k, min_p.
    ///
    /// At temperature 0 the chain ends after the penalties: greedy takes the largest logit, and no filter
    /// removes that.
    pub(super) fn new(params: &SamplingParams, eos: &[TokenId], stop_ids: &[TokenId]) -> Chain {
        let mut stages: Vec<Box<dyn LogitsProcessor>> = Vec::new();
        if params.ignore_eos == IgnoreEos::Forbid {
            stages.push(Box::new(ForbidEos::new(eos)));
        }
        if params.min_tokens > 0 {
            // Where EOS is a token like any other, it ends nothing and there is nothing to prevent.
            let eos = if params.ignore_eos == IgnoreEos::GenerateThrough { &[] } else { eos };
            stages.push(Box::new(MinTokens::new(params.min_tokens, eos, stop_ids)));
        }
        if params.repetition_penalty != 1.0 {
            stages.push(Box::new(RepetitionPenalty(params.repetition_penalty)));
        }
        if params.frequency_penalty != 0.0 {
            stages.push(Box::new(FrequencyPenalty(params.frequency_penalty)));
        }
        if params.presence_penalty != 0.0 {
            stages.push(Box::new(PresencePenalty(params.presence_penalty)));
        }
        if params.temperature == 0.0 {
            return Chain { stages };
        }
        if params.temperature != 1.0 {
            stages.push(Box::new(Temperature(params.temperature)));
        }
        if params.top_p < 1.0 {
            stages.push(Box::new(TopP(params.top_p)));
        }
        if params.top_k > 0 {
            stages.push(Box::new(TopK(params.top_k)));
        }
        if params.min_p > 0.0 {
            stages.push(Box::new(MinP(params.min_p)));
        }
        Chain { stages }
    }

    pub(super) fn apply(&self, candidates: &mut Candidates, history: &History, recorder: &mut dyn Recorder) {
        let traced = recorder.wants(What::Stages);
        for stage in &self.stages {
            stage.apply(candidates, history);
            if traced {
                recorder.stage(stage.name(), &mut candidates.iter());
            }
        }
    }
}
