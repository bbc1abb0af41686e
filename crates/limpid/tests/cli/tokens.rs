//! `limpid tokenize` and `limpid detokenize`.

use super::harness::{expect_error, keys, limpid, limpid_with_stdin};
use serde_json::Value;

fn ids(json: &Value) -> String {
    json["ids"].as_array().unwrap().iter().map(Value::to_string).collect::<Vec<_>>().join(",")
}

#[test]
fn there_and_back() {
    for text in ["Once upon a time", " two  spaces\n", "Grüße, 狐 🦊", "<|im_start|>user\nHi<|im_end|>"]
    {
        let json = limpid(&["tokenize", "--no-bos", "--json", text]).json();
        assert_eq!(keys(&json), ["ids", "pieces", "count"]);
        let n = json["ids"].as_array().unwrap().len();
        assert_eq!((json["count"].as_u64(), json["pieces"].as_array().unwrap().len()), (Some(n as u64), n));
        assert_eq!(limpid(&["detokenize", &ids(&json)]).success().stdout, text);
        let back = limpid(&["detokenize", &ids(&json), "--json"]).json();
        assert_eq!((&back["text"], &back["count"]), (&text.into(), &n.into()));
    }
}

#[test]
fn bos_and_special_tokens() {
    let ids_of = |args: &[&str]| ids(&limpid(&[&["tokenize", "--json"], args].concat()).json());
    assert!(ids_of(&["Hi"]).starts_with("1,"));
    assert!(!ids_of(&["Hi", "--no-bos"]).starts_with("1,"));
    assert_eq!(ids_of(&["<|bos|><|im_end|>"]), "1,3", "BOS once, where the text has it too");
    let as_text = ids_of(&["<|im_end|>", "--no-parse-special", "--no-bos"]);
    assert!(as_text.contains(','), "{as_text}");
    assert_eq!(limpid(&["detokenize", "1,3"]).success().stdout, "<|bos|><|im_end|>");
    assert_eq!(limpid(&["detokenize", "1,3", "--skip-special"]).success().stdout, "");
}

#[test]
fn the_list_shows_ids_pieces_and_count() {
    let text = limpid(&["tokenize", "Once upon"]).success().stdout;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["1", "\"<|bos|>\""]);
    assert_eq!(*lines.last().unwrap(), format!("{} tokens", lines.len() - 1));
}

#[test]
fn bytes_that_are_half_a_character_are_shown() {
    let fox = limpid(&["tokenize", "--no-bos", "--json", "\u{1F98A}"]).json();
    assert_eq!(fox["pieces"], serde_json::json!(["<0xF0>", "<0x9F>", "<0xA6>", "<0x8A>"]));
    let whole = limpid(&["detokenize", &ids(&fox)]).success();
    assert_eq!((whole.stdout.as_str(), whole.stderr.as_str()), ("\u{1F98A}", ""));
    let half = ids(&fox).rsplitn(3, ',').last().unwrap().to_owned();
    let half = limpid(&["detokenize", &half]).success();
    assert_eq!(half.stdout, "\u{FFFD}");
    assert!(half.stderr.starts_with("limpid: warning: 2 bytes of these tokens"), "{}", half.stderr);
}

#[test]
fn one_token_is_singular() {
    assert!(limpid(&["tokenize", "--no-bos", "a"]).success().stdout.ends_with("\n1 token\n"));
}

#[test]
fn text_comes_from_standard_input_as_it_is() {
    let by_stdin = limpid_with_stdin(&["tokenize", "--json"], b"a\n").json();
    assert_eq!(by_stdin, limpid(&["tokenize", "--json", "a\n"]).json());
}

#[test]
fn ids_beyond_the_vocabulary_are_refused() {
    expect_error(&["detokenize", "1,4096"], 2, &["4096"]);
    expect_error(&["detokenize", "one"], 2, &["`one`"]);
}
