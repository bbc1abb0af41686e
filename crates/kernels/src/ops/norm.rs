//! RMSNorm (Zhang and Sennrich 2019): `y = x / sqrt(mean(x^2) + eps) * weight`, over a row or over each head.
//!
//! Order of the sum of squares of n elements: vectors of 16 lanes in order, the last one filled up with zeros; even
//! vectors are added into one accumulator, odd ones into another, by fused multiply-add; the two are added, then the
//! lanes by `Simd::sum`. All in f32, as is what follows: `scale = 1 / sqrt(sum / n + eps)`, `y = (x * scale) * weight`.

use super::add::AddTo;
use super::{Activations, Kinds, Prepared};
use crate::Cpu;
use crate::buffer::Rows;
use crate::simd::{self, Kernel, LANES, Simd};

/// What a norm reads.
pub struct NormInput<'a> {
    /// `[n_rows, width]`.
    pub residual: &'a mut Rows,
    /// Added to the residual first: what the part of the model before gave.
    pub added: Option<&'a Rows>,
    /// One row of the same width.
    pub weight: &'a Rows,
    pub eps: f32,
}

impl Activations {
    /// `residual += added`; then RMSNorm of each row of it into `out`, and the forms of that, in one pass.
    pub fn rms_norm<'a>(
        &'a mut self,
        cpu: &Cpu,
        input: NormInput<'_>,
        out: &'a mut Rows,
        kinds: Kinds,
    ) -> Prepared<'a> {
        let NormInput { residual, added, weight, eps } = input;
        let (n_rows, width) = (residual.n_rows(), residual.width());
        assert_eq!((1, width), (weight.n_rows(), weight.width()));
        assert_eq!(width, out.width());
        assert!(added.is_none_or(|added| (added.n_rows(), added.width()) == (n_rows, width)));
        out.set_n_rows(n_rows);
        let residual = residual.shared();
        self.make(cpu, out, kinds, &|i, out| {
            // SAFETY: each item takes its own row.
            let x = unsafe { residual.row(i) };
            if let Some(added) = added {
                simd::run_f32(cpu.isa, AddTo { x, y: added.padded_row(i) });
            }
            out.copy_from_slice(x);
            simd::run_f32(cpu.isa, Norm { x: &mut out[..width], weight: weight.row(0), eps });
        })
    }
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
        simd::run_f32(cpu.isa, Norm { x, weight: weight.row(0), eps });
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
