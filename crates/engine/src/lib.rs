//! From a model file to tokens. Synchronous: no sockets, no async, no clock of its own, no wire formats.
//!
//! Each module uses only those above it in this list (a tidy test keeps it so).

/// A token of the vocabulary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TokenId(pub u32);

pub mod chat;
pub mod decode;
pub mod engine;
pub mod evaluation;
pub mod kv;
pub mod model;
pub mod sampling;
pub mod scheduler;
pub mod stats;
pub mod tokenizer;
pub mod trace;
pub mod weights;
