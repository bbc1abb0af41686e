//! How fast attention over a long context is, with keys and values that come from memory: for work on the kernel.
//!
//!     cargo run --release -p limpid-kernels --example attention_speed -- THREADS ROWS DEPTH
//!
//! The shape is Llama-3.2-1B's, all layers in turn. One row is decode, more are a chunk of a prompt. Each line gives
//! the best of several runs: GB/s of keys and values, and Gflop/s (a multiplication and an addition are two).

use limpid_kernels::Cpu;
use limpid_kernels::buffer::Rows;
use limpid_kernels::isa::Isa;
use limpid_kernels::ops::{
    AttentionParams, AttentionRow, AttentionScratch, KvFormat, KvShape, KvSlot, KvStorage, PAGE_LEN,
    attention, kv_write,
};
use std::time::{Duration, Instant};

const N_LAYERS: usize = 16;
const N_HEADS: usize = 32;
const N_KV_HEADS: usize = 8;
const HEAD_DIM: usize = 64;
const RUN_TIME: Duration = Duration::from_secs(3);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [n_threads, n_rows, depth] = &args[..] else {
        eprintln!("usage: attention_speed THREADS ROWS DEPTH");
        std::process::exit(2);
    };
    let [n_threads, n_rows, depth] = [n_threads, n_rows, depth].map(|n| n.parse().expect("a number"));
    let isa = Isa::choose(std::env::var("LIMPID_ISA").ok().as_deref()).expect("an instruction set");
    let cpu = Cpu::new(isa, n_threads);
    for format in KvFormat::ALL {
        let seconds = measure(&cpu, format, n_rows, depth);
        let shape = shape(format);
        let bytes = (shape.bytes_per_token() * depth) as f64;
        // Each query meets each key and each value.
        let flops = (4 * N_LAYERS * N_HEADS * HEAD_DIM * n_rows * depth) as f64;
        println!(
            "{isa} {format:?}, {n_threads} threads, {n_rows} rows: {:.2} ms, {:.1} GB/s, {:.0} Gflop/s",
            seconds * 1e3,
            bytes / seconds / 1e9,
            flops / seconds / 1e9
        );
    }
}

fn shape(format: KvFormat) -> KvShape {
    KvShape { n_layers: N_LAYERS, n_kv_heads: N_KV_HEADS, head_dim: HEAD_DIM, format }
}

/// The best of some rounds over all layers.
fn measure(cpu: &Cpu, format: KvFormat, n_rows: usize, depth: usize) -> f64 {
    let shape = shape(format);
    let n_pages = depth.div_ceil(PAGE_LEN);
    let mut kv = KvStorage::new(shape, n_pages).expect("memory");
    let (k, v) = (rows(PAGE_LEN, N_KV_HEADS * HEAD_DIM, 1), rows(PAGE_LEN, N_KV_HEADS * HEAD_DIM, 2));
    for (layer, page) in (0..N_LAYERS).flat_map(|layer| (0..n_pages as u32).map(move |page| (layer, page))) {
        let slots: Vec<KvSlot> = (0..PAGE_LEN as u32).map(|offset| KvSlot { page, offset }).collect();
        kv_write(cpu, &mut kv, layer, &slots, &k, &v);
    }
    let q = rows(n_rows, N_HEADS * HEAD_DIM, 3);
    let tables: Vec<u32> = (0..n_pages as u32).collect();
    let row = |i: usize| AttentionRow { position: (depth - n_rows + i) as u32, table: 0..n_pages as u32 };
    let batch: Vec<AttentionRow> = (0..n_rows).map(row).collect();
    let params = AttentionParams { n_heads: N_HEADS, scale: 0.125, window: None };
    let n_threads = cpu.pool.n_threads();
    let mut scratch = AttentionScratch::new(n_threads, n_rows, N_HEADS, &shape, depth).expect("memory");
    let mut out = Rows::new(n_rows, N_HEADS * HEAD_DIM).expect("memory");
    let mut best = f64::MAX;
    let start = Instant::now();
    while start.elapsed() < RUN_TIME {
        let round = Instant::now();
        for layer in 0..N_LAYERS {
            attention(cpu, &kv, layer, &q, &batch, &tables, params, &mut scratch, &mut out);
        }
        best = best.min(round.elapsed().as_secs_f64());
    }
    best
}

fn rows(n_rows: usize, width: usize, seed: usize) -> Rows {
    let mut rows = Rows::new(n_rows, width).expect("memory");
    rows.set_n_rows(n_rows);
    for i in 0..n_rows {
        for (j, x) in rows.row_mut(i).iter_mut().enumerate() {
            *x = ((i * 131 + j * 37 + seed * 17) % 101) as f32 / 50.0 - 1.0;
        }
    }
    rows
}
