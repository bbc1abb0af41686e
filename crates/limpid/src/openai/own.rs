//! What an answer says beyond OpenAI's API, under one object: `limpid`.

use super::request::Ask;
use super::stop::StopJson;
use crate::cli::run::TimingsJson;
use limpid_engine::engine::{Dropped, Usage};
use limpid_engine::sampling::FinishReason;
use limpid_engine::stats::RequestTimings;
use serde_json::{Value, json};

/// How one of the texts ended.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Ending {
    pub(super) reason: FinishReason,
    pub(super) score: Option<f64>,
}

/// How the engine's request for one prompt ended.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct PromptEnd {
    pub(super) dropped: Option<Dropped>,
    pub(super) usage: Usage,
    pub(super) timings: RequestTimings,
}

/// The tokens of all prompts.
pub(super) fn usage(prompts: &[PromptEnd]) -> Value {
    let sum = |of: fn(&Usage) -> usize| prompts.iter().map(|prompt| of(&prompt.usage)).sum::<usize>();
    let (prompt, completion) = (sum(|usage| usage.prompt_tokens), sum(|usage| usage.completion_tokens));
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": sum(|usage| usage.cached_tokens)},
    })
}

/// What is known before anything is generated.
pub(super) fn begin(ask: &Ask, defaults: &Value) -> Value {
    json!({"seed": ask.seed(), "defaults": defaults})
}

/// All of it. `endings`: of each choice.
pub(super) fn end(ask: &Ask, defaults: &Value, prompts: &[PromptEnd], endings: &[Ending]) -> Value {
    let prompt = |prompt: &PromptEnd| {
        let PromptEnd { dropped, usage, timings } = prompt;
        let dropped =
            dropped.map(|Dropped { start, n_tokens }| json!({"start": start, "n_tokens": n_tokens}));
        json!({
            "cached_tokens": usage.cached_tokens,
            "computed_tokens": usage.computed_tokens,
            "kv_bytes": usage.kv_bytes,
            "timings": TimingsJson::new(timings),
            "dropped": dropped,
        })
    };
    let choice = |ending: &Ending| json!({"stop": StopJson::new(&ending.reason), "score": ending.score});
    json!({
        "seed": ask.seed(),
        "defaults": defaults,
        "prompts": prompts.iter().map(prompt).collect::<Vec<_>>(),
        "choices": endings.iter().map(choice).collect::<Vec<_>>(),
    })
}
