//! How few tokens a text can become, known without cutting it up: a text of many megabytes is too long for a context
//! long before it is tokenized.

use serde_json::Value;
use tokenizers::ModelWrapper;

use super::encoder::{Algorithm, Encoder};
use super::vocab::Vocab;
use crate::TokenId;

/// The most bytes of a text that one token can stand for; `None` where there is no such number. There is one where
/// every byte of a text ends up in a token that has it: no byte is unknown (one unknown token may stand for any number
/// of characters), no step drops any, and no added token takes the white space around it.
pub(super) fn most_bytes(encoder: &Encoder, vocab: &Vocab) -> Option<usize> {
    let all = || (0..vocab.len() as u32).map(|id| vocab.bytes(TokenId(id)));
    let mut has_byte = [false; 256];
    all().filter(|bytes| bytes.len() == 1).for_each(|bytes| has_byte[usize::from(bytes[0])] = true);
    if has_byte.contains(&false) || encoder.takes_white_space() {
        return None;
    }
    let longest = all().map(<[u8]>::len).max()?;
    match encoder.algorithm() {
        Algorithm::Spm(_) => Some(longest),
        Algorithm::Steps { normalizer, pre_tokenizer, model } => {
            let normalizer = serde_json::to_value(normalizer).ok()?;
            let pre_tokenizer = serde_json::to_value(pre_tokenizer).ok()?;
            let spells_bytes = match &**model {
                ModelWrapper::BPE(bpe) => bpe.byte_fallback || has_part(&pre_tokenizer, "ByteLevel"),
                _ => false,
            };
            let shrinks = shrinks(&normalizer).filter(|_| spells_bytes && keeps_all(&pre_tokenizer))?;
            longest.checked_mul(shrinks)
        }
    }
}

/// How many times shorter a normalizer, as tokenizer.json writes it, makes a text at most.
fn shrinks(step: &Value) -> Option<usize> {
    match step["type"].as_str() {
        None if step.is_null() => Some(1),
        // U+0390, two bytes, is the form NFC of six; nothing gains more (Unicode's FAQ on normalization).
        Some("NFC") => Some(3),
        Some("Prepend") => Some(1),
        Some("Replace") => {
            let (from, to) = (step["pattern"]["String"].as_str()?, step["content"].as_str()?);
            from.len().div_ceil(Some(to.len()).filter(|&len| len > 0)?).into()
        }
        Some("Sequence") => {
            let parts = step["normalizers"].as_array()?;
            parts.iter().try_fold(1usize, |product, part| product.checked_mul(shrinks(part)?))
        }
        _ => None,
    }
}

/// Whether a pre-tokenizer, as tokenizer.json writes it, drops nothing of a text.
fn keeps_all(step: &Value) -> bool {
    match step["type"].as_str() {
        None => step.is_null(),
        Some("ByteLevel" | "Digits" | "Metaspace") => true,
        Some("Split" | "Punctuation") => step["behavior"] != "Removed",
        Some("Sequence") => parts(step).all(keeps_all),
        Some(_) => false,
    }
}

fn has_part(step: &Value, kind: &str) -> bool {
    step["type"] == kind || parts(step).any(|part| has_part(part, kind))
}

fn parts(step: &Value) -> impl Iterator<Item = &Value> {
    step["pretokenizers"].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_step_may_do_to_a_length() {
        let space = json!({"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"});
        let pair = json!({"type": "Replace", "pattern": {"String": "aaa"}, "content": "bb"});
        let regex = json!({"type": "Replace", "pattern": {"Regex": " +"}, "content": " "});
        let none = json!({"type": "Replace", "pattern": {"String": "a"}, "content": ""});
        let sequence = |parts: Value| json!({"type": "Sequence", "normalizers": parts});
        for (step, expected) in [
            (Value::Null, Some(1)),
            (json!({"type": "NFC"}), Some(3)),
            (space.clone(), Some(1)),
            (pair.clone(), Some(2)),
            (regex, None),
            (none, None),
            (json!({"type": "Strip"}), None),
            (sequence(json!([{"type": "NFC"}, pair, space])), Some(6)),
            (sequence(json!([{"type": "NFC"}, {"type": "NFKC"}])), None),
        ] {
            assert_eq!(shrinks(&step), expected, "{step}");
        }
        let split = |behavior: &str| json!({"type": "Split", "behavior": behavior});
        let sequence = |parts: Value| json!({"type": "Sequence", "pretokenizers": parts});
        let byte_level = json!({"type": "ByteLevel"});
        for (step, keeps) in [
            (Value::Null, true),
            (split("Isolated"), true),
            (split("Removed"), false),
            (json!({"type": "Whitespace"}), false),
            (sequence(json!([split("Isolated"), byte_level])), true),
            (sequence(json!([split("Removed"), byte_level])), false),
        ] {
            assert_eq!(keeps_all(&step), keeps, "{step}");
        }
        assert!(has_part(&sequence(json!([split("Isolated"), byte_level])), "ByteLevel"));
        assert!(!has_part(&sequence(json!([split("Isolated")])), "ByteLevel"));
    }
}
