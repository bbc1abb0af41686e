//! Several texts, beams, log-probabilities, and what happens at a limit.

use super::harness::{PROMPT, expect_error, limpid};
use serde_json::{Value, json};

fn run(args: &[&str]) -> Value {
    limpid(&[&["run", "--json", "--seed", "1", "--max-tokens", "8", PROMPT], args].concat()).json()
}

fn texts(json: &Value) -> Vec<&Value> {
    json["sequences"].as_array().expect("a list").iter().map(|sequence| &sequence["text"]).collect()
}

#[test]
fn the_first_of_several_texts_is_the_only_one() {
    let (one, three) = (run(&[]), run(&["--n", "3"]));
    assert_eq!(texts(&one), [&one["text"]]);
    assert_eq!(one["sequences"][0]["token_ids"], one["token_ids"]);
    assert_eq!(texts(&three).len(), 3);
    assert_eq!(three["text"], one["text"]);
    assert_eq!(three["usage"]["completion_tokens"], 24);
    let plain = limpid(&["run", "--seed", "1", "--max-tokens", "8", "--n", "3", PROMPT]).success().stdout;
    let expected: Vec<&str> = texts(&three).iter().map(|text| text.as_str().expect("a text")).collect();
    assert_eq!(plain, expected.join("\n\n"));
}

#[test]
fn the_best_of_several_come_sorted() {
    let best = run(&["--n", "2", "--best-of", "5", "--temperature", "1.5", "--logprobs", "0"]);
    let scores: Vec<f64> =
        (0..2).map(|i| best["sequences"][i]["score"].as_f64().expect("a number")).collect();
    assert!(scores[0] >= scores[1], "{scores:?}");
    for (i, score) in scores.iter().enumerate() {
        let logprobs = best["sequences"][i]["logprobs"].as_array().expect("asked for");
        let sum: f64 = logprobs.iter().map(|of| of["logprob"].as_f64().expect("a number")).sum();
        assert!((sum / logprobs.len() as f64 - score).abs() < 1e-5);
    }
    assert_eq!(best["usage"]["completion_tokens"], 40, "all that were made");
}

#[test]
fn one_beam_is_greedy_and_more_find_a_likelier_text() {
    let greedy = run(&["--temperature", "0", "--logprobs", "0"]);
    assert_eq!(run(&["--num-beams", "1", "--temperature", "0", "--logprobs", "0"])["text"], greedy["text"]);
    let beams = run(&["--num-beams", "4", "--num-return-sequences", "4"]);
    let total = |json: &Value| -> f64 {
        let logprobs = json["sequences"][0]["logprobs"].as_array().expect("asked for");
        logprobs.iter().map(|of| of["logprob"].as_f64().expect("a number")).sum()
    };
    assert!(total(&beams) >= total(&greedy));
    assert!((beams["sequences"][0]["score"].as_f64().expect("a number") - total(&beams)).abs() < 1e-4);
    let streamed = limpid(&["run", "--max-tokens", "8", "--num-beams", "4", PROMPT]).success().stdout;
    assert_eq!(Value::from(streamed), beams["text"]);
}

#[test]
fn echo_puts_the_prompt_before_the_text() {
    let raw = ["--raw", "--seed", "1", "--max-tokens", "4", "Once upon a time"];
    let json = |args: &[&str]| limpid(&[&["run", "--json"], args, &raw].concat()).json();
    let (plain, echo) = (json(&[]), json(&["--echo", "--logprobs", "1"]));
    let continued = format!("Once upon a time{}", plain["text"].as_str().expect("a text"));
    assert_eq!(echo["text"], json!(continued));
    assert_eq!(echo["token_ids"], plain["token_ids"]);
    let n_prompt = echo["prompt_token_ids"].as_array().expect("a list").len();
    assert_eq!(echo["prompt_logprobs"].as_array().expect("given too").len(), n_prompt - 1);
    let shown = limpid(&[&["run", "--echo"], &raw[..]].concat()).success().stdout;
    assert_eq!(shown, continued);
}

#[test]
fn limits_are_kept_and_told() {
    let long = "a fox and a lamp ".repeat(60);
    let base = ["run", "--raw", "--context", "80", "--seed", "1"];
    expect_error(&[&base[..], &[&long]].concat(), 1, &["the prompt has", "the context holds 80"]);
    let cut = limpid(&[&base[..], &["--json", "--context-overflow", "truncate_left", &long]].concat()).json();
    assert_eq!(cut["prompt_token_ids"].as_array().expect("a list").len(), 60, "a quarter is made free");
    assert_eq!(cut["dropped"]["start"], 0);
    let outcome = limpid(&[&base[..], &["--context-overflow", "truncate_left", &long]].concat()).success();
    assert!(
        outcome.stderr.contains("tokens of the prompt dropped, from position 0 on"),
        "{}",
        outcome.stderr
    );
    let cut = ["--context-overflow", "truncate_left", "--max-tokens", "80", "a"];
    let parts = [
        "--max-tokens is 80, and the context holds 80",
        "Lower --max-tokens below 80",
        "enlarge the context",
    ];
    expect_error(&[&base[..], &cut].concat(), 2, &parts);
    let late = limpid(&["run", "--json", "--ignore-eos=forbid", "--time-limit-s", "0.001", PROMPT]).json();
    let eos = limpid(&["run", "--raw", "--allowed-token-ids", "3", PROMPT]).success();
    assert!(
        eos.stderr.contains("no token with text") && eos.stderr.contains(" + 1 tokens"),
        "{}",
        eos.stderr
    );
    assert_eq!((&late["finish_reason"], &late["stop"]), (&json!("length"), &json!({"reason": "time_limit"})));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused = |args: &[&str], parts: &[&str]| expect_error(&[&["run", PROMPT], args].concat(), 2, parts);
    refused(&["--n", "0"], &["'--n <N>'", "a whole number from 1 to 64 is expected"]);
    refused(&["--n", "3", "--best-of", "2"], &["--best-of is 2, allowed is n (3) or more"]);
    refused(&["--num-beams", "65"], &["a whole number from 1 to 64"]);
    refused(&["--num-beams", "2", "--n", "2"], &["cannot be used with"]);
    refused(&["--num-beams", "2", "--temperature", "0.7"], &["--temperature is 0.7", "beams do not draw"]);
    refused(&["--num-beams", "2", "--length-penalty", "11"], &["--length-penalty is 11", "from -10 to 10"]);
    refused(&["--num-beams", "2", "--num-return-sequences", "3"], &["--num-return-sequences is 3"]);
    refused(&["--num-return-sequences", "3", "--num-beams", "1"], &["--num-return-sequences is more than"]);
    refused(&["--length-penalty", "1", "--num-beams", "1"], &["need --num-beams 2 or more"]);
    refused(&["--early-stopping", "never", "--num-beams", "1"], &["need --num-beams 2 or more"]);
    refused(&["--num-beams", "2", "--json", "--logprobs", "3"], &["--logprobs is 3", "0 with num_beams"]);
    refused(&["--length-penalty", "1"], &["--num-beams"]);
    refused(&["--logprobs", "1"], &["--json"]);
    refused(&["--json", "--logprobs", "101"], &["a whole number from 0 to 100"]);
    refused(&["--time-limit-s", "0"], &["a number of seconds from 0.001 to 1000000"]);
    refused(&["--context-overflow", "shift"], &["error, truncate_left, truncate_middle"]);
}
