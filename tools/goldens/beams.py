"""Beam search by transformers' generate. See README.md.

    python beams.py     writes goldens/beams/<checkpoint>.json
"""

import itertools
import json
import os

os.environ["ATEN_CPU_CAPABILITY"] = "avx2"

import torch
import transformers
from transformers import GenerationConfig, PreTrainedModel

import make
import oracle

# Checkpoint -> ids that end a text (its own EOS, and common tokens, so that many texts end) and prompts of unequal
# lengths.
MODELS = {
    "stories260k": (
        [1, 2, 426, 337, 265],
        [[1, 403, 407], [1, 386, 263, 286, 405, 411, 309, 265, 348, 432, 411, 311]],
    ),
    "qwen3": ([317, 315, 227, 283, 107], [[20, 7, 100, 33, 250], [(7 + 31 * i) % 300 for i in range(70)]]),
}
WIDTHS = (2, 4, 8)
LENGTH_PENALTIES = (-1.0, 0.0, 1.0, 2.0)
EARLY_STOPPING = (True, False, "never")
# Processors act on log-probabilities.
PROCESSORS = ({"repetition_penalty": 1.3}, {"min_new_tokens": 12}, {"repetition_penalty": 1.2, "min_new_tokens": 5})
MAX_NEW_TOKENS = 18
MAX_TEXTS = 3


def settings() -> list[dict]:
    """num_beams, length_penalty, early_stopping, and the processors of a few."""
    plain = itertools.product(WIDTHS, LENGTH_PENALTIES, EARLY_STOPPING)
    cases = [{"num_beams": w, "length_penalty": p, "early_stopping": e} for w, p, e in plain]
    return cases + [{"num_beams": 4, "length_penalty": 1.0, "early_stopping": False, **more} for more in PROCESSORS]


@torch.no_grad()
def search(model: PreTrainedModel, eos: list[int], prompt: list[int], setting: dict) -> list[tuple[list[int], float]]:
    """The best texts, each up to and with its EOS, and their scores."""
    n_texts = min(setting["num_beams"], MAX_TEXTS)
    model.generation_config = GenerationConfig(eos_token_id=eos, pad_token_id=0)
    out = model.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), do_sample=False,
        max_new_tokens=MAX_NEW_TOKENS, num_return_sequences=n_texts, return_dict_in_generate=True,
        output_scores=True, **setting,
    )
    texts = [cut(ids[len(prompt):].tolist(), eos) for ids in out.sequences]
    return list(zip(texts, out.sequences_scores.tolist()))


def cut(ids: list[int], eos: list[int]) -> list[int]:
    ends = [i for i, id in enumerate(ids) if id in eos]
    return ids[:ends[0] + 1] if ends else ids


def answers(name: str) -> dict:
    eos, prompts = MODELS[name]
    model = oracle.load(make.GOLDENS / name / "hf")
    exact = oracle.load(make.GOLDENS / name / "hf").double()
    cases = []
    for i, setting in itertools.product(range(len(prompts)), settings()):
        found = search(model, eos, prompts[i], setting)
        in_f64 = search(exact, eos, prompts[i], setting)
        if [ids for ids, _ in found] != [ids for ids, _ in in_f64]:
            print(f"{name}: prompt {i}, {setting}: a near tie, left out")
            continue
        texts = [{"token_ids": ids, "score": round(score, 6)} for ids, score in found]
        cases.append({"prompt": i, **setting, "texts": texts})
    provenance = {
        "script": "tools/goldens/beams.py",
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "dtype": "float32",
        "license": "MIT OR Apache-2.0",
    }
    about = {"checkpoint": name, "eos_token_ids": eos, "max_new_tokens": MAX_NEW_TOKENS}
    return {**about, "prompt_token_ids": prompts, "cases": cases, "provenance": provenance}


def compact(value: dict) -> str:
    """A line for each key of the first level and each case."""
    lines = []
    for key, item in value.items():
        text = json.dumps(item)
        if key == "cases":
            text = "[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in item) + "\n]"
        lines.append(f"{json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    make.quiet()
    folder = make.GOLDENS / "beams"
    folder.mkdir(exist_ok=True)
    for name in MODELS:
        golden = answers(name)
        (folder / f"{name}.json").write_text(compact(golden))
        ended = sum(len(text["token_ids"]) < MAX_NEW_TOKENS for case in golden["cases"] for text in case["texts"])
        print(f"{name}: {len(golden['cases'])} cases, {ended} texts ended early")


if __name__ == "__main__":
    main()
