"""What peers make of random logits: distributions after all processors, for each order that Limpid can take.

    python sampling_goldens.py

Some of the logits are on a coarse grid, so that many are equal, and some are masked: -inf, which JSON has as null. (At
ties llama.cpp keeps k tokens exactly, which no order of Limpid's does; so it gets none.)

`hf` is asked of transformers itself: its own processors, in the order in which `generate` puts them, in f64. `vllm` and
`llama.cpp` are restated here from their documented formulas, in f64, with full sorts.

sampling/orders.json: `cases`, each with `order`, `params` (Limpid's names), `logits`, `prompt`, `output`, and `probs`:
id and probability of what is left, by id.
"""

import json
from importlib.metadata import version

import numpy as np
import torch
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

from make import GOLDENS

VOCAB_SIZE = 48

HF = [
    {},
    {"temperature": 0.7},
    {"temperature": 1.8},
    {"top_k": 7},
    {"top_p": 0.8},
    {"top_p": 0.01},
    {"min_p": 0.1},
    {"typical_p": 0.3},
    {"typical_p": 0.9},
    {"epsilon_cutoff": 0.02},
    {"eta_cutoff": 0.05},
    {"eta_cutoff": 0.3},
    {"repetition_penalty": 1.3},
    {"no_repeat_ngram_size": 2},
    {"no_repeat_ngram_size": 3, "repetition_penalty": 0.8},
    {"bad_words_ids": [[5], [3, 4], [2, 3, 9]]},
    {"suppress_tokens": [0, 1, 7, 30]},
    {"logit_bias": [[3, 2.5], [11, -1.0]]},
    {"temperature": 1.4, "top_k": 20, "top_p": 0.9},
    {"temperature": 0.8, "top_p": 0.9, "typical_p": 0.8, "epsilon_cutoff": 0.03},
    {"temperature": 1.5, "top_k": 30, "top_p": 0.97, "min_p": 0.03, "typical_p": 0.9, "epsilon_cutoff": 0.01,
     "eta_cutoff": 0.02, "repetition_penalty": 1.2, "no_repeat_ngram_size": 2, "suppress_tokens": [9]},
    {"logits": "coarse", "top_k": 5},
    {"logits": "coarse", "top_k": 12, "min_p": 0.2, "epsilon_cutoff": 0.03},
    {"logits": "masked", "top_k": 9, "top_p": 0.8, "typical_p": 0.7},
    {"logits": "masked", "eta_cutoff": 0.2, "repetition_penalty": 1.5},
]
VLLM = [
    {"repetition_penalty": 1.3},
    {"frequency_penalty": 0.7},
    {"presence_penalty": 1.1},
    {"frequency_penalty": -0.4, "presence_penalty": 0.6, "repetition_penalty": 0.8},
    {"temperature": 0.6, "top_k": 5},
    {"temperature": 1.3, "top_p": 0.85},
    {"min_p": 0.05, "top_p": 0.6},
    {"top_k": 6, "top_p": 0.8},
    {"temperature": 1.6, "top_k": 12, "top_p": 0.9, "min_p": 0.02, "repetition_penalty": 1.1,
     "frequency_penalty": 0.3, "presence_penalty": 0.2, "logit_bias": [[4, 1.5]]},
    {"allowed_token_ids": [3, 5, 6, 20, 41], "top_p": 0.9},
    {"min_tokens": 7, "stop_token_ids": [5, 11, 30], "temperature": 1.2},
    {"min_tokens": 6, "stop_token_ids": [5, 11, 30]},
    {"logits": "coarse", "top_k": 4, "presence_penalty": 0.5},
    {"logits": "masked", "min_p": 0.1, "frequency_penalty": 0.4},
]
LAST_6 = {"penalty_scope": "last_6"}
LLAMA_CPP = [
    LAST_6 | {"repetition_penalty": 1.4},
    LAST_6 | {"frequency_penalty": 0.5, "presence_penalty": 0.4, "repetition_penalty": 1.1},
    {"dry_multiplier": 0.8},
    {"dry_multiplier": 1.5, "dry_base": 1.3, "dry_allowed_length": 1, "dry_breakers": [2]},
    {"top_n_sigma": 1.0},
    {"top_k": 9, "temperature": 0.7},
    {"typical_p": 0.6},
    {"top_p": 0.7, "temperature": 2.0},
    {"min_p": 0.08, "temperature": 1.5},
    {"xtc_probability": 1.0, "xtc_threshold": 0.1},
    {"xtc_probability": 1.0, "xtc_threshold": 0.05, "top_k": 10},
    {"dynatemp_min": 0.3, "dynatemp_max": 1.9, "dynatemp_exponent": 1.5},
    {"mirostat_tau": 1.3, "temperature": 0.9},
    {"mirostat_tau": 0.2},
    {"logits": "masked", "top_n_sigma": 1.5, "dry_multiplier": 0.7},
    LAST_6 | {"top_n_sigma": 2.0, "top_k": 30, "typical_p": 0.95, "top_p": 0.9, "min_p": 0.02, "xtc_probability": 1.0,
            "xtc_threshold": 0.15, "temperature": 0.8, "repetition_penalty": 1.2, "dry_multiplier": 0.5},
]


def softmax(logits: np.ndarray) -> np.ndarray:
    """-inf is a probability of 0."""
    p = np.exp(logits - logits.max())
    return p / p.sum()


def keep(logits: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return np.where(kept, logits, -np.inf)


def shortest_run(p: np.ndarray, ranking: np.ndarray, share: float, exceeds: bool) -> np.ndarray:
    """The shortest run of a ranking whose probabilities reach (or exceed) a share."""
    sums = np.cumsum(p[ranking])
    reached = sums > share if exceeds else sums >= share
    n = int(np.argmax(reached)) + 1 if reached.any() else len(p)
    kept = np.zeros(len(p), bool)
    kept[ranking[:n]] = True
    return kept


def entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def penalties(logits: np.ndarray, params: dict, repeated: list[int], counted: list[int]) -> np.ndarray:
    logits = logits.copy()
    r = params.get("repetition_penalty", 1.0)
    for t in set(repeated):
        logits[t] = logits[t] / r if logits[t] > 0 else logits[t] * r
    for t in set(counted):
        logits[t] -= params.get("frequency_penalty", 0.0) * counted.count(t) + params.get("presence_penalty", 0.0)
    return logits


def hf(params: dict, logits: np.ndarray, past: list[int]) -> np.ndarray:
    config = {"top_k": 0, "do_sample": True, "num_beams": 1} | params
    biases = config.pop("logit_bias", None)
    if biases:
        config["sequence_bias"] = [[[t], bias] for t, bias in biases]
    generation = GenerationConfig(**config)
    generation._eos_token_tensor = None
    shape = GPT2Config(vocab_size=VOCAB_SIZE, n_layer=1, n_head=1, n_embd=4, bos_token_id=0, eos_token_id=1)
    model = GPT2LMHeadModel(shape)
    processors = model._get_logits_processor(generation, input_ids_seq_length=len(past), device="cpu")
    return processors(torch.tensor([past]), torch.tensor(logits[None])).numpy()[0]


def vllm(params: dict, logits: np.ndarray, prompt: list[int], output: list[int]) -> np.ndarray:
    """Penalties, temperature, min_p, top_k, top_p. https://docs.vllm.ai: SamplingParams, and V1's Sampler."""
    logits = logits.copy()
    for t, bias in params.get("logit_bias", []):
        logits[t] += bias
    if "allowed_token_ids" in params:
        logits = keep(logits, np.isin(np.arange(len(logits)), params["allowed_token_ids"]))
    if len(output) < params.get("min_tokens", 0):
        logits[params["stop_token_ids"]] = -np.inf
    logits = penalties(logits, params, prompt + output, output) / params.get("temperature", 1.0)
    p = softmax(logits)
    logits = keep(logits, p >= params.get("min_p", 0.0) * p.max())
    if "top_k" in params:
        logits = keep(logits, logits >= np.sort(logits)[-params["top_k"]])
    p = softmax(logits)
    return keep(logits, shortest_run(p, np.argsort(-p, kind="stable"), params.get("top_p", 1.0) - 1e-12, False))


def dry(logits: np.ndarray, params: dict, past: list[int]) -> np.ndarray:
    """For each token, the longest end of the text that it has followed before; breakers end a match."""
    breakers = params.get("dry_breakers", [])
    allowed = params.get("dry_allowed_length", 2)
    logits = logits.copy()
    for t in set(past) - set(breakers):
        longest = 0
        for at in (i for i, token in enumerate(past) if token == t):
            n = 0
            while n < at and past[at - 1 - n] == past[-1 - n] and past[-1 - n] not in breakers:
                n += 1
            longest = max(longest, n)
        if longest >= allowed:
            logits[t] -= params["dry_multiplier"] * params.get("dry_base", 1.75) ** (longest - allowed)
    return logits


def llama_cpp(params: dict, logits: np.ndarray, past: list[int]) -> np.ndarray:
    """llama.cpp's default sequence: penalties, dry, top_n_sigma, top_k, typ_p, top_p, min_p, xtc, temperature. And
    mirostat v2, before its first draw: -log2 p of at most 2 tau, and the most likely token."""
    last = past[-6:]
    logits = penalties(logits, params, last, last)
    if "dry_multiplier" in params:
        logits = dry(logits, params, past)
    if "top_n_sigma" in params:
        sigma = logits[logits > -np.inf].std()
        logits = keep(logits, logits >= logits.max() - params["top_n_sigma"] * sigma)
    if "top_k" in params:
        logits = keep(logits, logits >= np.sort(logits)[-params["top_k"]])
    if "typical_p" in params:
        p = softmax(logits)
        surprise = np.where(p > 0, -np.log(np.where(p > 0, p, 1.0)), np.inf)
        ranking = np.argsort(np.abs(surprise - entropy(p)), kind="stable")
        logits = keep(logits, shortest_run(p, ranking, params["typical_p"], True) & (p > 0))
    if "top_p" in params:
        p = softmax(logits)
        logits = keep(logits, shortest_run(p, np.argsort(-p, kind="stable"), params["top_p"], False) & (p > 0))
    if "min_p" in params:
        p = softmax(logits)
        logits = keep(logits, p >= params["min_p"] * p.max())
    if params.get("xtc_probability"):
        p = softmax(logits)
        above = np.flatnonzero(p >= params["xtc_threshold"])
        if len(above) > 1:
            kept = p > 0
            kept[above] = False
            kept[above[np.argmin(p[above])]] = True
            logits = keep(logits, kept)
    temperature = params.get("temperature", 1.0)
    if "dynatemp_max" in params:
        p = softmax(logits)
        share = entropy(p) / np.log((p > 0).sum())
        low, high = params["dynatemp_min"], params["dynatemp_max"]
        temperature = low + (high - low) * share ** params["dynatemp_exponent"]
    logits = logits / temperature
    if "mirostat_tau" in params:
        p = softmax(logits)
        logits = keep(logits, (p >= 2.0 ** (-2.0 * params["mirostat_tau"])) | (p == p.max()))
    return logits


def main() -> None:
    generator = np.random.default_rng(6)
    cases = []
    for order, all_params in [("hf", HF), ("vllm", VLLM), ("llama.cpp", LLAMA_CPP)]:
        for params in all_params:
            params = dict(params)
            logits = np.round(generator.normal(0.0, 2.0, VOCAB_SIZE), 3)
            match params.pop("logits", None):
                case "coarse":
                    logits = np.round(logits)
                case "masked":
                    logits[generator.random(VOCAB_SIZE) < 0.3] = -np.inf
            prompt = [1, 2, 3, 4, 2, 3, 9, 8, 2, 3]
            output = [5, 2, 3, 4, 5, 5, 2, 3] if order == "llama.cpp" else [5, 6, 5, 7, 2, 3]
            match order:
                case "hf":
                    processed = hf(params, logits, prompt + output)
                case "vllm":
                    processed = vllm(params, logits, prompt, output)
                case _:
                    processed = llama_cpp(params, logits, prompt + output)
            probs = [[t, float(f"{p:.9g}")] for t, p in enumerate(softmax(processed)) if p > 0]
            finite = [l if np.isfinite(l) else None for l in logits.tolist()]
            case = {"order": order, "params": params, "logits": finite, "prompt": prompt, "output": output}
            cases.append(case | {"probs": probs})
    versions = {name: version(name) for name in ["transformers", "torch", "numpy"]}
    provenance = {"script": "sampling_goldens.py", "versions": versions, "licence": "MIT OR Apache-2.0"}
    folder = GOLDENS / "sampling"
    folder.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    text = f'{{"provenance": {json.dumps(provenance)},\n"cases": [\n{lines}\n]}}\n'
    (folder / "orders.json").write_text(text)


if __name__ == "__main__":
    main()
