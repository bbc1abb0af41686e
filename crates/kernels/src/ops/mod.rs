//! The operations of a forward pass, one file each; the future GPU seam.
//!
//! Every operation takes the [`Cpu`](crate::Cpu) first ([`mass`], which runs in one thread, the instruction set only)
//! and gives the same bits for any number of threads, any number of rows at once and any instruction set. The order in
//! which an output is summed stands in its file.

mod activations;
mod add;
mod attention;
mod embed;
mod glu;
mod kv;
pub mod mass;
mod matmul;
mod norm;
mod rope;
pub mod vocab;

pub use activations::{Activations, Kinds, Prepared};
pub use add::{add, add_bias};
pub use attention::{AttentionParams, AttentionRow, AttentionScratch, attention};
pub use embed::embed;
pub use kv::{KvFormat, KvShape, KvSlot, KvStorage, PAGE_LEN, kv_write};
pub use matmul::{matmul, matmuls};
pub use norm::{NormInput, rms_norm_heads};
pub use rope::{RopeAngles, RopeError, RopeScaling, RopeStyle, RopeTable, rope};

/// What a forward pass may round on the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compute {
    /// Weights as stored, activations in f32: the mode that correctness is judged in.
    F32,
    /// Activations as int8 for quantized weights and as bf16 for bf16 weights.
    Fast,
}
