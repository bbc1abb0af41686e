#!/usr/bin/env python3
"""Draw the loss curve of a run.

python models/pocket/plot.py        weights/log.jsonl -> loss.png
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
# Held-out sources with their colours (Okabe and Ito: told apart without seeing red and green).
SOURCES = {"pd_books": "#D55E00", "ccby_books": "#E69F00", "tinystories": "#0072B2", "synth": "#009E73"}
# Where the label of a line goes, in points above its end; the two kinds of books end close together.
SHIFT = {"pd_books": 5, "ccby_books": -6}


def read_log(path):
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return [e for e in entries if "loss" in e], [e for e in entries if "val" in e]


def label(ax, tokens, loss, name, colour):
    """Name and last value of a line at its end."""
    ax.annotate(
        "%s %.2f" % (name, loss),
        (tokens / 1e6, loss),
        xytext=(7, SHIFT.get(name, 0)),
        textcoords="offset points",
        color=colour,
        va="center",
        fontsize=9,
    )


def draw(log, out):
    steps, evaluations = read_log(log)
    fig, ax = plt.subplots(figsize=(8, 4.5), dpi=120)
    ax.plot([e["tokens"] / 1e6 for e in steps], [e["loss"] for e in steps], color="#999999", lw=1)
    label(ax, steps[-1]["tokens"], steps[-1]["loss"], "training", "#777777")
    for source, colour in SOURCES.items():
        tokens = [e["tokens"] / 1e6 for e in evaluations]
        losses = [e["val"][source] for e in evaluations]
        ax.plot(tokens, losses, color=colour, marker="o", ms=3.5, lw=1.6)
        label(ax, evaluations[-1]["tokens"], losses[-1], source, colour)
    ax.set_xlim(0, steps[-1]["tokens"] / 1e6)
    ax.set_ylim(0, 8)
    ax.set_xlabel("training tokens, millions")
    ax.set_ylabel("cross-entropy, nats a token")
    ax.set_title("The pocket model: training loss, and held-out loss of each source", loc="left", fontsize=11)
    ax.grid(axis="y", color="#e5e5e5", lw=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    fig.subplots_adjust(left=0.07, right=0.84, top=0.92, bottom=0.12)
    fig.savefig(out, metadata={"Software": None})


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--log", type=Path, default=HERE / "weights" / "log.jsonl")
    ap.add_argument("--out", type=Path, default=HERE / "loss.png")
    args = ap.parse_args()
    draw(args.log, args.out)
