//! Which tensors a model of a given configuration has, and of what shape: the one list that loading, memory planning
//! and checking share.

use super::ModelError;
use super::arch::names::Role;
use super::config::{FfnConfig, MixerConfig, ModelConfig};
use crate::weights::{Metadata, TensorView, WeightsFile};
use limpid_kernels::quant::Format;
use std::collections::HashSet;

/// One tensor of a model: a vector has one number in its shape, a matrix two, `[rows, cols]`.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct TensorSpec {
    pub(super) role: Role,
    pub(super) layer: usize,
    pub(super) shape: Vec<usize>,
}

/// All tensors that `config` asks for, in the order in which a forward pass reads them.
pub(super) fn tensors(config: &ModelConfig) -> Vec<TensorSpec> {
    let hidden = config.hidden_size;
    let mut list = Vec::new();
    let mut add = |layer, role, shape: &[usize]| list.push(TensorSpec { role, layer, shape: shape.to_vec() });
    add(0, Role::Embed, &[config.vocab_size, hidden]);
    for (i, layer) in config.layers.iter().enumerate() {
        let MixerConfig::Attention(a) = &layer.mixer;
        let (q_width, kv_width) = (a.n_heads * a.head_dim, a.n_kv_heads * a.head_dim);
        add(i, Role::AttnNorm, &[hidden]);
        for (role, bias, width) in [
            (Role::Q, Role::QBias, q_width),
            (Role::K, Role::KBias, kv_width),
            (Role::V, Role::VBias, kv_width),
        ] {
            add(i, role, &[width, hidden]);
            if a.qkv_bias {
                add(i, bias, &[width]);
            }
        }
        if a.qk_norm {
            add(i, Role::QNorm, &[a.head_dim]);
            add(i, Role::KNorm, &[a.head_dim]);
        }
        add(i, Role::O, &[hidden, q_width]);
        if a.o_bias {
            add(i, Role::OBias, &[hidden]);
        }
        add(i, Role::FfnNorm, &[hidden]);
        let FfnConfig::Dense { intermediate_size, bias } = layer.ffn;
        for (role, bias_role, rows, cols) in [
            (Role::Gate, Role::GateBias, intermediate_size, hidden),
            (Role::Up, Role::UpBias, intermediate_size, hidden),
            (Role::Down, Role::DownBias, hidden, intermediate_size),
        ] {
            add(i, role, &[rows, cols]);
            if bias {
                add(i, bias_role, &[rows]);
            }
        }
    }
    add(0, Role::OutputNorm, &[hidden]);
    if !config.tied_embeddings {
        add(0, Role::LmHead, &[config.vocab_size, hidden]);
    }
    list
}

/// The tensor in the file, which must be there with this shape.
pub(super) fn find<'a>(file: &'a WeightsFile, spec: &TensorSpec) -> Result<TensorView<'a>, ModelError> {
    Ok(file.require(&spec.role.name(file.metadata(), spec.layer), &spec.shape)?)
}

/// Every tensor of the list is in the file with its shape, and the file has no other that would have a meaning.
pub(super) fn check(file: &WeightsFile, config: &ModelConfig) -> Result<(), ModelError> {
    let mut known = HashSet::new();
    for spec in tensors(config) {
        let view = find(file, &spec)?;
        if spec.shape.len() == 1 && !is_float(view.format) {
            return Err(quantized_vector(file, &view));
        }
        known.insert(spec.role.name(file.metadata(), spec.layer));
    }
    known.insert(Role::RopeFactors.name(file.metadata(), 0));
    if config.tied_embeddings && matches!(file.metadata(), Metadata::HuggingFace(_)) {
        // Some checkpoints store the tied matrix twice; config.json decides.
        known.insert(Role::LmHead.name(file.metadata(), 0));
    }
    let mut unused =
        file.tensors().map(|t| t.name).filter(|name| !known.contains(*name) && !Role::is_leftover(name));
    match unused.next() {
        None => Ok(()),
        Some(first) => Err(ModelError::UnusedTensors {
            path: file.path().to_owned(),
            architecture: config.architecture.clone(),
            first: first.escape_debug().to_string(),
            n_unused: 1 + unused.count(),
        }),
    }
}

fn is_float(format: Format) -> bool {
    matches!(format, Format::F32 | Format::F16 | Format::BF16)
}

fn quantized_vector(file: &WeightsFile, view: &TensorView<'_>) -> ModelError {
    ModelError::Config {
        path: file.path().to_owned(),
        key: format!("type of {}", view.name),
        found: view.format.to_string(),
        expected: "F32, F16 or BF16: a vector is not quantized".to_owned(),
    }
}

/// The numbers of a vector (a norm's weight, a bias). Quantized ones do not exist.
pub(super) fn f32_values(view: &TensorView<'_>, file: &WeightsFile) -> Result<Vec<f32>, ModelError> {
    let halves = || view.bytes.as_chunks::<2>().0.iter();
    match view.format {
        Format::F32 => Ok(view.bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()),
        Format::F16 => Ok(halves().map(|&b| half::f16::from_le_bytes(b).to_f32()).collect()),
        Format::BF16 => Ok(halves().map(|&b| half::bf16::from_le_bytes(b).to_f32()).collect()),
        _ => Err(quantized_vector(file, view)),
    }
}
