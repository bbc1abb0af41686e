#!/usr/bin/env python3
"""Print unedited samples of pocket.gguf, as Markdown, under the default sampling that it carries.

    python models/pocket/sample.py [--prompt TEXT] [--seeds 10]

transformers reads and dequantizes the GGUF and draws with torch's generator, seeded 1 .. n. The
same seed in Limpid draws another text: its generator is its own.
"""

import argparse
from pathlib import Path

import gguf
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).resolve().parent


def default_sampling(path):
    """The GGUF's own hints; their keys name what llama.cpp calls them."""
    fields = gguf.GGUFReader(path).fields
    names = {"temperature": "temp", "top_k": "top_k", "top_p": "top_p"}
    return {ours: fields["general.sampling." + theirs].contents() for ours, theirs in names.items()}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--gguf", type=Path, default=HERE / "pocket.gguf")
    ap.add_argument("--prompt", default="Tell me a story about a fox and a lamp.")
    ap.add_argument("--seeds", type=int, default=10)
    args = ap.parse_args()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(args.gguf.parent, gguf_file=args.gguf.name)
    model = AutoModelForCausalLM.from_pretrained(
        args.gguf.parent, gguf_file=args.gguf.name, dtype=torch.float32
    )
    ends = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    chat = [{"role": "user", "content": args.prompt}]
    prompt = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    n_prompt = prompt["input_ids"].shape[1]
    for seed in range(1, args.seeds + 1):
        torch.manual_seed(seed)
        ids = model.generate(
            **prompt,
            **default_sampling(args.gguf),
            do_sample=True,
            max_new_tokens=1024 - n_prompt,
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_token_id,
        )[0, n_prompt:].tolist()
        ending = "ended by itself" if ids[-1] in ends else "cut off"
        text = tokenizer.decode(ids, skip_special_tokens=True)
        print("**Seed %d** (%d tokens, %s)\n" % (seed, len(ids), ending))
        print("\n".join(("> " + line).rstrip() for line in text.split("\n")) + "\n")


if __name__ == "__main__":
    main()
