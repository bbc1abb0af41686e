//! The naive version of every operation, in f64: the oracle of the tests. Nothing here is fast or clever.

pub mod matmul;
