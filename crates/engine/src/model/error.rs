//! Why a model cannot be loaded.

use crate::weights::WeightsError;
use limpid_kernels::buffer::AllocError;
use limpid_kernels::matrix::MatrixError;
use limpid_kernels::ops::RopeError;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error(transparent)]
    Weights(#[from] WeightsError),

    #[error("{}: `{key}`: architecture {found} is not supported; supported are {supported}", path.display())]
    Architecture { path: PathBuf, key: String, found: String, supported: String },

    /// A number or switch of the configuration that is impossible, or contradicts another one.
    #[error("{}: `{key}`: found {found}, expected {expected}; \
             the configuration is damaged or not this model's, get the model again", path.display())]
    Config { path: PathBuf, key: String, found: String, expected: String },

    /// The configuration is sound, but asks for something that the forward pass does not do.
    #[error("{}: `{key}`: found {found}, expected {expected}; \
             the model asks for a computation that is not built, use another model", path.display())]
    Unsupported { path: PathBuf, key: String, found: String, expected: String },

    /// Leaving out a tensor that the model has would give wrong text without a word.
    #[error("{}: {n_unused} {} no place in architecture {architecture}, the first is `{first}`; \
             the model is of another architecture than its metadata says", path.display(),
             if *n_unused == 1 { "tensor has" } else { "tensors have" })]
    UnusedTensors { path: PathBuf, architecture: String, n_unused: usize, first: String },

    #[error("{}: tensor `{name}`: {source}", path.display())]
    Matrix { path: PathBuf, name: String, source: MatrixError },

    #[error("{}: RoPE settings: {source}; the model asks for a computation that is not built, use another model",
            path.display())]
    Rope { path: PathBuf, source: RopeError },

    #[error("{0}; use a smaller --context or --prefill-chunk, or a model in a smaller format")]
    Alloc(#[from] AllocError),
}
