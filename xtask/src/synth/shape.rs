//! Real models' shapes: sizes, settings and tensors, as llama.cpp's converter writes them.

use super::format::Role;
use super::gguf::Header;
use super::vocab::Tokenizer;

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum ShapeName {
    #[value(name = "llama-3.2-1b")]
    Llama32_1b,
    #[value(name = "llama-3.2-3b")]
    Llama32_3b,
    #[value(name = "llama-3.1-8b")]
    Llama31_8b,
    #[value(name = "tinyllama-1.1b")]
    TinyLlama,
    #[value(name = "mistral-7b")]
    Mistral7b,
    #[value(name = "smollm2-135m")]
    SmolLm2_135m,
    #[value(name = "smollm2-360m")]
    SmolLm2_360m,
    #[value(name = "qwen2.5-0.5b")]
    Qwen25_05b,
    #[value(name = "qwen2.5-1.5b")]
    Qwen25_15b,
    #[value(name = "qwen3-0.6b")]
    Qwen3_06b,
    #[value(name = "qwen3-1.7b")]
    Qwen3_17b,
}

/// What a model's file says about it, its weights apart.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub name: &'static str,
    /// llama.cpp's name of the architecture, which also prefixes the metadata keys.
    pub arch: &'static str,
    pub vocab_size: usize,
    pub context_length: u32,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub n_layers: usize,
    pub n_heads: usize,
    pub n_kv_heads: usize,
    pub head_dim: usize,
    pub rms_norm_eps: f32,
    pub rope_theta: f32,
    /// The factor of Llama 3's RoPE scaling.
    pub rope_llama3_factor: Option<f64>,
    pub tied_embeddings: bool,
    pub qkv_bias: bool,
    pub qk_norm: bool,
    pub tokenizer: Tokenizer,
}

pub(super) struct Tensor {
    pub name: String,
    pub role: Role,
    /// Columns, then rows.
    pub dims: Vec<usize>,
}

impl Tensor {
    pub(super) fn n_weights(&self) -> usize {
        self.dims.iter().product()
    }
}

const LLAMA3: Tokenizer = Tokenizer {
    pre: "llama-bpe",
    bos: 128_000,
    eos: 128_001,
    add_bos: true,
    special: &[(128_000, "<|begin_of_text|>"), (128_001, "<|end_of_text|>"), (128_009, "<|eot_id|>")],
    reserved_from: 128_000,
};
/// Stands in for the SentencePiece tokenizers of Llama 2's time.
const LLAMA2: Tokenizer = Tokenizer {
    pre: "llama-bpe",
    bos: 1,
    eos: 2,
    add_bos: true,
    special: &[(0, "<unk>"), (1, "<s>"), (2, "</s>")],
    reserved_from: u32::MAX,
};
const SMOLLM2: Tokenizer = Tokenizer {
    pre: "smollm",
    bos: 1,
    eos: 2,
    add_bos: false,
    special: &[(0, "<|endoftext|>"), (1, "<|im_start|>"), (2, "<|im_end|>")],
    reserved_from: u32::MAX,
};
const QWEN: Tokenizer = Tokenizer {
    pre: "qwen2",
    bos: 151_643,
    eos: 151_645,
    add_bos: false,
    special: &[(151_643, "<|endoftext|>"), (151_644, "<|im_start|>"), (151_645, "<|im_end|>")],
    reserved_from: 151_643,
};

const LLAMA32_1B: Shape = Shape {
    name: "llama-3.2-1b",
    arch: "llama",
    vocab_size: 128_256,
    context_length: 131_072,
    hidden_size: 2048,
    intermediate_size: 8192,
    n_layers: 16,
    n_heads: 32,
    n_kv_heads: 8,
    head_dim: 64,
    rms_norm_eps: 1e-5,
    rope_theta: 500_000.0,
    rope_llama3_factor: Some(32.0),
    tied_embeddings: true,
    qkv_bias: false,
    qk_norm: false,
    tokenizer: LLAMA3,
};
const LLAMA32_3B: Shape =
    Shape { name: "llama-3.2-3b", hidden_size: 3072, n_layers: 28, n_heads: 24, head_dim: 128, ..LLAMA32_1B };
const LLAMA31_8B: Shape = Shape {
    name: "llama-3.1-8b",
    hidden_size: 4096,
    intermediate_size: 14_336,
    n_layers: 32,
    head_dim: 128,
    rope_llama3_factor: Some(8.0),
    tied_embeddings: false,
    ..LLAMA32_1B
};
const TINYLLAMA: Shape = Shape {
    name: "tinyllama-1.1b",
    vocab_size: 32_000,
    context_length: 2048,
    intermediate_size: 5632,
    n_layers: 22,
    n_kv_heads: 4,
    rope_theta: 10_000.0,
    rope_llama3_factor: None,
    tied_embeddings: false,
    tokenizer: LLAMA2,
    ..LLAMA32_1B
};
const MISTRAL_7B: Shape = Shape {
    name: "mistral-7b",
    vocab_size: 32_768,
    context_length: 32_768,
    rope_theta: 1e6,
    rope_llama3_factor: None,
    tokenizer: LLAMA2,
    ..LLAMA31_8B
};
const SMOLLM2_135M: Shape = Shape {
    name: "smollm2-135m",
    vocab_size: 49_152,
    context_length: 8192,
    hidden_size: 576,
    intermediate_size: 1536,
    n_layers: 30,
    n_heads: 9,
    n_kv_heads: 3,
    rope_theta: 100_000.0,
    rope_llama3_factor: None,
    tokenizer: SMOLLM2,
    ..LLAMA32_1B
};
const SMOLLM2_360M: Shape = Shape {
    name: "smollm2-360m",
    hidden_size: 960,
    intermediate_size: 2560,
    n_layers: 32,
    n_heads: 15,
    n_kv_heads: 5,
    ..SMOLLM2_135M
};
const QWEN25_05B: Shape = Shape {
    name: "qwen2.5-0.5b",
    arch: "qwen2",
    vocab_size: 151_936,
    context_length: 32_768,
    hidden_size: 896,
    intermediate_size: 4864,
    n_layers: 24,
    n_heads: 14,
    n_kv_heads: 2,
    rms_norm_eps: 1e-6,
    rope_theta: 1e6,
    rope_llama3_factor: None,
    qkv_bias: true,
    tokenizer: QWEN,
    ..LLAMA32_1B
};
const QWEN25_15B: Shape = Shape {
    name: "qwen2.5-1.5b",
    hidden_size: 1536,
    intermediate_size: 8960,
    n_layers: 28,
    n_heads: 12,
    head_dim: 128,
    ..QWEN25_05B
};
const QWEN3_06B: Shape = Shape {
    name: "qwen3-0.6b",
    arch: "qwen3",
    context_length: 40_960,
    hidden_size: 1024,
    intermediate_size: 3072,
    n_layers: 28,
    n_heads: 16,
    n_kv_heads: 8,
    head_dim: 128,
    qkv_bias: false,
    qk_norm: true,
    ..QWEN25_05B
};
const QWEN3_17B: Shape =
    Shape { name: "qwen3-1.7b", hidden_size: 2048, intermediate_size: 6144, ..QWEN3_06B };

impl ShapeName {
    pub(super) fn shape(self) -> &'static Shape {
        match self {
            Self::Llama32_1b => &LLAMA32_1B,
            Self::Llama32_3b => &LLAMA32_3B,
            Self::Llama31_8b => &LLAMA31_8B,
            Self::TinyLlama => &TINYLLAMA,
            Self::Mistral7b => &MISTRAL_7B,
            Self::SmolLm2_135m => &SMOLLM2_135M,
            Self::SmolLm2_360m => &SMOLLM2_360M,
            Self::Qwen25_05b => &QWEN25_05B,
            Self::Qwen25_15b => &QWEN25_15B,
            Self::Qwen3_06b => &QWEN3_06B,
            Self::Qwen3_17b => &QWEN3_17B,
        }
    }
}

impl Shape {
    pub(super) fn write_metadata(&self, header: &mut Header) {
        header.str("general.architecture", self.arch);
        header.str("general.type", "model");
        header.str("general.name", &format!("{} with random weights", self.name));
        let mut number = |key: &str, value: usize| header.u32(&format!("{}.{key}", self.arch), value as u32);
        number("block_count", self.n_layers);
        number("context_length", self.context_length as usize);
        number("embedding_length", self.hidden_size);
        number("feed_forward_length", self.intermediate_size);
        number("attention.head_count", self.n_heads);
        number("attention.head_count_kv", self.n_kv_heads);
        number("attention.key_length", self.head_dim);
        number("attention.value_length", self.head_dim);
        number("rope.dimension_count", self.head_dim);
        number("vocab_size", self.vocab_size);
        header.f32(&format!("{}.rope.freq_base", self.arch), self.rope_theta);
        header.f32(&format!("{}.attention.layer_norm_rms_epsilon", self.arch), self.rms_norm_eps);
    }

    /// All tensors, in the order of the forward pass.
    pub(super) fn tensors(&self) -> Vec<Tensor> {
        let mut tensors = Vec::new();
        let mut add = |name: &str, role: Role, dims: &[usize]| {
            tensors.push(Tensor { name: name.to_string(), role, dims: dims.to_vec() });
        };
        add("token_embd.weight", Role::Embed, &[self.hidden_size, self.vocab_size]);
        if self.rope_llama3_factor.is_some() {
            add("rope_freqs.weight", Role::RopeFactors, &[self.head_dim / 2]);
        }
        for layer in 0..self.n_layers {
            self.layer_tensors(layer, &mut |name, role, dims| {
                add(&format!("blk.{layer}.{name}"), role, dims)
            });
        }
        add("output_norm.weight", Role::Norm, &[self.hidden_size]);
        if !self.tied_embeddings {
            add("output.weight", Role::LmHead, &[self.hidden_size, self.vocab_size]);
        }
        tensors
    }

    fn layer_tensors(&self, layer: usize, add: &mut dyn FnMut(&str, Role, &[usize])) {
        let (hidden, ffn) = (self.hidden_size, self.intermediate_size);
        let (q_size, kv_size) = (self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim);
        add("attn_norm.weight", Role::Norm, &[hidden]);
        add("attn_q.weight", Role::Matrix, &[hidden, q_size]);
        add("attn_k.weight", Role::Matrix, &[hidden, kv_size]);
        add("attn_v.weight", Role::VProj { layer }, &[hidden, kv_size]);
        if self.qkv_bias {
            add("attn_q.bias", Role::Bias, &[q_size]);
            add("attn_k.bias", Role::Bias, &[kv_size]);
            add("attn_v.bias", Role::Bias, &[kv_size]);
        }
        if self.qk_norm {
            add("attn_q_norm.weight", Role::Norm, &[self.head_dim]);
            add("attn_k_norm.weight", Role::Norm, &[self.head_dim]);
        }
        add("attn_output.weight", Role::Matrix, &[q_size, hidden]);
        add("ffn_norm.weight", Role::Norm, &[hidden]);
        add("ffn_gate.weight", Role::Matrix, &[hidden, ffn]);
        add("ffn_up.weight", Role::Matrix, &[hidden, ffn]);
        add("ffn_down.weight", Role::DownProj { layer }, &[ffn, hidden]);
    }

    /// What llama.cpp's converter puts into `rope_freqs.weight`: the number that each pair's frequency is divided by.
    /// Llama 3 keeps short wavelengths, stretches long ones by the factor and blends between (low_freq_factor 1,
    /// high_freq_factor 4, trained on 8,192 positions).
    pub(super) fn rope_factors(&self) -> Vec<f32> {
        const TRAINED_CONTEXT: f64 = 8192.0;
        const LOW_FREQ_FACTOR: f64 = 1.0;
        const HIGH_FREQ_FACTOR: f64 = 4.0;
        let Some(factor) = self.rope_llama3_factor else { return Vec::new() };
        let factor_of_pair = |pair: usize| {
            let exponent = 2.0 * pair as f64 / self.head_dim as f64;
            let wavelength = std::f64::consts::TAU * f64::from(self.rope_theta).powf(exponent);
            let n_waves = TRAINED_CONTEXT / wavelength;
            let smooth = (n_waves - LOW_FREQ_FACTOR) / (HIGH_FREQ_FACTOR - LOW_FREQ_FACTOR);
            match n_waves {
                n if n > HIGH_FREQ_FACTOR => 1.0,
                n if n < LOW_FREQ_FACTOR => factor,
                _ => 1.0 / ((1.0 - smooth) / factor + smooth),
            }
        };
        (0..self.head_dim / 2).map(|pair| factor_of_pair(pair) as f32).collect()
    }
}
