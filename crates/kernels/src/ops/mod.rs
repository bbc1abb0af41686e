//! The operations of a forward pass, one file each; the future GPU seam.
//!
//! Every operation takes the [`Cpu`](crate::Cpu) first and gives the same bits for any number of threads, any number
//! of rows at once and any instruction set. The order in which an output is summed stands in its file.

mod activations;
mod embed;
mod matmul;

pub use activations::{Activations, Kinds, Prepared, Record};
pub use embed::embed;
pub use matmul::matmul;

/// What a forward pass may round on the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compute {
    /// Weights as stored, activations in f32: the mode that correctness is judged in.
    F32,
    /// Activations as int8 for quantized weights and as bf16 for bf16 weights.
    Fast,
}
