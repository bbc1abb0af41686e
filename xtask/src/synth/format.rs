//! Weight formats, and which tensor of a file gets which: the mixture of llama.cpp's `llama-quantize`.

use super::shape::{Shape, Tensor};
use crate::Result;

/// How the weights of one tensor are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

/// What a tensor is for, as far as the mixture and the values depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Embed,
    LmHead,
    VProj {
        layer: usize,
    },
    DownProj {
        layer: usize,
    },
    /// Any other matrix.
    Matrix,
    Norm,
    Bias,
    RopeFactors,
}

/// A file's format by the name that llama-quantize gives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Recipe {
    F32,
    F16,
    Bf16,
    #[value(name = "q4_0")]
    Q4_0,
    #[value(name = "q4_1")]
    Q4_1,
    #[value(name = "q5_0")]
    Q5_0,
    #[value(name = "q5_1")]
    Q5_1,
    #[value(name = "q8_0")]
    Q8_0,
    #[value(name = "q4_k_m")]
    Q4KM,
    #[value(name = "q5_k_m")]
    Q5KM,
    #[value(name = "q6_k")]
    Q6K,
}

impl Format {
    /// Its number in a GGUF's tensor table.
    pub(super) fn ggml_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q5_0 => 6,
            Self::Q5_1 => 7,
            Self::Q8_0 => 8,
            Self::Q4K => 12,
            Self::Q5K => 13,
            Self::Q6K => 14,
            Self::Bf16 => 30,
        }
    }

    /// Weights in a quantization block.
    pub(super) fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    pub(super) fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q4_0 => 2 + 16,
            Self::Q4_1 => 2 + 2 + 16,
            Self::Q5_0 => 2 + 4 + 16,
            Self::Q5_1 => 2 + 2 + 4 + 16,
            Self::Q8_0 => 2 + 32,
            Self::Q4K => 2 + 2 + 12 + 128,
            Self::Q5K => 2 + 2 + 12 + 32 + 128,
            Self::Q6K => 128 + 64 + 16 + 2,
        }
    }

    /// `n_weights` is a multiple of the block's length.
    pub(super) fn n_bytes(self, n_weights: usize) -> u64 {
        (n_weights / self.block_len() * self.block_bytes()) as u64
    }
}

impl Recipe {
    /// The value of `general.file_type`: llama.cpp's `llama_ftype`.
    pub(super) fn file_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q8_0 => 7,
            Self::Q5_0 => 8,
            Self::Q5_1 => 9,
            Self::Q4KM => 15,
            Self::Q5KM => 17,
            Self::Q6K => 18,
            Self::Bf16 => 32,
        }
    }

    /// The format of one tensor of a model; with `pure`, all matrices have the same one.
    ///
    /// # Errors
    /// A row does not consist of whole blocks, and the format to fall back to is one that is not written here.
    pub(super) fn format_of(self, tensor: &Tensor, shape: &Shape, pure: bool) -> Result<Format> {
        let wanted = match tensor.role {
            Role::Norm | Role::Bias | Role::RopeFactors => return Ok(Format::F32),
            _ if pure => self.base(),
            role => self.mixed(role, shape),
        };
        let cols = tensor.dims[0];
        if cols.is_multiple_of(wanted.block_len()) {
            return Ok(wanted);
        }
        // As llama-quantize does.
        let fallback = match wanted {
            Format::Q4K => Format::Q5_0,
            Format::Q5K => Format::Q5_1,
            _ => Format::Q8_0,
        };
        if wanted.block_len() > fallback.block_len() && cols.is_multiple_of(fallback.block_len()) {
            return Ok(fallback);
        }
        let (name, len) = (&tensor.name, fallback.block_len());
        Err(format!("{name}: rows of {cols} weights are no whole blocks of {len}; choose another format")
            .into())
    }

    fn base(self) -> Format {
        match self {
            Self::F32 => Format::F32,
            Self::F16 => Format::F16,
            Self::Bf16 => Format::Bf16,
            Self::Q4_0 => Format::Q4_0,
            Self::Q4_1 => Format::Q4_1,
            Self::Q5_0 => Format::Q5_0,
            Self::Q5_1 => Format::Q5_1,
            Self::Q8_0 => Format::Q8_0,
            Self::Q4KM => Format::Q4K,
            Self::Q5KM => Format::Q5K,
            Self::Q6K => Format::Q6K,
        }
    }

    fn mixed(self, role: Role, shape: &Shape) -> Format {
        let base = self.base();
        match (self, role) {
            (Self::F32 | Self::F16 | Self::Bf16 | Self::Q8_0, _) => base,
            (_, Role::LmHead) => Format::Q6K,
            // A tied embedding is the output matrix, too.
            (_, Role::Embed) if shape.tied_embeddings => Format::Q6K,
            (Self::Q4KM | Self::Q5KM, Role::VProj { layer } | Role::DownProj { layer })
                if more_bits(layer, shape.n_layers) =>
            {
                Format::Q6K
            }
            _ => base,
        }
    }
}

/// llama-quantize's `use_more_bits`: the first and the last eighth of the layers and every third between them.
fn more_bits(layer: usize, n_layers: usize) -> bool {
    let eighth = n_layers / 8;
    layer < eighth || layer >= 7 * n_layers / 8 || (layer - eighth) % 3 == 2
}
