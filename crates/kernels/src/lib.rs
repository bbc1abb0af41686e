//! Numbers: the home of `unsafe`, SIMD and threads. No files, no tokens, no serde.
//!
//! Layout, each module using only those above it:
//! - `isa`: which instruction set; detected once.
//! - `pool`: the thread pool.  `buffer`: aligned memory.
//! - `simd`: the virtual vector of 16 lanes and its implementations.
//! - `quant`: one folder per weight format.  `matrix`: a weight matrix, repacked into panels of 16 rows.
//! - `ops`: the operations of a forward pass, one file each; the future GPU seam.
//! - `limits`: what the processor can do at best, measured.
//! - `reference`: the naive version of every operation, in f64: the oracle of the tests.

pub mod buffer;
pub mod isa;
pub mod limits;
pub mod matrix;
pub mod ops;
pub mod pool;
pub mod quant;
pub mod reference;
mod simd;

use buffer::Shared;
use isa::Isa;
use pool::ThreadPool;

/// The CPU as the operations see it: an instruction set and the threads.
pub struct Cpu {
    pub isa: Isa,
    pub pool: ThreadPool,
    /// For products of quantized weights with one token.
    one_token: Isa,
}

impl Cpu {
    /// `n_threads` counts the calling thread: 1 starts no worker.
    pub fn new(isa: Isa, n_threads: usize) -> Self {
        Self { isa, pool: ThreadPool::new(n_threads), one_token: isa }
    }

    /// Uses a lower level where this processor is faster with it: the same bytes. Not for who asked for a level.
    ///
    /// With one token the weights are read once and unpacked for a single product, and where a vector of 512 bits goes
    /// through the units as two halves, AVX2 unpacks faster (SPEED.md).
    pub fn tuned(self) -> Self {
        let one_token = if isa::has_halved_avx512() { self.isa.min(Isa::Avx2) } else { self.isa };
        Self { one_token, ..self }
    }

    /// The level for products of quantized weights with so many tokens.
    fn isa_for(&self, n_tokens: usize) -> Isa {
        if n_tokens == 1 { self.one_token } else { self.isa }
    }

    /// Calls `run` once for every item, each on whichever thread is free; see [`ThreadPool::for_each`].
    pub fn for_each_mut<T: Send>(&self, items: &mut [T], run: &(dyn Fn(&mut T) + Sync)) {
        let n_items = items.len();
        let items = Shared::new(items);
        self.pool.for_each(n_items, &|i| {
            // SAFETY: each item is taken once.
            let item = unsafe { items.part(i, 1) };
            run(&mut item[0]);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_was_asked_for_is_used_as_it_is() {
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, 1);
            assert_eq!((cpu.isa_for(1), cpu.isa_for(2)), (isa, isa));
            let tuned = cpu.tuned();
            assert!(tuned.isa_for(1) <= isa && tuned.isa_for(1) >= isa.min(Isa::Avx2));
            assert_eq!((tuned.isa, tuned.isa_for(2)), (isa, isa));
        }
    }
}
