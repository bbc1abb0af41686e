//! RMSNorm (Zhang and Sennrich 2019): `y = x / sqrt(mean(x^2) + eps) * weight`, over a row or over each head.
//!
//! Order of the sum of squares of n elements: vectors of 16 lanes in order, the last one filled up with zeros; even
//! vectors are added into one accumulator, odd ones into another, by fused multiply-add; the two are added, then the
//! lanes by `Simd::sum`. All in f32, as is what follows: `scale = 1 / sqrt(sum / n + eps)`, `y = (x * scale) * weight`.

use crate::Cpu;
use crate::buffer::Rows;
use crate::simd::{self, Kernel, LANES, Simd};

/// RMSNorm of each row: `x` and `out` are `[n_rows, width]`, `weight` is one row of the same width.
pub fn rms_norm(cpu: &Cpu, x: &Rows, weight: &Rows, eps: f32, out: &mut Rows) {
    assert_eq!((1, x.width()), (weight.n_rows(), weight.width()));
    assert_eq!(x.width(), out.width());
    out.set_n_rows(x.n_rows());
    let n_rows = x.n_rows();
    let out = out.shared();
    cpu.pool.for_each(n_rows, &|i| {
        // SAFETY: each item takes its own row.
        let out = unsafe { out.part(i, 0, x.width()) };
        out.copy_from_slice(x.row(i));
        simd::run(cpu.isa, Norm { x: out, weight: weight.row(0), eps });
    });
}

/// RMSNorm of each head by itself, in place: `x` is `[n_rows, n_heads * head_dim]`, `weight` one row of `head_dim`.
pub fn rms_norm_heads(cpu: &Cpu, x: &mut Rows, weight: &Rows, eps: f32) {
    assert_eq!(weight.n_rows(), 1);
    assert!(x.width().is_multiple_of(weight.width()), "a row of {} is no whole heads", x.width());
    let (n_rows, width) = (x.n_rows(), x.width());
    let x = x.shared();
    cpu.pool.for_each(n_rows, &|i| {
        // SAFETY: each item takes its own row.
        let x = unsafe { x.part(i, 0, width) };
        simd::run(cpu.isa, Norm { x, weight: weight.row(0), eps });
    });
}

/// Norms each slice of `x` that is as long as `weight`.
struct Norm<'a> {
    x: &'a mut [f32],
    weight: &'a [f32],
    eps: f32,
}

impl Kernel for Norm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for x in self.x.chunks_exact_mut(self.weight.len()) {
            let mean = sum_of_squares(s, x) / x.len() as f32;
            multiply(s, x, 1.0 / (mean + self.eps).sqrt(), self.weight);
        }
    }
}

#[inline(always)]
fn sum_of_squares<S: Simd>(s: S, x: &[f32]) -> f32 {
    let (vectors, tail) = x.as_chunks::<LANES>();
    let (pairs, last) = vectors.as_chunks::<2>();
    let square = |x: S::F, acc: S::F| s.fma(x, x, acc);
    let (mut even, mut odd) = (s.splat(0.0), s.splat(0.0));
    for [first, second] in pairs {
        even = square(s.load(first), even);
        odd = square(s.load(second), odd);
    }
    match last {
        [] if !tail.is_empty() => even = square(s.load_partial(tail), even),
        [] => {}
        [vector, ..] => {
            even = square(s.load(vector), even);
            odd = square(s.load_partial(tail), odd);
        }
    }
    s.sum(s.add(even, odd))
}

/// `x = (x * scale) * weight`.
#[inline(always)]
fn multiply<S: Simd>(s: S, x: &mut [f32], scale: f32, weight: &[f32]) {
    let scale = s.splat(scale);
    let (x, x_tail) = x.as_chunks_mut::<LANES>();
    let (weight, weight_tail) = weight.as_chunks::<LANES>();
    for (x, weight) in x.iter_mut().zip(weight) {
        s.store(s.mul(s.mul(s.load(x), scale), s.load(weight)), x);
    }
    if !x_tail.is_empty() {
        let y = s.mul(s.mul(s.load_partial(x_tail), scale), s.load_partial(weight_tail));
        s.store_partial(y, x_tail);
    }
}
