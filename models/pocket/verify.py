#!/usr/bin/env python3
"""Check pocket.gguf against the weights that it was made from, with the official implementation.

    python models/pocket/verify.py

Every tensor is dequantized and compared with its bf16 source; transformers then reads the GGUF
(undoing the reordering of Q and K on its own) and the weights, and the two models are compared on
held-out text and by their greedy answer.
"""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
import torch
import zstandard
from transformers import AutoModelForCausalLM, AutoTokenizer

from build import gguf_tensors, read_json, read_safetensors

HERE = Path(__file__).resolve().parent
PROMPT = "Tell me a story about a fox and a lamp."


def check_tensors(path, weights):
    """Q8_0 keeps a value within half a step of its block, largest / 127, and a half-precision scale."""
    stored = {t.name: t for t in gguf.GGUFReader(path).tensors}
    worst = 0.0
    for name, source in gguf_tensors(
        read_safetensors(weights / "model.safetensors"), read_json(weights / "config.json")
    ):
        tensor = stored.pop(name)
        value = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(source.shape)
        if source.ndim == 1:
            assert np.array_equal(value, source), name
            continue
        blocks = np.abs(source).reshape(-1, 32).max(axis=1, keepdims=True)
        error = np.abs(value - source).reshape(-1, 32)
        worst = max(worst, float((error / np.maximum(blocks / 127, 1e-12)).max()))
    assert not stored, "tensors that the weights do not have: %s" % sorted(stored)
    print("tensors: the largest error is %.3f of a Q8_0 step" % worst)
    assert worst < 0.6  # half a step, and 127 * 2^-11 of one for the rounded scale


def held_out(tokenizer, name, n_docs):
    with zstandard.open(HERE / "corpus" / (name + ".val.jsonl.zst"), "rt", encoding="utf-8") as lines:
        docs = [json.loads(line) for line, _ in zip(lines, range(n_docs))]
    return [tokenizer(doc["text"] + "<|endoftext|>", return_tensors="pt").input_ids for doc in docs]


@torch.no_grad()
def compare(model, other, texts):
    """Mean loss of both on the texts, and the largest difference of a log-probability."""
    losses, worst, n = [0.0, 0.0], 0.0, 0
    for ids in texts:
        logp = [m(ids).logits[0, :-1].log_softmax(-1) for m in (model, other)]
        picked = [p.gather(1, ids[0, 1:, None]) for p in logp]
        losses = [total - p.sum().item() for total, p in zip(losses, picked)]
        worst = max(worst, (picked[0] - picked[1]).abs().max().item())
        n += ids.shape[1] - 1
    return [total / n for total in losses], worst


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--weights", type=Path, default=HERE / "weights")
    ap.add_argument("--gguf", type=Path, default=HERE / "pocket.gguf")
    args = ap.parse_args()
    torch.set_num_threads(1)
    check_tensors(args.gguf, args.weights)
    tokenizer = AutoTokenizer.from_pretrained(args.weights)
    bf16 = AutoModelForCausalLM.from_pretrained(args.weights, dtype=torch.float32).eval()
    q8_0 = AutoModelForCausalLM.from_pretrained(
        args.gguf.parent, gguf_file=args.gguf.name, dtype=torch.float32
    ).eval()
    losses, worst = compare(bf16, q8_0, held_out(tokenizer, "tinystories", 100))
    print("held-out tinystories: loss %.4f (bf16), %.4f (q8_0); largest difference %.3f" % (*losses, worst))
    assert abs(losses[0] - losses[1]) < 0.01
    chat = [{"role": "user", "content": PROMPT}]
    ids = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    greedy = [
        m.generate(**ids, do_sample=False, temperature=None, top_k=None, top_p=None, max_new_tokens=600)[
            0
        ].tolist()
        for m in (bf16, q8_0)
    ]
    equal = next((i for i, (a, b) in enumerate(zip(*greedy)) if a != b), min(map(len, greedy)))
    n_prompt = ids["input_ids"].shape[1]
    print(
        "greedy answers: %d and %d tokens, equal for %d"
        % (*(len(g) - n_prompt for g in greedy), equal - n_prompt)
    )
    print(tokenizer.decode(greedy[1][n_prompt:]))


if __name__ == "__main__":
    main()
