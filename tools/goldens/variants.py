"""The tiny checkpoints, as data: one entry of VARIANTS is one folder of goldens."""

from dataclasses import dataclass, field

from gguf import LlamaFileType
from transformers import LlamaConfig, MistralConfig, PretrainedConfig, Qwen2Config, Qwen3Config

ROPE_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


@dataclass(frozen=True)
class Variant:
    name: str
    covers: str  # one sentence: why this checkpoint exists
    vocab: str  # a key of vocab.KINDS
    config: type[PretrainedConfig]
    sizes: dict  # arguments of `config`
    dtype: str = "bfloat16"  # how the weights are stored; the oracle computes in f32
    rope_spelling: str = "rope_parameters"  # or "rope_theta": config.json in the older spelling
    drop: tuple[str, ...] = ()  # keys left out of config.json, as many real ones leave them out
    put: dict = field(default_factory=dict)  # keys set in config.json by hand
    shard_bytes: int | None = None
    template: str | None = None  # a file of templates/
    template_file: bool = False  # chat_template.jinja instead of a key of tokenizer_config.json
    generation: dict = field(default_factory=dict)  # more keys of generation_config.json
    gguf: str | None = None  # the converter's outtype; always one that keeps every weight as it is
    gguf_split: int = 0  # tensors in a file of a split GGUF
    seed: int = 1


def sizes(hidden, intermediate, layers, heads, kv_heads, head_dim=None, **more) -> dict:
    given = {
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 256,
        **more,
    }
    return given if head_dim is None else {**given, "head_dim": head_dim}


VARIANTS = [
    Variant(
        "llama2",
        "Multi-head attention, untied, head_dim 80 that is not hidden / heads, no row a multiple of 32, f16 weights.",
        "llama2", LlamaConfig, sizes(44, 68, 2, 2, 2, head_dim=80, rms_norm_eps=1e-5),
        dtype="float16", rope_spelling="rope_theta", gguf="f16", gguf_split=12, seed=100,
    ),
    Variant(
        "llama3",
        "Grouped-query attention, llama3 RoPE scaling with a small original context, tied; the GGUF is F32.",
        "llama3", LlamaConfig,
        sizes(48, 80, 2, 4, 2, head_dim=16, rope_parameters=ROPE_LLAMA3, tie_word_embeddings=True, rms_norm_eps=1e-5),
        rope_spelling="rope_theta", template="llama3.jinja",
        generation={"do_sample": True, "temperature": 0.6, "top_p": 0.9}, gguf="f32", seed=200,
    ),
    Variant(
        "llama3_rope_parameters",
        "As llama3 with the newer spelling of the RoPE settings, other factors, untied, bf16 weights.",
        "llama3", LlamaConfig,
        sizes(
            40, 56, 2, 2, 1, head_dim=32, rms_norm_eps=1e-5,
            rope_parameters={**ROPE_LLAMA3, "factor": 32.0, "original_max_position_embeddings": 32},
        ),
        template="llama3.jinja", seed=300,
    ),
    Variant(
        "llama_bias",
        "Llama with attention_bias and mlp_bias, multi-query attention, a large rms_norm_eps.",
        "llama2", LlamaConfig,
        sizes(40, 56, 2, 5, 1, head_dim=8, attention_bias=True, mlp_bias=True, rms_norm_eps=1e-2),
        gguf="bf16", seed=400,
    ),
    Variant(
        "mistral_window",
        "Mistral v0.1: every layer with a sliding window of 24, no head_dim key.",
        "llama2", MistralConfig,
        sizes(48, 80, 3, 4, 2, sliding_window=24, rms_norm_eps=1e-5),
        rope_spelling="rope_theta", drop=("head_dim",), template="mistral.jinja", gguf="bf16", seed=500,
    ),
    Variant(
        "mistral",
        "Mistral v0.3: no window, head_dim 96 that is not hidden / heads, rope_theta 1e6, sharded.",
        "mistral3", MistralConfig,
        sizes(
            48, 80, 2, 2, 1, head_dim=96, sliding_window=None, rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        ),
        shard_bytes=60_000, template="mistral.jinja", template_file=True, seed=600,
    ),
    Variant(
        "qwen2",
        "Biases on q, k and v, more rows than the tokenizer has ids, a window that is switched off, tied.",
        "qwen2", Qwen2Config,
        sizes(
            64, 96, 2, 4, 2, tie_word_embeddings=True, use_sliding_window=False, sliding_window=16, max_window_layers=1,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        ),
        rope_spelling="rope_theta", drop=("layer_types",), put={"sliding_window": 16}, template="chatml.jinja",
        generation={"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05},
        gguf="bf16", seed=700,
    ),
    Variant(
        "qwen2_window",
        "use_sliding_window true: by max_window_layers the first two of four layers see all, the others 16 keys.",
        "qwen2", Qwen2Config,
        sizes(
            48, 56, 4, 3, 1, use_sliding_window=True, sliding_window=16, max_window_layers=2, tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        ),
        rope_spelling="rope_theta", drop=("layer_types",), template="chatml.jinja", seed=800,
    ),
    Variant(
        "qwen2_layer_types",
        "layer_types spelled out against max_window_layers: sliding, full, sliding; tied.",
        "qwen2", Qwen2Config,
        sizes(
            48, 56, 3, 3, 1, use_sliding_window=True, sliding_window=20, max_window_layers=3, tie_word_embeddings=True,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        ),
        template="chatml.jinja", seed=900,
    ),
    Variant(
        "qwen3",
        "Norms on q and k, head_dim 96 that is not hidden / heads, tied, bf16 weights.",
        "qwen3", Qwen3Config,
        sizes(
            48, 64, 2, 2, 1, head_dim=96, tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        ),
        template="chatml_think.jinja", template_file=True,
        generation={"do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 20}, gguf="bf16", seed=1000,
    ),
    Variant(
        "smollm",
        "SmolLM2: Llama with 9 heads over 3, tied, rows of 72 and 100 (no multiple of 32), bf16 weights.",
        "smollm", LlamaConfig,
        sizes(
            72, 100, 2, 9, 3, tie_word_embeddings=True, rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 1e5},
        ),
        rope_spelling="rope_theta", drop=("head_dim",), template="chatml.jinja", gguf="bf16", seed=1100,
    ),
]


@dataclass(frozen=True)
class Quantized:
    """A GGUF file with quantized matrices and no Hugging Face folder beside it."""

    variant: Variant
    formats: dict = field(default_factory=dict)  # part of a tensor's name -> format, first match; none: the converter's
    file_type: LlamaFileType | None = None

    @property
    def weights(self) -> str:
        by = "llama.cpp's converter" if not self.formats else "tools/goldens"
        return f"random, quantized by {by}; the oracle computes in f32 over gguf.dequantize of them"


SMALL = sizes(64, 96, 2, 4, 2, tie_word_embeddings=True)
WIDE = sizes(256, 256, 1, 8, 1, tie_word_embeddings=True)  # rows of k-quants are multiples of 256

QUANTIZED = [
    Quantized(
        Variant("quant_q8_0", "Q8_0, Llama.", "llama2", LlamaConfig, SMALL, gguf="q8_0", seed=2000),
    ),
    Quantized(
        Variant("quant_q4_0", "Q4_0, Qwen2 with its biases.", "qwen2", Qwen2Config, SMALL, gguf="f32", seed=2100),
        {"": "Q4_0"}, LlamaFileType.MOSTLY_Q4_0,
    ),
    Quantized(
        Variant("quant_q4_1", "Q4_1, Qwen3.", "qwen3", Qwen3Config, {**SMALL, "head_dim": 32}, gguf="f32", seed=2200),
        {"": "Q4_1"}, LlamaFileType.MOSTLY_Q4_1,
    ),
    Quantized(
        Variant(
            "quant_q4_k", "Q4_K, with Q6_K for attn_v and ffn_down as in Q4_K_M, Llama.",
            "smollm", LlamaConfig, WIDE, gguf="f32", seed=2300,
        ),
        {"attn_v": "Q6_K", "ffn_down": "Q6_K", "": "Q4_K"}, LlamaFileType.MOSTLY_Q4_K_M,
    ),
    Quantized(
        Variant("quant_q5_0", "Q5_0, Qwen3.", "qwen3", Qwen3Config, {**SMALL, "head_dim": 32}, gguf="f32", seed=2500),
        {"": "Q5_0"}, LlamaFileType.MOSTLY_Q5_0,
    ),
    Quantized(
        Variant("quant_q5_1", "Q5_1, Qwen2 with its biases.", "qwen2", Qwen2Config, SMALL, gguf="f32", seed=2600),
        {"": "Q5_1"}, LlamaFileType.MOSTLY_Q5_1,
    ),
    Quantized(
        Variant(
            "quant_q5_k", "Q5_K, with Q6_K for attn_v and ffn_down as in Q5_K_M, Llama.",
            "smollm", LlamaConfig, WIDE, gguf="f32", seed=2700,
        ),
        {"attn_v": "Q6_K", "ffn_down": "Q6_K", "": "Q5_K"}, LlamaFileType.MOSTLY_Q5_K_M,
    ),
    Quantized(
        Variant("quant_q6_k", "Q6_K, Qwen2 with its biases.", "qwen2", Qwen2Config, WIDE, gguf="f32", seed=2400),
        {"": "Q6_K"}, LlamaFileType.MOSTLY_Q6_K,
    ),
]
