//! What the glass box records of a request, only when asked.

use limpid_kernels::buffer::Rows;

/// Looks into a forward pass. Every method does nothing unless it is overridden: what is not looked at costs nothing.
pub trait Recorder {
    /// The residual stream after a layer: row i belongs to row i of the batch.
    fn residual(&mut self, _layer_idx: usize, _rows: &Rows) {}
}

/// Records nothing.
pub struct NoRecorder;

impl Recorder for NoRecorder {}
