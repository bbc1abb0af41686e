//! The order of penalties, temperature and filters: Limpid's, a peer's, or an explicit one.
//!
//! Masks (bias, bans, `min_tokens`) always come first and the draw always comes last, so neither has a place in it.

use std::fmt;
use std::str::FromStr;

use super::params::{ParamError, SamplingParams};

/// A stage that an order gives a place to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    RepetitionPenalty,
    FrequencyPenalty,
    PresencePenalty,
    Dry,
    /// Dynamic temperature, where it is set.
    Temperature,
    TopP,
    TopK,
    MinP,
    TypicalP,
    EpsilonCutoff,
    EtaCutoff,
    TopNSigma,
    Xtc,
    Mirostat,
}

use Stage::{
    Dry, EpsilonCutoff, EtaCutoff, FrequencyPenalty, MinP, Mirostat, PresencePenalty, RepetitionPenalty,
    Temperature, TopK, TopNSigma, TopP, TypicalP, Xtc,
};

/// What stands for the three penalties of the field in an explicit order.
const PENALTIES: &str = "penalties";

impl Stage {
    /// In Limpid's own order.
    const ALL: [Stage; 14] = [
        RepetitionPenalty,
        FrequencyPenalty,
        PresencePenalty,
        Dry,
        Temperature,
        TopP,
        TopK,
        MinP,
        TypicalP,
        EpsilonCutoff,
        EtaCutoff,
        TopNSigma,
        Xtc,
        Mirostat,
    ];

    /// As an explicit order spells it.
    pub fn name(self) -> &'static str {
        match self {
            RepetitionPenalty => "repetition_penalty",
            FrequencyPenalty => "frequency_penalty",
            PresencePenalty => "presence_penalty",
            Dry => "dry",
            Temperature => "temperature",
            TopP => "top_p",
            TopK => "top_k",
            MinP => "min_p",
            TypicalP => "typical_p",
            EpsilonCutoff => "epsilon_cutoff",
            EtaCutoff => "eta_cutoff",
            TopNSigma => "top_n_sigma",
            Xtc => "xtc",
            Mirostat => "mirostat",
        }
    }

    /// Whether it edits single logits and removes nothing: such a stage holds for greedy choices too.
    pub(super) fn is_penalty(self) -> bool {
        matches!(self, RepetitionPenalty | FrequencyPenalty | PresencePenalty | Dry)
    }

    /// The knob by which the parameters turn it on, its value, and the one that is off.
    fn on(self, params: &SamplingParams) -> Option<(&'static str, f32, f32)> {
        let on = |name, value: f32, off: f32| (value != off).then_some((name, value, off));
        match self {
            RepetitionPenalty => on("repetition_penalty", params.repetition_penalty, 1.0),
            FrequencyPenalty => on("frequency_penalty", params.frequency_penalty, 0.0),
            PresencePenalty => on("presence_penalty", params.presence_penalty, 0.0),
            Dry => on("dry_multiplier", params.dry_multiplier, 0.0),
            Temperature if params.has_dynatemp() => on("dynatemp_max", params.dynatemp_max, 0.0),
            // Greedy is no stage.
            Temperature if params.is_greedy() => None,
            Temperature => on("temperature", params.temperature, 1.0),
            TopP => on("top_p", params.top_p, 1.0),
            TopK => on("top_k", params.top_k as f32, 0.0),
            MinP => on("min_p", params.min_p, 0.0),
            TypicalP => on("typical_p", params.typical_p, 1.0),
            EpsilonCutoff => on("epsilon_cutoff", params.epsilon_cutoff, 0.0),
            EtaCutoff => on("eta_cutoff", params.eta_cutoff, 0.0),
            TopNSigma => on("top_n_sigma", params.top_n_sigma, 0.0),
            Xtc => on("xtc_probability", params.xtc_probability, 0.0),
            Mirostat => on("mirostat_tau", params.mirostat_tau, 0.0),
        }
    }
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum SamplerOrder {
    /// Limpid's own: temperature, top_p, top_k, and the others after them.
    #[default]
    Notes,
    /// vLLM's `Sampler`.
    Vllm,
    /// The order in which transformers' `generate` puts its processors and warpers.
    Hf,
    /// llama.cpp's default sampler sequence.
    LlamaCpp,
    /// Each at most once; mirostat, which updates itself from the draw, last.
    Explicit(Vec<Stage>),
}

const VLLM: [Stage; 7] =
    [RepetitionPenalty, FrequencyPenalty, PresencePenalty, Temperature, MinP, TopK, TopP];
const HF: [Stage; 11] = [
    RepetitionPenalty,
    FrequencyPenalty,
    PresencePenalty,
    Dry,
    Temperature,
    TopK,
    TopP,
    MinP,
    TypicalP,
    EpsilonCutoff,
    EtaCutoff,
];
const LLAMA_CPP: [Stage; 12] = [
    RepetitionPenalty,
    FrequencyPenalty,
    PresencePenalty,
    Dry,
    TopNSigma,
    TopK,
    TypicalP,
    TopP,
    MinP,
    Xtc,
    Temperature,
    Mirostat,
];

impl SamplerOrder {
    pub fn stages(&self) -> &[Stage] {
        match self {
            SamplerOrder::Notes => &Stage::ALL,
            SamplerOrder::Vllm => &VLLM,
            SamplerOrder::Hf => &HF,
            SamplerOrder::LlamaCpp => &LLAMA_CPP,
            SamplerOrder::Explicit(stages) => stages,
        }
    }

    /// The stages that the parameters turn on, in order.
    pub(super) fn stages_on(&self, params: &SamplingParams) -> impl Iterator<Item = Stage> {
        self.stages().iter().copied().filter(|stage| stage.on(params).is_some())
    }

    /// The knobs that turn filters on, whatever the order.
    pub(super) fn filters_on(params: &SamplingParams) -> impl Iterator<Item = &'static str> {
        let is_filter = |stage: &Stage| !stage.is_penalty() && *stage != Temperature;
        Stage::ALL.into_iter().filter(is_filter).filter_map(|stage| Some(stage.on(params)?.0))
    }

    /// Refuses a stage named twice, mirostat anywhere but last, and a knob that is set and has no place.
    pub(super) fn validate(&self, params: &SamplingParams) -> Result<(), ParamError> {
        let stages = self.stages();
        for (i, stage) in stages.iter().enumerate() {
            if stages[..i].contains(stage) {
                let allowed = format!("each name once ({} is there twice)", stage.name());
                return Err(ParamError::new("sampler_order", self, &allowed));
            }
        }
        if stages.iter().rev().skip(1).any(|&stage| stage == Mirostat) {
            return Err(ParamError::new("sampler_order", self, "mirostat in the last place only"));
        }
        for stage in Stage::ALL.into_iter().filter(|stage| !stages.contains(stage)) {
            if let Some((name, value, off)) = stage.on(params) {
                let allowed = format!("{off} (off): sampler_order {self} has no place for {}", stage.name());
                return Err(ParamError::new(name, value, &allowed));
            }
        }
        Ok(())
    }
}

impl FromStr for SamplerOrder {
    type Err = ParamError;

    /// `notes`, `vllm`, `hf`, `llama.cpp`, or names with commas between, such as `penalties,top_k,temperature`.
    fn from_str(text: &str) -> Result<Self, ParamError> {
        match text {
            "notes" => return Ok(SamplerOrder::Notes),
            "vllm" => return Ok(SamplerOrder::Vllm),
            "hf" => return Ok(SamplerOrder::Hf),
            "llama.cpp" => return Ok(SamplerOrder::LlamaCpp),
            _ => {}
        }
        let mut stages = Vec::new();
        for name in text.split(',').map(str::trim) {
            if name == PENALTIES {
                stages.extend([RepetitionPenalty, FrequencyPenalty, PresencePenalty]);
                continue;
            }
            let Some(stage) = Stage::ALL.into_iter().find(|stage| stage.name() == name) else {
                let names = Stage::ALL.map(Stage::name).join(", ");
                let allowed = format!("notes, vllm, hf, llama.cpp, or a list of {PENALTIES}, {names}");
                return Err(ParamError::new("sampler_order", format!("`{name}`"), &allowed));
            };
            stages.push(stage);
        }
        Ok(SamplerOrder::Explicit(stages))
    }
}

impl fmt::Display for SamplerOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SamplerOrder::Notes => f.write_str("notes"),
            SamplerOrder::Vllm => f.write_str("vllm"),
            SamplerOrder::Hf => f.write_str("hf"),
            SamplerOrder::LlamaCpp => f.write_str("llama.cpp"),
            SamplerOrder::Explicit(stages) => {
                let names = stages.iter().map(|stage| stage.name()).collect::<Vec<_>>();
                f.write_str(&names.join(","))
            }
        }
    }
}
