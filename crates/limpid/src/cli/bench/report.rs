//! What the times mean, as JSON and as tables.

use super::measure::Row;
use super::{BenchArgs, Cases, FIRST_PROMPT, Setup};
use crate::load::ModelFile;
use crate::units;
use limpid_engine::kv::KvLayout;
use limpid_engine::model::{MemoryPlan, Work};
use limpid_kernels::limits::Limits;
use limpid_kernels::ops::Compute;
use limpid_kernels::quant::Format;
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

/// Since the start of the process.
#[derive(Clone, Copy)]
pub(super) struct Start {
    pub(super) load: Duration,
    pub(super) first_token: Duration,
}

#[derive(Serialize)]
pub(super) struct BenchJson {
    /// Of the first row.
    prefill: Option<f64>,
    decode: Option<f64>,
    rows: Vec<RowJson>,
    within_tpot_limit: Vec<WithinLimitJson>,
    tpot_limit_ms: Option<f64>,
    load_ms: f64,
    first_token_ms: f64,
    model: String,
    architecture: String,
    parameters: u64,
    weights_bytes: usize,
    prefill_tokens: usize,
    decode_tokens: usize,
    repetitions: usize,
    threads: usize,
    isa: String,
    compute: String,
    kv_format: String,
    products: &'static str,
}

/// Rates in tokens/s, Gop/s and GB/s, null for what was left out.
#[derive(Serialize)]
struct RowJson {
    depth: usize,
    sequences: usize,
    ttft_ms: Option<f64>,
    prefill_tok_per_s: Option<f64>,
    prefill_repetitions: Vec<f64>,
    prefill_gop_per_s: Option<f64>,
    tpot_ms: Option<f64>,
    decode_tok_per_s: Option<f64>,
    decode_tok_per_s_each: Option<f64>,
    decode_repetitions: Vec<f64>,
    decode_gop_per_s: Option<f64>,
    decode_gb_per_s: Option<f64>,
    step_bytes: usize,
    kv_bytes: usize,
    limits: Option<LimitsJson>,
}

#[derive(Clone, Copy, Serialize)]
struct LimitsJson {
    read_gb_per_s: f64,
    int4_gop_per_s: f64,
    int8_gop_per_s: f64,
    bf16_gop_per_s: f64,
    f32_gop_per_s: f64,
}

/// The most sequences of the list, null if even the fewest take longer.
#[derive(Serialize)]
struct WithinLimitJson {
    depth: usize,
    sequences: Option<usize>,
}

impl BenchJson {
    pub(super) fn new(
        args: &BenchArgs,
        cases: &Cases,
        setup: &Setup,
        (file, plan, work): (&ModelFile, &MemoryPlan<'_>, Work),
        start: Start,
        rows: &[Row],
    ) -> Self {
        let rows: Vec<_> = rows.iter().map(|row| RowJson::new(row, cases, plan, work)).collect();
        let within = |limit| cases.depths.iter().map(move |&depth| (depth, limit));
        let within = args.tpot_limit_ms.into_iter().flat_map(within);
        Self {
            prefill: rows.first().and_then(|row| row.prefill_tok_per_s),
            decode: rows.first().and_then(|row| row.decode_tok_per_s),
            within_tpot_limit: within.map(|(depth, limit)| most_within(&rows, depth, limit)).collect(),
            tpot_limit_ms: args.tpot_limit_ms,
            rows,
            load_ms: units::json_ms(start.load),
            first_token_ms: units::json_ms(start.first_token),
            model: file.name(),
            architecture: file.config.architecture.clone(),
            parameters: file.weights.n_parameters(),
            weights_bytes: plan.weights(),
            prefill_tokens: cases.prefill,
            decode_tokens: cases.decode,
            repetitions: cases.repetitions,
            threads: setup.n_threads,
            isa: setup.isa.to_string(),
            compute: setup.compute_name(),
            kv_format: setup.kv_format_name(),
            products: products(work.main_format, setup.compute),
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "{} ({}, {} in memory), {}, {}, compute {}, KV {}\n\
             loaded {} and first token of a prompt of {FIRST_PROMPT} {} after the start of the process\n",
            self.model,
            self.architecture,
            units::bytes(self.weights_bytes),
            units::counted(self.threads, "thread"),
            self.isa,
            self.compute,
            self.kv_format,
            units::time(from_ms(self.load_ms)),
            units::time(from_ms(self.first_token_ms)),
        );
        if self.prefill_tokens > 0 {
            self.add_prefill(&mut text);
        }
        if self.decode_tokens > 0 {
            self.add_decode(&mut text);
        }
        for within in &self.within_tpot_limit {
            let limit = self.tpot_limit_ms.unwrap_or_default();
            let depth = within.depth;
            // Writing to a string cannot fail.
            let _ = match within.sequences {
                Some(n) => {
                    writeln!(text, "depth {depth}: up to {n} sequences stay within {limit} ms a token")
                }
                None => writeln!(text, "depth {depth}: no row stays within {limit} ms a token"),
            };
        }
        text
    }

    fn add_prefill(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "\nprefill of {} tokens, median of {}\n{:>8} {:>10} {:>10} {:>7} {:>8} {:>13}",
            units::count(self.prefill_tokens),
            self.repetitions,
            "depth",
            "TTFT",
            "tok/s",
            "spread",
            "Gop/s",
            format!("of {} peak", self.products),
        );
        let mut last_depth = None;
        for row in self.rows.iter().filter(|row| last_depth.replace(row.depth) != Some(row.depth)) {
            let _ = writeln!(
                text,
                "{:>8} {:>10} {:>10} {:>7} {:>8} {:>13}",
                units::count(row.depth),
                row.ttft_ms.map(|ms| units::time(from_ms(ms))).unwrap_or_default(),
                short(row.prefill_tok_per_s),
                spread(&row.prefill_repetitions),
                short(row.prefill_gop_per_s),
                row.share_of_peak(row.prefill_gop_per_s, self.products),
            );
        }
    }

    fn add_decode(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "\ndecode of {} tokens, median of {}\n\
             {:>8} {:>9} {:>9} {:>8} {:>7} {:>7} {:>10} {:>6} {:>8} {:>7} {:>8}",
            units::count(self.decode_tokens),
            self.repetitions,
            "depth",
            "sequences",
            "TPOT",
            "tok/s",
            "each",
            "spread",
            "KV",
            "GB/s",
            "of reads",
            "Gop/s",
            "of peak",
        );
        for row in &self.rows {
            let reads = row.limits.map(|limits| limits.read_gb_per_s);
            let _ = writeln!(
                text,
                "{:>8} {:>9} {:>9} {:>8} {:>7} {:>7} {:>10} {:>6} {:>8} {:>7} {:>8}",
                units::count(row.depth),
                row.sequences,
                row.tpot_ms.map(|ms| units::time(from_ms(ms))).unwrap_or_default(),
                short(row.decode_tok_per_s),
                short(row.decode_tok_per_s_each),
                spread(&row.decode_repetitions),
                units::bytes(row.kv_bytes),
                short(row.decode_gb_per_s),
                percent(row.decode_gb_per_s, reads),
                short(row.decode_gop_per_s),
                row.share_of_peak(row.decode_gop_per_s, self.products),
            );
        }
    }
}

impl RowJson {
    fn new(row: &Row, cases: &Cases, plan: &MemoryPlan<'_>, work: Work) -> Self {
        let n = row.sequences;
        let rates = |times: &[Duration], n_tokens: usize| {
            times
                .iter()
                .map(|time| units::json_rate(n_tokens as f64 / time.as_secs_f64()))
                .collect::<Vec<_>>()
        };
        let seconds = |times: &[Duration], n: usize| {
            median(&times.iter().map(Duration::as_secs_f64).collect::<Vec<_>>()).map(|time| time / n as f64)
        };
        let ttft = seconds(&row.prefill, 1);
        let tpot = seconds(&row.decode, cases.decode);
        let giga = |amount: f64, time: Option<f64>| time.map(|time| units::json_rate(amount / time / 1e9));
        let step_bytes = work.read_bytes + n * kv_read_bytes(plan.kv_layout(), row.depth, cases.decode);
        Self {
            depth: row.depth,
            sequences: n,
            ttft_ms: ttft.map(|time| units::json_ms(Duration::from_secs_f64(time))),
            prefill_tok_per_s: ttft.map(|time| units::json_rate(cases.prefill as f64 / time)),
            prefill_repetitions: rates(&row.prefill, cases.prefill),
            prefill_gop_per_s: giga(work.operations(cases.prefill, 1), ttft),
            tpot_ms: tpot.map(|time| units::json_ms(Duration::from_secs_f64(time))),
            decode_tok_per_s: tpot.map(|time| units::json_rate(n as f64 / time)),
            decode_tok_per_s_each: tpot.map(|time| units::json_rate(1.0 / time)),
            decode_repetitions: rates(&row.decode, n * cases.decode),
            decode_gop_per_s: giga(work.operations(n, n), tpot),
            decode_gb_per_s: giga(step_bytes as f64, tpot),
            step_bytes,
            kv_bytes: plan.kv(row.depth + cases.decode, 1).saturating_mul(n),
            limits: row.limits.map(LimitsJson::from),
        }
    }

    fn share_of_peak(&self, gop_per_s: Option<f64>, products: &str) -> String {
        let peak = self.limits.map(|limits| match products {
            "int4" => limits.int4_gop_per_s,
            "int8" => limits.int8_gop_per_s,
            "bf16" => limits.bf16_gop_per_s,
            _ => limits.f32_gop_per_s,
        });
        percent(gop_per_s, peak)
    }
}

impl From<Limits> for LimitsJson {
    fn from(limits: Limits) -> Self {
        Self {
            read_gb_per_s: units::json_rate(limits.read_gb_per_s),
            int4_gop_per_s: units::json_rate(limits.int4_gop_per_s),
            int8_gop_per_s: units::json_rate(limits.int8_gop_per_s),
            bf16_gop_per_s: units::json_rate(limits.bf16_gop_per_s),
            f32_gop_per_s: units::json_rate(limits.f32_gop_per_s),
        }
    }
}

/// The arithmetic that products with weights of this format are held against.
fn products(format: Format, compute: Compute) -> &'static str {
    match (format, compute) {
        (Format::F32 | Format::F16, _) | (_, Compute::F32) => "f32",
        (Format::BF16, _) => "bf16",
        // Up to 4 bits a weight, and its scales.
        _ if format.block_bytes() * 8 <= format.block_len() * 5 => "int4",
        _ => "int8",
    }
}

/// Keys and values that a sequence reads in a step of decode, the mean over `n` steps behind `depth` positions.
fn kv_read_bytes(layout: &KvLayout, depth: usize, n: usize) -> usize {
    let mut bytes = 0;
    for group in &layout.groups {
        let window = group.window.map_or(usize::MAX, |window| window as usize);
        let n_keys: usize = (0..n).map(|i| (depth + i + 1).min(window)).sum();
        bytes += n_keys * group.shape.bytes_per_token();
    }
    bytes / n.max(1)
}

fn most_within(rows: &[RowJson], depth: usize, limit_ms: f64) -> WithinLimitJson {
    let is_within = |row: &&RowJson| row.depth == depth && row.tpot_ms.is_some_and(|ms| ms <= limit_ms);
    WithinLimitJson { depth, sequences: rows.iter().filter(is_within).map(|row| row.sequences).max() }
}

/// The middle one, or the mean of the two in the middle.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.len(), sorted.len() % 2) {
        (0, _) => None,
        (_, 1) => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

fn from_ms(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1e3)
}

fn percent(part: Option<f64>, whole: Option<f64>) -> String {
    match (part, whole) {
        (Some(part), Some(whole)) => format!("{:.0} %", 100.0 * part / whole),
        _ => "-".to_owned(),
    }
}

/// From the slowest to the fastest, against the median.
fn spread(rates: &[f64]) -> String {
    let (least, most) = rates.iter().fold((f64::MAX, 0.0_f64), |(a, b), &x| (a.min(x), b.max(x)));
    percent(Some(most - least), median(rates))
}

fn short(rate: Option<f64>) -> String {
    rate.map_or("-".to_owned(), units::three_digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use limpid_engine::kv::KvGroupLayout;
    use limpid_kernels::ops::{KvFormat, KvShape};

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(spread(&[90.0, 110.0, 100.0]), "20 %");
    }

    #[test]
    fn keys_behind_a_window_are_not_read() {
        let shape = KvShape { n_layers: 1, n_kv_heads: 1, head_dim: 1, format: KvFormat::F32 };
        let group = |window| KvGroupLayout { shape, layers: vec![0], window };
        let layout = KvLayout { groups: vec![group(None), group(Some(7))] };
        // Steps at positions 6, 7, 8 read 7, 8, 9 keys of one layer and 7 of the other, 8 bytes each.
        assert_eq!(kv_read_bytes(&layout, 6, 3), 8 * (8 + 7));
        assert_eq!(kv_read_bytes(&layout, 6, 0), 0);
    }

    #[test]
    fn weights_are_held_against_the_arithmetic_that_they_allow() {
        for (format, expected) in
            [(Format::Q4_0, "int4"), (Format::Q4_K, "int4"), (Format::Q6_K, "int8"), (Format::Q8_0, "int8")]
        {
            assert_eq!(products(format, Compute::Fast), expected, "{format}");
            assert_eq!(products(format, Compute::F32), "f32", "{format}");
        }
        assert_eq!([Format::BF16, Format::F16].map(|f| products(f, Compute::Fast)), ["bf16", "f32"]);
    }
}
