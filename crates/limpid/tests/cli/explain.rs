//! `limpid run --explain`: how each token was chosen.

use super::harness::{expect_error, limpid};
use serde_json::Value;

const PROMPT: &str = "Tell me a story about a fox.";

/// What is explained, and what the same run gives as JSON.
fn explain(args: &[&str]) -> (String, Value) {
    let run = [&["run", PROMPT, "--seed", "3"], args].concat();
    let outcome = limpid(&[&run[..], &["--explain"]].concat()).success();
    assert!(outcome.stdout.ends_with('\n') && !outcome.stdout.contains('\x1b'), "{}", outcome.stdout);
    (outcome.stdout, limpid(&[&run[..], &["--json"]].concat()).json())
}

/// The ids after a word at the start of lines.
fn ids_after(text: &str, start: &str, word: &str) -> Vec<u64> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(start)?.split_once(word));
    lines.map(|(_, token)| token.split(' ').next().expect("an id").parse().expect("an id")).collect()
}

fn ids(text: &Value) -> Vec<u64> {
    text["token_ids"].as_array().expect("ids").iter().map(|id| id.as_u64().expect("an id")).collect()
}

#[test]
fn every_draw_is_shown_and_only_stages_that_changed_something() {
    let (text, json) =
        explain(&["-n", "3", "--top-k", "5", "--min-p", "0.0000001", "--suppress-tokens", "266"]);
    assert_eq!(ids_after(&text, "draw: u = ", " gives "), ids(&json));
    let of_first = text.split("token 2\n").next().expect("the first token");
    let stages: Vec<_> = of_first.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    assert_eq!(stages, ["logits", "suppress_tokens", "temperature", "top_p", "top_k", "draw"]);
    assert!(of_first.starts_with("token 1\nlogits: 4,096 left\n    549  0.213044  \"Once\"\n"), "{text}");
    assert!(of_first.contains("suppress_tokens: 4,095 left, removed 1: 266 \" a\"\n"), "{text}");
    assert!(of_first.contains("top_k: 5 left, removed 3: "), "{text}");
    let end =
        format!("text: {:?}\n  ended after 3 tokens: length (max_tokens)\n", json["text"].as_str().unwrap());
    assert!(text.contains(&end) && text.contains("  EOS at the last step: p "), "{text}");
}

#[test]
fn the_end_says_how_likely_it_was() {
    let home = ["--raw", "--temperature", "0", "--min-tokens", "26"];
    let run = [&["run", "They all laughed. Then they went home and had a", "--explain"], &home[..]].concat();
    let outcome = limpid(&run).success();
    assert!(outcome.stdout.contains("greedy: the likeliest is 0 \"<|endoftext|>\"\n"), "{}", outcome.stdout);
    let ending = outcome.stdout.split("\ntext: ").nth(1).expect("the text comes last");
    assert!(ending.contains("\n  ended after 27 tokens: stop (EOS, token 0)\n"), "{ending}");
    let forbidden = limpid(&[&run[..], &["-n", "27", "--ignore-eos=forbid"]].concat()).success().stdout;
    assert!(forbidden.contains("by the model, 0 after all stages"), "{forbidden}");
    assert!(forbidden.contains("ignore_eos: 4,094 left, removed 2: "), "{forbidden}");
}

#[test]
fn several_texts_are_told_apart() {
    let (text, json) = explain(&["-n", "2", "--n", "2"]);
    for (i, sequence) in json["sequences"].as_array().expect("two").iter().enumerate() {
        let tokens = text.split("\n\n").filter(|part| part.contains(&format!(" of text {}\n", i + 1)));
        let drawn: Vec<_> = tokens.flat_map(|part| ids_after(part, "draw: u = ", " gives ")).collect();
        assert_eq!(drawn, ids(sequence));
        assert!(
            text.contains(&format!("text {}: {:?}\n", i + 1, sequence["text"].as_str().unwrap())),
            "{text}"
        );
    }
    // The best of three, as the second one made or another: its own chance of EOS is found.
    let (text, json) = explain(&["-n", "2", "--best-of", "3"]);
    assert_eq!(text.matches("token 2 of text ").count(), 3);
    assert!(text.contains(&format!("text: {:?}\n", json["text"].as_str().unwrap())), "{text}");
    assert!(text.contains("  score: ") && text.contains("  EOS at the last step: p "), "{text}");
}

#[test]
fn beams_are_a_tree() {
    let (text, json) = explain(&["--num-beams", "3", "--num-return-sequences", "2", "-n", "6"]);
    assert!(
        text.starts_with("step 1\n  prompt   ln p  -1.546256  sum   -1.546256      549 \"Once\": beam 1\n")
    );
    assert_eq!(text.matches("step ").count(), 6);
    let (_, tree) = text.split_once("\ntree, with the sum of ln p\n").expect("a tree");
    for sequence in json["sequences"].as_array().expect("two") {
        let score = format!("{:.6}", sequence["score"].as_f64().expect("a score"));
        assert!(tree.contains(&format!(", finished, score {score}\n")), "{text}");
        assert!(tree.contains(&format!("\n  score: {score}\n  EOS at the last step: p ")), "{text}");
    }
    assert!(
        tree.starts_with("  -1.676400 \"Once upon a time,\"\n    -2.054535 \" there\", finished"),
        "{text}"
    );
    assert!(tree.contains(", given up\n"), "{text}");
}

#[test]
fn it_is_for_people() {
    expect_error(&["run", "a", "--explain", "--json"], 2, &["--explain", "--json"]);
}
