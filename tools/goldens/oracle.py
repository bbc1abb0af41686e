"""Runs a checkpoint with transformers in f32 on the CPU and writes what it answered."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

PROMPT_LENGTHS = (1, 7, 33, 150)
N_GREEDY = 40
MIN_GAP = 1e-3


class NearTie(Exception):
    """The best and the second logit of a greedy step are too close for another implementation to agree."""


@dataclass
class Answer:
    prompt: list[int]
    greedy: list[int]
    min_gap: float  # smallest difference of the best and the second logit over the greedy steps
    positions: list[int]
    logits: torch.Tensor  # [n_positions, vocab_size]
    std: float  # of the logits of one position, the mean over positions


def load(folder: Path, **options) -> PreTrainedModel:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", **options)
    return model.eval()


def answers(model: PreTrainedModel, n_tokens: int, seed: int) -> list[Answer]:
    """What the model makes of random prompts of the lengths PROMPT_LENGTHS over the ids below `n_tokens`."""
    generator = torch.Generator().manual_seed(seed)
    prompts = [torch.randint(n_tokens, (n,), generator=generator).tolist() for n in PROMPT_LENGTHS]
    return [answer(model, prompt) for prompt in prompts]


@torch.no_grad()
def answer(model: PreTrainedModel, prompt: list[int]) -> Answer:
    """Decodes greedily, recomputing the whole text at every step; the end-of-text token is a token like any other."""
    ids, min_gap = list(prompt), float("inf")
    for _ in range(N_GREEDY):
        logits = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
        best = logits.topk(2)
        min_gap = min(min_gap, (best.values[0] - best.values[1]).item())
        ids.append(best.indices[0].item())
    if min_gap < MIN_GAP:
        raise NearTie(f"the best two logits are {min_gap} apart")
    _check_with_cache(model, prompt, ids[len(prompt):])
    every = model(torch.tensor([ids[:-1]]), use_cache=False).logits[0]
    positions = _positions(len(prompt))
    spread = every.std(dim=1).mean().item()
    return Answer(prompt, ids[len(prompt):], min_gap, positions, every[positions].clone(), spread)


def _positions(n_prompt: int) -> list[int]:
    """First, middle and last of the prompt; one within the greedy text and the one that its last token follows."""
    last = n_prompt - 1
    return sorted({0, n_prompt // 2, last, last + N_GREEDY // 2, last + N_GREEDY - 1})


def _check_with_cache(model: PreTrainedModel, prompt: list[int], expected: list[int]) -> None:
    out = model.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False, max_new_tokens=N_GREEDY, min_new_tokens=N_GREEDY, eos_token_id=None, pad_token_id=0,
        temperature=None, top_p=None, top_k=None, repetition_penalty=None,
    )
    found = out[0, len(prompt):].tolist()
    assert found == expected, f"with a cache transformers answers {found}, without one {expected}"


def write(folder: Path, answers: list[Answer], about: dict, provenance: dict) -> None:
    """Writes golden.json, which `about` opens, and golden.safetensors; `provenance` is completed with the versions."""
    tensors = {f"prompt{i}.logits": answer.logits.contiguous() for i, answer in enumerate(answers)}
    save_file(tensors, folder / "golden.safetensors")
    golden = {
        **about,
        "prompts": [
            {
                "prompt_token_ids": answer.prompt,
                "greedy_token_ids": answer.greedy,
                "min_gap": round(answer.min_gap, 6),
                "positions": answer.positions,
                "logits": f"prompt{i}.logits",
            }
            for i, answer in enumerate(answers)
        ],
        "provenance": {
            **provenance,
            "transformers": transformers.__version__,
            "torch": torch.__version__,
            "dtype": "float32",
            "device": "cpu",
            "attn_implementation": "eager",
            "license": provenance.get("license", "MIT OR Apache-2.0"),
        },
    }
    (folder / "golden.json").write_text(_compact(golden))


def _compact(value: dict) -> str:
    """JSON with a line for each key of the first level and each prompt; lists of ids stay on a line."""
    lines = []
    for key, item in value.items():
        if key == "prompts":
            text = "[\n    " + ",\n    ".join(json.dumps(prompt) for prompt in item) + "\n  ]"
        else:
            text = json.dumps(item, ensure_ascii=False)
        lines.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
