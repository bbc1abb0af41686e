//! What the glass box records of a request, only when asked: plain types and a trait that does nothing by default.
//!
//! The forward pass and the sampler ask [`Recorder::wants`] before they compute or hand over anything, so that nobody
//! pays when nobody looks. Rows are rows of the batch in hand; which request a row belongs to is known to the engine,
//! which owns the recorders.

use crate::TokenId;

/// Something that a recorder can ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// The residual stream after a layer, one row of `hidden_size` numbers a batch row.
    Residual { layer: usize },
    /// The attention probabilities of one head's row over all keys that it sees.
    Attention { layer: usize, head: usize },
    /// The raw logits, before any processor.
    Logits,
    /// The candidates after each stage of the sampling chain.
    Stages,
}

/// A token that is still in play after a stage of the sampling chain.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Candidate {
    pub id: TokenId,
    /// The logit after the stages so far.
    pub logit: f32,
    /// The softmax of the logits over the tokens still in play.
    pub p: f64,
}

/// Receives what was asked for. Every method does nothing unless it is overridden.
pub trait Recorder {
    /// Whether this recorder looks at `what`. The answer may not change within a step.
    fn wants(&self, what: What) -> bool {
        let _ = what;
        false
    }

    /// The residual stream of batch row `row` after `layer`: `hidden_size` numbers.
    fn residual(&mut self, row: usize, layer: usize, values: &[f32]) {
        let _ = (row, layer, values);
    }

    /// The attention of batch row `row` in `layer`, `head`: one probability a key, in order of position; `first` is the
    /// position of the first key (more than 0 where a window cuts).
    fn attention(&mut self, row: usize, layer: usize, head: usize, first: u32, values: &[f32]) {
        let _ = (row, layer, head, first, values);
    }

    /// The raw logits of batch row `row`: `vocab_size` numbers.
    fn logits(&mut self, row: usize, values: &[f32]) {
        let _ = (row, values);
    }

    /// What is left after the sampling stage `name`, in no particular order.
    fn stage(&mut self, name: &'static str, candidates: &mut dyn Iterator<Item = Candidate>) {
        let _ = (name, candidates);
    }
}

/// Nobody looks.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoTrace;

impl Recorder for NoTrace {}
