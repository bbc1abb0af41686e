//! Damaged and hostile tokenizers are refused with an error that names the field; nothing panics.

mod tokenizer_support;

use std::fs;
use std::path::Path;

use limpid_engine::tokenizer::{GgufTokenizer, HfTokenizer, Specials, Tokenizer, TokenizerError};
use serde_json::{Value, json};
use tokenizer_support::{byte_level, chatml, sentencepiece};

/// Every word of `expected` is in the error's message.
fn refused(built: Result<Tokenizer, TokenizerError>, expected: &[&str]) {
    let message = built.err().expect("a bad tokenizer was accepted").to_string();
    for word in expected {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
}

#[test]
fn gguf_without_a_tokenizer() {
    refused(GgufTokenizer::default().build(), &["tokenizer.ggml.model", "missing"]);
    refused(GgufTokenizer { tokens: Vec::new(), ..chatml() }.build(), &["tokenizer.ggml.tokens", "missing"]);
    refused(GgufTokenizer { merges: None, ..chatml() }.build(), &["tokenizer.ggml.merges", "missing"]);
    refused(
        GgufTokenizer { scores: None, ..sentencepiece(&[]) }.build(),
        &["tokenizer.ggml.scores", "missing"],
    );
}

#[test]
fn unknown_names_are_refused_with_those_that_are_known() {
    let model = |model: &str| GgufTokenizer { model: Some(model.to_string()), ..chatml() };
    refused(model("bert").build(), &["tokenizer.ggml.model", "bert", "gpt2", "llama"]);
    let pre = |pre: &str| GgufTokenizer { pre: Some(pre.to_string()), ..chatml() };
    refused(
        pre("nosuch").build(),
        &["tokenizer.ggml.pre", "nosuch", "llama-bpe", "qwen2", "smollm", "gpt-2"],
    );
    // A name is not found inside another one.
    refused(pre("llama").build(), &["tokenizer.ggml.pre"]);
    refused(pre("").build(), &["tokenizer.ggml.pre"]);
}

#[test]
fn a_missing_pre_tokenizer_is_warned_about() {
    let tokenizer = GgufTokenizer { pre: None, ..chatml() }.build().unwrap();
    assert!(tokenizer.warnings()[0].contains("tokenizer.ggml.pre is missing"), "{:?}", tokenizer.warnings());
}

#[test]
fn gguf_arrays_of_other_lengths() {
    refused(
        GgufTokenizer { token_types: Some(vec![1; 3]), ..chatml() }.build(),
        &["tokenizer.ggml.token_type", "3 entries", "260"],
    );
    refused(
        GgufTokenizer { scores: Some(vec![0.0; 3]), ..sentencepiece(&[]) }.build(),
        &["tokenizer.ggml.scores", "3 entries", "259"],
    );
}

#[test]
fn gguf_merges_that_are_none() {
    let merges = |merge: &str| GgufTokenizer { merges: Some(vec![merge.to_string()]), ..chatml() };
    refused(merges("ab").build(), &["tokenizer.ggml.merges", "`ab`"]);
    refused(merges("").build(), &["tokenizer.ggml.merges"]);
    refused(merges("a b").build(), &["tokenizer.ggml.merges", "ab"]);
    refused(merges("a <|im_end|>").build(), &["tokenizer.ggml.merges"]);
    // Longer than any token.
    refused(merges(&format!("{0} {0}", "a".repeat(1000))).build(), &["tokenizer.ggml.merges"]);
}

#[test]
fn gguf_tokens_that_cannot_be() {
    let mut twice = chatml();
    twice.tokens[98] = twice.tokens[97].clone();
    refused(twice.build(), &["tokenizer.ggml.tokens", "twice", "97", "98"]);
    let mut nan = sentencepiece(&[("a", f32::NAN)]);
    refused(nan.build(), &["tokenizer.ggml.scores", "NaN", "259"]);
    nan = sentencepiece(&[]);
    nan.tokens[5] = "<0x+2>".to_string();
    refused(nan.build(), &["tokenizer.ggml.tokens", "<0x+2>"]);
    let mut no_way_out = GgufTokenizer { unknown_id: Some(9999), ..sentencepiece(&[]) };
    no_way_out.token_types.as_mut().unwrap()[10] = 1;
    refused(no_way_out.build(), &["tokenizer.ggml.tokens", "<0x00>"]);
}

#[test]
fn empty_tokens_are_holes() {
    let mut source = byte_level("gpt-2", &[], &[("", 4), ("", 1), ("x y", 4)]);
    source.eos_id = Some(256);
    let tokenizer = source.build().unwrap();
    let ids = tokenizer.encode("ax y", Specials::Parse, false).unwrap();
    assert_eq!(ids.iter().map(|id| id.0).collect::<Vec<_>>(), [97, 258]);
}

fn llama3() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/llama3/hf/tokenizer.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn build(file: &[u8]) -> Result<Tokenizer, TokenizerError> {
    HfTokenizer { tokenizer_json: Some(file), ..HfTokenizer::default() }.build()
}

/// tokenizer.json with one part replaced.
fn with(pointer: &str, part: Value) -> Result<Tokenizer, TokenizerError> {
    let mut file = llama3();
    *file.pointer_mut(pointer).unwrap() = part;
    build(&serde_json::to_vec(&file).unwrap())
}

#[test]
fn hf_without_a_tokenizer() {
    refused(HfTokenizer::default().build(), &["tokenizer.json", "missing"]);
    refused(build(b""), &["tokenizer.json", "line 1"]);
    refused(build(b"[]"), &["tokenizer.json"]);
    refused(build(b"{}"), &["tokenizer.json", "model"]);
}

#[test]
fn ids_in_configurations_must_be_ids() {
    let file = serde_json::to_vec(&llama3()).unwrap();
    let built = |config: &Value, generation_config: &Value| {
        let tokenizer = HfTokenizer {
            tokenizer_json: Some(&file),
            config: Some(config),
            generation_config: Some(generation_config),
            ..HfTokenizer::default()
        };
        tokenizer.build()
    };
    let sound = json!({});
    for wrong in [json!("</s>"), json!(2.5), json!(-1), json!([2, "3"]), json!({"id": 2}), json!(true)] {
        let wrong = json!({ "eos_token_id": wrong });
        refused(
            built(&sound, &wrong),
            &["generation_config.json eos_token_id", "a token id or a list of them"],
        );
        refused(built(&wrong, &sound), &["config.json eos_token_id", "a token id or a list of them"]);
    }
    refused(built(&json!({"bos_token_id": "<s>"}), &sound), &["config.json bos_token_id", "\"<s>\""]);
    for sound in [json!({"eos_token_id": null}), json!({"eos_token_id": 2}), json!({"eos_token_id": [2, 3]})]
    {
        assert!(built(&sound, &sound).is_ok());
    }
}

#[test]
fn special_tokens_and_switches_have_their_types() {
    let file = serde_json::to_vec(&llama3()).unwrap();
    let built = |config: Value| {
        HfTokenizer { tokenizer_json: Some(&file), tokenizer_config: Some(&config), ..HfTokenizer::default() }
            .build()
    };
    for key in ["bos_token", "eos_token", "unk_token", "pad_token"] {
        let field = format!("tokenizer_config.json {key}: found 5");
        refused(built(json!({ key: 5 })), &[&field, "a token's text"]);
    }
    refused(built(json!({"add_bos_token": "yes"})), &["tokenizer_config.json add_bos_token: found \"yes\""]);
    refused(built(json!({"add_eos_token": 1})), &["tokenizer_config.json add_eos_token", "true or false"]);
    let config = json!({"bos_token_id": 9999});
    let odd = HfTokenizer { tokenizer_json: Some(&file), config: Some(&config), ..HfTokenizer::default() };
    let warnings = odd.build().unwrap().warnings().join("\n");
    assert!(warnings.contains("config.json bos_token_id is 9999, but there are "), "{warnings}");
}

#[test]
fn hf_parts_that_are_not_known() {
    refused(with("/model/type", json!("WordPiece")), &["tokenizer.json: model", "WordPiece", "BPE"]);
    refused(with("/decoder", json!({"type": "CTC"})), &["tokenizer.json: decoder", "CTC", "ByteLevel"]);
    refused(with("/decoder", json!(null)), &["tokenizer.json: decoder", "missing"]);
    let fixed = json!({"type": "FixedLength", "length": 0});
    refused(with("/pre_tokenizer", fixed.clone()), &["tokenizer.json: pre_tokenizer", "FixedLength"]);
    let nested = json!({"type": "Sequence", "pretokenizers": [fixed]});
    refused(with("/pre_tokenizer", nested), &["tokenizer.json: pre_tokenizer", "FixedLength"]);
    let charsmap = json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"});
    refused(with("/normalizer", charsmap), &["tokenizer.json: normalizer", "Precompiled"]);
    let split = json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false});
    refused(with("/pre_tokenizer", split), &["tokenizer.json: pre_tokenizer"]);
}

#[test]
fn hf_models_that_cannot_be() {
    let long = "a".repeat(1000);
    refused(with("/model/merges", json!([[long, long]])), &["tokenizer.json: model"]);
    refused(with("/model/merges", json!(["a b c"])), &["tokenizer.json: model", "a b c"]);
    refused(with("/model/vocab", json!({"a": 0, "b": 4_000_000_000u32})), &["tokenizer.json: model"]);
    let mut file = llama3();
    file["model"]["merges"] = json!([]);
    file["model"]["vocab"]["zzz"] = json!(4_000_000_000u32);
    refused(build(&serde_json::to_vec(&file).unwrap()), &["tokenizer.json", "4000000000", "holes"]);
    file = llama3();
    file["model"]["vocab"]["zzz"] = json!(5);
    refused(build(&serde_json::to_vec(&file).unwrap()), &["tokenizer.json", "the id 5", "zzz"]);
    file = llama3();
    file["model"]["end_of_word_suffix"] = json!("</w>");
    refused(build(&serde_json::to_vec(&file).unwrap()), &["tokenizer.json: model", "</w>"]);
}

/// xorshift: the same mutations in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// What was accepted must also work.
fn use_it(built: Result<Tokenizer, TokenizerError>) -> bool {
    let Ok(tokenizer) = built else { return false };
    for text in ["Hello  world\n\t123 é", "<|eot_id|><s>▁ <unk>", "\u{1F98A}\u{0301}"] {
        for specials in [Specials::Parse, Specials::Text] {
            if let Ok(ids) = tokenizer.encode(text, specials, tokenizer.special().add_bos) {
                tokenizer.decode(&ids, true);
            }
        }
    }
    true
}

#[test]
fn mutated_tokenizer_json_never_panics() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for name in ["llama2", "llama3", "mistral", "qwen3", "smollm"] {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/goldens/{name}/hf/tokenizer.json"));
        let good = fs::read(path).unwrap();
        assert!(use_it(build(&good)));
        let mut n_accepted = 0;
        for _ in 0..400 {
            let mut bad = good.clone();
            for _ in 0..1 + random.below(3) {
                let at = random.below(bad.len());
                match random.below(4) {
                    0 => bad[at] = b"0123456789\"[]{},:aeltrn\\ "[random.below(25)],
                    1 => drop(bad.remove(at)),
                    2 => bad.insert(at, b"0123456789\"[]{},"[random.below(16)]),
                    _ => bad[at] ^= 1 << random.below(8),
                }
            }
            n_accepted += usize::from(use_it(build(&bad)));
        }
        assert!(n_accepted > 10, "{name}: only {n_accepted} mutations were accepted: they test little");
    }
}

#[test]
fn mutated_gguf_vocabularies_never_panic() {
    let mut random = Random(0xD1B5_4A32_D192_ED03);
    let pieces = [("\u{2581}", -1.0), ("\u{2581}H", -2.0), ("el", -3.0), ("lo", -4.0)];
    for source in [chatml(), byte_level("llama-bpe", &[("H", "e"), ("l", "l")], &[]), sentencepiece(&pieces)]
    {
        for _ in 0..500 {
            let mut bad = source.clone();
            let n = bad.tokens.len();
            match random.below(5) {
                0 => {
                    bad.tokens[random.below(n)] =
                        ["", "\u{2581}", "<0xFF>", "Hello", "\0"][random.below(5)].to_string()
                }
                1 => drop(bad.tokens.remove(random.below(n))),
                2 => bad.token_types.as_mut().unwrap()[random.below(n)] = random.below(9) as i32 - 1,
                3 => bad.scores = Some(vec![[f32::NAN, f32::INFINITY, -0.0, 1e30][random.below(4)]; n]),
                _ => bad.unknown_id = Some([0, 2, n as u64, u64::MAX][random.below(4)]),
            }
            use_it(bad.build());
        }
    }
}
