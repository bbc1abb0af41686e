//! Gated linear units: the activation inside a feed-forward block. No reductions: every element by itself.

use super::{Activations, Kinds, Prepared};
use crate::Cpu;
use crate::buffer::Rows;
use crate::simd::{self, Kernel, LANES, Simd, math};

impl Activations {
    /// `out = silu(gate) * up`, all `[n_rows, width]`, with `silu(x) = x / (1 + e^-x)` (Shazeer 2020, "GLU Variants"),
    /// and the forms of that, in one pass.
    pub fn swiglu<'a>(
        &'a mut self,
        cpu: &Cpu,
        gate: &Rows,
        up: &Rows,
        out: &'a mut Rows,
        kinds: Kinds,
    ) -> Prepared<'a> {
        assert_eq!((gate.n_rows(), gate.width()), (up.n_rows(), up.width()));
        assert_eq!(gate.width(), out.width());
        out.set_n_rows(gate.n_rows());
        self.make(cpu, out, kinds, &|i, out| {
            simd::run_f32(cpu.isa, Swiglu { gate: gate.padded_row(i), up: up.padded_row(i), out });
        })
    }
}

/// Whole vectors of padded rows: silu(0) * 0 keeps the padding.
struct Swiglu<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Swiglu<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (gate, _) = self.gate.as_chunks::<LANES>();
        let (up, _) = self.up.as_chunks::<LANES>();
        let (out, _) = self.out.as_chunks_mut::<LANES>();
        for ((gate, up), out) in gate.iter().zip(up).zip(out) {
            s.store(s.mul(math::silu(s, s.load(gate)), s.load(up)), out);
        }
    }
}
