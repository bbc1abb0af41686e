//! `limpid run`: streams, JSON, and what must not change a text.

use super::folder::{Folder, Shape};
use super::harness::{Outcome, PROMPT, command, keys, limpid};
use serde_json::Value;

fn run_json(more: &[&str]) -> Value {
    limpid(&[&["run", PROMPT, "--json", "--seed", "1"], more].concat()).json()
}

#[test]
fn the_text_is_on_standard_output_and_the_summary_is_one_line_on_standard_error() {
    let args = ["run", PROMPT, "--seed", "1"];
    let outcome = limpid(&args).success();
    let json = run_json(&[]);
    assert_eq!(outcome.stdout, json["text"].as_str().unwrap());
    assert!(outcome.stdout.split_whitespace().count() > 20, "{}", outcome.stdout);
    let summary = outcome.stderr.strip_suffix('\n').unwrap();
    assert!(!summary.contains('\n'), "{summary}");
    for part in
        ["load ", "TTFT ", "queue ", "tokenize ", "prefill ", "first sample ", "TPOT ", "tok/s", "memory "]
    {
        assert!(summary.contains(part), "`{part}` is not in {summary}");
    }
    assert!(summary.contains("predicted") && summary.contains("stop (EOS, token 3)"), "{summary}");
    assert!(summary.ends_with("seed 1") && !summary.contains('\x1b'), "{summary}");
}

#[test]
fn quiet_says_nothing_but_the_text() {
    for args in
        [&["run", PROMPT, "-n", "5"][..], &["logits", "a"], &["bench", "--prefill", "2", "--decode", "2"]]
    {
        for quiet in ["-q", "--quiet"] {
            let outcome = limpid(&[args, &[quiet]].concat()).success();
            assert_eq!(outcome.stderr, "", "{args:?}");
            assert!(!outcome.stdout.is_empty(), "{args:?}");
        }
    }
}

#[test]
fn json_is_one_object_with_the_documented_fields() {
    let json = run_json(&["-n", "20"]);
    let fields = [
        "text",
        "token_ids",
        "prompt_token_ids",
        "seed",
        "finish_reason",
        "stop",
        "usage",
        "timings",
        "memory",
        "defaults",
        "dropped",
        "prompt_logprobs",
        "sequences",
    ];
    assert_eq!(keys(&json), fields);
    let timings = [
        "load_ms",
        "ttft_ms",
        "queue_ms",
        "tokenize_ms",
        "prefill_ms",
        "first_sample_ms",
        "tpot_ms",
        "prefill_tok_per_s",
        "decode_tok_per_s",
    ];
    assert_eq!(keys(&json["timings"]), timings);
    assert!(json["timings"].as_object().unwrap().values().all(Value::is_number), "{}", json["timings"]);
    let part = |name: &str| json["timings"][name].as_f64().unwrap();
    let parts = part("queue_ms") + part("tokenize_ms") + part("prefill_ms") + part("first_sample_ms");
    assert!((parts - part("ttft_ms")).abs() < 0.01, "the parts add up to the whole");

    assert_eq!(json["seed"], 1);
    assert_eq!((&json["finish_reason"], &json["stop"]["reason"]), (&"length".into(), &"max_tokens".into()));
    let n_prompt = json["prompt_token_ids"].as_array().unwrap().len();
    let usage = &json["usage"];
    assert_eq!(
        (usage["prompt_tokens"].as_u64(), usage["completion_tokens"].as_u64()),
        (Some(n_prompt as u64), Some(20))
    );
    assert_eq!(json["token_ids"].as_array().unwrap().len(), 20);
    // Each token once; the last one is never an input.
    assert_eq!(usage["computed_tokens"].as_u64(), Some(n_prompt as u64 + 19));
    let temperature = &json["defaults"]["temperature"];
    assert_eq!(temperature.to_string(), r#"{"value":0.6,"source":"GGUF general.sampling.*"}"#);
    assert_eq!(json["defaults"]["min_p"]["source"], "Limpid's own");
}

/// Runs and gives the predicted and the measured peak, after a look at the sums.
fn peaks(args: &[&str]) -> (u64, u64) {
    let memory = &limpid(args).json()["memory"];
    let bytes = |name: &str| memory[name].as_u64().unwrap();
    let predicted = bytes("predicted_peak_bytes");
    let parts = ["weights_bytes", "kv_bytes", "workspace_bytes", "runtime_bytes"].map(bytes);
    assert_eq!(parts.iter().sum::<u64>(), predicted, "{args:?}: {memory}");
    (predicted, bytes("measured_peak_bytes"))
}

#[test]
fn predicted_memory_of_the_embedded_model_is_within_3_mib() {
    // Less than its weights: to forget a part of the sum is noticed.
    for more in [
        &["-n", "900", "--ignore-eos"][..],
        &["-n", "5"],
        &["-n", "5", "--compute", "f32"],
        &["-n", "5", "--kv-format", "q8_0"],
    ] {
        let (predicted, measured) = peaks(&[&["run", PROMPT, "--json", "--seed", "1"], more].concat());
        assert!(
            predicted.abs_diff(measured) <= 3 << 20,
            "{more:?}: {predicted} predicted, {measured} measured"
        );
    }
}

#[test]
fn predicted_memory_of_a_large_model_is_within_5_percent() {
    let folder = Folder::new(Shape { n_layers: 8, hidden_size: 512, intermediate_size: 2048 });
    let ids = vec!["5"; 100].join(",");
    let args = ["run", "-m", folder.as_str(), "--prompt-tokens", &ids, "-n", "20", "--ignore-eos", "--json"];
    let (predicted, measured) = peaks(&args);
    assert!(predicted > 100 << 20, "{predicted}");
    assert!(predicted.abs_diff(measured) * 20 <= measured, "{predicted} predicted, {measured} measured");
}

#[test]
fn a_seed_gives_the_same_text_again_and_another_seed_another() {
    let text = |seed| limpid(&["run", PROMPT, "-q", "-n", "40", "-s", seed]).success().stdout;
    assert_eq!(text("7"), text("7"));
    assert_ne!(text("7"), text("8"));
}

#[test]
fn a_drawn_seed_is_reported_and_repeats_the_text() {
    let drawn = limpid(&["run", PROMPT, "--json", "-n", "30"]).json();
    let seed = drawn["seed"].to_string();
    let again = limpid(&["run", PROMPT, "--json", "-n", "30", "--seed", &seed]).json();
    assert_eq!(drawn["token_ids"], again["token_ids"]);
    let other = limpid(&["run", PROMPT, "--json", "-n", "30"]).json();
    assert_ne!(drawn["seed"], other["seed"]);
}

#[test]
fn chunks_threads_and_the_kv_cache_change_no_byte() {
    for computing in [&["--compute", "fast"][..], &["--compute", "f32"], &["--kv-format", "q8_0"]] {
        let ids = |more: &[&str]| run_json(&[&["-n", "60"], computing, more].concat())["token_ids"].clone();
        let plain = ids(&["--threads", "1"]);
        for more in [
            &["--prefill-chunk", "1"][..],
            &["--prefill-chunk", "3"],
            &["--threads", "2"],
            &["--no-kv-cache"],
        ] {
            assert_eq!(ids(more), plain, "{computing:?} {more:?}");
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_text() {
    let args = ["run", PROMPT, "--json", "--seed", "1", "-n", "40"];
    let mut texts = Vec::new();
    for isa in ["portable", "avx2", "avx512", "avx512vnni", "avx512bf16"] {
        let outcome = Outcome::new(command(&args).env("LIMPID_ISA", isa).output().unwrap());
        if outcome.code == 0 {
            texts.push(outcome.json()["text"].clone());
        } else {
            // A machine that lacks one says so.
            assert!(outcome.code == 2 && outcome.stderr.contains("does not have it"), "{isa}: {outcome:?}");
        }
    }
    assert!(!texts.is_empty() && texts.iter().all(|text| *text == texts[0]), "{texts:?}");
}

#[test]
fn without_a_kv_cache_all_is_computed_again_and_nothing_is_kept() {
    let (with, without) = (run_json(&["-n", "10"]), run_json(&["-n", "10", "--no-kv-cache"]));
    assert_eq!(with["text"], without["text"]);
    let n_prompt = with["usage"]["prompt_tokens"].as_u64().unwrap();
    let computed = |json: &Value| json["usage"]["computed_tokens"].as_u64().unwrap();
    assert_eq!(computed(&with), n_prompt + 9);
    assert_eq!(computed(&without), (0..10).map(|i| n_prompt + i).sum::<u64>());
    assert_eq!(without["memory"]["kv_kept_bytes"], 0);
    let kept = with["memory"]["kv_kept_bytes"].as_u64().unwrap();
    assert!(kept > 0);
    for json in [&with, &without] {
        assert_eq!(json["memory"]["kv_step_bytes"], kept, "a step holds all keys and values either way");
    }
    let summary = limpid(&["run", PROMPT, "-n", "10", "--no-kv-cache"]).success().stderr;
    assert!(summary.contains(" computed in "), "{summary}");
    assert!(summary.contains("KV kept 0 B (a step holds 96.0 KiB)"), "{summary}");
}

#[test]
fn a_context_that_is_full_ends_the_text() {
    let json = run_json(&["--context", "40", "--ignore-eos"]);
    assert_eq!((&json["finish_reason"], &json["stop"]["reason"]), (&"length".into(), &"context".into()));
    assert_eq!(json["usage"]["total_tokens"], 40);
}

#[test]
fn a_system_message_and_token_ids() {
    let plain = run_json(&["-n", "5"]);
    let system = run_json(&["-n", "5", "--system", "You tell stories."]);
    assert_ne!(plain["prompt_token_ids"], system["prompt_token_ids"]);
    let ids = plain["prompt_token_ids"]
        .as_array()
        .unwrap()
        .iter()
        .map(Value::to_string)
        .collect::<Vec<_>>()
        .join(",");
    let by_ids = limpid(&["run", "--prompt-tokens", &ids, "--json", "--seed", "1", "-n", "5"]).json();
    assert_eq!(by_ids["token_ids"], plain["token_ids"]);
    assert_eq!(by_ids["prompt_token_ids"], plain["prompt_token_ids"]);
}

#[test]
fn raw_text_is_taken_as_it_is() {
    let raw = limpid(&["run", "--raw", "<|im_start|>user\nHi", "--json", "-n", "1"]).json();
    let ids = limpid(&["tokenize", "<|im_start|>user\nHi", "--json"]).json();
    assert_eq!(raw["prompt_token_ids"], ids["ids"]);
    let chat = limpid(&["run", "<|im_start|>user\nHi", "--json", "-n", "1"]).json();
    let n_start =
        |json: &Value| json["prompt_token_ids"].as_array().unwrap().iter().filter(|&id| *id == 2).count();
    assert_eq!(n_start(&raw), 1);
    assert_eq!(n_start(&chat), 2, "a message cannot begin a turn: the template's own two tokens");
}
