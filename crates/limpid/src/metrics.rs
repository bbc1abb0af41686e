//! The four metrics of a server, in Prometheus' text format: `limpid_*`, and the same under vLLM's names.

use crate::machine::{self, ResidentMemory};
use limpid_engine::engine::{Engine, Finished};
use limpid_engine::kv::KvStats;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use std::borrow::Cow;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Reason {
    finished_reason: &'static str,
}

/// See the module.
pub(crate) struct Metrics {
    registries: Registries,
    start: Instant,
    told: Mutex<Window>,
    running: Gauge,
    waiting: Gauge,
    kv_used_bytes: Gauge,
    kv_reserved_bytes: Gauge,
    kv_usage: Gauge<f64, AtomicU64>,
    memory_bytes: Gauge,
    memory_peak_bytes: Gauge,
    tokens_per_second: Gauge<f64, AtomicU64>,
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

/// What is counted in each of the last seconds.
#[derive(Default)]
struct Window([(u64, u64); 16]);

impl Window {
    /// Over how many whole seconds a rate is taken.
    const N_SECONDS: u64 = 10;

    fn add(&mut self, second: u64, n: u64) {
        let slot = &mut self.0[second as usize % 16];
        *slot = (second, if slot.0 == second { slot.1 + n } else { n });
    }

    fn per_second(&self, now: u64) -> f64 {
        let n_seconds = now.min(Self::N_SECONDS);
        let is_inside = |second: u64| second < now && second >= now - n_seconds;
        let sum: u64 = self.0.iter().filter(|(second, _)| is_inside(*second)).map(|(_, n)| n).sum();
        sum as f64 / n_seconds.max(1) as f64
    }
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

/// Limpid's names, and vLLM's, whose label says which model it is.
struct Registries {
    own: Registry,
    vllm: Registry,
}

impl Registries {
    fn new(model: &str) -> Self {
        let model = (Cow::Borrowed("model_name"), Cow::Owned(model.to_owned()));
        Self { own: Registry::with_prefix("limpid"), vllm: Registry::with_labels([model].into_iter()) }
    }

    fn register<M: Metric + Clone>(&mut self, name: &str, of_vllm: Option<&str>, help: &str, metric: &M) {
        self.own.register(name, help, metric.clone());
        of_vllm.iter().for_each(|name| self.vllm.register(format!("vllm:{name}"), help, metric.clone()));
    }
}

impl Metrics {
    /// Of a server for `model`.
    pub(crate) fn new(model: &str) -> Self {
        let mut metrics = Self {
            registries: Registries::new(model),
            start: Instant::now(),
            told: Mutex::default(),
            running: Gauge::default(),
            waiting: Gauge::default(),
            kv_used_bytes: Gauge::default(),
            kv_reserved_bytes: Gauge::default(),
            kv_usage: Gauge::default(),
            memory_bytes: Gauge::default(),
            memory_peak_bytes: Gauge::default(),
            tokens_per_second: Gauge::default(),
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
        metrics.register_gauges();
        metrics.register_counters();
        metrics.register_histograms();
        // A counter that is there from the start has a rate from the start.
        for finished_reason in ["stop", "length", "cancelled", "error"] {
            drop(metrics.finished.get_or_create(&Reason { finished_reason }));
        }
        metrics
    }

    fn register_gauges(&mut self) {
        let Self { registries, .. } = self;
        registries.register(
            "requests_running",
            Some("num_requests_running"),
            "Requests that the model works on",
            &self.running,
        );
        registries.register(
            "requests_waiting",
            Some("num_requests_waiting"),
            "Requests that wait for a place",
            &self.waiting,
        );
        registries.register(
            "kv_used_bytes",
            None,
            "Bytes of the KV cache's pages that sequences hold",
            &self.kv_used_bytes,
        );
        registries.register(
            "kv_reserved_bytes",
            None,
            "Bytes of all of the KV cache's pages",
            &self.kv_reserved_bytes,
        );
        registries.register(
            "kv_usage",
            Some("kv_cache_usage_perc"),
            "Part of the KV cache's pages that sequences hold, from 0 to 1",
            &self.kv_usage,
        );
        registries.register(
            "memory_bytes",
            None,
            "Bytes of memory that the process holds",
            &self.memory_bytes,
        );
        registries.register(
            "memory_peak_bytes",
            None,
            "The most bytes of memory that the process held",
            &self.memory_peak_bytes,
        );
        registries.register(
            "generation_tokens_per_second",
            None,
            "Tokens told a second, over the last ten seconds",
            &self.tokens_per_second,
        );
    }

    fn register_counters(&mut self) {
        let Self { registries, .. } = self;
        registries.register(
            "prompt_tokens",
            Some("prompt_tokens"),
            "Prompt tokens of finished requests",
            &self.prompt_tokens,
        );
        registries.register(
            "cached_tokens",
            None,
            "Prompt tokens of finished requests that were in the KV cache already",
            &self.cached_tokens,
        );
        registries.register(
            "generation_tokens",
            Some("generation_tokens"),
            "Generated tokens of finished requests",
            &self.generation_tokens,
        );
        registries.register(
            "requests_finished",
            Some("request_success"),
            "Finished requests, by the reason of their end",
            &self.finished,
        );
    }

    fn register_histograms(&mut self) {
        let Self { registries, .. } = self;
        registries.register(
            "ttft_seconds",
            Some("time_to_first_token_seconds"),
            "Time to first token: from a request's arrival to its first text",
            &self.ttft,
        );
        registries.register(
            "queue_seconds",
            Some("request_queue_time_seconds"),
            "Time that a request waited for its first step",
            &self.queue,
        );
        registries.register(
            "prefill_seconds",
            Some("request_prefill_time_seconds"),
            "Time from a request's first step to the logits of its last prompt token",
            &self.prefill,
        );
        registries.register(
            "tpot_seconds",
            Some("request_time_per_output_token_seconds"),
            "Time per output token of a request: the mean over all but the first",
            &self.tpot,
        );
        registries.register(
            "request_seconds",
            Some("e2e_request_latency_seconds"),
            "Time from a request's arrival to its last token",
            &self.request,
        );
    }

    /// A step told so many tokens.
    pub(crate) fn told(&self, n_tokens: usize) {
        let second = self.start.elapsed().as_secs();
        self.told.lock().unwrap_or_else(PoisonError::into_inner).add(second, n_tokens as u64);
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
        if let Some(ResidentMemory { now, peak }) = machine::resident_memory() {
            self.memory_bytes.set(now as i64);
            self.memory_peak_bytes.set(peak as i64);
        }
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        self.tokens_per_second.set(told.per_second(self.start.elapsed().as_secs()));
        drop(told);
        let mut out = String::new();
        text::encode_registry(&mut out, &self.registries.own)?;
        text::encode_registry(&mut out, &self.registries.vllm)?;
        text::encode_eof(&mut out)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_ten_seconds() {
        let mut window = Window::default();
        window.add(0, 5);
        assert_eq!(window.per_second(0), 0.0, "no second is whole yet");
        window.add(1, 10);
        window.add(1, 10);
        assert_eq!(window.per_second(2), 12.5);
        assert_eq!(window.per_second(11), 2.0);
        assert_eq!(window.per_second(12), 0.0);
        window.add(17, 40);
        assert_eq!(window.per_second(18), 4.0, "the place of second 1 was taken");
    }

    #[test]
    fn both_names_are_there() {
        let metrics = Metrics::new("m\"1");
        metrics.told(3);
        let text = metrics.text().expect("a text");
        for line in [
            "limpid_requests_running 0",
            "vllm:num_requests_running{model_name=\"m\\\"1\"} 0",
            "limpid_requests_finished_total{finished_reason=\"stop\"} 0",
            "vllm:request_success_total{model_name=\"m\\\"1\",finished_reason=\"stop\"} 0",
            "limpid_generation_tokens_per_second 0.0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(text.ends_with("# EOF\n") && text.contains("limpid_memory_bytes "), "{text}");
    }
}
