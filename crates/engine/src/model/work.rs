//! What a forward pass takes at least: the weights that it reads and the products that it makes.

use super::ModelError;
use super::arch::names::Role;
use super::config::ModelConfig;
use super::tensors;
use crate::weights::WeightsFile;
use limpid_kernels::matrix::Matrix;
use limpid_kernels::quant::Format;
use std::collections::BTreeMap;

/// Counted from the header. Attention's own products are not among them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Work {
    /// Weights of all layers' matrices: a row is multiplied by each of them once.
    pub n_layer_weights: usize,
    /// Weights of the head: a row that wants logits is multiplied by them too.
    pub n_head_weights: usize,
    /// Bytes of all of those as they lie in memory. A pass reads them once, however many rows it has. An embedding that
    /// is not the head is not counted: a few rows of it are read.
    pub read_bytes: usize,
    /// What most of these weights are stored in.
    pub main_format: Format,
}

impl Work {
    pub fn new(file: &WeightsFile, config: &ModelConfig) -> Result<Self, ModelError> {
        let mut work =
            Self { n_layer_weights: 0, n_head_weights: 0, read_bytes: 0, main_format: Format::F32 };
        let mut n_by_format = BTreeMap::<Format, usize>::new();
        for spec in tensors::tensors(config) {
            let [rows, cols] = spec.shape[..] else { continue };
            let format = tensors::find(file, &spec)?.format;
            match spec.role {
                Role::Embed if !config.tied_embeddings => continue,
                Role::Embed | Role::LmHead => work.n_head_weights += rows * cols,
                _ => work.n_layer_weights += rows * cols,
            }
            work.read_bytes += Matrix::packed_bytes(rows, cols, format);
            *n_by_format.entry(format).or_default() += rows * cols;
        }
        if let Some((&format, _)) = n_by_format.iter().max_by_key(|(_, n)| **n) {
            work.main_format = format;
        }
        Ok(work)
    }

    /// Operations of a pass: a multiplication and an addition are two.
    pub fn operations(&self, n_rows: usize, n_logits: usize) -> f64 {
        2.0 * (self.n_layer_weights as f64 * n_rows as f64 + self.n_head_weights as f64 * n_logits as f64)
    }
}
