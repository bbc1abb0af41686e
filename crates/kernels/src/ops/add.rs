//! Sums of rows: the residual connection and the biases of projections. No reductions: every element by itself.

use crate::Cpu;
use crate::buffer::Rows;
use crate::simd::{self, Kernel, LANES, Simd};

/// `x[i] += y[i]`, both `[n_rows, width]`: the residual connection.
pub fn add(cpu: &Cpu, x: &mut Rows, y: &Rows) {
    assert_eq!((x.n_rows(), x.width()), (y.n_rows(), y.width()));
    let n_rows = x.n_rows();
    let x = x.shared();
    cpu.pool.for_each(n_rows, &|i| {
        // SAFETY: each item takes its own row.
        let x = unsafe { x.row(i) };
        simd::run_f32(cpu.isa, AddTo { x, y: y.padded_row(i) });
    });
}

/// `x[i] += bias` for `x` of `[n_rows, width]` and a `bias` of one row of the same width.
pub fn add_bias(cpu: &Cpu, x: &mut Rows, bias: &Rows) {
    assert_eq!((1, x.width()), (bias.n_rows(), bias.width()));
    let n_rows = x.n_rows();
    let x = x.shared();
    cpu.pool.for_each(n_rows, &|i| {
        // SAFETY: each item takes its own row.
        let x = unsafe { x.row(i) };
        simd::run_f32(cpu.isa, AddTo { x, y: bias.padded_row(0) });
    });
}

/// Padded rows: 0 + 0 keeps the padding.
pub(super) struct AddTo<'a> {
    pub(super) x: &'a mut [f32],
    pub(super) y: &'a [f32],
}

impl Kernel for AddTo<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (x, _) = self.x.as_chunks_mut::<LANES>();
        let (y, _) = self.y.as_chunks::<LANES>();
        for (x, y) in x.iter_mut().zip(y) {
            s.store(s.add(s.load(x), s.load(y)), x);
        }
    }
}
