//! What the glass box records of a request, only when asked: plain types and a trait that does nothing by
//! default.
//!
//! The forward pass and the sampler ask [`Recorder::wants`] before they compute or hand over anything, so
//! that nobody pays when nobody looks. Rows are rows of the batch in hand; whoever calls `Engine::step` owns the
//! recorder, and the engine says whose rows they are.

use crate::TokenId;

/// Something that a recorder can ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Which token of which request each batch row is.
    Rows,
    /// The residual stream after a layer, one row of `hidden_size` numbers a batch row.
    Residual { layer: usize },
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

    /// Batch row `row` is the token at `position` of a request. All rows come before anything else of a step.
    fn row(&mut self, row: usize, request: u64, position: usize) {
        let _ = (row, request, position);
    }

    /// The residual stream of batch row `row` after `layer`: `hidden_size` numbers.
    fn residual(&mut self, row: usize, layer: usize, values: &[f32]) {
        let _ = (row, layer, values);
    }

    /// The sampling stages from here on choose the token that follows batch row `row`.
    fn choice(&mut self, row: usize) {
        let _ = row;
    }

    /// What is left after the sampling stage `name`, by ascending id. The first one, `logits`, is what the chain begins
    /// with.
    fn stage(&mut self, name: &'static str, candidates: &mut dyn Iterator<Item = Candidate>) {
        let _ = (name, candidates);
    }
}

/// Nobody looks.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoTrace;

impl Recorder for NoTrace {}
