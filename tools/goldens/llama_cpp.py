"""Runs llama.cpp's converter of Hugging Face folders in a process of its own, since it brings its own package gguf.

    python llama_cpp.py DIR PRE ARGUMENTS...   convert_hf_to_gguf.py of DIR, with PRE as the name of the pre-tokenizer
"""

import importlib
import subprocess
import sys
from pathlib import Path

import vocab


def convert(llama_cpp: Path, folder: Path, out: Path, vocab_name: str, outtype: str, split: int = 0) -> None:
    """Converts the Hugging Face `folder` to `out`, or to several files of `split` tensors each."""
    options = {"--outfile": out, "--outtype": outtype, "--model-name": out.parent.name, "--split-max-tensors": split}
    arguments = [str(part) for option in options.items() for part in option]
    pre = vocab.KINDS[vocab_name].pre or "default"
    command = [sys.executable, __file__, str(llama_cpp), pre, str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"the converter failed for {folder}:\n{done.stderr}")


def _with_window(set_parameters):
    """The converter drops Mistral's window (llama.cpp gives these models full attention): add the key."""

    def set_gguf_parameters(model) -> None:
        set_parameters(model)
        if (window := model.hparams.get("sliding_window")) is not None:
            model.gguf_writer.add_sliding_window(window)

    return set_gguf_parameters


def _main(llama_cpp: str, pre: str, *arguments: str) -> None:
    sys.path.insert(0, llama_cpp)
    script = importlib.import_module("convert_hf_to_gguf")
    # The converter knows a pre-tokenizer by the hash of what it makes of a fixed text: ours has a hash of its own.
    importlib.import_module("conversion.base").TextModel.get_vocab_base_pre = lambda _model, _tokenizer: pre
    llama = importlib.import_module("conversion.llama").LlamaModel
    llama.set_gguf_parameters = _with_window(llama.set_gguf_parameters)
    sys.argv = ["convert_hf_to_gguf.py", *arguments]
    script.main()


if __name__ == "__main__":
    _main(*sys.argv[1:])
