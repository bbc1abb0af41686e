"""Makes the GGUF goldens: the checkpoints converted by llama.cpp's own converter, and the quantized ones.

    python convert.py --llama-cpp DIR [NAME ...]

DIR is the root of llama.cpp's source (the source package of llama-cpp-python has it under vendor/llama.cpp).
"""

import argparse
import tempfile
from pathlib import Path

import checkpoint
import gguf_files
import llama_cpp
import oracle
import vocab
from make import GOLDENS, provenance, quiet, report
from variants import QUANTIZED, VARIANTS, Quantized, Variant


def convert(source: Path, variant: Variant) -> None:
    """The committed checkpoint as GGUF, weights unchanged: its golden is that of the checkpoint."""
    folder = GOLDENS / variant.name
    for old in folder.glob("*.gguf"):
        old.unlink()
    llama_cpp.convert(source, folder / "hf", folder / "model.gguf", variant.vocab, variant.gguf, variant.gguf_split)
    gguf_files.check_against_checkpoint(folder)


def quantize(source: Path, quantized: Quantized) -> None:
    """A GGUF with quantized weights, and what transformers answers over the weights that it stands for."""
    variant = quantized.variant
    folder = GOLDENS / variant.name
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(variant.seed, variant.seed + 100):
        with tempfile.TemporaryDirectory() as temporary:
            hf = Path(temporary) / "hf"
            checkpoint.write(variant, seed, hf)
            _write_quantized(source, quantized, hf, folder / "model.gguf")
            model = oracle.load(hf)
        gguf_files.load_into(model, folder / "model.gguf")
        try:
            answers = oracle.answers(model, vocab.KINDS[variant.vocab].size, seed)
        except oracle.NearTie as tie:
            print(f"{variant.name} seed {seed}: {tie}")
            continue
        about = {"name": variant.name, "covers": variant.covers, "vocab_size": answers[0].logits.shape[1]}
        made = provenance(variant, seed) | {"script": "tools/goldens/convert.py", "weights": quantized.weights}
        oracle.write(folder, answers, about, made)
        gguf_files.describe(folder / "model.gguf")
        report(variant.name, seed, answers)
        return
    raise SystemExit(f"{variant.name}: no seed without a near tie")


def _write_quantized(source: Path, quantized: Quantized, hf: Path, out: Path) -> None:
    if not quantized.formats:
        llama_cpp.convert(source, hf, out, quantized.variant.vocab, quantized.variant.gguf)
        return
    plain = hf.parent / out.parent.name / "plain.gguf"
    plain.parent.mkdir()
    llama_cpp.convert(source, hf, plain, quantized.variant.vocab, quantized.variant.gguf)
    gguf_files.requantize(plain, out, quantized.formats, quantized.file_type)


def main() -> None:
    quiet()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-cpp", type=Path, required=True)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    for variant in VARIANTS:
        if variant.gguf is not None and (not arguments.names or variant.name in arguments.names):
            convert(arguments.llama_cpp, variant)
    for quantized in QUANTIZED:
        if not arguments.names or quantized.variant.name in arguments.names:
            quantize(arguments.llama_cpp, quantized)


if __name__ == "__main__":
    main()
