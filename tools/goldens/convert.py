"""Converts the checkpoints to GGUF with llama.cpp's own converter, and checks what came out.

    python convert.py --llama-cpp DIR [NAME ...]

DIR is the root of llama.cpp's source (the source package of llama-cpp-python has it under vendor/llama.cpp).
"""

import argparse
import importlib
import logging
import sys
from pathlib import Path

import torch
import transformers

import vocab
from make import GOLDENS
from variants import VARIANTS, Variant


class Converter:
    """llama.cpp's converter, taught the pre-tokenizers of our vocabularies and Mistral's window."""

    def __init__(self, llama_cpp: Path):
        sys.path[:0] = [str(llama_cpp), str(llama_cpp / "gguf-py")]  # it needs its own gguf, before any other is imported
        self._script = importlib.import_module("convert_hf_to_gguf")
        self._text_model = importlib.import_module("conversion.base").TextModel
        llama = importlib.import_module("conversion.llama").LlamaModel
        llama.set_gguf_parameters = _with_window(llama.set_gguf_parameters)
        logging.getLogger().setLevel(logging.WARNING)

    def convert(self, folder: Path, out: Path, vocab_name: str, outtype: str, split: int = 0) -> None:
        # The converter knows a pre-tokenizer by the hash of what it makes of a fixed text: ours has a hash of its own.
        self._text_model.get_vocab_base_pre = lambda _model, _tokenizer: vocab.KINDS[vocab_name].pre
        options = {"--outfile": out, "--outtype": outtype, "--model-name": out.parent.name, "--split-max-tensors": split}
        sys.argv = ["convert_hf_to_gguf.py", str(folder), *(str(part) for option in options.items() for part in option)]
        self._script.main()


def _with_window(set_parameters):
    """The converter drops Mistral's window (llama.cpp gives these models full attention): add the key."""

    def set_gguf_parameters(model) -> None:
        set_parameters(model)
        if (window := model.hparams.get("sliding_window")) is not None:
            model.gguf_writer.add_sliding_window(window)

    return set_gguf_parameters


def convert(converter: Converter, variant: Variant) -> None:
    folder = GOLDENS / variant.name
    for old in folder.glob("*.gguf"):
        old.unlink()
    converter.convert(folder / "hf", folder / "model.gguf", variant.vocab, variant.gguf, variant.gguf_split)
    importlib.import_module("compare").gguf_with_checkpoint(folder)  # late: it imports gguf


def main() -> None:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-cpp", type=Path, required=True)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    converter = Converter(arguments.llama_cpp)
    for variant in VARIANTS:
        if variant.gguf is not None and (not arguments.names or variant.name in arguments.names):
            convert(converter, variant)


if __name__ == "__main__":
    main()
