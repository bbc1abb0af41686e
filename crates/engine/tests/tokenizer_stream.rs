//! The incremental detokenizer against decoding at once.

mod tokenizer_support;

use limpid_engine::TokenId;
use limpid_engine::tokenizer::{Detokenizer, GgufTokenizer, Tokenizer};
use proptest::prelude::*;
use tokenizer_support::{CONTROL, byte_level, ids, sentencepiece};

/// Whole characters, halves of them, special tokens, and bytes that are never UTF-8.
fn byte_level_tokenizer() -> Tokenizer {
    byte_level("gpt-2", &[(" ", "a"), (" ", " ")], &[("<|end|>", CONTROL)]).build().unwrap()
}

fn sentencepiece_tokenizer() -> Tokenizer {
    let pieces =
        [("\u{2581}", -1.0), ("\u{2581}a", -2.0), ("b", -3.0), ("é", -4.0), ("\u{2581}\u{2581}", -5.0)];
    sentencepiece(&pieces).build().unwrap()
}

/// All texts that the pushes gave, and what `finish` gave.
fn stream(tokenizer: &Tokenizer, mut detokenizer: Detokenizer, ids: &[TokenId]) -> (Vec<String>, String) {
    let push = |id: &TokenId| {
        let mut text = String::new();
        detokenizer.push(tokenizer, *id, &mut text);
        text
    };
    let pushed = ids.iter().map(push).collect();
    let mut rest = String::new();
    detokenizer.finish(&mut rest);
    (pushed, rest)
}

#[test]
fn half_a_character_waits() {
    let tokenizer = byte_level_tokenizer();
    let euro = ids(&[0xE2, 0x82, 0xAC, 97]);
    let (pushed, rest) = stream(&tokenizer, Detokenizer::new(&tokenizer), &euro);
    assert_eq!(pushed, ["", "", "\u{20AC}", "a"]);
    assert_eq!(rest, "");
}

#[test]
fn what_cannot_be_completed_comes_out_at_once() {
    let tokenizer = byte_level_tokenizer();
    // E2 82 breaks off before `a`; FF is never UTF-8; F0 9F is left at the end.
    let broken = ids(&[0xE2, 0x82, 97, 0xFF, 0xC0, 0xF0, 0x9F]);
    let (pushed, rest) = stream(&tokenizer, Detokenizer::new(&tokenizer), &broken);
    assert_eq!(pushed, ["", "", "\u{FFFD}a", "\u{FFFD}", "\u{FFFD}", "", ""]);
    assert_eq!(rest, "\u{FFFD}");
}

#[test]
fn a_special_token_between_halves_gives_no_text() {
    let tokenizer = byte_level_tokenizer();
    let end = tokenizer.vocab_size() as u32 - 1;
    let split = ids(&[0xC3, end, 0xA9]);
    let (pushed, _) = stream(&tokenizer, Detokenizer::new(&tokenizer), &split);
    assert_eq!(pushed, ["", "", "é"]);
    let (pushed, _) = stream(&tokenizer, Detokenizer::new(&tokenizer).with_special(), &split);
    assert_eq!(pushed, ["", "\u{FFFD}<|end|>", "\u{FFFD}"]);
}

#[test]
fn a_space_before_the_text_is_dropped_and_one_after_a_prompt_is_not() {
    let tokenizer = sentencepiece_tokenizer();
    let word = ids(&[260]);
    assert_eq!(stream(&tokenizer, Detokenizer::new(&tokenizer), &word).0, ["a"]);
    assert_eq!(stream(&tokenizer, Detokenizer::after(&tokenizer, &word), &word).0, [" a"]);
    // Nothing visible came before: the text still begins here.
    assert_eq!(stream(&tokenizer, Detokenizer::after(&tokenizer, &ids(&[1])), &word).0, ["a"]);
    let plain = GgufTokenizer { add_space_prefix: Some(false), ..sentencepiece(&[("\u{2581}a", -1.0)]) };
    let plain = plain.build().unwrap();
    assert_eq!(stream(&plain, Detokenizer::new(&plain), &ids(&[259])).0, [" a"]);
}

fn any_ids(tokenizer: &Tokenizer) -> impl Strategy<Value = Vec<TokenId>> + use<> {
    let n = tokenizer.vocab_size() as u32;
    // Often the bytes of multi-byte characters, and a few ids that do not exist.
    let id = prop_oneof![0..n + 3, 0x80u32..0x100, (0xC0u32 + 3)..0xF8, (n - 8)..n];
    prop::collection::vec(id.prop_map(TokenId), 0..40)
}

/// The text of ids by the standard library: all bytes together, one leading space dropped if `strips`.
fn lossy(tokenizer: &Tokenizer, ids: &[TokenId], skip_special: bool, strips: bool) -> (Vec<u8>, String) {
    let shown = ids.iter().filter(|id| !skip_special || !tokenizer.is_special(**id));
    let mut bytes: Vec<u8> = shown.flat_map(|id| tokenizer.piece_bytes(*id)).copied().collect();
    if strips && bytes.first() == Some(&b' ') {
        bytes.remove(0);
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    (bytes, text)
}

/// Whether the bytes end in the beginning of a character.
fn is_unfinished(bytes: &[u8]) -> bool {
    let last = bytes.utf8_chunks().last();
    last.is_some_and(|chunk| {
        std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none())
    })
}

fn check(
    tokenizer: &Tokenizer,
    strips: bool,
    prompt: &[TokenId],
    ids: &[TokenId],
) -> Result<(), TestCaseError> {
    for skip_special in [false, true] {
        let whole = tokenizer.decode(ids, skip_special);
        prop_assert_eq!(&whole, &lossy(tokenizer, ids, skip_special, strips).1);
        let mut detokenizer = Detokenizer::new(tokenizer);
        if !skip_special {
            detokenizer = detokenizer.with_special();
        }
        let (pushed, rest) = stream(tokenizer, detokenizer, ids);
        let mut so_far = String::new();
        for (i, text) in pushed.iter().enumerate() {
            // Everything is out but the beginning of a character.
            so_far.push_str(text);
            let (bytes, known) = lossy(tokenizer, &ids[..=i], skip_special, strips);
            let held = if is_unfinished(&bytes) { "\u{FFFD}" } else { "" };
            prop_assert_eq!(so_far.clone() + held, known);
        }
        prop_assert_eq!(so_far + &rest, whole);
    }
    // After a prompt comes what it adds to the prompt.
    let (pushed, rest) = stream(tokenizer, Detokenizer::after(tokenizer, prompt), ids);
    let (before, _) = stream(tokenizer, Detokenizer::new(tokenizer), prompt);
    let all: Vec<TokenId> = prompt.iter().chain(ids).copied().collect();
    prop_assert_eq!(before.concat() + &pushed.concat() + &rest, tokenizer.decode(&all, true));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn byte_level_stream_equals_decode(
        prompt in any_ids(&byte_level_tokenizer()),
        ids in any_ids(&byte_level_tokenizer()),
    ) {
        check(&byte_level_tokenizer(), false, &prompt, &ids)?;
    }

    #[test]
    fn sentencepiece_stream_equals_decode(
        prompt in any_ids(&sentencepiece_tokenizer()),
        ids in any_ids(&sentencepiece_tokenizer()),
    ) {
        check(&sentencepiece_tokenizer(), true, &prompt, &ids)?;
    }
}
