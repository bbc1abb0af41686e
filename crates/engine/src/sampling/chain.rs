//! The stages between raw logits and the draw.

use super::allowed_token_ids::AllowedTokenIds;
use super::bad_words_ids::BadWordsIds;
use super::candidates::Candidates;
use super::dry::Dry;
use super::dynamic_temperature::DynamicTemperature;
use super::epsilon_cutoff::EpsilonCutoff;
use super::eta_cutoff::EtaCutoff;
use super::forbid_eos::ForbidEos;
use super::frequency_penalty::FrequencyPenalty;
use super::history::History;
use super::logit_bias::LogitBias;
use super::min_p::MinP;
use super::min_tokens::MinTokens;
use super::mirostat::Mirostat;
use super::no_repeat_ngram_size::NoRepeatNgramSize;
use super::order::Stage;
use super::params::{IgnoreEos, SamplingParams};
use super::penalty_scope::Scope;
use super::presence_penalty::PresencePenalty;
use super::repetition_penalty::RepetitionPenalty;
use super::rng::Stream;
use super::suppress_tokens::SuppressTokens;
use super::temperature::Temperature;
use super::top_k::TopK;
use super::top_n_sigma::TopNSigma;
use super::top_p::TopP;
use super::typical_p::TypicalP;
use super::xtc::Xtc;
use crate::TokenId;
use crate::trace::{Recorder, What};

/// One stage: edits logits or removes candidates. A filter never removes the last one.
pub(super) trait LogitsProcessor: Send + Sync + std::fmt::Debug {
    /// As the knob is spelled in JSON.
    fn name(&self) -> &'static str;

    fn apply(&self, candidates: &mut Candidates, step: &Step<'_>);
}

/// What a stage may look at besides the logits.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) history: &'a History,
    pub(super) stream: Stream,
}

/// The stages that a request's parameters turn on, in order.
#[derive(Debug)]
pub(super) struct Chain {
    stages: Vec<Box<dyn LogitsProcessor>>,
}

impl Chain {
    /// Where nothing is drawn there are masks and penalties only: greedy takes the largest logit, and no filter removes
    /// that.
    pub(super) fn new(params: &SamplingParams, eos: &[TokenId], stop_ids: &[TokenId]) -> Chain {
        let mut stages = masks(params, eos, stop_ids);
        let is_needed = |stage: &Stage| !params.is_greedy() || stage.is_penalty();
        let others = params.sampler_order.stages_on(params).filter(is_needed);
        stages.extend(others.map(|stage| processor(stage, params)));
        Chain { stages }
    }

    pub(super) fn apply(&self, candidates: &mut Candidates, step: &Step<'_>, recorder: &mut dyn Recorder) {
        let traced = recorder.wants(What::Stages);
        if traced {
            recorder.stage("logits", &mut candidates.iter());
        }
        for stage in &self.stages {
            stage.apply(candidates, step);
            if traced {
                recorder.stage(stage.name(), &mut candidates.iter());
            }
        }
    }
}

/// Bias and bans: what stands before all else, whatever the order. The mask of a constraint will be one more of them.
fn masks(params: &SamplingParams, eos: &[TokenId], stop_ids: &[TokenId]) -> Vec<Box<dyn LogitsProcessor>> {
    let mut masks: Vec<Box<dyn LogitsProcessor>> = Vec::new();
    if !params.logit_bias.is_empty() {
        masks.push(Box::new(LogitBias(params.logit_bias.clone())));
    }
    if !params.allowed_token_ids.is_empty() {
        masks.push(Box::new(AllowedTokenIds::new(&params.allowed_token_ids)));
    }
    if !params.suppress_tokens.is_empty() {
        masks.push(Box::new(SuppressTokens(params.suppress_tokens.clone())));
    }
    if !params.bad_words_ids.is_empty() {
        masks.push(Box::new(BadWordsIds(params.bad_words_ids.clone())));
    }
    if params.no_repeat_ngram_size > 0 {
        masks.push(Box::new(NoRepeatNgramSize(params.no_repeat_ngram_size)));
    }
    if params.ignore_eos == IgnoreEos::Forbid {
        masks.push(Box::new(ForbidEos::new(eos)));
    }
    if params.min_tokens > 0 {
        // Where EOS is a token like any other, it ends nothing and there is nothing to prevent.
        let eos = if params.ignore_eos == IgnoreEos::GenerateThrough { &[] } else { eos };
        masks.push(Box::new(MinTokens::new(params.min_tokens, eos, stop_ids)));
    }
    masks
}

fn processor(stage: Stage, params: &SamplingParams) -> Box<dyn LogitsProcessor> {
    let scope = Scope::of_counts(params.penalty_scope);
    match stage {
        Stage::RepetitionPenalty => Box::new(RepetitionPenalty {
            penalty: params.repetition_penalty,
            scope: Scope::of_repetition(params.penalty_scope),
        }),
        Stage::FrequencyPenalty => Box::new(FrequencyPenalty { penalty: params.frequency_penalty, scope }),
        Stage::PresencePenalty => Box::new(PresencePenalty { penalty: params.presence_penalty, scope }),
        Stage::Dry => Box::new(Dry::new(params)),
        Stage::Temperature if params.has_dynatemp() => Box::new(DynamicTemperature {
            min: params.dynatemp_min,
            max: params.dynatemp_max,
            exponent: params.dynatemp_exponent,
        }),
        Stage::Temperature => Box::new(Temperature(params.temperature)),
        Stage::TopP => Box::new(TopP(params.top_p)),
        Stage::TopK => Box::new(TopK(params.top_k)),
        Stage::MinP => Box::new(MinP(params.min_p)),
        Stage::TypicalP => Box::new(TypicalP(params.typical_p)),
        Stage::EpsilonCutoff => Box::new(EpsilonCutoff(params.epsilon_cutoff)),
        Stage::EtaCutoff => Box::new(EtaCutoff(params.eta_cutoff)),
        Stage::TopNSigma => Box::new(TopNSigma(params.top_n_sigma)),
        Stage::Xtc => Box::new(Xtc { threshold: params.xtc_threshold, probability: params.xtc_probability }),
        Stage::Mirostat => Box::new(mirostat(params)),
    }
}

pub(super) fn mirostat(params: &SamplingParams) -> Mirostat {
    Mirostat { tau: f64::from(params.mirostat_tau), eta: f64::from(params.mirostat_eta) }
}
