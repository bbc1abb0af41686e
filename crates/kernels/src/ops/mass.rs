//! Probabilities as integers: the mass of a token is floor(p / p_max * 2^40), so that sums of it are exact in any order
//! and a partial selection finds what a full sort would.
//!
//! p / p_max = e^(l - l_max) in f32, by the polynomial of `simd::math`. Tokens 27.7 below the maximum have the mass 0:
//! they are never drawn, as a probability below 2^-40 of the largest one should be. 2^23 masses stay below 2^64.
//!
//! An instruction set with 64-bit sums is not needed: y = p * 2^40 is cut into h1 * 2^26 + h2 * 2^13 + h3 with whole
//! numbers |h1| <= 2^14, |h2| <= 2^12, |h3| <= 2^12, where h1 and h2 are rounded to nearest and h3 is rounded down.
//! Every step is exact in f32 (a power of two, or the difference of a number and its nearest integer), and so are sums
//! of 256 of them: less than 2^24.

use crate::isa::Isa;
use crate::simd::{self, Kernel, LANES, Simd, math};

/// log2 of the mass of the most likely token.
pub const MASS_BITS: u32 = 40;

/// Elements whose parts are summed in f32: 256 vectors.
const CHUNK: usize = 256 * LANES;

/// The mass of `p`, a probability relative to the largest one, from 0 to 1.
pub fn of(p: f32) -> u64 {
    (p * (1u64 << MASS_BITS) as f32) as u64
}

/// `p[i] = e^(x[i] - max)`, where no x is above `max` or NaN; returns the sum of the masses.
pub fn weigh(isa: Isa, x: &[f32], max: f32, p: &mut [f32]) -> u64 {
    assert_eq!(x.len(), p.len());
    let chunks = x.chunks(CHUNK).zip(p.chunks_mut(CHUNK));
    chunks.map(|(x, p)| simd::run_f32(isa, Weigh { x, max, p })).sum()
}

/// The sum of the masses of `p`.
pub fn sum(isa: Isa, p: &[f32]) -> u64 {
    sum_from(isa, p, p, 0.0)
}

/// The sum of the masses of the `p` whose key is `cut` or larger.
pub fn sum_from(isa: Isa, keys: &[f32], p: &[f32], cut: f32) -> u64 {
    assert_eq!(keys.len(), p.len());
    let chunks = keys.chunks(CHUNK).zip(p.chunks(CHUNK));
    chunks.map(|(keys, p)| simd::run_f32(isa, SumFrom { keys, p, cut })).sum()
}

struct Weigh<'a> {
    x: &'a [f32],
    max: f32,
    p: &'a mut [f32],
}

impl Kernel for Weigh<'_> {
    type Output = u64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> u64 {
        let max = s.splat(self.max);
        let (vectors, tail) = self.x.as_chunks::<LANES>();
        let (out, out_tail) = self.p.as_chunks_mut::<LANES>();
        let mut parts = Parts::new(s);
        for (x, out) in vectors.iter().zip(out) {
            let p = math::exp_of_negative(s, s.sub(s.load(x), max));
            s.store(p, out);
            parts.add(s, p);
        }
        if !tail.is_empty() {
            let mut last = [f32::NEG_INFINITY; LANES];
            last[..tail.len()].copy_from_slice(tail);
            let p = math::exp_of_negative(s, s.sub(s.load(&last), max));
            s.store_partial(p, out_tail);
            parts.add(s, p);
        }
        parts.sum(s)
    }
}

struct SumFrom<'a> {
    keys: &'a [f32],
    p: &'a [f32],
    cut: f32,
}

impl Kernel for SumFrom<'_> {
    type Output = u64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> u64 {
        let (cut, zero) = (s.splat(self.cut), s.splat(0.0));
        let (keys, keys_tail) = self.keys.as_chunks::<LANES>();
        let (p, p_tail) = self.p.as_chunks::<LANES>();
        let mut parts = Parts::new(s);
        for (keys, p) in keys.iter().zip(p) {
            parts.add(s, s.select_gt(cut, s.load(keys), zero, s.load(p)));
        }
        if !p_tail.is_empty() {
            // The lanes that are filled up have p = 0.
            let (keys, p) = (s.load_partial(keys_tail), s.load_partial(p_tail));
            parts.add(s, s.select_gt(cut, keys, zero, p));
        }
        parts.sum(s)
    }
}

/// Sums of h1, h2 and h3.
struct Parts<S: Simd>([S::F; 3]);

impl<S: Simd> Parts<S> {
    #[inline(always)]
    fn new(s: S) -> Self {
        Parts([s.splat(0.0); 3])
    }

    #[inline(always)]
    fn add(&mut self, s: S, p: S::F) {
        let (first, next, one) = (s.splat((1 << 14) as f32), s.splat((1 << 13) as f32), s.splat(1.0));
        let y = s.mul(p, first);
        let h1 = s.to_f32(s.round_to_i32(y));
        let y = s.mul(s.sub(y, h1), next);
        let h2 = s.to_f32(s.round_to_i32(y));
        let y = s.mul(s.sub(y, h2), next);
        let nearest = s.to_f32(s.round_to_i32(y));
        let h3 = s.select_gt(nearest, y, s.sub(nearest, one), nearest);
        self.0 = [s.add(self.0[0], h1), s.add(self.0[1], h2), s.add(self.0[2], h3)];
    }

    #[inline(always)]
    fn sum(self, s: S) -> u64 {
        let [h1, h2, h3] = self.0.map(|part| {
            let mut lanes = [0.0; LANES];
            s.store(part, &mut lanes);
            lanes.iter().map(|&lane| lane as i64).sum::<i64>()
        });
        ((h1 << 26) + (h2 << 13) + h3) as u64
    }
}
