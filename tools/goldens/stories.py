"""Goldens of stories260K, a trained model of 260,000 parameters, from a folder with its files.

    python stories.py DIR

DIR holds the Hugging Face files and stories260k-q8_0.gguf. The model is (c) Andrej Karpathy, MIT (llama2.c).
"""

import argparse
import shutil
from pathlib import Path

from tokenizers import Tokenizer
from transformers import PreTrainedModel

import gguf_files
import oracle
from make import GOLDENS, quiet

TEXTS = [
    "Once upon a time, there was a little girl named Lily. She loved to",
    "Tom and his dog Max went to the park. It was a sunny day and there were many kids. They ran, they jumped, and "
    "they played with a big red ball. Then the ball rolled far away, under a tall tree, and Max ran to get it. But "
    "when he came back, he did not have the ball. He had a small box with a gold key in it. Tom was very",
]
FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
LICENSE = """\
The model files in this folder are stories260K of https://github.com/karpathy/llama2.c, converted.

MIT License

Copyright (c) 2023 Andrej Karpathy

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def write(name: str, covers: str, weights: str, model: PreTrainedModel, tokenizer: Tokenizer) -> None:
    folder = GOLDENS / name
    answers = [oracle.answer(model, tokenizer.encode(text).ids) for text in TEXTS]
    about = {"name": name, "covers": covers, "vocab_size": answers[0].logits.shape[1], "prompt_texts": TEXTS}
    about["greedy_texts"] = [tokenizer.decode(answer.greedy) for answer in answers]
    made = {"script": "tools/goldens/stories.py", "weights": weights, "license": "model: MIT, (c) Andrej Karpathy"}
    oracle.write(folder, answers, about, made)
    (folder / "LICENSE").write_text(LICENSE)
    for answer, text in zip(answers, about["greedy_texts"]):
        print(f"{name}: {len(answer.prompt)} tokens, gap {answer.min_gap:.4f}: {text!r}")


def main() -> None:
    quiet()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    source = parser.parse_args().folder
    plain, quantized = GOLDENS / "stories260k", GOLDENS / "stories260k_q8_0"
    (plain / "hf").mkdir(parents=True, exist_ok=True)
    quantized.mkdir(exist_ok=True)
    for file in FILES:
        shutil.copyfile(source / file, plain / "hf" / file)
    shutil.copyfile(source / "stories260k-q8_0.gguf", quantized / "model.gguf")
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    model = oracle.load(plain / "hf")
    write("stories260k", "A trained Llama of 260,000 parameters, f32.", "trained, f32", model, tokenizer)
    gguf_files.load_into(model, quantized / "model.gguf")
    gguf_files.describe(quantized / "model.gguf")
    covers = "The same model as a GGUF file with Q8_0 weights."
    weights = "trained, Q8_0; the oracle computes in f32 over gguf.dequantize of them"
    write("stories260k_q8_0", covers, weights, model, tokenizer)


if __name__ == "__main__":
    main()
