//! Encoding, special tokens and warnings, on small vocabularies.

mod tokenizer_support;

use std::collections::HashMap;

use limpid_engine::TokenId;
use limpid_engine::tokenizer::{GgufTokenizer, HfTokenizer, Specials, TokenKind, Tokenizer};
use proptest::prelude::*;
use serde_json::json;
use tokenizer_support::{CONTROL, UNUSED, USER_DEFINED, byte_level, chatml, ids, sentencepiece};

fn encode(tokenizer: &Tokenizer, text: &str) -> Vec<TokenId> {
    tokenizer.encode(text, Specials::Parse, false).unwrap()
}

fn bytes(text: &str) -> Vec<TokenId> {
    text.bytes().map(|byte| TokenId(byte.into())).collect()
}

#[test]
fn special_tokens_are_read_or_taken_as_text() {
    let tokenizer = chatml().build().unwrap();
    let text = "a<|im_end|>b";
    assert_eq!(encode(&tokenizer, text), ids(&[97, 258, 98]));
    assert_eq!(tokenizer.encode(text, Specials::Text, false).unwrap(), bytes(text));
    // A user-defined token is ordinary text that happens to be one token.
    assert_eq!(tokenizer.encode("<think>", Specials::Text, false).unwrap(), ids(&[259]));
    assert_eq!(tokenizer.decode(&ids(&[97, 258, 259]), true), "a<think>");
    assert_eq!(tokenizer.decode(&ids(&[97, 258, 259]), false), "a<|im_end|><think>");
}

#[test]
fn ignore_merges_takes_a_word_that_is_a_token() {
    // `abc` is a token, but no merges lead to it.
    let build = |pre| {
        let mut source = byte_level(pre, &[("a", "b")], &[]);
        source.tokens.push("abc".to_string());
        source.token_types.as_mut().unwrap().push(1);
        source.build().unwrap()
    };
    assert_eq!(encode(&build("llama-bpe"), "abc"), ids(&[257]));
    assert_eq!(encode(&build("gpt-2"), "abc"), ids(&[256, 99]));
}

#[test]
fn a_control_token_is_never_read_from_plain_text() {
    // The whole word is the text of a control token, and llama-bpe takes words that are tokens.
    let tokenizer = byte_level("llama-bpe", &[], &[("STOP", CONTROL)]).build().unwrap();
    assert_eq!(encode(&tokenizer, "STOP"), ids(&[256]));
    assert_eq!(tokenizer.encode("STOP", Specials::Text, false).unwrap(), bytes("STOP"));
    // In SentencePiece the merges would lead to it.
    let mut source = sentencepiece(&[("<", -1.0), ("s", -2.0), (">", -3.0), ("s>", -4.0)]);
    source.add_space_prefix = Some(false);
    let tokenizer = source.build().unwrap();
    assert_eq!(encode(&tokenizer, "<s>"), ids(&[1]));
    assert_eq!(tokenizer.encode("<s>", Specials::Text, false).unwrap(), ids(&[259, 262]));
}

#[test]
fn pre_tokenizers_cut_numbers_their_own_way() {
    let merges = [("1", "2"), ("12", "3"), ("123", "4")];
    let expected = [
        ("gpt-2", vec![258]),
        ("llama-bpe", vec![257, 52]),
        ("qwen2", vec![49, 50, 51, 52]),
        ("smollm", vec![49, 50, 51, 52]),
        ("deepseek-r1-qwen", vec![49, 50, 51, 52]),
    ];
    for (pre, expected) in expected {
        let tokenizer = byte_level(pre, &merges, &[]).build().unwrap();
        assert_eq!(encode(&tokenizer, "1234"), ids(&expected), "{pre}");
    }
}

#[test]
fn bos_stands_exactly_once() {
    let mut source = sentencepiece(&[]);
    source.bos_id = Some(1);
    let tokenizer = source.build().unwrap();
    assert!(tokenizer.special().add_bos, "SentencePiece models want BOS");
    let with_bos = |text| tokenizer.encode(text, Specials::Parse, true).unwrap();
    assert_eq!(with_bos("<s>"), ids(&[1]));
    assert_eq!(with_bos("<s><s>"), ids(&[1]));
    assert_eq!(with_bos(""), ids(&[1]));
    assert_eq!(with_bos("\n")[0], TokenId(1));
    assert!(chatml().build().unwrap().encode("a", Specials::Parse, true).is_err(), "there is no BOS to add");
}

#[test]
fn bos_is_added_as_the_file_or_the_family_says() {
    let bos = [("<s>", CONTROL)];
    let build = |pre, add_bos| {
        let source = GgufTokenizer { bos_id: Some(256), add_bos, ..byte_level(pre, &[], &bos) };
        source.build().unwrap().special().add_bos
    };
    assert!(build("llama-bpe", None));
    assert!(!build("llama-bpe", Some(false)));
    assert!(!build("qwen2", None));
    assert!(build("qwen2", Some(true)));
}

#[test]
fn eos_is_the_union_of_keys_and_texts() {
    let added = [
        ("<|end_of_text|>", CONTROL),
        ("<|eot_id|>", CONTROL),
        ("<|eom_id|>", USER_DEFINED),
        ("STOP", CONTROL),
    ];
    let source = GgufTokenizer {
        eos_id: Some(256),
        eot_id: Some(257),
        eom_id: Some(259),
        ..byte_level("gpt-2", &[], &added)
    };
    let tokenizer = source.build().unwrap();
    let eos: Vec<(u32, &[&str])> =
        tokenizer.special().eos.iter().map(|eos| (eos.id.0, eos.sources.as_slice())).collect();
    assert_eq!(
        eos,
        [
            (256, &["tokenizer.ggml.eos_token_id", "the token's text"][..]),
            (257, &["tokenizer.ggml.eot_token_id", "the token's text"][..]),
            (259, &["tokenizer.ggml.eom_token_id"][..]),
            (258, &["the token's text"][..]),
        ]
    );
    assert!(tokenizer.is_special(TokenId(258)), "a token that ends a turn is no text");
    assert!(tokenizer.special().is_eos(TokenId(259)) && !tokenizer.special().is_eos(TokenId(97)));
}

#[test]
fn an_ordinary_token_is_no_eos_by_its_text() {
    let tokenizer = byte_level("gpt-2", &[("</", "s>")], &[]);
    let mut source = tokenizer;
    source.tokens[256] = "</s>".to_string();
    source.merges = Some(Vec::new());
    let tokenizer = source.build().unwrap();
    assert!(tokenizer.special().eos.is_empty());
    assert!(
        tokenizer.warnings().iter().any(|warning| warning.contains("no EOS")),
        "{:?}",
        tokenizer.warnings()
    );
}

#[test]
fn ids_that_do_not_exist_are_warned_about() {
    let source = GgufTokenizer { bos_id: Some(9999), add_bos: Some(true), ..chatml() };
    let tokenizer = source.build().unwrap();
    assert_eq!(tokenizer.special().bos, None);
    assert!(!tokenizer.special().add_bos);
    let warnings = tokenizer.warnings().join("\n");
    assert!(
        warnings.contains("tokenizer.ggml.bos_token_id is 9999") && warnings.contains("260 tokens"),
        "{warnings}"
    );
}

#[test]
fn ids_beyond_the_vocabulary_are_no_text() {
    let tokenizer = chatml().build().unwrap();
    assert_eq!(tokenizer.vocab_size(), 260);
    assert_eq!(tokenizer.decode(&ids(&[97, 260, u32::MAX, 98]), false), "ab");
    assert_eq!(tokenizer.piece_bytes(TokenId(260)), b"");
    assert_eq!(tokenizer.kind(TokenId(260)), TokenKind::Unused);
}

#[test]
fn unused_tokens_are_no_text() {
    let tokenizer = byte_level("gpt-2", &[], &[("[PAD0]", UNUSED)]).build().unwrap();
    assert_eq!(tokenizer.decode(&ids(&[256]), false), "");
}

#[test]
fn pieces_show_bytes() {
    let tokenizer = chatml().build().unwrap();
    assert_eq!(tokenizer.piece(TokenId(97)), "a");
    assert_eq!(tokenizer.piece(TokenId(0xE2)), "<0xE2>");
    assert_eq!(tokenizer.piece_bytes(TokenId(0xE2)), b"\xE2");
    assert_eq!(tokenizer.piece(TokenId(258)), "<|im_end|>");
}

#[test]
fn phi_3_swallows_white_space_after_its_special_tokens() {
    let name = |name: &str| GgufTokenizer { model_name: Some(name.to_string()), ..chatml() }.build().unwrap();
    assert_eq!(encode(&name("Phi-3 mini"), "<|im_end|>\n a"), ids(&[258, 97]));
    assert_eq!(encode(&name("Phi-3 mini"), "<|endoftext|>a"), ids(&[256, 97]));
    assert_eq!(encode(&name("Phi-3 mini"), "<|endoftext|> a"), ids(&[256, 32, 97]));
    assert_eq!(encode(&name("Qwen"), "<|im_end|> a"), ids(&[258, 32, 97]));
}

#[test]
fn sentencepiece_puts_a_space_before_text() {
    let pieces = [("\u{2581}", -1.0), ("a", -2.0), ("\u{2581}a", -3.0)];
    let tokenizer = sentencepiece(&pieces).build().unwrap();
    assert_eq!(encode(&tokenizer, "a"), ids(&[261]));
    assert_eq!(encode(&tokenizer, " a"), ids(&[259, 261]));
    assert_eq!(encode(&tokenizer, "a</s>a"), ids(&[261, 2, 261]));
    assert_eq!(encode(&tokenizer, ""), ids(&[]));
    assert_eq!(tokenizer.decode(&ids(&[261, 261]), true), "a a");
    assert_eq!(tokenizer.decode(&ids(&[1, 261]), true), "a");
    assert_eq!(tokenizer.decode(&ids(&[1, 261]), false), "<s> a");
    let plain = GgufTokenizer { add_space_prefix: Some(false), ..sentencepiece(&pieces) }.build().unwrap();
    assert_eq!(encode(&plain, "a"), ids(&[260]));
    assert_eq!(plain.decode(&ids(&[261]), true), " a");
}

#[test]
fn sentencepiece_spells_unknown_characters_in_bytes() {
    let mut source = GgufTokenizer { add_space_prefix: Some(false), ..sentencepiece(&[]) };
    assert_eq!(encode(&source.build().unwrap(), "é"), ids(&[3 + 0xC3, 3 + 0xA9]));
    // Without the bytes it takes the unknown token, once for each character.
    source.token_types.as_mut().unwrap()[3..].fill(UNUSED);
    assert_eq!(encode(&source.build().unwrap(), "éb"), ids(&[0, 0]));
}

/// llama.cpp's algorithm, naively: of all neighbours whose union is a token, merge those with the best score, of equal
/// scores the leftmost; repeat.
fn merge_naively(pieces: &HashMap<String, (u32, f32)>, text: &str) -> Vec<u32> {
    let mut symbols: Vec<String> = text.chars().map(String::from).collect();
    loop {
        let mut best: Option<(f32, usize)> = None;
        for i in 1..symbols.len() {
            if let Some((_, score)) = pieces.get(&(symbols[i - 1].clone() + &symbols[i]))
                && best.is_none_or(|(best, _)| *score > best)
            {
                best = Some((*score, i - 1));
            }
        }
        let Some((_, i)) = best else { break };
        let right = symbols.remove(i + 1);
        symbols[i] += &right;
    }
    let id = |symbol: &String| match pieces.get(symbol) {
        Some((id, _)) => vec![*id],
        None => symbol.bytes().map(|byte| 3 + u32::from(byte)).collect(),
    };
    symbols.iter().flat_map(id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sentencepiece_merges_the_best_score_first(
        pieces in prop::collection::btree_map("[abc]{1,4}", -4i8..4, 1..40),
        text in "[abcd]{0,24}",
    ) {
        let scored: Vec<(&str, f32)> =
            pieces.iter().map(|(piece, score)| (piece.as_str(), f32::from(*score) / 2.0)).collect();
        let source = GgufTokenizer { add_space_prefix: Some(false), ..sentencepiece(&scored) };
        let by_text: HashMap<String, (u32, f32)> =
            scored.iter().zip(259..).map(|((piece, score), id)| (piece.to_string(), (id, *score))).collect();
        let found = encode(&source.build().unwrap(), &text);
        prop_assert_eq!(found, ids(&merge_naively(&by_text, &text)));
    }

    #[test]
    fn byte_level_text_comes_back(text in any::<String>()) {
        let tokenizer = byte_level("llama-bpe", &[("a", "b"), (" ", " ")], &[]).build().unwrap();
        let ids = tokenizer.encode(&text, Specials::Text, false).unwrap();
        prop_assert_eq!(tokenizer.decode(&ids, true), text);
    }

    #[test]
    fn sentencepiece_text_comes_back(text in "[^\u{2581}]*") {
        let tokenizer = sentencepiece(&[("\u{2581}", -1.0), ("\u{2581}a", -2.0), ("ab", -3.0)]).build().unwrap();
        let ids = tokenizer.encode(&text, Specials::Text, false).unwrap();
        prop_assert_eq!(tokenizer.decode(&ids, true), text);
    }
}

/// A tokenizer.json with the bytes and the tokens `<s>` (256), `</s>` (257), `<|eot|>` (258).
fn tokenizer_json(post_processor: serde_json::Value) -> Vec<u8> {
    let source = byte_level("gpt-2", &[], &[]);
    let vocab: serde_json::Map<String, serde_json::Value> =
        source.tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
    let added = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    let file = json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 0},
        "added_tokens": [added(256, "<s>"), added(257, "</s>"), added(258, "<|eot|>")],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": post_processor,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    });
    serde_json::to_vec(&file).unwrap()
}

fn bos_template() -> serde_json::Value {
    json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [256], "tokens": ["<s>"]}},
    })
}

#[test]
fn hf_eos_is_the_union_and_conflicts_are_warned_about() {
    let file = tokenizer_json(json!(null));
    let tokenizer_config =
        json!({"eos_token": {"content": "<|eot|>"}, "bos_token": "<s>", "add_bos_token": true});
    let generation_config = json!({"eos_token_id": [257, 9999]});
    let config = json!({"eos_token_id": 257});
    let source = HfTokenizer {
        tokenizer_json: Some(&file),
        tokenizer_config: Some(&tokenizer_config),
        generation_config: Some(&generation_config),
        config: Some(&config),
        ..HfTokenizer::default()
    };
    let tokenizer = source.build().unwrap();
    let special = tokenizer.special();
    let eos: Vec<(u32, &[&str])> = special.eos.iter().map(|eos| (eos.id.0, eos.sources.as_slice())).collect();
    assert_eq!(
        eos,
        [
            (258, &["tokenizer_config.json eos_token"][..]),
            (257, &["generation_config.json eos_token_id", "config.json eos_token_id"][..]),
        ]
    );
    assert!(special.add_bos && special.bos == Some(TokenId(256)));
    let warnings = tokenizer.warnings().join("\n");
    assert!(warnings.contains("each of them ends a text") && warnings.contains("9999"), "{warnings}");
}

#[test]
fn hf_bos_comes_from_the_template() {
    let file = tokenizer_json(bos_template());
    let tokenizer_config = json!({"add_bos_token": false, "eos_token": "</s>"});
    let source = HfTokenizer {
        tokenizer_json: Some(&file),
        tokenizer_config: Some(&tokenizer_config),
        ..HfTokenizer::default()
    };
    let tokenizer = source.build().unwrap();
    assert_eq!(tokenizer.special().bos, Some(TokenId(256)));
    assert!(tokenizer.special().add_bos);
    assert!(tokenizer.warnings()[0].contains("add_bos_token"), "{:?}", tokenizer.warnings());
}

#[test]
fn hf_tokens_may_be_named_in_the_special_tokens_map() {
    let file = tokenizer_json(json!(null));
    let map = json!({"bos_token": "<s>", "eos_token": {"content": "</s>"}});
    let source =
        HfTokenizer { tokenizer_json: Some(&file), special_tokens_map: Some(&map), ..HfTokenizer::default() };
    let tokenizer = source.build().unwrap();
    assert_eq!(tokenizer.special().bos, Some(TokenId(256)));
    assert!(tokenizer.special().is_eos(TokenId(257)));
    assert!(!tokenizer.special().add_bos);
}

#[test]
fn hf_tokens_with_a_role_are_special() {
    // tokenizer.json calls `<|eot|>` ordinary and does not list the letter `!` as added.
    let mut file: serde_json::Value = serde_json::from_slice(&tokenizer_json(json!(null))).unwrap();
    file["added_tokens"][2]["special"] = json!(false);
    let file = serde_json::to_vec(&file).unwrap();
    let config = json!({"eos_token": "<|eot|>", "additional_special_tokens": ["!", "absent"]});
    let build = |config| HfTokenizer {
        tokenizer_json: Some(&file),
        tokenizer_config: config,
        ..HfTokenizer::default()
    };
    let plain = build(None).build().unwrap();
    assert!(!plain.is_special(TokenId(258)) && !plain.is_special(TokenId(u32::from(b'!'))));
    let tokenizer = build(Some(&config)).build().unwrap();
    assert!(tokenizer.is_special(TokenId(258)) && tokenizer.is_special(TokenId(u32::from(b'!'))));
    assert_eq!(tokenizer.encode("<|eot|>", Specials::Text, false).unwrap(), bytes("<|eot|>"));
    assert_eq!(encode(&tokenizer, "<|eot|>"), ids(&[258]));
}

#[test]
fn special_texts_lists_what_is_read_as_a_token() {
    let tokenizer = chatml().build().unwrap();
    let texts: Vec<&str> = tokenizer.special_texts().collect();
    assert_eq!(texts, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]);
    assert!(tokenizer.is_special(TokenId(257)) && !tokenizer.is_special(TokenId(259)));
}
