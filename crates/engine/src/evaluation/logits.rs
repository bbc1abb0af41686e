//! The logits at chosen positions of a sequence, as many at a time as the model has room for.

use super::EvaluationError;
use crate::TokenId;
use crate::kv::{KvCache, SeqId};
use crate::model::{Batch, BatchRow, Forward, Want};
use crate::trace::NoTrace;

/// What is done with a position and its logits.
pub type HandOut<'a, E> = dyn FnMut(usize, &[f32]) -> Result<(), E> + 'a;

/// Computes `tokens` as a sequence of their own and hands out the position and the logits of each token for which
/// `wanted` holds, in order. `progress` gets the number of tokens that are done, before each batch.
///
/// `kv` has pages for the sequence, which are free again afterwards.
pub fn each_logits<E: From<EvaluationError>>(
    model: &mut dyn Forward,
    kv: &mut KvCache,
    tokens: &[TokenId],
    wanted: &dyn Fn(usize) -> bool,
    progress: &mut dyn FnMut(usize),
    hand_out: &mut HandOut<'_, E>,
) -> Result<(), E> {
    let seq = kv.create(tokens.len());
    let mut batch = Batch::with_capacity(model.max_batch_rows());
    let mut start = 0;
    let mut result = Ok(());
    while start < tokens.len() && result.is_ok() {
        progress(start);
        fill(&mut batch, model, seq, tokens, start, wanted);
        result = step(model, kv, seq, &batch, hand_out);
        start += batch.rows.len();
    }
    kv.release(seq);
    result
}

/// The rows from `start` on that fit into one batch, at least one.
fn fill(
    batch: &mut Batch,
    model: &dyn Forward,
    seq: SeqId,
    tokens: &[TokenId],
    start: usize,
    wanted: &dyn Fn(usize) -> bool,
) {
    batch.rows.clear();
    let mut n_logits = 0;
    for (position, &token) in tokens.iter().enumerate().skip(start) {
        let want = if wanted(position) { Want::Logits } else { Want::Nothing };
        n_logits += usize::from(want == Want::Logits);
        if batch.rows.len() == model.max_batch_rows() || n_logits > model.max_logit_rows() {
            break;
        }
        batch.rows.push(BatchRow { token, position: position as u32, seq, want });
    }
}

fn step<E: From<EvaluationError>>(
    model: &mut dyn Forward,
    kv: &mut KvCache,
    seq: SeqId,
    batch: &Batch,
    hand_out: &mut HandOut<'_, E>,
) -> Result<(), E> {
    kv.extend(seq, batch.rows.len()).map_err(EvaluationError::from)?;
    let logits = model.forward(batch, kv, &mut NoTrace).map_err(EvaluationError::from)?;
    let wanted = batch.rows.iter().filter(|row| row.want == Want::Logits);
    for (i, row) in wanted.enumerate() {
        hand_out(row.position as usize, logits.row(i))?;
    }
    Ok(())
}
