//! How byte-level BPE cuts a text into words before it merges, by the name in `tokenizer.ggml.pre`.
//!
//! The regular expressions are facts about the models: they stand in the models' tokenizer.json files and, by the
//! names used here, in llama.cpp's `src/llama-vocab.cpp` (Copyright (c) 2023-2026 The ggml authors, MIT License).

/// One way of cutting, with the habits that go with the name.
#[derive(Debug, PartialEq)]
pub(super) struct PreTokenizer {
    /// The values of `tokenizer.ggml.pre` that mean it, with spaces between them.
    names: &'static str,
    /// Applied one after the other, each to the pieces that the ones before left; matches and the text between
    /// them are pieces of their own.
    pub(super) patterns: &'static [&'static str],
    /// A word that is a token is taken as it is, even where no merges lead to it.
    pub(super) ignores_merges: bool,
    /// BOS is put before a text unless the file says otherwise.
    pub(super) adds_bos: bool,
    /// Texts are first put into Unicode's form NFC. A GGUF file does not say so and llama.cpp does not do it, but the
    /// tokenizer.json files of Qwen 2, 2.5 and 3 do.
    pub(super) normalizes_nfc: bool,
}

const PLAIN: PreTokenizer =
    PreTokenizer { names: "", patterns: &[], ignores_merges: false, adds_bos: false, normalizes_nfc: false };

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

const LLAMA3: &str = concat!(
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

const QWEN2: &str = concat!(
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

const PRE_TOKENIZERS: &[PreTokenizer] = &[
    PreTokenizer {
        names: "gpt-2 phi-2 gigachat a.x-4.0 mellum exaone4 mpt olmo jais trillion granite-docling",
        patterns: &[GPT2],
        ..PLAIN
    },
    PreTokenizer {
        names: "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2",
        patterns: &[LLAMA3],
        ignores_merges: true,
        adds_bos: true,
        ..PLAIN
    },
    PreTokenizer { names: "dbrx smaug-bpe", patterns: &[LLAMA3], ..PLAIN },
    PreTokenizer { names: "qwen2", patterns: &[QWEN2], normalizes_nfc: true, ..PLAIN },
    PreTokenizer {
        names: "deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open",
        patterns: &[QWEN2],
        ..PLAIN
    },
    PreTokenizer {
        names: "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
        patterns: &[r"\p{N}", GPT2],
        ..PLAIN
    },
    // Files from before the key existed; llama.cpp takes this for them too.
    PreTokenizer {
        names: "default",
        patterns: &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
        ..PLAIN
    },
];

pub(super) fn find(name: &str) -> Option<&'static PreTokenizer> {
    PRE_TOKENIZERS.iter().find(|p| p.names.split(' ').any(|known| known == name))
}

/// Every name that `find` knows, for an error.
pub(super) fn known_names() -> String {
    let names: Vec<&str> = PRE_TOKENIZERS.iter().flat_map(|p| p.names.split(' ')).collect();
    names.join(", ")
}
