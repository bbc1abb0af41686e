//! Reductions over a row of the vocabulary: what sampling and log-probabilities stand on.
//!
//! Sums are made of fixed partials: chunks of 4,096 elements, each summed in f32 in 16 lanes of two accumulators (even
//! and odd vectors, the last vector filled up with zeros), which are added once and then over the lanes by `Simd::sum`;
//! the partials are added in order, in f64. A maximum is the same in any order once NaN is told apart (-0 = 0).

use crate::Cpu;
use crate::buffer::Shared;
use crate::simd::{self, Kernel, LANES, Simd, math};
use std::sync::atomic::{AtomicU32, Ordering};

/// Elements of a partial sum.
const CHUNK: usize = 4096;

/// Partial sums that are computed before they are added: 64 of them cover 262,144 elements.
const PARTIALS: usize = 64;

/// The index of the largest element, of equal ones the lowest; `None` if there is a NaN, or nothing at all.
pub fn argmax(cpu: &Cpu, x: &[f32]) -> Option<usize> {
    let max = max(cpu, x)?;
    x.iter().position(|&x| x == max)
}

/// The largest element; `None` if there is a NaN, or nothing at all.
pub fn max(cpu: &Cpu, x: &[f32]) -> Option<f32> {
    if x.is_empty() {
        return None;
    }
    let max = simd::run_f32(cpu.isa, Max(x));
    (!max.is_nan()).then_some(max)
}

/// `out[i] = e^(x[i] - max)`; returns the sum of `out`. With `max` from [`max`], `out / sum` is the softmax of `x`.
pub fn exp_sub(cpu: &Cpu, x: &[f32], max: f32, out: &mut [f32]) -> f64 {
    assert_eq!(x.len(), out.len());
    let out = Shared::new(out);
    sum_chunks(cpu, x.len(), &|start, len| {
        // SAFETY: each chunk is taken once, and chunks do not overlap.
        let out = unsafe { out.part(start, len) };
        simd::run_f32(cpu.isa, ExpSub { x: &x[start..][..len], max, out })
    })
}

/// `max + ln(sum of e^(x[i] - max))`: a log-probability is `x[i]` less this. `None` if there is a NaN, or nothing at
/// all.
pub fn log_sum_exp(cpu: &Cpu, x: &[f32]) -> Option<f64> {
    let max = max(cpu, x)?;
    if max.is_infinite() {
        return Some(f64::from(max));
    }
    let sum = sum_chunks(cpu, x.len(), &|start, len| {
        simd::run_f32(cpu.isa, SumExpSub { x: &x[start..][..len], max })
    });
    Some(f64::from(max) + libm::log(sum))
}

/// The sum over all chunks of `partial(start, len)`, in order.
fn sum_chunks(cpu: &Cpu, n: usize, partial: &(dyn Fn(usize, usize) -> f32 + Sync)) -> f64 {
    let n_chunks = n.div_ceil(CHUNK);
    let partials = [const { AtomicU32::new(0) }; PARTIALS];
    let mut sum = 0.0;
    for first in (0..n_chunks).step_by(PARTIALS) {
        let n_partials = PARTIALS.min(n_chunks - first);
        cpu.pool.for_each(n_partials, &|i| {
            let start = (first + i) * CHUNK;
            let x = partial(start, CHUNK.min(n - start));
            partials[i].store(x.to_bits(), Ordering::Relaxed);
        });
        for partial in &partials[..n_partials] {
            sum += f64::from(f32::from_bits(partial.load(Ordering::Relaxed)));
        }
    }
    sum
}

/// The largest element, or NaN if there is one.
struct Max<'a>(&'a [f32]);

impl Kernel for Max<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let (vectors, tail) = self.0.as_chunks::<LANES>();
        let mut last = [f32::NEG_INFINITY; LANES];
        last[..tail.len()].copy_from_slice(tail);
        let (low, high) = (s.splat(f32::NEG_INFINITY), s.splat(f32::INFINITY));
        let (zero, one) = (s.splat(0.0), s.splat(1.0));
        let (mut max, mut nan) = (low, zero);
        for x in vectors.iter().chain([&last]) {
            let x = s.load(x);
            max = s.max(x, max);
            // Whatever is neither above -infinity nor below infinity; -infinity is the latter.
            nan = s.select_gt(x, low, nan, s.select_gt(high, x, nan, one));
        }
        if s.max_lane(nan) > 0.0 { f32::NAN } else { s.max_lane(max) }
    }
}

struct ExpSub<'a> {
    x: &'a [f32],
    max: f32,
    out: &'a mut [f32],
}

impl Kernel for ExpSub<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let (out, out_tail) = self.out.as_chunks_mut::<LANES>();
        let mut out = out.iter_mut();
        sum_exp_sub(s, self.x, self.max, |y, n| match out.next() {
            Some(out) => s.store(y, out),
            None => s.store_partial(y, &mut out_tail[..n]),
        })
    }
}

struct SumExpSub<'a> {
    x: &'a [f32],
    max: f32,
}

impl Kernel for SumExpSub<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        sum_exp_sub(s, self.x, self.max, |_, _| ())
    }
}

/// The sum of `e^(x - max)`; `each` gets every vector of it and how many of its lanes count.
#[inline(always)]
fn sum_exp_sub<S: Simd>(s: S, x: &[f32], max: f32, mut each: impl FnMut(S::F, usize)) -> f32 {
    let max = s.splat(max);
    let (vectors, tail) = x.as_chunks::<LANES>();
    // The accumulators change places after every vector: `even` is the one whose turn it is.
    let (mut even, mut odd) = (s.splat(0.0), s.splat(0.0));
    for x in vectors {
        let y = math::exp_of_negative(s, s.sub(s.load(x), max));
        each(y, LANES);
        (even, odd) = (odd, s.add(even, y));
    }
    if !tail.is_empty() {
        let mut last = [f32::NEG_INFINITY; LANES];
        last[..tail.len()].copy_from_slice(tail);
        let y = math::exp_of_negative(s, s.sub(s.load(&last), max));
        each(y, tail.len());
        (even, odd) = (odd, s.add(even, y));
    }
    s.sum(s.add(even, odd))
}
