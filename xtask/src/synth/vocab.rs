//! A made-up byte-level BPE vocabulary of a real one's size.
//!
//! The first tokens are the 256 bytes, then syllables ("ba"), then words that start with a space and grow by a syllable
//! ("Ġba", "Ġbado", ...): each token has exactly one merge that makes it, of two tokens that come before it. So any
//! text encodes, and every id has a text of its own.

use super::gguf::Header;

/// Values of `tokenizer.ggml.token_type`.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;

const CONSONANTS: &[u8] = b"bcdfghjklmnpqrstvwxz";
const VOWELS: &[u8] = b"aeiou";

/// What differs between the tokenizers of the shapes.
#[derive(Clone, Copy)]
pub(super) struct Tokenizer {
    /// llama.cpp's name of the pre-tokenizer.
    pub pre: &'static str,
    pub bos: u32,
    pub eos: u32,
    pub add_bos: bool,
    /// Special tokens by id.
    pub special: &'static [(u32, &'static str)],
    /// Ids from here on are special, too, named or not.
    pub reserved_from: u32,
}

pub(super) fn write_metadata(tokenizer: &Tokenizer, vocab_size: usize, header: &mut Header) {
    let n_special = tokenizer.special.iter().filter(|(id, _)| *id < tokenizer.reserved_from).count();
    let n_normal = vocab_size.min(tokenizer.reserved_from as usize) - n_special;
    let (normal, merges) = normal_tokens(n_normal);
    let mut normal = normal.into_iter();
    let (mut tokens, mut types) = (Vec::with_capacity(vocab_size), Vec::with_capacity(vocab_size));
    for id in 0..vocab_size as u32 {
        let special = tokenizer.special.iter().find(|(special_id, _)| *special_id == id);
        let (token, token_type) = match special {
            Some((_, text)) => (text.to_string(), CONTROL),
            None if id >= tokenizer.reserved_from => (format!("<|reserved_special_token_{id}|>"), CONTROL),
            None => (normal.next().expect("there is one for every id that is not special"), NORMAL),
        };
        tokens.push(token);
        types.push(token_type);
    }
    header.str("tokenizer.ggml.model", "gpt2");
    header.str("tokenizer.ggml.pre", tokenizer.pre);
    header.strs("tokenizer.ggml.tokens", &tokens);
    header.i32s("tokenizer.ggml.token_type", &types);
    header.strs("tokenizer.ggml.merges", &merges);
    header.u32("tokenizer.ggml.bos_token_id", tokenizer.bos);
    header.u32("tokenizer.ggml.eos_token_id", tokenizer.eos);
    header.bool("tokenizer.ggml.add_bos_token", tokenizer.add_bos);
}

/// The first `n` tokens that are not special, and the merges that make them.
pub(super) fn normal_tokens(n: usize) -> (Vec<String>, Vec<String>) {
    let mut tokens: Vec<String> = (0..=255).map(|byte| byte_char(byte).to_string()).collect();
    let mut merges = Vec::new();
    let mut add = |left: &str, right: &str| {
        merges.push(format!("{left} {right}"));
        tokens.push(format!("{left}{right}"));
    };
    let mut syllables = Vec::new();
    for &consonant in CONSONANTS {
        for &vowel in VOWELS {
            let (consonant, vowel) = (byte_char(consonant).to_string(), byte_char(vowel).to_string());
            add(&consonant, &vowel);
            syllables.push(consonant + &vowel);
        }
    }
    let space = byte_char(b' ').to_string();
    let mut words: Vec<String> = Vec::new();
    for i in 0..n.saturating_sub(256 + syllables.len()) {
        let (stem, syllable) = (i / syllables.len(), &syllables[i % syllables.len()]);
        let stem = if stem == 0 { &space } else { &words[stem - 1] };
        add(stem, syllable);
        words.push(format!("{stem}{syllable}"));
    }
    assert_eq!(tokens.len(), n, "a vocabulary holds at least the bytes and the syllables");
    (tokens, merges)
}

/// GPT-2's printable character for a byte: itself where it is printable Latin-1, else the next one from U+0100 on.
fn byte_char(byte: u8) -> char {
    let is_printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if is_printable(byte) {
        return char::from(byte);
    }
    let n_before = (0..byte).filter(|&b| !is_printable(b)).count();
    char::from_u32(0x100 + n_before as u32).expect("U+0100 to U+0143 are characters")
}
