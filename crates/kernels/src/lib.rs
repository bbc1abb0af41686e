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
}

impl Cpu {
    /// `n_threads` counts the calling thread: 1 starts no worker.
    pub fn new(isa: Isa, n_threads: usize) -> Self {
        Self { isa, pool: ThreadPool::new(n_threads) }
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
