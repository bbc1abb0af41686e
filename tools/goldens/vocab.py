"""Tiny tokenizers, one for each kind that the engine reads, trained on sample.txt.

`build(name, folder)` writes tokenizer.json and, for the SentencePiece kinds, tokenizer.model into a folder.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as spm_proto
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SAMPLE = Path(__file__).with_name("sample.txt")

# The published split patterns of these families (also in llama.cpp's llama-vocab.cpp).
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")


@dataclass(frozen=True)
class Kind:
    """What a family's tokenizer looks like."""

    model: str  # "bpe" (byte level) or "spm" (SentencePiece with scores and byte fallback)
    size: int  # number of tokens, special ones included
    special: tuple[str, ...]
    bos: str | None
    eos: str
    pad: str | None = None
    adds_bos: bool = False
    specials_first: bool = False
    metaspace: bool = False  # spm: a Metaspace pre-tokenizer instead of the older normalizer
    pre: str | None = None  # bpe: the name that llama.cpp gives to the pre-tokenizer


CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
KINDS = {
    "llama3": Kind(
        "bpe", 384, ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        bos="<|begin_of_text|>", eos="<|eot_id|>", adds_bos=True, pre="llama-bpe",
    ),
    "qwen2": Kind("bpe", 317, CHATML, bos=None, eos="<|im_end|>", pad="<|endoftext|>", pre="qwen2"),
    "qwen3": Kind(
        "bpe", 320, (*CHATML, "<think>", "</think>"), bos=None, eos="<|im_end|>", pad="<|endoftext|>", pre="qwen2"
    ),
    "smollm": Kind(
        "bpe", 320, CHATML, bos="<|im_start|>", eos="<|im_end|>", pad="<|im_end|>", specials_first=True, pre="smollm"
    ),
    "llama2": Kind("spm", 352, (), bos="<s>", eos="</s>", adds_bos=True),
    "mistral3": Kind("spm", 352, ("[INST]", "[/INST]"), bos="<s>", eos="</s>", adds_bos=True, metaspace=True),
}


def build(name: str, folder: Path) -> Tokenizer:
    """Trains the tokenizer `name` and writes its files into `folder`."""
    kind = KINDS[name]
    if kind.model == "bpe":
        tokenizer = _byte_level(name, kind)
    else:
        model = _train_sentencepiece(kind)
        (folder / "tokenizer.model").write_bytes(model)
        tokenizer = _from_sentencepiece(model, kind)
        _check_against_sentencepiece(tokenizer, model, kind)
    assert tokenizer.get_vocab_size() == kind.size, (name, tokenizer.get_vocab_size())
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    return tokenizer


def tokenizer_config(name: str, chat_template: str | None) -> dict:
    """The contents of tokenizer_config.json."""
    kind = KINDS[name]
    config = {
        "add_bos_token": kind.adds_bos,
        "add_eos_token": False,
        "bos_token": kind.bos,
        "eos_token": kind.eos,
        "pad_token": kind.pad,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    if kind.model == "spm":
        config["unk_token"] = "<unk>"
    if chat_template is not None:
        config["chat_template"] = chat_template
    return config


def special_ids(name: str, tokenizer: Tokenizer) -> tuple[int | None, int]:
    kind = KINDS[name]
    return (tokenizer.token_to_id(kind.bos) if kind.bos else None), tokenizer.token_to_id(kind.eos)


def _byte_level(name: str, kind: Kind) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(ignore_merges=name == "llama3"))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=name == "smollm")
    if name == "smollm":
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    else:
        pattern = LLAMA3_SPLIT if name == "llama3" else QWEN2_SPLIT
        split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    if name.startswith("qwen"):
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(text, special=not text.endswith("think>"), normalized=False) for text in kind.special]
    n_special = 0 if kind.specials_first else len(special)
    trainer = trainers.BpeTrainer(
        vocab_size=kind.size - n_special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=special if kind.specials_first else [],
        show_progress=False,
    )
    tokenizer.train([str(SAMPLE)], trainer)
    if not kind.specials_first:
        tokenizer.add_tokens(special)
    post = [processors.ByteLevel(trim_offsets=False)]
    if kind.adds_bos:
        post.append(_prepend_bos(tokenizer, kind.bos))
    tokenizer.post_processor = processors.Sequence(post)
    return tokenizer


def _train_sentencepiece(kind: Kind) -> bytes:
    # SentencePiece trains lines; the identity rule keeps text as it is, as Llama's own model does.
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=(line for line in SAMPLE.read_text().splitlines() if line.isascii()),
        model_writer=model,
        model_type="bpe",
        vocab_size=kind.size,
        character_coverage=0.98,
        byte_fallback=True,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        control_symbols=list(kind.special),
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def _from_sentencepiece(model: bytes, kind: Kind) -> Tokenizer:
    proto = spm_proto.ModelProto()
    proto.ParseFromString(model)
    vocab = {piece.piece: token for token, piece in enumerate(proto.pieces)}
    bpe = models.BPE(vocab, _merges(proto, vocab), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(bpe)
    if kind.metaspace:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ("<unk>", "<s>", "</s>", *kind.special)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    tokenizer.post_processor = _prepend_bos(tokenizer, kind.bos)
    return tokenizer


def _merges(proto: spm_proto.ModelProto, vocab: dict[str, int]) -> list[tuple[str, str]]:
    """SentencePiece merges whichever pair makes the piece of the highest score: the merge list in that order."""
    normal = [piece for piece in proto.pieces if piece.type == spm_proto.ModelProto.SentencePiece.Type.NORMAL]
    merges = []
    for piece in sorted(normal, key=lambda piece: -piece.score):
        text = piece.piece
        splits = ((text[:i], text[i:]) for i in range(1, len(text)))
        merges.extend(pair for pair in splits if pair[0] in vocab and pair[1] in vocab)
    return merges


def _prepend_bos(tokenizer: Tokenizer, bos: str) -> processors.TemplateProcessing:
    return processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, tokenizer.token_to_id(bos))]
    )


def _check_against_sentencepiece(tokenizer: Tokenizer, model: bytes, kind: Kind) -> None:
    processor = spm.SentencePieceProcessor(model_proto=model)
    for text in [*SAMPLE.read_text().splitlines(), " two  spaces ", "日本 🦊\n\ttab"]:
        if not text or (kind.metaspace and text.startswith(" ")):
            continue  # Metaspace adds no second space before a leading one; SentencePiece does
        expected = processor.encode(text)
        found = tokenizer.encode(text, add_special_tokens=False).ids
        assert found == expected, (text, found, expected)
