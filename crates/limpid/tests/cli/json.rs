//! docs/json.md names exactly the fields that `--json` prints, with their types.
//!
//! Each section of the page is one command. Its table is held against what the command prints in several runs, chosen
//! so that every field comes up.

use super::harness::{PROMPT, limpid};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

const PAGE: &str = include_str!("../../../../docs/json.md");
/// Stands for names that depend on the model.
const ANY_NAME: &str = "FORMAT";

/// Types by path.
type Fields = BTreeMap<String, BTreeSet<String>>;

/// A model of the engine's goldens.
fn golden(name: &str) -> String {
    format!("{}/../engine/tests/goldens/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The table of the section `command`.
fn documented(command: &str) -> Fields {
    let heading = format!("\n## `limpid {command} --json`\n");
    let (_, section) = PAGE.split_once(&heading).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut fields = Fields::new();
    for row in rows {
        let (path, rest) = row.split_once("` | ").unwrap_or_else(|| panic!("no path: {row}"));
        let (types, rest) = rest.split_once(" | ").unwrap_or_else(|| panic!("no type: {row}"));
        assert_eq!(rest.matches('|').count(), 2, "a unit and a meaning: {row}");
        let types = types.split(" or ").map(str::to_owned).collect();
        assert!(fields.insert(path.to_owned(), types).is_none(), "{command}: {path} twice");
    }
    fields
}

/// Adds the fields of a value whose own path is `path`. What stands on the page decides which objects have names that
/// depend on the model.
fn add_fields(path: &str, value: &Value, page: &Fields, found: &mut Fields) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let below = |name: &str| match path {
                    "" => name.to_owned(),
                    path => format!("{path}.{name}"),
                };
                let any = below(ANY_NAME);
                let path = if page.contains_key(&any) { any } else { below(name) };
                if let Some(type_name) = type_name(value) {
                    found.entry(path.clone()).or_default().insert(type_name);
                }
                add_fields(&path, value, page, found);
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| add_fields(&format!("{path}[]"), item, page, found));
        }
        _ => {}
    }
}

/// As the page spells it. `None` for an empty array, which tells nothing.
fn type_name(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "boolean".to_owned(),
        Value::Number(number) if number.is_u64() => "integer".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Object(_) => "object".to_owned(),
        Value::Array(items) => match items.first()? {
            Value::Array(pair) => {
                let types = pair.iter().filter_map(type_name).collect::<Vec<_>>();
                match types.iter().all(|name| name == &types[0]) {
                    true => format!("array of array of {}", types[0]),
                    false => format!("array of [{}]", types.join(", ")),
                }
            }
            item => format!("array of {}", type_name(item)?),
        },
    })
}

/// Holds the page's section against these runs of the command. `never_seen` are types that no test can bring about.
fn check(command: &str, runs: &[&[&str]], never_seen: &[(&str, &str)]) {
    let mut page = documented(command);
    let mut found = Fields::new();
    for run in runs {
        let json = limpid(&[&[command, "--json"], *run].concat()).json();
        add_fields("", &json, &page, &mut found);
    }
    for (path, type_name) in never_seen {
        let is_there = page.get_mut(*path).is_some_and(|types| types.remove(*type_name));
        assert!(is_there, "limpid {command}: {path} is documented to be {type_name}");
    }
    let only_in = |these: &Fields, those: &Fields| {
        let all = these.iter().flat_map(|(path, types)| types.iter().map(move |t| (path.clone(), t.clone())));
        let is_missing =
            |(path, t): &(String, String)| !those.get(path).is_some_and(|types| types.contains(t));
        all.filter(is_missing).collect::<Vec<_>>()
    };
    let (missing, invented) = (only_in(&found, &page), only_in(&page, &found));
    assert!(missing.is_empty(), "limpid {command} prints what docs/json.md does not have: {missing:#?}");
    assert!(invented.is_empty(), "docs/json.md has what limpid {command} does not print: {invented:#?}");
}

#[test]
fn run() {
    let typical = edited("generation_config.json", "{", FOLLOWED);
    let typical = typical.path().to_str().expect("UTF-8");
    let long = "a fox and a lamp ".repeat(40);
    let cut = [&long, "--context", "100", "--context-overflow", "truncate_middle", "--max-tokens", "3"];
    let beams = [PROMPT, "--num-beams", "2", "--num-return-sequences", "2", "--max-tokens", "3"];
    let logprobs = ["--logprobs", "2", "--prompt-logprobs", "1"];
    let asking = [&[PROMPT, "--n", "2", "--seed", "1", "--max-tokens", "3"], &logprobs[..]].concat();
    let runs: [&[&str]; 10] = [
        &["-m", typical, "--prompt-tokens", "1,5", "-n", "2"],
        &cut,
        &beams,
        &asking,
        &[PROMPT, "--seed", "1"],
        &[PROMPT, "--seed", "1", "--max-tokens", "4"],
        &[PROMPT, "--seed", "1", "--max-tokens", "1"],
        &[PROMPT, "--seed", "1", "--stop", " "],
        &[PROMPT, "--seed", "1", "--stop", "This"],
        &[PROMPT, "--seed", "1", "--stop-token-ids", "269"],
    ];
    check("run", &runs, &[("memory.measured_peak_bytes", "null")]);
}

#[test]
fn inspect() {
    let [window, spm] = ["qwen2_window/hf", "llama2/hf"].map(golden);
    // Files at odds about EOS, which is worth a warning; a tokenizer that cannot be used.
    let odd = edited("config.json", "\"eos_token_id\": 2", "\"eos_token_id\": 5");
    let unusable = edited("tokenizer.json", "\"BPE\"", "\"WordLevel\"");
    let [odd, unusable] = [&odd, &unusable].map(|folder| folder.path().to_str().expect("UTF-8"));
    let typical = edited("generation_config.json", "{", FOLLOWED);
    let typical = typical.path().to_str().expect("UTF-8");
    let runs: [&[&str]; 6] = [&["--context", "16,2k"], &[&window], &[&spm], &[odd], &[unusable], &[typical]];
    check("inspect", &runs, &[("fits", "null")]);
}

/// What of a model's files has a place among the defaults only where they set it.
const FOLLOWED: &str = r#"{"typical_p": 0.9, "suppress_tokens": [7], "bad_words_ids": [[8, 9]],"#;

/// A copy of a golden with one change in one file.
fn edited(file: &str, from: &str, to: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir(golden("llama2/hf")).expect("the golden") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, folder.path().join(path.file_name().expect("a name"))).expect("a copy");
    }
    let path = folder.path().join(file);
    let text = fs::read_to_string(&path).expect("a text");
    assert!(text.contains(from), "{file} has no {from}");
    fs::write(&path, text.replace(from, to)).expect("a file");
    folder
}

#[test]
fn bench() {
    let short = ["--repetitions", "1", "--threads", "1"];
    let runs: [&[&str]; 3] = [
        &["--prefill", "4", "--decode", "0"],
        &["--prefill", "0", "--decode", "2", "--no-limits", "--tpot-limit-ms", "0.001"],
        &["--prefill", "0", "--decode", "2", "--no-limits", "--tpot-limit-ms", "100000.5"],
    ];
    let runs = runs.map(|run| [run, &short].concat());
    check("bench", &runs.each_ref().map(Vec::as_slice), &[]);
}

#[test]
fn tokenize_and_detokenize() {
    check("tokenize", &[&["Once upon a time"]], &[]);
    check("detokenize", &[&["549,546"]], &[]);
}

#[test]
fn logits() {
    check("logits", &[&["Once upon a time", "--positions", "all", "--top", "3"]], &[]);
}

#[test]
fn sample() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("logits.json");
    fs::write(&path, "[1, 2, 3]").expect("a file");
    let path = path.to_str().expect("UTF-8");
    check("sample", &[&["--logits", path, "--top-k", "2", "--draws", "2"]], &[]);
}

#[test]
fn perplexity() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("text.txt");
    fs::write(&path, "Once upon a time").expect("a file");
    let text = path.to_str().expect("UTF-8");
    // A window of 3 tokens scores one, which has no standard error.
    check("perplexity", &[&[text, "--context", "3"], &[text, "--context", "5"]], &[]);
}

#[test]
fn every_section_is_checked() {
    let sections: Vec<_> = PAGE.lines().filter_map(|line| line.strip_prefix("## `limpid ")).collect();
    let sections: Vec<_> = sections.into_iter().filter(|&section| section != "batch`").collect();
    let commands = ["run", "inspect", "bench", "tokenize", "detokenize", "logits", "sample", "perplexity"];
    assert_eq!(sections, commands.map(|command| format!("{command} --json`")));
}
