#!/usr/bin/env python3
"""Write a finished run as a Hugging Face folder that every Llama loader reads.

python export.py --run run --data data --out weights
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from prepare import BOS, EOT, IM_END, PAD, SPECIAL

TEMPLATE = (
    "{{- bos_token }}"
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
# The default sampling, chosen by reading; README.md says how.
SAMPLING = {"do_sample": True, "temperature": 0.6, "top_k": 40, "top_p": 0.9}
TOKENS = {"bos_token": "<|bos|>", "eos_token": "<|im_end|>", "pad_token": "<|pad|>"}
TOKEN_IDS = {"bos_token_id": BOS, "eos_token_id": [IM_END, EOT], "pad_token_id": PAD}


def model_config(cfg):
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": cfg["vocab"],
        "hidden_size": cfg["hidden"],
        "intermediate_size": cfg["ffn"],
        "num_hidden_layers": cfg["layers"],
        "num_attention_heads": cfg["heads"],
        "num_key_value_heads": cfg["kv"],
        "head_dim": cfg["head"],
        "hidden_act": "silu",
        "rms_norm_eps": cfg["eps"],
        "rope_theta": cfg["theta"],
        "max_position_embeddings": cfg["ctx"],
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "initializer_range": 0.02,
        **TOKEN_IDS,
        "torch_dtype": "bfloat16",
        "use_cache": True,
    }


def tokenizer_config(cfg):
    flags = {"special": True, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": cfg["ctx"],
        **TOKENS,
        "add_bos_token": True,
        "clean_up_tokenization_spaces": False,
        "chat_template": TEMPLATE,
        "added_tokens_decoder": {str(i): {"content": text, **flags} for i, text in enumerate(SPECIAL)},
    }


def export(run, data, out):
    checkpoint = torch.load(run / "last.pt", map_location="cpu")
    cfg = checkpoint["cfg"]
    out.mkdir(parents=True, exist_ok=True)
    weights = {"model." + k: v.to(torch.bfloat16).contiguous() for k, v in checkpoint["model"].items()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    files = {
        "config.json": model_config(cfg),
        "generation_config.json": {**TOKEN_IDS, **SAMPLING},
        "tokenizer_config.json": tokenizer_config(cfg),
        "special_tokens_map.json": TOKENS,
    }
    for name, content in files.items():
        (out / name).write_text(json.dumps(content, indent=2) + "\n")
    shutil.copy(data / "tokenizer.json", out / "tokenizer.json")
    shutil.copy(run / "log.jsonl", out / "log.jsonl")


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--run", type=Path, default=Path("run"))
    ap.add_argument("--data", type=Path, default=Path("data"))
    ap.add_argument("--out", type=Path, default=Path("model"))
    args = ap.parse_args()
    export(args.run, args.data, args.out)
