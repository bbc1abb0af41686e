//! Small tokenizers, made in memory.

#![allow(dead_code, unreachable_pub, reason = "each test file uses some of these")]

use limpid_engine::TokenId;
use limpid_engine::tokenizer::GgufTokenizer;

/// `llama_token_type`.
pub const NORMAL: i32 = 1;
pub const UNKNOWN: i32 = 2;
pub const CONTROL: i32 = 3;
pub const USER_DEFINED: i32 = 4;
pub const UNUSED: i32 = 5;
pub const BYTE: i32 = 6;

pub fn ids(ids: &[u32]) -> Vec<TokenId> {
    ids.iter().copied().map(TokenId).collect()
}

/// GPT-2's letter for a byte.
fn letter(byte: u8) -> char {
    let shown = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    if shown(byte) {
        return char::from(byte);
    }
    let n_moved_before = (0..byte).filter(|b| !shown(*b)).count();
    char::from_u32(0x100 + n_moved_before as u32).unwrap()
}

/// Byte-level BPE: ids 0 to 255 are the bytes, then `merges` in order, then `added` tokens with their types.
pub fn byte_level(pre: &str, merges: &[(&str, &str)], added: &[(&str, i32)]) -> GgufTokenizer {
    let spelled = |text: &str| text.bytes().map(letter).collect::<String>();
    let mut tokens: Vec<String> = (0..=255).map(|byte| letter(byte).to_string()).collect();
    tokens.extend(merges.iter().map(|(left, right)| spelled(left) + &spelled(right)));
    let n_normal = tokens.len();
    tokens.extend(added.iter().map(|(text, _)| text.to_string()));
    let mut types = vec![NORMAL; n_normal];
    types.extend(added.iter().map(|(_, kind)| *kind));
    GgufTokenizer {
        model: Some("gpt2".to_string()),
        pre: Some(pre.to_string()),
        tokens,
        token_types: Some(types),
        merges: Some(
            merges.iter().map(|(left, right)| format!("{} {}", spelled(left), spelled(right))).collect(),
        ),
        ..GgufTokenizer::default()
    }
}

/// ChatML's special tokens on bytes: `<|endoftext|>` 256, `<|im_start|>` 257, `<|im_end|>` 258, and `<think>` 259.
pub fn chatml() -> GgufTokenizer {
    let added = [
        ("<|endoftext|>", CONTROL),
        ("<|im_start|>", CONTROL),
        ("<|im_end|>", CONTROL),
        ("<think>", USER_DEFINED),
    ];
    GgufTokenizer { eos_id: Some(258), ..byte_level("gpt-2", &[], &added) }
}

/// SentencePiece: `<unk>`, `<s>`, `</s>` (0 to 2), the bytes (3 to 258), then `pieces` with their scores.
pub fn sentencepiece(pieces: &[(&str, f32)]) -> GgufTokenizer {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_string).to_vec();
    let mut types = vec![UNKNOWN, CONTROL, CONTROL];
    tokens.extend((0..=255u8).map(|byte| format!("<0x{byte:02X}>")));
    types.extend([BYTE; 256]);
    let mut scores = vec![0.0; tokens.len()];
    for (piece, score) in pieces {
        tokens.push(piece.to_string());
        types.push(NORMAL);
        scores.push(*score);
    }
    GgufTokenizer {
        model: Some("llama".to_string()),
        tokens,
        scores: Some(scores),
        token_types: Some(types),
        ..GgufTokenizer::default()
    }
}
