"""What Hugging Face's tokenizers makes of texts, for the tokenizer of every golden checkpoint.

    python tokenizer_goldens.py
"""

import json
from collections import defaultdict
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer

import texts
from make import GOLDENS


def case(tokenizer: Tokenizer, text: str) -> dict:
    """Keys that would repeat another are left out: see README.md."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    found = {"text": text, "ids": ids, "with_special": tokenizer.encode(text).ids}
    tokenizer.encode_special_tokens = True
    as_text = tokenizer.encode(text, add_special_tokens=False).ids
    tokenizer.encode_special_tokens = False
    if as_text != ids:
        found["as_text"] = as_text
    if (decoded := tokenizer.decode(ids, skip_special_tokens=False)) != text:
        found["decoded"] = decoded
    if (skipped := tokenizer.decode(ids, skip_special_tokens=True)) != decoded:
        found["decoded_without_special"] = skipped
    return found


def write(name: str, folders: list[Path]) -> None:
    tokenizer = Tokenizer.from_file(str(folders[0] / "tokenizer.json"))
    added = tokenizer.get_added_tokens_decoder()
    special = [added[token].content for token in sorted(added)]
    every = [*texts.TEXTS, *texts.special_texts(special), *texts.random_texts(24, seed=1)]
    about = {
        "name": name,
        "checkpoints": [str(folder.relative_to(GOLDENS)) for folder in folders],
        "gguf": [str(path.relative_to(GOLDENS)) for folder in folders for path in _gguf(folder.parent)],
        "special_tokens": {str(token): added[token].content for token in sorted(added)},
        "provenance": {"script": "tools/goldens/tokenizer_goldens.py", "tokenizers": tokenizers.__version__},
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)},\n" for key, value in about.items()]
    cases = ",\n".join("    " + json.dumps(case(tokenizer, text), separators=(",", ":")) for text in every)
    path = GOLDENS / "tokenizers" / f"{name}.json"
    path.write_text("{\n" + "".join(lines) + '  "cases": [\n' + cases + "\n  ]\n}\n")
    print(f"{name}: {len(every)} texts, {path.stat().st_size} bytes, {about['checkpoints']}, {about['gguf']}")


def _gguf(folder: Path) -> list[Path]:
    """The GGUF files of a checkpoint, or the quantized one of a folder beside it."""
    return sorted([*folder.glob("*.gguf"), *folder.with_name(f"{folder.name}_q8_0").glob("*.gguf")])


def main() -> None:
    (GOLDENS / "tokenizers").mkdir(exist_ok=True)
    same = defaultdict(list)
    for path in sorted(GOLDENS.glob("*/hf/tokenizer.json")):
        same[path.read_bytes()].append(path.parent)
    for folders in same.values():
        write(folders[0].parent.name, folders)


if __name__ == "__main__":
    main()
