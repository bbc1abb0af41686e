//! What the choice of a token costs on a large vocabulary: `cargo run --release -p limpid-engine --example
//! sampling_speed`.
//!
//! The logits are normal (standard deviation 2.5) with twenty tokens above, as a language model's are; `flat` and
//! `equal` are the worst cases of partial selection. LIMPID_ISA does not count here: all instruction sets are shown.

use limpid_engine::TokenId;
use limpid_engine::sampling::{Candidates, History, PenaltyScope, Sampler, SamplingParams, Stream};
use limpid_engine::trace::NoTrace;
use limpid_kernels::isa::Isa;
use std::time::{Duration, Instant};

const VOCAB_SIZE: usize = 151_936;
const REPETITIONS: usize = 41;

fn main() {
    let normal: Vec<f32> = (0..VOCAB_SIZE as u32).map(|i| 2.5 * gauss(i)).collect();
    let mut usual = normal.clone();
    (0..20).for_each(|i| usual[i * 7001] = 18.0 - 0.4 * i as f32);
    let flat: Vec<f32> = normal.iter().map(|l| l * 0.02).collect();
    let equal = vec![1.0; VOCAB_SIZE];
    let logits = [("usual", usual), ("flat", flat), ("equal", equal)];
    println!("{VOCAB_SIZE} logits; ms a token, the least and the median of {REPETITIONS}");
    for isa in Isa::available() {
        let mut scratch = Candidates::new(VOCAB_SIZE, isa);
        for (name, params) in presets() {
            print!("{:<14}{name:<22}", isa.to_string());
            for (kind, logits) in &logits {
                let (least, median) = time(&params, logits, &mut scratch);
                print!("  {kind} {:.3} {:.3}", least.as_secs_f64() * 1e3, median.as_secs_f64() * 1e3);
            }
            println!();
        }
    }
}

fn presets() -> Vec<(&'static str, SamplingParams)> {
    let plain = SamplingParams { temperature: 1.0, seed: 1, ..SamplingParams::greedy() };
    let breakers = vec![TokenId(198)];
    vec![
        ("greedy", SamplingParams::greedy()),
        ("temperature", SamplingParams { temperature: 0.8, ..plain.clone() }),
        ("top_p", SamplingParams { temperature: 0.8, top_p: 0.95, ..plain.clone() }),
        ("top_k", SamplingParams { top_k: 40, ..plain.clone() }),
        ("top_p, top_k, min_p", SamplingParams { top_p: 0.9, top_k: 40, min_p: 0.05, ..plain.clone() }),
        ("min_p", SamplingParams { min_p: 0.05, ..plain.clone() }),
        ("typical_p", SamplingParams { typical_p: 0.9, ..plain.clone() }),
        ("epsilon_cutoff", SamplingParams { epsilon_cutoff: 0.001, ..plain.clone() }),
        ("eta_cutoff", SamplingParams { eta_cutoff: 0.001, ..plain.clone() }),
        ("top_n_sigma", SamplingParams { top_n_sigma: 1.0, ..plain.clone() }),
        ("xtc", SamplingParams { xtc_probability: 1.0, ..plain.clone() }),
        ("dynatemp", SamplingParams { dynatemp_min: 0.5, dynatemp_max: 1.5, ..plain.clone() }),
        ("mirostat", SamplingParams { mirostat_tau: 5.0, ..plain.clone() }),
        (
            "penalties, dry",
            SamplingParams {
                temperature: 0.8,
                top_p: 0.95,
                repetition_penalty: 1.1,
                frequency_penalty: 0.1,
                presence_penalty: 0.1,
                penalty_scope: PenaltyScope::All,
                dry_multiplier: 0.8,
                dry_breakers: breakers,
                no_repeat_ngram_size: 4,
                ..plain
            },
        ),
    ]
}

/// A choice after a text of 4,096 tokens.
fn time(params: &SamplingParams, logits: &[f32], scratch: &mut Candidates) -> (Duration, Duration) {
    let sampler = Sampler::new(params, &[], &[], VOCAB_SIZE).expect("valid parameters");
    let text: Vec<TokenId> = (0..4096).map(|i| TokenId(below(i, 2000))).collect();
    let history = History::new(&text, 1, VOCAB_SIZE);
    let mut times: Vec<Duration> = (0..REPETITIONS)
        .map(|_| {
            let mut history = history.clone();
            let start = Instant::now();
            let token = sampler.sample(logits, &mut history, scratch, &mut NoTrace);
            let time = start.elapsed();
            token.expect("a token");
            time
        })
        .collect();
    times.sort_unstable();
    (times[0], times[REPETITIONS / 2])
}

fn below(i: u32, n: u64) -> u32 {
    Stream::new(7).below(n, i, limpid_engine::sampling::Purpose::Draw) as u32
}

/// The sum of twelve uniform numbers less 6.
fn gauss(i: u32) -> f32 {
    (0..12).map(|k| below(i * 12 + k, 1 << 20) as f32 / (1 << 20) as f32).sum::<f32>() - 6.0
}
