//! `limpid perplexity`, against its definition computed from what `limpid logits` prints.

use super::harness::{expect_error, limpid, limpid_with_stdin};
use serde_json::Value;
use std::fs;

const STORY: &str = "Once upon a time there was a little fox. The fox had a lamp. Every evening the fox took the lamp \
                     and went into the wood, where the owl was waiting. \"Good evening, owl,\" said the fox.";

/// -ln p of the tokens that are scored, from all logits of each window.
fn plain_scores(ids: &[u64], window: usize, bos: u64, more: &[&str]) -> Vec<f64> {
    let mut scores = Vec::new();
    for tokens in ids.chunks_exact(window) {
        let mut context = tokens.to_vec();
        context[0] = bos;
        let context = context.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        let args = ["logits", "--prompt-tokens", &context, "--positions", "all", "--top", "all", "--json"];
        let json = limpid(&[&args[..], more].concat()).json();
        for position in window / 2..window - 1 {
            let logits = json[position]["logits"].as_array().unwrap();
            let logits: Vec<f64> = logits.iter().map(|pair| pair[1].as_f64().unwrap()).collect();
            let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
            scores.push(sum.ln() - logits[tokens[position + 1] as usize]);
        }
    }
    scores
}

fn ids(text: &str) -> Vec<u64> {
    let json = limpid(&["tokenize", "--no-parse-special", text, "--json"]).json();
    json["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
}

fn measured(text: &str, more: &[&str]) -> Value {
    limpid_with_stdin(&[&["perplexity", "-", "--json"], more].concat(), text.as_bytes()).json()
}

#[test]
fn it_is_what_the_definition_says() {
    let ids = ids(STORY);
    for more in [&["--compute", "fast"][..], &["--compute", "f32"]] {
        let json = measured(STORY, &[more, &["--context", "12"]].concat());
        let scores = plain_scores(&ids, 12, 1, more);
        let n = scores.len() as f64;
        let mean = scores.iter().sum::<f64>() / n;
        let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / n;
        let is_close = |name: &str, b: f64| (json[name].as_f64().unwrap() - b).abs() <= 1e-5 * b;
        assert!(is_close("mean_nll", mean) && is_close("perplexity", mean.exp()), "{mean}: {json}");
        assert!(is_close("standard_error", mean.exp() * (variance / (n - 1.0)).sqrt()), "{json}");
        let n_windows = ids.len() / 12;
        for (name, count) in [
            ("text_tokens", ids.len()),
            ("windows", n_windows),
            ("scored_tokens", n_windows * 5),
            ("computed_tokens", n_windows * 11),
        ] {
            assert_eq!(json[name], count, "{name}: {json}");
        }
    }
}

#[test]
fn threads_and_chunks_change_nothing_and_the_kv_format_little() {
    let number = |more: &[&str]| {
        measured(STORY, &[&["--context", "20"], more].concat())["perplexity"].as_f64().unwrap()
    };
    let alone = number(&["--threads", "1"]);
    assert_eq!(number(&["--threads", "2", "--prefill-chunk", "3"]).to_bits(), alone.to_bits());
    let f32_pages = number(&["--kv-format", "f32"]);
    assert!(f32_pages != alone && (f32_pages / alone - 1.0).abs() < 0.01, "{f32_pages} and {alone}");
}

#[test]
fn special_tokens_are_plain_text() {
    let text = format!("<|im_end|> {STORY}");
    assert_eq!(measured(&text, &["--context", "10"])["text_tokens"], ids(&text).len());
}

#[test]
fn people_get_three_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("story.txt");
    fs::write(&path, STORY).unwrap();
    let text = limpid(&["perplexity", path.to_str().unwrap(), "-c", "16"]).success().stdout;
    let lines: Vec<_> = text.lines().collect();
    assert!(lines.len() == 3 && lines[0].starts_with("perplexity  ") && lines[0].contains(" +- "), "{text}");
    assert!(lines[1].contains("windows of 16") && lines[2].ends_with("tok/s"), "{text}");
}

#[test]
fn what_cannot_be_scored_is_refused() {
    let outcome = limpid_with_stdin(&["perplexity", "-"], STORY.as_bytes());
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""));
    assert!(outcome.stderr.contains("less than one window of 512") && outcome.stderr.contains("--context"));
    assert_eq!(limpid_with_stdin(&["perplexity", "-"], b"a\xff").code, 1);
    expect_error(&["perplexity", "no-such-text.txt"], 1, &["cannot read no-such-text.txt"]);
    expect_error(&["perplexity", "x", "--context", "2"], 2, &["--context", "fewer than 3"]);
    expect_error(
        &["perplexity", "x", "--context", "2k"],
        2,
        &["--context is 2048", "1024", "llama.context_length"],
    );
    expect_error(&["perplexity"], 2, &["<FILE>"]);
}

#[test]
fn a_text_beyond_the_limit_is_refused_before_it_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.txt");
    fs::File::create(&path).unwrap().set_len((64 << 20) + 1).unwrap();
    expect_error(&["perplexity", path.to_str().unwrap()], 1, &["longer than 64.0 MiB"]);
}
