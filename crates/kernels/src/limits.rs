//! What the processor can do at best, measured: what speeds are held against.
//!
//! Arithmetic is that of one kind of instruction on registers and the first-level cache, in independent sums; memory is
//! read by all threads in order, each its own part. Both drift on shared machines, so measure them beside what they are
//! compared with.

use crate::Cpu;
use crate::buffer::{AllocError, Buffer};
use crate::simd::{self, Kernel, LANES, PEAK_STEPS, Peak, Simd};
use std::hint::black_box;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Rates of all threads together. A multiplication and an addition are two operations.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Limits {
    pub read_gb_per_s: f64,
    /// Exact products of 4-bit weights with int8: `vpdpbusd`, or `vpmaddubsw` summed in 16 bits.
    pub int4_gop_per_s: f64,
    /// Exact products of 8-bit weights with int8: `vpdpbusd`, or `vpmaddwd`.
    pub int8_gop_per_s: f64,
    pub f32_gop_per_s: f64,
    /// `vdpbf16ps`, or the two f32 steps that it stands for.
    pub bf16_gop_per_s: f64,
}

/// Bytes that are taken and read to measure the memory: more than any cache holds.
pub const READ_BYTES: usize = 300 << 20;
const READ_TIME: Duration = Duration::from_millis(400);
/// In how many parts, which threads claim as they do those of a matrix.
const N_PARTS: usize = 47;
/// How long each kind is measured, at least.
const TIME: Duration = Duration::from_millis(60);
/// Rounds of [`Simd::peak`] between two looks at the clock.
const ROUNDS: usize = 20_000;

impl Limits {
    /// Takes a second and 300 MiB.
    pub fn measure(cpu: &Cpu) -> Result<Self, AllocError> {
        let mut memory = Buffer::zeroed(READ_BYTES / size_of::<f32>())?;
        memory.fill(1.0); // memory that was never written is one page of zeros
        Ok(Self {
            read_gb_per_s: read(cpu, &memory),
            int4_gop_per_s: arithmetic(cpu, Peak::Int4),
            int8_gop_per_s: arithmetic(cpu, Peak::Int8),
            f32_gop_per_s: arithmetic(cpu, Peak::F32),
            bf16_gop_per_s: arithmetic(cpu, Peak::Bf16),
        })
    }
}

/// The best of several passes, GB/s.
fn read(cpu: &Cpu, memory: &[f32]) -> f64 {
    let pass = || {
        let start = Instant::now();
        cpu.pool.for_each(N_PARTS, &|i| {
            let part = i * memory.len() / N_PARTS..(i + 1) * memory.len() / N_PARTS;
            black_box(simd::run_f32(cpu.isa, Read(&memory[part])));
        });
        size_of_val(memory) as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    // Another thread's processor may have been asleep: the first passes are slow.
    let start = Instant::now();
    let mut best = 0.0;
    while start.elapsed() < READ_TIME {
        best = f64::max(best, pass());
    }
    best
}

struct Read<'a>(&'a [f32]);

impl Kernel for Read<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let mut sums = [s.splat(0.0); 4];
        for vectors in self.0.as_chunks::<LANES>().0.as_chunks::<4>().0 {
            for i in 0..4 {
                sums[i] = s.add(sums[i], s.load(&vectors[i]));
            }
        }
        s.sum(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])))
    }
}

/// Gop/s of all threads.
fn arithmetic(cpu: &Cpu, kind: Peak) -> f64 {
    let n_products = std::sync::atomic::AtomicUsize::new(0);
    let mut best = Duration::MAX;
    let start = Instant::now();
    while best == Duration::MAX || start.elapsed() < TIME {
        let pass = Instant::now();
        cpu.pool.for_each(cpu.pool.n_threads(), &|_| {
            let run = if kind == Peak::Bf16 { simd::run_bf16 } else { simd::run };
            n_products.store(run(cpu.isa, RunPeak(kind)), Ordering::Relaxed);
        });
        best = best.min(pass.elapsed());
    }
    let n_steps = PEAK_STEPS * ROUNDS * cpu.pool.n_threads();
    (2 * n_products.into_inner() * LANES * n_steps) as f64 / best.as_secs_f64() / 1e9
}

struct RunPeak(Peak);

impl Kernel for RunPeak {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        s.peak(self.0, ROUNDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    #[test]
    fn every_instruction_set_can_be_measured() {
        for isa in Isa::available() {
            let limits = Limits::measure(&Cpu::new(isa, 1)).expect("memory");
            let Limits { read_gb_per_s, int4_gop_per_s, int8_gop_per_s, f32_gop_per_s, bf16_gop_per_s } =
                limits;
            for rate in [read_gb_per_s, int4_gop_per_s, int8_gop_per_s, f32_gop_per_s, bf16_gop_per_s] {
                assert!(rate.is_finite() && rate > 0.0, "{isa}: {limits:?}");
            }
        }
    }
}
