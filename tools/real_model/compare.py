"""Holds Limpid against transformers on a real trained model: SmolLM2-135M-Instruct as GGUF.

    python compare.py --limpid target/release/limpid --model SmolLM2-135M-Instruct.Q4_1.gguf

Both read the same file. Compared are the ids of texts, the ids of rendered chats, log-probabilities and greedy
answers, all in the mode that computes in f32 with the weights as they are stored. `cargo xtask real-model` fetches
the model and runs this.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import tokenizers
import torch
import transformers

from texts import CHATS, PASSAGE, TEXTS

# Two f32 implementations differ by 7e-5 at most here; a wrong epsilon or a rounded weight gives more than 1e-2.
MAX_LOGPROB_DIFFERENCE = 1e-4
# Positions of the passage whose whole distributions are compared.
POSITIONS = [0, 1, 2, 15, 16, 31, 63, 64, 90]
MAX_ANSWER_TOKENS = 48


class Limpid:
    """The command line of the program under test."""

    def __init__(self, program: Path, model: Path):
        self.program, self.model = program, model

    def call(self, command: str, *arguments: str):
        line = [str(self.program), command, "-m", str(self.model), "--json", *arguments]
        done = subprocess.run(line, capture_output=True, encoding="utf-8")
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(line)}: exit code {done.returncode}\n{done.stderr}")
        return json.loads(done.stdout)


class Oracle:
    """transformers, reading the same file."""

    def __init__(self, model: Path):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(model.parent, gguf_file=model.name)
        # From any byte-level GGUF transformers makes GPT-2's pre-tokenizer. This file names SmolLM's, which first
        # cuts digits off, as the tokenizer.json that the model was published with does.
        self.tokenizer.backend_tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
            [
                tokenizers.pre_tokenizers.Digits(individual_digits=True),
                tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            model.parent, gguf_file=model.name, dtype=torch.float32
        ).eval()

    def ids(self, text: str) -> list[int]:
        # Text that looks like a special token is text.
        return self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)

    def chat_ids(self, messages: list[dict]) -> list[int]:
        rendered = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return self.tokenizer.encode(rendered, add_special_tokens=False)

    @torch.no_grad()
    def logprobs(self, ids: list[int]) -> torch.Tensor:
        """[positions, vocab_size] in f64."""
        return self.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)

    @torch.no_grad()
    def answer(self, ids: list[int]) -> list[int]:
        """Greedy, with the EOS that ends it."""
        prompt = torch.tensor([ids])
        whole = self.model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=MAX_ANSWER_TOKENS
        )
        return whole[0, len(ids) :].tolist()


def compare_texts(limpid: Limpid, oracle: Oracle) -> list[str]:
    return [
        f"ids of {text!r}: {found}, transformers has {expected}"
        for text in TEXTS
        if (found := limpid.call("tokenize", "--no-parse-special", "--", text)["ids"]) != (expected := oracle.ids(text))
    ]


def compare_logprobs(limpid: Limpid, oracle: Oracle) -> list[str]:
    ids = oracle.ids(PASSAGE)
    expected = oracle.logprobs(ids)
    positions = [p for p in POSITIONS if p < len(ids)]
    answer = limpid.call(
        *["logits", "--compute", "f32", "--top", "all"],
        *["--prompt-tokens", ",".join(map(str, ids)), "--positions", ",".join(map(str, positions))],
    )
    if [row["pos"] for row in answer] != positions:
        return [f"logits of positions {[row['pos'] for row in answer]}, asked for {positions}"]
    worst = 0.0
    for row in answer:
        found = torch.tensor([value for _, value in row["logits"]], dtype=torch.float64).log_softmax(-1)
        worst = max(worst, (found - expected[row["pos"]]).abs().max().item())
    print(f"  largest difference of {len(positions)} x {expected.shape[1]} log-probabilities: {worst:.1e}")
    return [] if worst <= MAX_LOGPROB_DIFFERENCE else [f"log-probabilities differ by {worst}"]


def compare_chats(limpid: Limpid, oracle: Oracle) -> list[str]:
    """The prompt's ids, then the answer's."""
    failures = []
    for system, user in CHATS:
        messages = [{"role": "system", "content": system}] if system else []
        prompt = oracle.chat_ids([*messages, {"role": "user", "content": user}])
        run = limpid.call(
            *["run", "--compute", "f32", "--temperature", "0", "--max-tokens", str(MAX_ANSWER_TOKENS)],
            *(["--system", system] if system else []),
            *["--", user],
        )
        if run["prompt_token_ids"] != prompt:
            failures.append(f"chat {user!r}: ids {run['prompt_token_ids']}, transformers has {prompt}")
            continue
        expected = oracle.answer(prompt)
        if run["token_ids"] != expected:
            failures.append(f"answer to {user!r}: {run['token_ids']}, transformers has {expected}")
        print(f"  {user!r}: {run['text']!r}")
    return failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limpid", type=Path, required=True, help="the program")
    parser.add_argument("--model", type=Path, required=True, help="the GGUF file")
    arguments = parser.parse_args()
    limpid, oracle = Limpid(arguments.limpid, arguments.model), Oracle(arguments.model)
    failures = []
    for compare in [compare_texts, compare_logprobs, compare_chats]:
        print(compare.__name__.replace("_", " "), flush=True)
        failures += compare(limpid, oracle)
    print("\n".join(failures) or "Limpid and transformers agree.")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
