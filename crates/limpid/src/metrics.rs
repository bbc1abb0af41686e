//! The four metrics of a server, in Prometheus' text format: `limpid_*`, and the same under vLLM's names (but without
//! its label `model_name`: there is one model).

use limpid_engine::engine::{Engine, Finished};
use limpid_engine::kv::KvStats;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Reason {
    finished_reason: &'static str,
}

/// See the module.
pub(crate) struct Metrics {
    registry: Registry,
    running: Gauge,
    waiting: Gauge,
    kv_used_bytes: Gauge,
    kv_reserved_bytes: Gauge,
    kv_usage: Gauge<f64, AtomicU64>,
    prompt_tokens: Counter,
    cached_tokens: Counter,
    generation_tokens: Counter,
    finished: Family<Reason, Counter>,
    ttft: Histogram,
    queue: Histogram,
    prefill: Histogram,
    tpot: Histogram,
    request: Histogram,
}

/// Seconds: from what the pocket model takes to what a long prompt takes.
fn seconds() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 180.0,
    ])
}

fn short_seconds() -> Histogram {
    Histogram::new([
        0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5,
    ])
}

/// One metric, under each of its names.
fn register<M: Metric + Clone>(registry: &mut Registry, names: &[&str], help: &str, metric: &M) {
    names.iter().for_each(|name| registry.register(*name, help, metric.clone()));
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            running: Gauge::default(),
            waiting: Gauge::default(),
            kv_used_bytes: Gauge::default(),
            kv_reserved_bytes: Gauge::default(),
            kv_usage: Gauge::default(),
            prompt_tokens: Counter::default(),
            cached_tokens: Counter::default(),
            generation_tokens: Counter::default(),
            finished: Family::default(),
            ttft: seconds(),
            queue: seconds(),
            prefill: seconds(),
            tpot: short_seconds(),
            request: seconds(),
        };
        metrics.register();
        // A counter that is there from the start has a rate from the start.
        for finished_reason in ["stop", "length", "cancelled", "error"] {
            drop(metrics.finished.get_or_create(&Reason { finished_reason }));
        }
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        register(
            registry,
            &["limpid_requests_running", "vllm:num_requests_running"],
            "Requests that the model works on",
            &self.running,
        );
        register(
            registry,
            &["limpid_requests_waiting", "vllm:num_requests_waiting"],
            "Requests that wait for a place",
            &self.waiting,
        );
        register(
            registry,
            &["limpid_kv_used_bytes"],
            "Bytes of the KV cache's pages that sequences hold",
            &self.kv_used_bytes,
        );
        register(
            registry,
            &["limpid_kv_reserved_bytes"],
            "Bytes of all of the KV cache's pages",
            &self.kv_reserved_bytes,
        );
        register(
            registry,
            &["limpid_kv_usage", "vllm:kv_cache_usage_perc"],
            "Part of the KV cache's pages that sequences hold, from 0 to 1",
            &self.kv_usage,
        );
        register(
            registry,
            &["limpid_prompt_tokens", "vllm:prompt_tokens"],
            "Prompt tokens of finished requests",
            &self.prompt_tokens,
        );
        register(
            registry,
            &["limpid_cached_tokens"],
            "Prompt tokens of finished requests that were in the KV cache already",
            &self.cached_tokens,
        );
        register(
            registry,
            &["limpid_generation_tokens", "vllm:generation_tokens"],
            "Generated tokens of finished requests",
            &self.generation_tokens,
        );
        register(
            registry,
            &["limpid_requests_finished", "vllm:request_success"],
            "Finished requests, by the reason of their end",
            &self.finished,
        );
        register(
            registry,
            &["limpid_ttft_seconds", "vllm:time_to_first_token_seconds"],
            "Time to first token: from a request's arrival to its first text",
            &self.ttft,
        );
        register(
            registry,
            &["limpid_queue_seconds", "vllm:request_queue_time_seconds"],
            "Time that a request waited for its first step",
            &self.queue,
        );
        register(
            registry,
            &["limpid_prefill_seconds", "vllm:request_prefill_time_seconds"],
            "Time from a request's first step to the logits of its last prompt token",
            &self.prefill,
        );
        register(
            registry,
            &["limpid_tpot_seconds", "vllm:request_time_per_output_token_seconds"],
            "Time per output token of a request: the mean over all but the first",
            &self.tpot,
        );
        register(
            registry,
            &["limpid_request_seconds", "vllm:e2e_request_latency_seconds"],
            "Time from a request's arrival to its last token",
            &self.request,
        );
    }

    /// How the engine stands after a step.
    pub(crate) fn observe(&self, engine: &Engine) {
        let KvStats { n_pages, n_used_pages, reserved_bytes, used_bytes, .. } = engine.kv_stats();
        self.running.set(engine.n_running() as i64);
        self.waiting.set(engine.n_waiting() as i64);
        self.kv_used_bytes.set(used_bytes as i64);
        self.kv_reserved_bytes.set(reserved_bytes as i64);
        self.kv_usage.set(n_used_pages as f64 / n_pages.max(1) as f64);
    }

    /// A request is over.
    pub(crate) fn finished(&self, finished: &Finished) {
        let Finished { reason, usage, timings, .. } = finished;
        self.prompt_tokens.inc_by(usage.prompt_tokens as u64);
        self.cached_tokens.inc_by(usage.cached_tokens as u64);
        self.generation_tokens.inc_by(usage.completion_tokens as u64);
        self.finished.get_or_create(&Reason { finished_reason: reason.name() }).inc();
        if let Some(ttft) = &timings.ttft {
            let total: Duration = ttft.total();
            self.ttft.observe(total.as_secs_f64());
            self.queue.observe(ttft.queue.as_secs_f64());
            self.prefill.observe(ttft.prefill.as_secs_f64());
            self.request.observe((total + timings.decode).as_secs_f64());
        }
        if let Some(tpot) = timings.tpot() {
            self.tpot.observe(tpot.as_secs_f64());
        }
    }

    /// As Prometheus reads it.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}
