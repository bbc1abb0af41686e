//! The tensors of a model, repacked and bound to their places.

use super::ModelError;
use super::arch::names::Role;
use super::config::{AttentionConfig, FfnConfig, LayerConfig, MixerConfig, ModelConfig};
use super::tensors::{self, TensorSpec, f32_values, find};
use crate::weights::{TensorView, WeightsFile};
use limpid_kernels::Cpu;
use limpid_kernels::buffer::{LANES, Rows};
use limpid_kernels::matrix::Matrix;
use std::collections::HashMap;

/// How far loading has come, in bytes of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoadProgress {
    pub done_bytes: u64,
    pub total_bytes: u64,
}

/// A matrix product, and a bias where there is one.
pub(super) struct Linear {
    pub(super) weight: Matrix,
    pub(super) bias: Option<Rows>,
}

pub(super) struct Layer {
    pub(super) mixer_norm: Rows,
    pub(super) mixer: Mixer,
    pub(super) ffn_norm: Rows,
    pub(super) ffn: Ffn,
}

/// What mixes positions. A new kind is a variant here, and the compiler lists what to touch.
pub(super) enum Mixer {
    Attention(Attention),
}

pub(super) struct Attention {
    pub(super) config: AttentionConfig,
    pub(super) q: Linear,
    pub(super) k: Linear,
    pub(super) v: Linear,
    pub(super) o: Linear,
    pub(super) q_norm: Option<Rows>,
    pub(super) k_norm: Option<Rows>,
}

/// What works on each position by itself.
pub(super) enum Ffn {
    Dense { gate: Linear, up: Linear, down: Linear },
}

pub(super) struct ModelWeights {
    pub(super) embed: Matrix,
    pub(super) layers: Vec<Layer>,
    pub(super) output_norm: Rows,
    /// None: the embedding's matrix is used.
    pub(super) lm_head: Option<Matrix>,
}

impl ModelWeights {
    /// Repacks all tensors, in the order in which they lie in the file, and gives the file's memory back as it goes.
    pub(super) fn load(
        file: &WeightsFile,
        config: &ModelConfig,
        cpu: &Cpu,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Self, ModelError> {
        tensors::check(file, config)?;
        let mut loaded = Loaded::all(file, config, cpu, progress)?;
        let layers =
            config.layers.iter().enumerate().map(|(i, layer)| loaded.layer(i, layer)).collect::<Vec<_>>();
        Ok(Self {
            embed: loaded.matrix(Role::Embed, 0),
            layers,
            output_norm: loaded.vector(Role::OutputNorm, 0),
            lm_head: (!config.tied_embeddings).then(|| loaded.matrix(Role::LmHead, 0)),
        })
    }

    pub(super) fn lm_head(&self) -> &Matrix {
        self.lm_head.as_ref().unwrap_or(&self.embed)
    }
}

/// Tensors that have been read and not yet taken. `Loaded::all` has found every one that the configuration names, so
/// taking one cannot fail.
struct Loaded {
    matrices: HashMap<(Role, usize), Matrix>,
    vectors: HashMap<(Role, usize), Rows>,
}

impl Loaded {
    fn all(
        file: &WeightsFile,
        config: &ModelConfig,
        cpu: &Cpu,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Self, ModelError> {
        let mut specs: Vec<_> = tensors::tensors(config)
            .into_iter()
            .map(|spec| (spec.role.name(file.metadata(), spec.layer), spec))
            .collect();
        let place: HashMap<_, _> = file.tensors().enumerate().map(|(i, tensor)| (tensor.name, i)).collect();
        specs.sort_by_key(|(name, _)| place.get(name.as_str()).copied());
        let total_bytes =
            specs.iter().filter_map(|(name, _)| file.tensor(name)).map(|t| t.bytes.len() as u64).sum();
        let mut done_bytes = 0;
        let mut done = |n_bytes: usize| {
            done_bytes += n_bytes as u64;
            progress(LoadProgress { done_bytes, total_bytes });
        };
        let mut loaded = Self { matrices: HashMap::new(), vectors: HashMap::new() };
        for (_, spec) in &specs {
            loaded.read(file, spec, cpu, &mut done)?;
        }
        Ok(loaded)
    }

    fn read(
        &mut self,
        file: &WeightsFile,
        spec: &TensorSpec,
        cpu: &Cpu,
        done: &mut dyn FnMut(usize),
    ) -> Result<(), ModelError> {
        let view = find(file, spec)?;
        let key = (spec.role, spec.layer);
        match spec.shape[..] {
            [rows, cols] => {
                let matrix = Matrix::zeroed(rows, cols, view.format).map_err(|source| {
                    ModelError::Matrix { path: file.path().to_owned(), name: view.name.to_owned(), source }
                })?;
                self.matrices.insert(key, repack(file, &view, matrix, cpu, done));
            }
            _ => {
                self.vectors.insert(key, Rows::from_vector(&f32_values(&view, file)?)?);
                file.release(view.name, 0..view.bytes.len());
                done(view.bytes.len());
            }
        }
        Ok(())
    }

    fn matrix(&mut self, role: Role, layer: usize) -> Matrix {
        self.matrices.remove(&(role, layer)).expect("the list of tensors has it")
    }

    fn vector(&mut self, role: Role, layer: usize) -> Rows {
        self.vectors.remove(&(role, layer)).expect("the list of tensors has it")
    }

    fn linear(&mut self, role: Role, bias: Option<Role>, layer: usize) -> Linear {
        Linear { weight: self.matrix(role, layer), bias: bias.map(|bias| self.vector(bias, layer)) }
    }

    fn layer(&mut self, i: usize, config: &LayerConfig) -> Layer {
        let MixerConfig::Attention(a) = &config.mixer;
        let FfnConfig::Dense { bias: ffn_bias, .. } = config.ffn;
        Layer {
            mixer_norm: self.vector(Role::AttnNorm, i),
            mixer: Mixer::Attention(Attention {
                q: self.linear(Role::Q, a.qkv_bias.then_some(Role::QBias), i),
                k: self.linear(Role::K, a.qkv_bias.then_some(Role::KBias), i),
                v: self.linear(Role::V, a.qkv_bias.then_some(Role::VBias), i),
                o: self.linear(Role::O, a.o_bias.then_some(Role::OBias), i),
                q_norm: a.qk_norm.then(|| self.vector(Role::QNorm, i)),
                k_norm: a.qk_norm.then(|| self.vector(Role::KNorm, i)),
                config: a.clone(),
            }),
            ffn_norm: self.vector(Role::FfnNorm, i),
            ffn: Ffn::Dense {
                gate: self.linear(Role::Gate, ffn_bias.then_some(Role::GateBias), i),
                up: self.linear(Role::Up, ffn_bias.then_some(Role::UpBias), i),
                down: self.linear(Role::Down, ffn_bias.then_some(Role::DownBias), i),
            },
        }
    }
}

/// Bytes of a file that are read, repacked and given back at a time.
const SLICE_BYTES: usize = 8 << 20;

/// Fills `matrix`, which has the shape of the tensor, from the file.
fn repack(
    file: &WeightsFile,
    tensor: &TensorView<'_>,
    mut matrix: Matrix,
    cpu: &Cpu,
    done: &mut dyn FnMut(usize),
) -> Matrix {
    let row_bytes = tensor.bytes.len() / matrix.rows().max(1);
    let n_rows = (SLICE_BYTES / row_bytes.max(1)).next_multiple_of(LANES);
    for (i, slice) in tensor.bytes.chunks((n_rows * row_bytes).max(1)).enumerate() {
        let start = i * n_rows * row_bytes;
        let end = start + slice.len();
        file.prefetch(tensor.name, end..end + SLICE_BYTES);
        matrix.pack_rows(cpu, i * n_rows, slice);
        file.release(tensor.name, start..end);
        done(slice.len());
    }
    matrix
}
