//! Gated linear units: the activation inside a feed-forward block. No reductions: every element by itself.

use crate::Cpu;
use crate::buffer::Rows;
use crate::simd::{self, Kernel, LANES, Simd, math};

/// Columns that one work item takes: so few that one row keeps several threads busy.
const COLUMNS_PER_ITEM: usize = 1024;

/// `out = silu(gate) * up`, all `[n_rows, width]`, with `silu(x) = x / (1 + e^-x)` (Shazeer 2020, "GLU Variants").
pub fn swiglu(cpu: &Cpu, gate: &Rows, up: &Rows, out: &mut Rows) {
    assert_eq!((gate.n_rows(), gate.width()), (up.n_rows(), up.width()));
    assert_eq!(gate.width(), out.width());
    out.set_n_rows(gate.n_rows());
    let stride = out.stride();
    let items_per_row = stride.div_ceil(COLUMNS_PER_ITEM);
    let n_items = gate.n_rows() * items_per_row;
    let out = out.shared();
    cpu.pool.for_each(n_items, &|item| {
        let (i, start) = (item / items_per_row, item % items_per_row * COLUMNS_PER_ITEM);
        let len = COLUMNS_PER_ITEM.min(stride - start);
        let (gate, up) = (&gate.padded_row(i)[start..][..len], &up.padded_row(i)[start..][..len]);
        // SAFETY: each item takes its own columns of its own row.
        let out = unsafe { out.part(i, start, len) };
        simd::run(cpu.isa, Swiglu { gate, up, out });
    });
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
