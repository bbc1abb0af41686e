"""Makes a Hugging Face folder with random weights out of a `Variant`."""

import json
import math
import shutil
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

import vocab
from variants import Variant

TEMPLATES = Path(__file__).with_name("templates")


def write(variant: Variant, seed: int, folder: Path) -> None:
    """Writes config, weights, tokenizer, chat template and generation config into an empty `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer = vocab.build(variant.vocab, folder)
    _write_model(variant, seed, folder)
    _rewrite_config(variant, tokenizer, folder)
    _write_generation_config(variant, tokenizer, folder)
    _write_template(variant, folder)


def fill(model: PreTrainedModel, seed: int) -> None:
    """Random weights that make every part matter: no norm or bias is one or zero, and logits spread over some units.

    Matrices keep the scale of what they read; the output head has a standard deviation of 3 at unit input, so that the
    best token is clearly ahead of the second in almost every step.
    """
    generator = torch.Generator().manual_seed(seed)
    tied = model.config.tie_word_embeddings
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("norm.weight"):
                weight.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith("bias"):
                weight.normal_(0.0, 0.3, generator=generator)
            else:
                weight.normal_(0.0, _gain(name, tied) / math.sqrt(weight.shape[1]), generator=generator)


def _gain(name: str, tied: bool) -> float:
    if "lm_head" in name or ("embed_tokens" in name and tied):
        return 3.0
    return 1.5


def _write_model(variant: Variant, seed: int, folder: Path) -> None:
    config = variant.config(**variant.sizes, vocab_size=_vocab_size(variant), attn_implementation="eager")
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fill(model, seed)
    model.to(getattr(torch, variant.dtype))
    shards = {} if variant.shard_bytes is None else {"max_shard_size": variant.shard_bytes}
    model.save_pretrained(folder, **shards)


def _vocab_size(variant: Variant) -> int:
    size = vocab.KINDS[variant.vocab].size
    return (size + 31) // 32 * 32  # real models pad the rows of the embedding too


def _rewrite_config(variant: Variant, tokenizer, folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["bos_token_id"], config["eos_token_id"] = vocab.special_ids(variant.vocab, tokenizer)
    for key in variant.drop:
        del config[key]
    if variant.rope_spelling == "rope_theta":
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope.pop("rope_theta")
        config["rope_scaling"] = rope if rope["rope_type"] != "default" else None
        config["torch_dtype"] = config.pop("dtype")
    config.update(variant.put)
    write_json(path, config)
    _check_config(variant, folder)


def _check_config(variant: Variant, folder: Path) -> None:
    """The rewritten config.json must mean what the sizes of the variant mean."""
    expected, found = variant.config(**variant.sizes), AutoConfig.from_pretrained(folder)
    for key in ("rope_parameters", "layer_types", "sliding_window", "head_dim", "tie_word_embeddings"):
        assert getattr(found, key, None) == getattr(expected, key, None), (variant.name, key)


def _write_generation_config(variant: Variant, tokenizer, folder: Path) -> None:
    bos, eos = vocab.special_ids(variant.vocab, tokenizer)
    kind = vocab.KINDS[variant.vocab]
    config = {"bos_token_id": bos, "eos_token_id": eos}
    if kind.pad is not None and kind.pad != kind.eos:
        # As Qwen does: a text may also end with the padding token.
        config["eos_token_id"] = [eos, tokenizer.token_to_id(kind.pad)]
        config["pad_token_id"] = tokenizer.token_to_id(kind.pad)
    write_json(folder / "generation_config.json", {**config, **variant.generation})


def _write_template(variant: Variant, folder: Path) -> None:
    template = (TEMPLATES / variant.template).read_text().rstrip("\n") if variant.template else None
    in_config = None if variant.template_file else template
    write_json(folder / "tokenizer_config.json", vocab.tokenizer_config(variant.vocab, in_config))
    if variant.template_file:
        (folder / "chat_template.jinja").write_text(template)


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
