//! Model files: named tensors and metadata, from a GGUF file, a Hugging Face folder, or bytes in memory.
//!
//! Nothing here knows what a tensor is for: `model/arch` gives names their meaning.

pub mod gguf;
pub mod hf;

use limpid_kernels::quant::Format;

/// One tensor as it lies in the file, not copied.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    pub name: &'a str,
    /// Row-major, slowest first: a matrix is `[rows, cols]` (GGUF's order reversed).
    pub shape: &'a [usize],
    pub format: Format,
    /// Exactly as many bytes as shape and format say; alignment is not promised.
    pub bytes: &'a [u8],
}
