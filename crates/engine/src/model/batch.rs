//! What one forward pass computes: rows of (token, position, sequence).

use crate::TokenId;
use crate::kv::SeqId;

/// What a row's last layer is wanted for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// Only its keys and values are wanted.
    Nothing,
    Logits,
}

/// One token of one sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchRow {
    pub token: TokenId,
    /// Counted from 0; its slot in the KV cache exists.
    pub position: u32,
    pub seq: SeqId,
    pub want: Want,
}

/// The rows of one forward pass. Rows of one sequence stand in order of position; a row attends to those of its
/// sequence that stand before it, in this batch or in the cache. There is no other difference between prefill and
/// decode.
#[derive(Clone, Default, Debug)]
pub struct Batch {
    pub rows: Vec<BatchRow>,
}

impl Batch {
    pub fn with_capacity(n_rows: usize) -> Self {
        Self { rows: Vec::with_capacity(n_rows) }
    }

    /// How many rows want logits.
    pub fn n_logits(&self) -> usize {
        self.rows.iter().filter(|row| row.want == Want::Logits).count()
    }
}
