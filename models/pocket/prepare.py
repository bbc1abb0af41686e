#!/usr/bin/env python3
"""The corpus as tokens: train the tokenizer, encode every source, and deal rows out for training.

    python prepare.py --corpus corpus --data data

reads CORPUS/*.jsonl.zst (a line is {"text": ...} or {"messages": [...]}; names that end in .val are
held out) and writes into DATA tokenizer.json, meta.json and, for each source, its token ids (.bin,
u16) and where each document starts (.off, i64).
"""

import argparse
import json
import math
import os
from pathlib import Path

import numpy as np

SPECIAL = [
    "<|endoftext|>",
    "<|bos|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|pad|>",
    "<|reserved_0|>",
    "<|reserved_1|>",
    "<|reserved_2|>",
]
EOT, BOS, IM_START, IM_END, PAD = range(5)
VOCAB = 4096
# The split of Qwen2 (single digits); other runtimes know it by that name.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def render(doc):
    """A document as the model sees it; a chat exactly as the chat template writes it."""
    if "text" in doc:
        return "<|bos|>" + doc["text"] + "<|endoftext|>"
    turns = ("<|im_start|>%s\n%s<|im_end|>\n" % (m["role"], m["content"]) for m in doc["messages"])
    return "<|bos|>" + "".join(turns)


def read_corpus(folders):
    """{source: [document, ...]} from every *.jsonl.zst of the folders, in the order of their names."""
    import zstandard

    docs = {}
    paths = (path for folder in folders for path in Path(folder).glob("*.jsonl.zst"))
    for path in sorted(paths, key=lambda path: path.name):
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            docs[path.name[: -len(".jsonl.zst")]] = [json.loads(line) for line in lines]
    if not docs:
        raise SystemExit("no *.jsonl.zst in %s" % ", ".join(map(str, folders)))
    return docs


def vocabulary_texts(docs):
    for name, source in docs.items():
        if name.endswith(".val"):
            continue
        # A third of the synthetic text: its templates must not rule the vocabulary.
        for doc in source[: len(source) // 3] if name == "synth" else source:
            yield doc["text"] if "text" in doc else "\n".join(m["content"] for m in doc["messages"])


def train_tokenizer(docs, vocab):
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tok.train_from_iterator(vocabulary_texts(docs), trainer)
    assert tok.get_vocab_size() == vocab and tok.token_to_id("<|im_end|>") == IM_END
    tok.post_processor = processors.TemplateProcessing(
        single="<|bos|> $A", pair="<|bos|> $A <|bos|> $B", special_tokens=[("<|bos|>", BOS)]
    )
    return tok


def prepare(corpus, data, vocab=VOCAB):
    os.makedirs(data, exist_ok=True)
    docs = read_corpus(corpus)
    tok = train_tokenizer(docs, vocab)
    tok.save(os.path.join(data, "tokenizer.json"))
    meta = {"vocab": vocab, "sources": {}}
    for name, source in docs.items():
        ids, starts, chars = [], [0], 0
        for i in range(0, len(source), 1000):
            texts = [render(doc) for doc in source[i : i + 1000]]
            chars += sum(map(len, texts))
            for encoding in tok.encode_batch(texts, add_special_tokens=False):
                ids.extend(encoding.ids)
                starts.append(len(ids))
        np.array(ids, dtype=np.uint16).tofile(os.path.join(data, name + ".bin"))
        np.array(starts, dtype=np.int64).tofile(os.path.join(data, name + ".off"))
        meta["sources"][name] = {"docs": len(source), "tokens": len(ids), "chars": chars}
        per_token = chars / max(1, len(ids))
        print("%-24s %7d docs %10d tokens  %.2f chars a token" % (name, len(source), len(ids), per_token))
    with open(os.path.join(data, "meta.json"), "w") as f:
        json.dump(meta, f, indent=1)


def load_source(data, name):
    """One source as a list of token arrays, one a document."""
    ids = np.fromfile(os.path.join(data, name + ".bin"), dtype=np.uint16)
    starts = np.fromfile(os.path.join(data, name + ".off"), dtype=np.int64)
    return [ids[a:b] for a, b in zip(starts, starts[1:])]


def pack(lengths, cap, n_open=64):
    """Put documents into rows of `cap` tokens, whole, each into the fullest open row that has room."""
    rows, bins = [], []  # a bin: [room, documents]
    for i, n in enumerate(lengths):
        best = None
        for b in bins:
            if b[0] >= n and (best is None or b[0] < best[0]):
                best = b
        if best is None:
            if len(bins) == n_open:
                full = min(bins, key=lambda b: b[0])
                rows.append(full[1])
                bins = [b for b in bins if b is not full]
            best = [cap, []]
            bins.append(best)
        best[0] -= n
        best[1].append(i)
    return rows + [b[1] for b in bins]


def fill(pieces, cap):
    """Rows of `cap` tokens, padded at the end; a document longer than a row is cut into row-size pieces."""
    cut = [p[i : i + cap] for p in pieces for i in range(0, len(p), cap)]
    packed = pack([len(p) for p in cut], cap)
    out = np.full((len(packed), cap), PAD, dtype=np.uint16)
    for row, members in zip(out, packed):
        at = 0
        for i in members:
            row[at : at + len(cut[i])] = cut[i]
            at += len(cut[i])
    return out


class Stream:
    """The training rows in the order that the seed sets, epoch by epoch.

    `mix` is "source=weight,...": a source of weight 2 is seen twice an epoch, one of 0.5 by half.
    """

    def __init__(self, data, mix, seed, seq):
        self.seed, self.cap, self.epoch, self.starts = seed, seq + 1, -1, [0]
        pairs = (p.split("=") for p in mix.split(","))
        self.sources = [(load_source(data, name), float(weight)) for name, weight in pairs]

    def load(self, epoch):
        if epoch == self.epoch:
            return
        rng = np.random.default_rng([self.seed, epoch])
        docs = []
        for source, weight in self.sources:
            order = np.concatenate([rng.permutation(len(source)) for _ in range(math.ceil(weight))])
            docs += [source[i] for i in order[: int(round(len(source) * weight))]]
        docs = [docs[i] for i in rng.permutation(len(docs))]
        self.matrix = fill(docs, self.cap)
        self.matrix = self.matrix[rng.permutation(len(self.matrix))]
        self.epoch = epoch

    def rows(self, row0, n):
        """Rows row0 .. row0 + n of the endless stream, [n, seq + 1]."""
        out = np.empty((n, self.cap), dtype=np.int64)
        for i in range(n):
            while self.starts[-1] <= row0 + i:
                self.load(len(self.starts) - 1)
                self.starts.append(self.starts[-1] + len(self.matrix))
            epoch = max(k for k in range(len(self.starts)) if self.starts[k] <= row0 + i)
            self.load(epoch)
            out[i] = self.matrix[row0 + i - self.starts[epoch]]
        return out


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--corpus", nargs="+", default=["corpus"], help="folders")
    ap.add_argument("--data", default="data")
    ap.add_argument("--vocab", type=int, default=VOCAB)
    args = ap.parse_args()
    prepare(args.corpus, args.data, args.vocab)
