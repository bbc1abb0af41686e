//! Pipes, signals and standard input.

use super::folder::{Folder, Shape};
use super::harness::{Outcome, PROMPT, command, expect_error, limpid, limpid_with_stdin};
use std::io::Read;
use std::process::{Child, Command, Stdio};

/// Slow enough to be stopped on its way: the whole text is computed for every token.
const LONG: [&str; 6] = ["run", PROMPT, "--no-kv-cache", "--ignore-eos", "-n", "900"];

/// A long run whose first word has come.
fn start_long(more: &[&str]) -> (Child, String) {
    let mut child = command(&[&LONG, more].concat()).spawn().unwrap();
    let mut first = [0; 4];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    (child, String::from_utf8_lossy(&first).into_owned())
}

fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_reader_that_leaves_ends_the_program_quietly() {
    let (mut child, _) = start_long(&[]);
    drop(child.stdout.take());
    let outcome = Outcome::new(child.wait_with_output().unwrap());
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
}

#[test]
fn help_and_tables_end_quietly_too() {
    for args in [&["run", "--help"][..], &["inspect"], &["logits", "a", "--top", "all", "--json"]] {
        let mut child = command(args).spawn().unwrap();
        drop(child.stdout.take());
        let outcome = Outcome::new(child.wait_with_output().unwrap());
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{args:?}");
    }
}

#[test]
fn ctrl_c_ends_the_text_and_still_prints_the_summary() {
    let (child, first) = start_long(&["--seed", "1"]);
    interrupt(&child);
    let outcome = Outcome::new(child.wait_with_output().unwrap());
    assert_eq!(outcome.code, 130, "{}", outcome.stderr);
    assert!(outcome.stderr.contains(" | cancelled | seed 1\n"), "{}", outcome.stderr);
    let whole = limpid(&["run", PROMPT, "--ignore-eos", "-n", "900", "--seed", "1", "-q"]).success().stdout;
    let text = first + &outcome.stdout;
    assert!(text.len() < whole.len() && whole.starts_with(&text), "the beginning of the text, to the byte");
}

#[test]
fn ctrl_c_while_loading_says_so() {
    let folder = Folder::new(Shape { n_layers: 12, hidden_size: 512, intermediate_size: 4096 });
    let child =
        command(&["run", "-m", folder.as_str(), "--prompt-tokens", "5", "--threads", "1"]).spawn().unwrap();
    // The thread that waits for Ctrl-C is started right before the model is loaded.
    let tasks = format!("/proc/{}/task", child.id());
    let listens = || {
        let tasks = std::fs::read_dir(&tasks).unwrap().map(|task| task.unwrap().path().join("comm"));
        tasks.filter_map(|path| std::fs::read_to_string(path).ok()).any(|name| name == "ctrl-c\n")
    };
    let start = std::time::Instant::now();
    while !listens() {
        assert!(start.elapsed() < std::time::Duration::from_secs(60), "nobody listens");
    }
    interrupt(&child);
    let outcome = Outcome::new(child.wait_with_output().unwrap());
    assert_eq!((outcome.code, outcome.stdout.as_str()), (130, ""), "{}", outcome.stderr);
    assert_eq!(outcome.stderr, "limpid: interrupted while loading the model: there is no text\n");
}

#[test]
fn ctrl_c_ends_a_json_run_with_its_object() {
    let (mut child, mut first) =
        (command(&[&LONG, &["--json"][..]].concat()).spawn().unwrap(), String::new());
    // Nothing is written before the end: give it time to begin.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    interrupt(&child);
    child.stdout.take().unwrap().read_to_string(&mut first).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let json: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!((&json["finish_reason"], &json["stop"]["reason"]), (&"cancelled".into(), &"cancelled".into()));
}

#[test]
fn the_prompt_can_come_from_standard_input_or_a_file() {
    let args = ["run", "--json", "-n", "8", "--seed", "1"];
    let by_argument = limpid(&[&args[..], &[PROMPT]].concat()).json();
    let by_stdin = limpid_with_stdin(&args, format!("{PROMPT}\n").as_bytes()).json();
    assert_eq!(
        by_stdin["prompt_token_ids"], by_argument["prompt_token_ids"],
        "the last line break is dropped"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{PROMPT}\r\n")).unwrap();
    let path = file.path().to_str().unwrap();
    let by_file = limpid(&[&args[..], &["--file", path]].concat()).json();
    assert_eq!(by_file["token_ids"], by_argument["token_ids"]);
}

#[test]
fn a_raw_text_keeps_its_last_line_break() {
    let args = ["run", "--raw", "--json", "-n", "1"];
    let with = limpid_with_stdin(&args, b"One day\n").json();
    let without = limpid_with_stdin(&args, b"One day").json();
    assert_ne!(with["prompt_token_ids"], without["prompt_token_ids"]);
}

#[test]
fn a_text_that_is_no_utf_8_is_refused() {
    let outcome = limpid_with_stdin(&["run"], b"caf\xe9 noir");
    assert_eq!(outcome.code, 1);
    assert_eq!(
        outcome.stderr,
        "limpid: error: standard input is not UTF-8 at byte 3; convert it, for example with iconv\n"
    );
}

#[test]
fn a_dash_is_standard_input_and_a_byte_order_mark_no_text() {
    let plain = limpid(&["tokenize", "--json", "Once upon"]).json();
    for args in
        [&["tokenize", "--json"][..], &["tokenize", "--json", "-"], &["tokenize", "--json", "-f", "-"]]
    {
        assert_eq!(limpid_with_stdin(args, b"\xef\xbb\xbfOnce upon").json(), plain, "{args:?}");
    }
    for args in [&["logits", "-"][..], &["logits", "--file", "-"], &["logits"]] {
        let by_stdin = limpid_with_stdin(args, b"Once upon").success().stdout;
        assert_eq!(by_stdin, limpid(&["logits", "Once upon"]).success().stdout, "{args:?}");
    }
}

#[test]
fn a_text_without_end_is_refused() {
    for args in
        [&["run", "-f", "/dev/zero"][..], &["tokenize", "-f", "/dev/zero"], &["logits", "-f", "/dev/zero"]]
    {
        expect_error(args, 1, &["/dev/zero is longer than 64.0 MiB", "give a shorter one"]);
    }
}

#[test]
fn the_summary_begins_a_line_where_both_streams_are_one_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let stream = || std::fs::OpenOptions::new().append(true).open(file.path()).unwrap();
    let mut child = command(&["run", PROMPT, "-n", "3", "--seed", "1"]);
    assert!(child.stdout(stream()).stderr(stream()).status().unwrap().success());
    let both = std::fs::read_to_string(file.path()).unwrap();
    let lines: Vec<_> = both.lines().collect();
    assert!(lines.len() == 2 && lines[1].starts_with("load "), "{both}");
}

#[test]
fn messages_go_nowhere_if_standard_error_is_closed() {
    let mut child = command(&["run", PROMPT, "-n", "3"]).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    let outcome = Outcome::new(child.wait_with_output().unwrap());
    assert_eq!(outcome.code, 0);
    assert!(!outcome.stdout.is_empty());
}

/// The slowest way to compute this many tokens: it takes several seconds on any x86-64 processor of today.
fn slow(args: &[&str], n_tokens: usize) -> Outcome {
    let ids = vec!["5"; n_tokens].join(",");
    let more =
        ["--prompt-tokens", &ids, "--compute", "f32", "--threads", "1", "--prefill-chunk", "400", "--json"];
    Outcome::new(command(&[args, &more].concat()).env("LIMPID_ISA", "portable").output().unwrap()).success()
}

#[test]
fn long_work_shows_progress_on_standard_error_and_nothing_on_standard_output() {
    let outcome = slow(&["run", "--no-kv-cache", "-n", "2", "--ignore-eos"], 700);
    assert_eq!(outcome.stdout.lines().count(), 1, "one line of JSON: {}", outcome.stdout);
    serde_json::from_str::<serde_json::Value>(&outcome.stdout).unwrap();
    for phase in ["prefill", "computing again"] {
        let total = if phase == "prefill" { 700 } else { 701 };
        let is_shown = |line: &str| {
            line.starts_with(&format!("limpid: {phase} ")) && line.contains(&format!(" of {total} tokens ("))
        };
        assert!(outcome.stderr.lines().any(is_shown), "{phase}: {}", outcome.stderr);
    }
}

#[test]
fn logits_of_the_last_position_show_how_far_the_prompt_is() {
    let outcome = slow(&["logits", "--top", "1"], 700);
    assert!(outcome.stdout.starts_with("[{\"pos\":699,"), "{}", outcome.stdout);
    let first = outcome.stderr.lines().next().expect("progress");
    assert!(first.starts_with("limpid: prefill ") && first.contains(" of 700 tokens ("), "{first}");
}
