//! How fast one matrix product is, with weights that come from memory: for work on the kernels.
//!
//!     cargo run --release -p limpid-kernels --example matmul_speed -- THREADS COLS TOKENS FORMAT...
//!
//! THREADS, COLS and TOKENS may be lists (1,2). Each line gives GB/s of weights, as packed, and Gop/s (a multiplication
//! and an addition are two), as the median and the best of several runs.

use limpid_kernels::Cpu;
use limpid_kernels::buffer::Rows;
use limpid_kernels::isa::Isa;
use limpid_kernels::matrix::Matrix;
use limpid_kernels::ops::{self, Activations, Compute, Kinds};
use limpid_kernels::quant::Format;
use std::time::{Duration, Instant};

/// More than any cache holds.
const WEIGHT_BYTES: usize = 192 << 20;
const RUN_TIME: Duration = Duration::from_millis(1500);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [threads, cols, tokens, formats @ ..] = &args[..] else {
        eprintln!("usage: matmul_speed THREADS COLS TOKENS FORMAT...");
        std::process::exit(2);
    };
    let isa = Isa::choose(std::env::var("LIMPID_ISA").ok().as_deref()).expect("an instruction set");
    for format in Format::ALL.into_iter().filter(|f| formats.contains(&f.to_string())) {
        for cols in numbers(cols) {
            for n_threads in numbers(threads) {
                let cpu = Cpu::new(isa, n_threads);
                let w = matrix(&cpu, format, cols);
                for n_tokens in numbers(tokens) {
                    time(&cpu, &w, n_tokens);
                }
            }
        }
    }
}

fn numbers(list: &str) -> Vec<usize> {
    list.split(',').map(|n| n.parse().expect("a number")).collect()
}

/// Any bits, but none that make infinities or NaNs of scales (they would be as fast, and less like real ones).
fn matrix(cpu: &Cpu, format: Format, cols: usize) -> Matrix {
    let row_bytes = format.row_bytes(cols).expect("whole blocks");
    let rows = (WEIGHT_BYTES / row_bytes).next_multiple_of(16);
    let bytes: Vec<u8> =
        (0..rows * row_bytes).map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 27) as u8).collect();
    Matrix::pack(cpu, rows, cols, format, &bytes).expect("valid")
}

fn time(cpu: &Cpu, w: &Matrix, n_tokens: usize) {
    let mut x = Rows::new(n_tokens, w.cols()).expect("memory");
    x.set_n_rows(n_tokens);
    (0..n_tokens).for_each(|i| x.row_mut(i).fill(0.5 + i as f32));
    let kinds = Kinds::of(w.format(), Compute::Fast);
    let mut activations = Activations::new(n_tokens, w.cols(), kinds).expect("memory");
    let mut out = Rows::new(n_tokens, w.rows()).expect("memory");
    let mut seconds = Vec::new();
    let start = Instant::now();
    while start.elapsed() < RUN_TIME || seconds.len() < 3 {
        let prepared = activations.prepare(cpu, &x, kinds);
        let start = Instant::now();
        ops::matmul(cpu, w, Compute::Fast, &prepared, &mut out);
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let (median, best) = (seconds[seconds.len() / 2], seconds[0]);
    let ops = 2.0 * (w.rows() * w.cols() * n_tokens) as f64 / 1e9;
    let bytes = w.bytes() as f64 / 1e9;
    println!(
        "{:6} {} {} threads, {} cols, {n_tokens:3} tokens: {:6.1} GB/s (best {:5.1}) {:6.0} Gop/s (best {:.0})",
        w.format().to_string(),
        cpu.isa,
        cpu.pool.n_threads(),
        w.cols(),
        bytes / median,
        bytes / best,
        ops / median,
        ops / best,
    );
}
