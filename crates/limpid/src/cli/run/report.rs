//! What is said about a run: the summary line and the JSON object.

use super::generate::Generation;
use crate::machine::{self, ResidentMemory};
use crate::openai::StopJson;
use crate::sizing::{Need, Sizing};
use crate::texts::{Text, TextLogprob};
use crate::units;
use limpid_engine::TokenId;
use limpid_engine::engine::{Dropped, Finished, Usage};
use limpid_engine::kv::KvStats;
use limpid_engine::sampling::{Defaults, Setting};
use limpid_engine::stats::{RequestTimings, Ttft};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Everything about a run that is over.
pub(crate) struct Report<'a> {
    pub(crate) generation: &'a Generation,
    pub(crate) prompt: &'a [TokenId],
    pub(crate) seed: u64,
    pub(crate) load: Duration,
    pub(crate) memory: MemoryReport,
    pub(crate) defaults: &'a Defaults,
    pub(crate) dropped: Option<Dropped>,
}

/// Bytes. What was predicted stands beside what was measured.
pub(crate) struct MemoryReport {
    /// From the model's header, for the tokens that the run came to.
    need: Need,
    /// What the process holds beside the model: the program (with the embedded model's file), the tokenizer.
    runtime: usize,
    /// Keys and values kept from one step to the next: none without a cache.
    kv_kept: usize,
    /// Those that a step held at most while it computed, with a cache or without.
    kv_step: usize,
    /// Limit of the KV cache; pages are taken from it as needed.
    kv_reserved: usize,
    predicted_peak: usize,
    /// `None` where the system does not tell.
    measured_peak: Option<usize>,
}

impl MemoryReport {
    pub(crate) fn new(
        sizing: &Sizing<'_>,
        generation: &Generation,
        before: Option<ResidentMemory>,
        kv: KvStats,
        kv_cache: bool,
    ) -> Self {
        let prompt_tokens = generation.finished.usage.prompt_tokens;
        let longest = generation.texts.iter().map(|text| text.token_ids.len()).max().unwrap_or(0);
        // The last token's keys and values are never computed: nothing comes after it.
        let need = sizing.need((prompt_tokens + longest).saturating_sub(1).max(1));
        let before = before.unwrap_or(ResidentMemory { now: 0, peak: 0 });
        Self {
            need,
            runtime: before.now,
            kv_kept: if kv_cache { kv.touched_bytes } else { 0 },
            kv_step: kv.touched_bytes,
            kv_reserved: kv.reserved_bytes,
            predicted_peak: before.peak.max(before.now.saturating_add(need.total())),
            measured_peak: machine::resident_memory().map(|memory| memory.peak),
        }
    }

    /// What the cache cost; without one, also what it would not save: a step needs the keys and values all the same.
    fn kv_summary(&self) -> String {
        let kept = units::bytes(self.kv_kept);
        match self.kv_kept == self.kv_step {
            true => format!("KV kept {kept}"),
            false => format!("KV kept {kept} (a step holds {})", units::bytes(self.kv_step)),
        }
    }

    fn summary(&self) -> String {
        let peak = self.measured_peak.map_or_else(|| "unknown".to_owned(), units::bytes);
        format!("memory {peak} (predicted {})", units::bytes(self.predicted_peak))
    }

    fn json(&self) -> MemoryJson {
        MemoryJson {
            weights_bytes: self.need.weights,
            kv_bytes: self.need.kv,
            kv_kept_bytes: self.kv_kept,
            kv_step_bytes: self.kv_step,
            kv_reserved_bytes: self.kv_reserved,
            workspace_bytes: self.need.workspace,
            runtime_bytes: self.runtime,
            predicted_peak_bytes: self.predicted_peak,
            measured_peak_bytes: self.measured_peak,
        }
    }
}

impl Report<'_> {
    /// One line for people. Its parts are short and begin with what they are, so that it can be read where a terminal
    /// breaks it; what the prediction is made of stands in the JSON.
    pub(crate) fn summary(&self) -> String {
        let finished = &self.generation.finished;
        let usage = &finished.usage;
        [
            format!("load {}", units::time(self.load)),
            ttft_summary(finished.timings.ttft, usage),
            decode_summary(&finished.timings),
            format!(
                "{} + {} tokens, {} computed in {}, {}",
                usage.prompt_tokens,
                usage.completion_tokens,
                units::count(usage.computed_tokens),
                units::time(self.generation.time),
                self.memory.kv_summary(),
            ),
            self.memory.summary(),
            finished.reason.to_string(),
            format!("seed {}", self.seed),
        ]
        .join(" | ")
    }

    pub(crate) fn json(&self) -> RunJson<'_> {
        let finished = &self.generation.finished;
        let first = self.generation.first();
        RunJson {
            text: &first.text,
            token_ids: raw_ids(&first.token_ids),
            sequences: self.generation.texts.iter().map(|text| SequenceJson::new(text, finished)).collect(),
            prompt_logprobs: self.generation.prompt_logprobs.as_deref().map(logprobs_json),
            dropped: self.dropped.map(|Dropped { start, n_tokens }| DroppedJson { start, n_tokens }),
            prompt_token_ids: raw_ids(self.prompt),
            seed: self.seed,
            finish_reason: finished.reason.name(),
            stop: StopJson::new(&finished.reason),
            usage: UsageJson::new(&finished.usage),
            timings: RunTimingsJson {
                load_ms: units::json_ms(self.load),
                of_request: TimingsJson::new(&finished.timings),
            },
            memory: self.memory.json(),
            defaults: DefaultsJson::new(self.defaults),
        }
    }
}

/// A text may end before there is any: its tokens are none that a reader sees.
fn ttft_summary(ttft: Option<Ttft>, usage: &Usage) -> String {
    match ttft {
        None if usage.completion_tokens > 0 => "no token with text".to_owned(),
        None => "no token".to_owned(),
        Some(ttft) => format!(
            "TTFT {} (queue {}, tokenize {}, prefill {}, first sample {})",
            units::time(ttft.total()),
            units::time(ttft.queue),
            units::time(ttft.tokenize),
            units::time(ttft.prefill),
            units::time(ttft.first_sample),
        ),
    }
}

fn decode_summary(timings: &RequestTimings) -> String {
    match (timings.tpot(), timings.decode_tok_per_s()) {
        (Some(tpot), Some(rate)) => format!("TPOT {}, {}", units::time(tpot), units::rate(rate)),
        _ => "TPOT needs two tokens".to_owned(),
    }
}

/// `limpid run --json`.
#[derive(Serialize)]
pub(crate) struct RunJson<'a> {
    text: &'a str,
    /// EOS included.
    token_ids: Vec<u32>,
    prompt_token_ids: Vec<u32>,
    seed: u64,
    /// `stop`, `length` or `cancelled`; `stop` says more.
    finish_reason: &'static str,
    stop: StopJson<'a>,
    usage: UsageJson,
    timings: RunTimingsJson,
    memory: MemoryJson,
    defaults: DefaultsJson,
    /// What of the prompt was too much.
    dropped: Option<DroppedJson>,
    prompt_logprobs: Option<Vec<LogprobJson>>,
    /// All texts, the first one again.
    sequences: Vec<SequenceJson<'a>>,
}

/// One of several texts.
#[derive(Serialize)]
struct SequenceJson<'a> {
    text: &'a str,
    token_ids: Vec<u32>,
    finish_reason: &'static str,
    stop: StopJson<'a>,
    /// What the texts are sorted by, if they are.
    score: Option<f64>,
    logprobs: Option<Vec<LogprobJson>>,
}

impl<'a> SequenceJson<'a> {
    fn new(text: &'a Text, finished: &'a Finished) -> Self {
        let reason = text.reason.as_ref().unwrap_or(&finished.reason);
        let is_asked = text.logprobs.len() == text.token_ids.len() && !text.logprobs.is_empty();
        Self {
            text: &text.text,
            token_ids: raw_ids(&text.token_ids),
            finish_reason: reason.name(),
            stop: StopJson::new(reason),
            score: text.score,
            logprobs: is_asked.then(|| logprobs_json(&text.logprobs)),
        }
    }
}

#[derive(Serialize)]
struct LogprobJson {
    token_id: u32,
    logprob: f32,
    /// The likeliest in its place, and their log-probabilities.
    top: Vec<(u32, f32)>,
}

fn logprobs_json(logprobs: &[TextLogprob]) -> Vec<LogprobJson> {
    let one = |of: &TextLogprob| LogprobJson {
        token_id: of.id.0,
        logprob: of.logprob,
        top: of.top.iter().map(|top| (top.id.0, top.logprob)).collect(),
    };
    logprobs.iter().map(one).collect()
}

fn raw_ids(ids: &[TokenId]) -> Vec<u32> {
    ids.iter().map(|id| id.0).collect()
}

#[derive(Serialize)]
struct DroppedJson {
    start: usize,
    n_tokens: usize,
}

#[derive(Serialize)]
struct UsageJson {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
    /// Tokens that the model computed: with a KV cache each once, without it all of them at every step.
    computed_tokens: usize,
}

impl UsageJson {
    fn new(usage: &Usage) -> Self {
        let &Usage { prompt_tokens, completion_tokens, computed_tokens, .. } = usage;
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens + completion_tokens,
            computed_tokens,
        }
    }
}

#[derive(Serialize)]
struct RunTimingsJson {
    load_ms: f64,
    #[serde(flatten)]
    of_request: TimingsJson,
}

/// Null where a request is too short for a number.
#[derive(Serialize)]
pub(crate) struct TimingsJson {
    ttft_ms: Option<f64>,
    queue_ms: Option<f64>,
    tokenize_ms: Option<f64>,
    prefill_ms: Option<f64>,
    first_sample_ms: Option<f64>,
    tpot_ms: Option<f64>,
    prefill_tok_per_s: Option<f64>,
    decode_tok_per_s: Option<f64>,
}

impl TimingsJson {
    pub(crate) fn new(timings: &RequestTimings) -> Self {
        let part = |part: fn(&Ttft) -> Duration| timings.ttft.as_ref().map(|ttft| units::json_ms(part(ttft)));
        Self {
            ttft_ms: part(Ttft::total),
            queue_ms: part(|ttft| ttft.queue),
            tokenize_ms: part(|ttft| ttft.tokenize),
            prefill_ms: part(|ttft| ttft.prefill),
            first_sample_ms: part(|ttft| ttft.first_sample),
            tpot_ms: timings.tpot().map(units::json_ms),
            prefill_tok_per_s: timings.prefill_tok_per_s().map(units::json_rate),
            decode_tok_per_s: timings.decode_tok_per_s().map(units::json_rate),
        }
    }
}

/// See [`MemoryReport`].
#[derive(Serialize)]
struct MemoryJson {
    weights_bytes: usize,
    kv_bytes: usize,
    kv_kept_bytes: usize,
    kv_step_bytes: usize,
    kv_reserved_bytes: usize,
    workspace_bytes: usize,
    runtime_bytes: usize,
    predicted_peak_bytes: usize,
    measured_peak_bytes: Option<usize>,
}

/// The default sampling, knob by knob.
#[derive(Serialize)]
pub(crate) struct DefaultsJson {
    temperature: SettingJson<f32>,
    top_p: SettingJson<f32>,
    top_k: SettingJson<u32>,
    min_p: SettingJson<f32>,
    repetition_penalty: SettingJson<f32>,
    suppress_tokens: SettingJson<Vec<u32>>,
    bad_words_ids: SettingJson<Vec<Vec<u32>>>,
    /// What other numbers the model's files set.
    others: BTreeMap<&'static str, SettingJson<f32>>,
}

#[derive(Serialize)]
struct SettingJson<T> {
    value: T,
    /// Where the value comes from.
    source: String,
}

impl DefaultsJson {
    pub(crate) fn new(defaults: &Defaults) -> Self {
        fn json<T: Copy>(setting: &Setting<T>) -> SettingJson<T> {
            SettingJson { value: setting.value, source: setting.source.to_string() }
        }
        let (suppressed, bad_words) = (&defaults.suppress_tokens, &defaults.bad_words_ids);
        Self {
            temperature: json(&defaults.temperature),
            top_p: json(&defaults.top_p),
            top_k: json(&defaults.top_k),
            min_p: json(&defaults.min_p),
            repetition_penalty: json(&defaults.repetition_penalty),
            suppress_tokens: SettingJson {
                value: raw_ids(&suppressed.value),
                source: suppressed.source.to_string(),
            },
            bad_words_ids: SettingJson {
                value: bad_words.value.iter().map(|ids| raw_ids(ids)).collect(),
                source: bad_words.source.to_string(),
            },
            others: defaults.others.iter().map(|(name, setting)| (*name, json(setting))).collect(),
        }
    }

    /// `temperature 0.6 (GGUF ...), top_p ...`.
    pub(crate) fn text(&self) -> String {
        fn one<T: std::fmt::Display>(name: &str, setting: &SettingJson<T>) -> String {
            format!("{name} {} ({})", setting.value, setting.source)
        }
        let mut settings = vec![
            one("temperature", &self.temperature),
            one("top_p", &self.top_p),
            one("top_k", &self.top_k),
            one("min_p", &self.min_p),
            one("repetition_penalty", &self.repetition_penalty),
        ];
        for (name, n, source) in [
            ("suppress_tokens", self.suppress_tokens.value.len(), &self.suppress_tokens.source),
            ("bad_words_ids", self.bad_words_ids.value.len(), &self.bad_words_ids.source),
        ] {
            // Most models ban none, and others so many that nobody would read on.
            if n > 0 {
                settings.push(format!("{n} in {name} ({source})"));
            }
        }
        settings.extend(self.others.iter().map(|(name, setting)| one(name, setting)));
        settings.join(", ")
    }
}
