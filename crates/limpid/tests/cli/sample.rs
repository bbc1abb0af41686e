//! `limpid sample`: logits from a file, the distribution after every stage, draws.

use super::harness::{expect_error, limpid, limpid_with_stdin};
use serde_json::{Value, json};
use std::io::Write;

const SIX: &str = "[3, 2, 1, 0.5, 0.5, -1]";

fn file(content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(content).expect("room");
    file
}

fn sample(logits: &str, more: &[&str]) -> Value {
    let file = file(logits.as_bytes());
    let path = file.path().to_str().expect("UTF-8");
    limpid(&[&["sample", "--json", "--logits", path], more].concat()).json()
}

fn ids(probs: &Value) -> Vec<u64> {
    probs.as_array().unwrap().iter().map(|pair| pair[0].as_u64().unwrap()).collect()
}

#[test]
fn every_stage_shows_what_it_kept_and_removed() {
    let json = sample(SIX, &["--top-p", "0.95", "--top-k", "2", "--suppress-tokens", "2"]);
    let stages = json["stages"].as_array().unwrap();
    let shown = stages.iter().map(|stage| json!([stage["name"], stage["kept"], stage["removed"]]));
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [
            json!(["logits", 6, []]),
            json!(["suppress_tokens", 5, [2]]),
            json!(["top_p", 4, [5]]),
            json!(["top_k", 2, [3, 4]]),
        ]
    );
    assert_eq!(ids(&stages[2]["probs"]), [0, 1, 3, 4], "likeliest first, equal ones by id");
    assert_eq!(json["final"], stages[3]["probs"]);
    let p = json["final"][0][1].as_f64().unwrap();
    assert!((p - 0.731_058_6).abs() < 1e-6, "{p}");
}

#[test]
fn the_past_is_what_penalties_and_bans_look_at() {
    let more = ["--prompt-tokens", "0,1", "--output-tokens", "0", "--repetition-penalty", "2"];
    let json =
        sample(SIX, &[&more[..], &["--no-repeat-ngram-size", "2", "--frequency-penalty", "1"]].concat());
    let last = json["stages"].as_array().unwrap().last().unwrap();
    assert_eq!(last["name"], "frequency_penalty");
    // 0: 3 / 2 - 1. 1 follows 0 a second time. 2: 1.
    assert_eq!(ids(&json["final"]), [2, 0, 3, 4, 5]);
    let minimum = ["--min-tokens", "2", "--stop-token-ids", "0", "--output-tokens", "5"];
    assert_eq!(ids(&sample(SIX, &minimum)["final"])[0], 1);
}

#[test]
fn a_seed_draws_the_same_tokens_again() {
    let draws = |seed| sample(SIX, &["--draws", "40", "--seed", seed])["draws"].clone();
    assert_eq!(draws("1").as_array().unwrap().len(), 40);
    assert_eq!(draws("1"), draws("1"));
    assert_ne!(draws("1"), draws("2"));
    let drawn = sample(SIX, &["--draws", "40"]);
    assert_eq!(draws(&drawn["seed"].to_string()), drawn["draws"]);
    let greedy = sample(SIX, &["--draws", "3", "--temperature", "0"]);
    let idle = file(SIX.as_bytes());
    let args = ["sample", "--logits", idle.path().to_str().unwrap(), "--temperature", "0", "--top-k", "2"];
    let outcome = limpid(&args).success();
    assert!(outcome.stderr.starts_with("limpid: --top-k changes nothing"), "{}", outcome.stderr);
    assert_eq!((&greedy["draws"], &greedy["final"]), (&json!([0, 0, 0]), &json!([[0, 1.0]])));
    assert_eq!(sample(SIX, &["--seed", "5"])["draws"], json!([]));
}

#[test]
fn numpy_files_and_standard_input_are_read() {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n";
    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    npy.extend((header.len() as u16).to_le_bytes());
    npy.extend(header.as_bytes());
    npy.extend([1.0f32, f32::NEG_INFINITY, 2.0].map(f32::to_le_bytes).concat());
    let file = file(&npy);
    let json = limpid(&["sample", "--json", "--logits", file.path().to_str().unwrap()]).json();
    assert_eq!(ids(&json["final"]), [2, 0]);
    assert_eq!(json["stages"][0]["kept"], 2, "-inf is a masked token");
    let text = limpid_with_stdin(&["sample", "--logits", "-", "--seed", "1"], SIX.as_bytes()).success();
    assert!(text.stdout.starts_with("logits: 6 left\n      0  0.59322"), "{}", text.stdout);
}

#[test]
fn what_cannot_be_sampled_is_refused() {
    let six = file(SIX.as_bytes());
    let six = six.path().to_str().unwrap();
    expect_error(&["sample"], 2, &["--logits"]);
    expect_error(&["sample", "--logits", "no-such-file"], 1, &["no-such-file"]);
    expect_error(
        &["sample", "--logits", six, "--prompt-tokens", "6"],
        2,
        &["--prompt-tokens is 6", "from 0 to 5"],
    );
    let breakers = ["--dry-multiplier", "1", "--dry-breakers", "[\"a\"]"];
    let no_texts = "there is no model here whose tokens have texts";
    expect_error(
        &[&["sample", "--logits", six], &breakers[..]].concat(),
        2,
        &["--dry-breakers is \"a\"", no_texts],
    );
    expect_error(&["sample", "--logits", six, "--top-k", "-1"], 2, &["0 switches it off"]);
    let all = "0,1,2,3,4,5";
    expect_error(&["sample", "--logits", six, "--suppress-tokens", all], 2, &["fewer tokens than there are"]);
    let forbidden = ["--stop-token-ids", all, "--min-tokens", "1"];
    expect_error(&[&["sample", "--logits", six], &forbidden[..]].concat(), 1, &["no token is left"]);
    for (content, part) in [
        ("[1, NaN]", "token 1 has the logit NaN; give numbers up to 1e30"),
        ("[1, 1e39]", "number 1, counted from 0, is 1e39; give numbers up to 1e30"),
        ("[]", "there are no logits"),
        ("[1, x]", "number 1 of the array, counted from 0, is `x`"),
    ] {
        let file = file(content.as_bytes());
        expect_error(&["sample", "--logits", file.path().to_str().unwrap()], 1, &[part]);
    }
}
