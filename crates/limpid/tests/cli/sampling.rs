//! What the sampling and stopping options do to a text.

use super::harness::{PROMPT, expect_error, limpid};
use serde_json::Value;

fn run_json(more: &[&str]) -> Value {
    limpid(&[&["run", PROMPT, "--json", "--seed", "1"], more].concat()).json()
}

#[test]
fn temperature_0_top_k_1_and_top_p_0_are_greedy() {
    let greedy = run_json(&["-n", "30", "--temperature", "0"]);
    for more in
        [&["--top-k", "1"][..], &["--top-p", "0"], &["--min-p", "1"], &["--temperature", "0", "--seed", "9"]]
    {
        let args = [&["run", PROMPT, "--json", "-n", "30"], more].concat();
        assert_eq!(limpid(&args).json()["token_ids"], greedy["token_ids"], "{more:?}");
    }
}

#[test]
fn a_stop_string_ends_the_text_before_it() {
    let plain = run_json(&["-n", "60"]);
    let text = plain["text"].as_str().unwrap();
    let (at, _) = text.match_indices(' ').nth(6).expect("a sentence");
    let stop = &text[at..at + 4];
    let at = text.find(stop).unwrap();
    let stopped = run_json(&["-n", "60", "--stop", "no such text", "--stop", stop]);
    assert_eq!(stopped["text"], text[..at]);
    assert_eq!(stopped["finish_reason"], "stop");
    let expected = serde_json::json!({"reason": "stop_string", "index": 1, "string": stop, "at": at});
    assert_eq!(stopped["stop"], expected);
    let included = run_json(&["-n", "60", "--stop", stop, "--include-stop"]);
    assert_eq!(included["text"], text[..at + stop.len()]);
}

#[test]
fn a_stop_token_ends_the_text() {
    let plain = run_json(&["-n", "20"]);
    let id = plain["token_ids"][7].as_u64().unwrap();
    let first = plain["token_ids"].as_array().unwrap().iter().position(|token| *token == id).unwrap();
    let stopped = run_json(&["-n", "20", "--stop-token-ids", &id.to_string()]);
    assert_eq!(stopped["token_ids"].as_array().unwrap().len(), first + 1);
    assert_eq!(stopped["stop"], serde_json::json!({"reason": "stop_token", "token_id": id}));
}

#[test]
fn eos_is_ignored_in_both_ways() {
    let plain = run_json(&[]);
    let n = plain["token_ids"].as_array().unwrap().len();
    assert_eq!(plain["stop"], serde_json::json!({"reason": "eos", "token_id": 3}));
    let n_more = (n + 5).to_string();
    let through = run_json(&["--ignore-eos", "-n", &n_more]);
    assert_eq!(through["stop"]["reason"], "max_tokens");
    assert_eq!(through["token_ids"].as_array().unwrap()[..n], plain["token_ids"].as_array().unwrap()[..]);
    let forbid = run_json(&["--ignore-eos=forbid", "-n", &n_more]);
    let is_eos = |id: &Value| [0, 3].iter().any(|eos| id == eos);
    assert!(!forbid["token_ids"].as_array().unwrap().iter().any(is_eos));
}

#[test]
fn min_tokens_keep_eos_away() {
    let n = run_json(&[])["token_ids"].as_array().unwrap().len();
    let longer = run_json(&["--min-tokens", &(n + 3).to_string()]);
    assert!(longer["token_ids"].as_array().unwrap().len() > n + 3);
}

#[test]
fn penalties_change_the_text() {
    let plain = run_json(&["-n", "60", "--temperature", "0"]);
    for more in [["--repetition-penalty", "1.5"], ["--frequency-penalty", "2"], ["--presence-penalty", "2"]] {
        let args = [&["-n", "60", "--temperature", "0"][..], &more].concat();
        assert_ne!(run_json(&args)["token_ids"], plain["token_ids"], "{more:?}");
    }
}

#[test]
fn a_default_without_a_place_says_that_it_is_one() {
    let refused = |args: &[&str], parts: &[&str]| expect_error(&[&["run", PROMPT], args].concat(), 2, parts);
    refused(
        &["--sampler-order", "top_k", "--top-k", "3"],
        &[
            "--temperature is 0.6 by default (GGUF general.sampling.*), allowed is 1 (off): sampler_order top_k has no",
        ],
    );
    refused(
        &["--sampler-order", "top_k", "--temperature", "0.6"],
        &["--temperature is 0.6, allowed is 1 (off)"],
    );
    let args = ["--sampler-order", "top_k", "--temperature", "1", "--top-p", "1", "-n", "1"];
    limpid(&[&["run", PROMPT], &args[..]].concat()).success();
}

#[test]
fn filters_that_do_nothing_are_noted() {
    let base = ["run", PROMPT, "-n", "1", "--temperature", "0"];
    let noted = |more: &[&str]| {
        let outcome = limpid(&[&base[..], more].concat()).success();
        outcome.stderr.lines().filter(|line| line.contains("nothing: the temperature is 0")).count()
    };
    assert_eq!(noted(&[]), 0, "what no option sets is no news");
    assert_eq!(noted(&["--top-p", "1", "--top-k", "0"]), 0);
    assert_eq!(
        noted(&["--repetition-penalty", "1.1", "--dry-multiplier", "1"]),
        0,
        "they hold for the largest too"
    );
    assert_eq!(noted(&["--top-p", "0.9", "--min-p", "0.1"]), 1);
    assert_eq!(noted(&["--top-p", "0.9", "--quiet"]), 0);
    let outcome = limpid(&[&base[..], &["--top-p", "0.9", "--xtc-probability", "1"]].concat()).success();
    let note = "limpid: --top-p, --xtc-probability change nothing: the temperature is 0, and no filter removes the \
                likeliest token\n";
    assert!(outcome.stderr.contains(note), "{}", outcome.stderr);
}

#[test]
fn breakers_of_dry_are_ids_or_texts() {
    let text = |breakers: &str| {
        let dry = ["--dry-multiplier", "5", "--dry-allowed-length", "1", "--dry-breakers", breakers];
        let base = ["run", "--json", "--raw", "Once upon a time", "-n", "40", "--temperature", "0"];
        limpid(&[&base[..], &dry].concat()).json()["token_ids"].clone()
    };
    assert_eq!(text("[]"), text("[9]"), "token 9 is no token of the text");
    assert_ne!(text("[\" \"]"), text("[]"));
    assert_eq!(text("[9, 8]"), text("9,8"));
    let refused = |breakers: &str, part: &str| {
        let args = ["run", PROMPT, "--dry-multiplier", "1", "--dry-breakers", breakers];
        expect_error(&args, 2, &["--dry-breakers", part]);
    };
    refused("[\"\"]", "texts that a token of the model has in it");
    refused("[1.5]", "a list of texts and token ids");
    refused("[1,", "a list of texts and token ids");
    refused("x", "`x` is no token id");
}
