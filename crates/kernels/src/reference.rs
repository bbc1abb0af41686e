//! The naive version of every operation, in f64: the oracle of the tests. Nothing here is fast or clever.

pub mod attention;
pub mod glu;
pub mod matmul;
pub mod norm;
pub mod rope;
pub mod vocab;
