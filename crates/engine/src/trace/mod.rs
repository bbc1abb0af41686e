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
    /// How much the rows that want logits attend to each position in a layer.
    Attention { layer: usize },
    /// The candidates after each stage of the sampling chain, and what was chosen.
    Stages,
    /// What a beam search makes of its beams.
    Beams,
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

/// A beam that was continued by one token.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BeamNode {
    /// The rank of the beam that was continued.
    pub beam: usize,
    pub id: TokenId,
    /// The token's log-probability after the processors, and the sum of those of the whole text.
    pub logprob: f32,
    pub total: f64,
    pub fate: BeamFate,
}

/// What becomes of a [`BeamNode`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum BeamFate {
    /// It is a beam of the next step.
    RunsAs { rank: usize },
    /// It has ended, and is kept while its score is among the best.
    Finished { score: f64 },
    /// It would have ended, but did not rank high enough.
    Dropped,
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

    /// How much `head` of `layer` attends to each position up to its own, in batch row `row`; the sum is 1. Heads
    /// come in order.
    fn attention(&mut self, row: usize, layer: usize, head: usize, weights: &[f64]) {
        let _ = (row, layer, head, weights);
    }

    /// The sampling stages from here on choose what follows batch row `row` in the text `choice` of the request, or in
    /// the beam of that rank.
    fn choice(&mut self, row: usize, choice: usize) {
        let _ = (row, choice);
    }

    /// What is left after the sampling stage `name`, by ascending id. The first one, `logits`, is what the chain begins
    /// with.
    fn stage(&mut self, name: &'static str, candidates: &mut dyn Iterator<Item = Candidate>) {
        let _ = (name, candidates);
    }

    /// The token that the stages led to. `u`: the number in [0, 1) that drew it; none if it is the likeliest. Beams
    /// choose no token by themselves.
    fn chosen(&mut self, id: TokenId, u: Option<f64>) {
        let _ = (id, u);
    }

    /// A continuation that a step of a beam search looked at, the best first.
    fn beam(&mut self, node: BeamNode) {
        let _ = node;
    }
}

/// Nobody looks.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoTrace;

impl Recorder for NoTrace {}
