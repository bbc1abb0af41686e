//! The model: configuration, weights and the one forward pass.
//!
//! - `config`: everything that the forward pass reads of a model.  `arch`: from a file's metadata to it, one file a
//!   family.
//! - `tensors`: which tensors a configuration has.  `weights`: those tensors, repacked.  `memory`: what all will take.
//!   `work`: what a pass reads and computes.
//! - `workspace`: the buffers of a pass.  `forward`: the pass.  `attention_rows`: what rows attend to, if asked.
//! - `batch`: what one forward pass computes.  [`Forward`]: the seam between all of this and what stands above.
//! - `fake`: a [`Forward`] for tests of what stands above.

pub mod arch;
mod attention_rows;
pub mod batch;
pub mod config;
mod error;
pub mod fake;
mod forward;
mod layout;
pub mod memory;
mod tensors;
mod weights;
mod work;
mod workspace;

pub use batch::{Batch, BatchRow, Want};
pub use config::ModelConfig;
pub use error::ModelError;
pub use forward::{Model, ModelOptions};
pub use layout::kv_layout;
pub use memory::MemoryPlan;
pub use weights::LoadProgress;
pub use work::Work;
pub use workspace::BatchLimits;

use crate::TokenId;
use crate::kv::{KvCache, KvLayout};
use crate::trace::Recorder;
use limpid_kernels::Cpu;
use limpid_kernels::buffer::Rows;
use std::sync::Arc;

/// A batch that the model cannot compute. A caller that checks token ids and limits never sees one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ForwardError {
    #[error("a batch of {found} rows; the model was loaded for at most {max}")]
    TooManyRows { found: usize, max: usize },
    #[error("a batch with {found} rows that want logits; the model was loaded for at most {max}")]
    TooManyLogits { found: usize, max: usize },
    #[error("token id {} is not in the vocabulary of {vocab_size}", token.0)]
    UnknownToken { token: TokenId, vocab_size: usize },
    #[error("position {position} lies beyond the context of {context_length} tokens")]
    BeyondContext { position: u32, context_length: usize },
}

/// What turns tokens into logits: the model, or a fake.
pub trait Forward: Send {
    /// What it computes with.
    fn cpu(&self) -> &Arc<Cpu>;

    fn vocab_size(&self) -> usize;

    /// The most positions that the model was made for.
    fn context_length(&self) -> usize;

    /// What a [`KvCache`] for this model looks like.
    fn kv_layout(&self) -> &KvLayout;

    /// The most rows in one batch; its buffers have room for no more.
    fn max_batch_rows(&self) -> usize;

    /// The most rows of one batch that may want logits.
    fn max_logit_rows(&self) -> usize;

    /// Writes the keys and values of all rows into `kv` (the slots exist: `KvCache::extend` came first) and returns the
    /// logits, `[batch.n_logits(), vocab_size]`, of the rows that want them, in batch order.
    /// A row's bytes depend on its sequence's tokens alone, not on how they were cut into batches or what else is in
    /// one.
    fn forward(
        &mut self,
        batch: &Batch,
        kv: &mut KvCache,
        recorder: &mut dyn Recorder,
    ) -> Result<&Rows, ForwardError>;
}

/// Checks a batch against the limits of a model; for its implementations.
pub fn check_batch(model: &dyn Forward, batch: &Batch) -> Result<(), ForwardError> {
    let (found, max) = (batch.rows.len(), model.max_batch_rows());
    if found > max {
        return Err(ForwardError::TooManyRows { found, max });
    }
    let (found, max) = (batch.n_logits(), model.max_logit_rows());
    if found > max {
        return Err(ForwardError::TooManyLogits { found, max });
    }
    let (vocab_size, context_length) = (model.vocab_size(), model.context_length());
    for &BatchRow { token, position, .. } in &batch.rows {
        if token.0 as usize >= vocab_size {
            return Err(ForwardError::UnknownToken { token, vocab_size });
        }
        if position as usize >= context_length {
            return Err(ForwardError::BeyondContext { position, context_length });
        }
    }
    Ok(())
}
