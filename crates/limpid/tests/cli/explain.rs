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
    assert!(forbidden.contains("p 0.369130 by the model, 0 after all stages\n"), "{forbidden}");
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

/// Weights of attention by position, of each token that was chosen.
fn attention(of: &str, args: &[&str]) -> Vec<Vec<(usize, f64)>> {
    let run = ["run", "--explain", "--temperature", "0", "--attention", of];
    let text = limpid(&[&run[..], args].concat()).success().stdout;
    let tokens = text.split("\nattention of layer 5, ").skip(1);
    let weight = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    let weights = tokens.map(|token| token.lines().skip(1).map_while(weight).collect());
    weights.collect()
}

#[test]
fn a_choice_shows_what_it_attended_to() {
    let args = ["--prompt-tokens", "1,549", "-n", "2", "--threads", "2"];
    let by_position = |of| {
        let mut tokens = attention(of, &args);
        tokens.iter_mut().for_each(|weights| weights.sort_by_key(|of| of.0));
        assert_eq!(tokens.iter().map(Vec::len).collect::<Vec<_>>(), [2, 3], "of all positions so far");
        tokens.concat()
    };
    let (mean, heads) = (by_position("5"), ["5:0", "5:1", "5:2"].map(by_position));
    assert_ne!(heads[0], heads[1]);
    for (i, &(position, mean)) in mean.iter().enumerate() {
        assert!(heads.iter().all(|head| head[i].0 == position));
        let expected = heads.iter().map(|head| head[i].1).sum::<f64>() / 3.0;
        assert!((mean - expected).abs() < 2e-6, "{mean}, {expected}");
    }
    // Of more than five the most attended to; those of another text of the request are its own.
    let args = ["--raw", "The fox had a red lamp. The fox", "-n", "2", "--n", "2"];
    let tokens = attention("5", &args);
    assert_eq!(tokens.len(), 4);
    assert!(tokens.iter().all(|weights| weights.len() == 5 && weights.is_sorted_by(|a, b| a.1 >= b.1)));
    assert_eq!(tokens[2], tokens[3], "both are greedy");
    let (with, without) = (attention("5", &args), attention("5", &[&args[..], &["--no-kv-cache"]].concat()));
    assert_eq!(with, without);
}

#[test]
fn it_is_for_people() {
    expect_error(&["run", "a", "--explain", "--json"], 2, &["--explain", "--json"]);
    for (of, expected) in [
        ("6", "there is no layer 6, they are 0 to 5"),
        ("5:3", "layer 5 has no head 3, they are 0 to 2"),
        ("5:", "a layer such as 3, or a layer and a head such as 3:1, is expected"),
        ("-1", "a layer such as 3"),
    ] {
        expect_error(&["run", "a", "--explain", "--attention", of], 2, &["--attention", expected]);
    }
    expect_error(&["run", "a", "--attention", "1"], 2, &["--explain"]);
    expect_error(&["run", "a", "--explain", "--num-beams", "2", "--attention", "1"], 2, &["--num-beams"]);
}
