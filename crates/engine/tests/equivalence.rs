//! Design rule 1 on whole models: the same tokens give the same bits, however they are cut, batched and computed.
//!
//! Portable lanes are exercised here as well, so prompts are short.

mod support;

use limpid_engine::TokenId;
use limpid_engine::model::{Batch, BatchRow, Want};
use limpid_kernels::isa::Isa;
use limpid_kernels::ops::{Compute, KvFormat};
use std::path::{Path, PathBuf};
use support::{Bench, Setup, goldens};

/// Models that between them have every weight format, both RoPE styles, windows, biases, norms on heads, GQA.
fn models() -> Vec<PathBuf> {
    let in_goldens = [
        "llama2/hf",
        "llama3/model.gguf",
        "mistral_window/model.gguf",
        "qwen2_layer_types/hf",
        "qwen3/model.gguf",
        "quant_q4_0/model.gguf",
        "quant_q4_1/model.gguf",
        "quant_q4_k/model.gguf",
        "quant_q5_0/model.gguf",
        "quant_q5_1/model.gguf",
        "quant_q5_k/model.gguf",
        "quant_q6_k/model.gguf",
        "stories260k_q8_0/model.gguf",
    ];
    let mut models: Vec<_> = in_goldens.iter().map(|name| goldens().join(name)).collect();
    models.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/pocket/pocket.gguf"));
    models
}

/// Token ids that every vocabulary here has.
fn prompt(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| 3 + i * 37 % 251).collect()
}

fn bits(rows: &[Vec<f32>]) -> Vec<Vec<u32>> {
    rows.iter().map(|row| row.iter().map(|x| x.to_bits()).collect()).collect()
}

/// The logits of all positions, fed in chunks.
fn logits(path: &Path, setup: Setup, ids: &[u32], chunk: usize) -> Vec<Vec<u32>> {
    let mut bench = Bench::open(path, setup);
    let seq = bench.sequence();
    ids.chunks(chunk).flat_map(|ids| bits(&bench.feed(seq, ids))).collect()
}

/// What users get.
fn fast() -> Setup {
    Setup { compute: Compute::Fast, kv_format: KvFormat::F16, ..Setup::exact() }
}

/// Both compute modes, and cache formats other than the mode's usual one.
fn setups() -> [Setup; 4] {
    let with = |kv_format| Setup { kv_format, ..fast() };
    [Setup::exact(), fast(), with(KvFormat::F32), with(KvFormat::Q8_0)]
}

#[test]
fn chunked_prefill_is_one_shot_is_token_by_token() {
    let ids = prompt(70);
    for path in models() {
        for setup in setups() {
            let one_shot = logits(&path, setup, &ids, ids.len());
            for chunk in [1, 7, 16, 33] {
                let chunked = logits(&path, setup, &ids, chunk);
                assert!(chunked == one_shot, "{}: chunks of {chunk}, {setup:?}", path.display());
            }
        }
    }
}

#[test]
fn every_thread_count_gives_the_same_bits() {
    let ids = prompt(40);
    for path in models() {
        for setup in setups() {
            let one = logits(&path, setup, &ids, 40);
            for n_threads in [2, 3] {
                let several = logits(&path, Setup { n_threads, ..setup }, &ids, 40);
                assert!(several == one, "{}: {n_threads} threads, {setup:?}", path.display());
            }
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let ids = prompt(24);
    for path in models() {
        for setup in setups() {
            let portable = logits(&path, Setup { isa: Isa::Portable, ..setup }, &ids, 24);
            for isa in Isa::available() {
                let found = logits(&path, Setup { isa, ..setup }, &ids, 24);
                assert!(found == portable, "{}: {isa}, {setup:?}", path.display());
            }
        }
    }
}

#[test]
fn a_sequence_among_others_gives_the_bits_it_gives_alone() {
    let prompts: Vec<Vec<u32>> = [5, 31, 18].iter().map(|&n| prompt(n)).collect();
    for path in models() {
        for setup in setups() {
            let alone: Vec<_> = prompts.iter().map(|ids| logits(&path, setup, ids, ids.len())).collect();
            let mut bench = Bench::open(&path, setup);
            let mut rows = Vec::new();
            for ids in &prompts {
                let seq = bench.sequence();
                bench.kv.extend(seq, ids.len()).expect("pages");
                rows.extend(ids.iter().enumerate().map(|(i, &id)| BatchRow {
                    token: TokenId(id),
                    position: i as u32,
                    seq,
                    want: Want::Logits,
                }));
            }
            let together = bits(&bench.batch(&Batch { rows }));
            assert!(together == alone.concat(), "{}: {setup:?}", path.display());
        }
    }
}

#[test]
fn a_forked_sequence_goes_on_as_the_original_would() {
    let ids = prompt(80);
    let (past, future) = ids.split_at(50);
    for path in models() {
        for setup in setups() {
            let whole = logits(&path, setup, &ids, ids.len());
            let mut bench = Bench::open(&path, setup);
            let seq = bench.sequence();
            bench.feed(seq, past);
            let fork = bench.kv.fork(seq, 100);
            // The original goes elsewhere first; the fork must not see it.
            bench.feed(seq, &future.iter().rev().copied().collect::<Vec<_>>());
            let found = bits(&bench.feed(fork, future));
            assert!(found == whole[past.len()..], "{}: {setup:?}", path.display());
        }
    }
}
