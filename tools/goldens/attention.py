"""What the last token of a prompt attends to, by transformers' output_attentions. See README.md.

    python attention.py     writes goldens/attention/rows.json
"""

import json
import os

os.environ["ATEN_CPU_CAPABILITY"] = "avx2"

import torch
import transformers

import make
import oracle

# Windows of 16 in two layers of four; norms on q and k, more than one page; a trained model.
PROMPTS = {
    "qwen2_window": [(5 + 17 * i) % 300 for i in range(40)],
    "qwen3": [(7 + 31 * i) % 300 for i in range(70)],
    "stories260k": [1, 403, 407, 261, 378, 432, 383, 285, 261, 376, 298, 315, 422, 406, 266, 267, 337, 335, 261],
}


@torch.no_grad()
def answer(name: str) -> dict:
    prompt = PROMPTS[name]
    model = oracle.load(make.GOLDENS / name / "hf")
    layers = model(torch.tensor([prompt]), use_cache=False, output_attentions=True).attentions
    # [layer][head][position]: the row of the last token.
    weights = [[[round(w, 7) for w in head[-1].tolist()] for head in layer[0]] for layer in layers]
    return {"checkpoint": name, "prompt_token_ids": prompt, "weights": weights}


def main() -> None:
    make.quiet()
    provenance = {
        "script": "tools/goldens/attention.py",
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "dtype": "float32",
        "license": "MIT OR Apache-2.0",
    }
    cases = ",\n".join(json.dumps(answer(name), separators=(",", ":")) for name in PROMPTS)
    text = f'{{\n"cases": [\n{cases}\n],\n"provenance": {json.dumps(provenance)}\n}}\n'
    folder = make.GOLDENS / "attention"
    folder.mkdir(exist_ok=True)
    (folder / "rows.json").write_text(text)
    print(f"{len(PROMPTS)} cases")


if __name__ == "__main__":
    main()
