"""Makes the golden files. See README.md.

    python make.py checkpoints [NAME ...]   the random checkpoints and what transformers answers
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# On a CPU with AVX-512 torch would add in another order, and logits would differ by 1e-5.
os.environ["ATEN_CPU_CAPABILITY"] = "avx2"

import torch
import transformers

import checkpoint
import oracle
import vocab
from variants import VARIANTS, Variant

GOLDENS = Path(__file__).resolve().parents[2] / "crates/engine/tests/goldens"


def checkpoints(names: list[str]) -> None:
    for variant in VARIANTS:
        if not names or variant.name in names:
            _checkpoint(variant)


def _checkpoint(variant: Variant) -> None:
    folder = GOLDENS / variant.name
    for seed in range(variant.seed, variant.seed + 100):
        checkpoint.write(variant, seed, folder / "hf")
        try:
            answers = oracle.answers(oracle.load(folder / "hf"), vocab.KINDS[variant.vocab].size, seed)
        except oracle.NearTie as tie:
            print(f"{variant.name} seed {seed}: {tie}")
            continue
        about = {"name": variant.name, "covers": variant.covers, "vocab_size": answers[0].logits.shape[1]}
        oracle.write(folder, answers, about, provenance(variant, seed))
        report(variant.name, seed, answers)
        return
    raise SystemExit(f"{variant.name}: no seed without a near tie")


def provenance(variant: Variant, seed: int) -> dict:
    by_hand = [f"without {key}" for key in variant.drop] + [f"{key} = {value}" for key, value in variant.put.items()]
    if variant.rope_spelling == "rope_theta":
        by_hand.append("rope_parameters as rope_theta and rope_scaling, dtype as torch_dtype")
    return {
        "script": "tools/goldens/make.py checkpoints",
        "seed": seed,
        "weights": f"random, stored as {variant.dtype}",
        "config_rewritten": by_hand,
    }


def report(name: str, seed: int, answers: list[oracle.Answer]) -> None:
    size = sum(file.stat().st_size for file in (GOLDENS / name).rglob("*") if file.is_file())
    gap = min(answer.min_gap for answer in answers)
    distinct = [len(set(answer.greedy)) for answer in answers]
    std = sum(answer.std for answer in answers) / len(answers)
    print(f"{name}: seed {seed}, {size} bytes, gap {gap:.4f}, distinct greedy {distinct}, logit std {std:.2f}")


def quiet() -> None:
    """One thread, no network, no chatter."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def main() -> None:
    quiet()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("checkpoints").add_argument("names", nargs="*")
    arguments = parser.parse_args()
    checkpoints(arguments.names)


if __name__ == "__main__":
    main()
