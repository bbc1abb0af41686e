//! The documentation does not lie: every `console` block of the README, of docs/inference.md and of docs/sampling.md is
//! run in the repository's root, and what the program prints must be what stands there.
//!
//! A block is a list of `$ limpid ...` lines, each followed by its standard output. A line `...` stands for any lines,
//! `...` within a line for any text. Words are split as a shell does, with quotes and no escapes. Of other blocks
//! (`text`, `sh`) only chats and the summary of a run are looked at, without times and memory. `LIMPID_ISA` is passed
//! on: the output must be the same on every instruction set.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A command of a document and what should come out.
#[derive(Debug)]
struct Example<'a> {
    /// The line of the document that the command stands in, from 1 on.
    line: usize,
    command: &'a str,
    output: Vec<&'a str>,
}

#[test]
fn the_readme_shows_what_the_program_prints() {
    check("README.md", 5);
}

#[test]
fn the_tour_shows_what_the_program_prints() {
    check("docs/inference.md", 20);
}

#[test]
fn the_page_on_sampling_shows_what_the_program_prints() {
    check("docs/sampling.md", 20);
}

/// The numbers between the blocks, from the formulas that stand beside them.
#[test]
fn the_page_on_sampling_calculates_right() {
    let page = document("docs/sampling.md").replace('\n', " ");
    let logits: Vec<f64> = serde_json::from_str(&document("docs/six.json")).expect("a list");
    let sum: f64 = logits.iter().map(|l| l.exp()).sum();
    let p: Vec<f64> = logits.iter().map(|l| l.exp() / sum).collect();
    let entropy: f64 = p.iter().map(|p| -p * p.ln()).sum();
    let mean = logits.iter().sum::<f64>() / 6.0;
    let sigma = (logits.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / 6.0).sqrt();
    let distance = |i: usize| format!("{:.4}", (-p[i].ln() - entropy).abs());
    let (eta, root) = (0.3f64.sqrt() * (-entropy).exp(), 0.3f64.sqrt());
    for text in [
        format!("H = {entropy:.4} and ln 6 = {:.4}, so T = 0.5 + {:.4}", 6f64.ln(), entropy / 6f64.ln()),
        format!("{:.4} + {:.4} = {:.4} is less than 0.85", p[0], p[1], p[0] + p[1]),
        format!("0.1 * {:.4} = {:.4}:", p[0], 0.1 * p[0]),
        format!(
            "distances are {}, {}, {}, {}, {} and {}",
            distance(0),
            distance(1),
            distance(2),
            distance(3),
            distance(4),
            distance(5)
        ),
        format!("min(0.3, {root:.4} * {:.4}) = {eta:.4}", (-entropy).exp()),
        format!("sigma = {sigma:.4}, so with 1 the bound is {:.4}", logits[0] - sigma),
        format!("surprises here are {:.2}, {:.2}, {:.2}, ... bits", -p[0].log2(), -p[1].log2(), -p[2].log2()),
        format!("token 0 has p = {:.4}, so top_p = 0.7", p[0] / (p[0] + p[1])),
    ] {
        assert!(page.contains(&text), "docs/sampling.md lacks: {text}");
    }
}

/// Whose summary both documents show.
const SUMMARY_OF: [&str; 6] =
    ["run", "--seed", "1", "--max-tokens", "40", "Tell me a story about a fox and a lamp."];

#[test]
fn the_summary_shown_is_that_of_the_command() {
    let output = Command::new(env!("CARGO_BIN_EXE_limpid"))
        .args(SUMMARY_OF)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let found = String::from_utf8(output.stderr).expect("UTF-8");
    for name in ["README.md", "docs/inference.md"] {
        let text = document(name);
        let (_, block) = text.split_once("```text\nload ").unwrap_or_else(|| panic!("{name} has no summary"));
        let shown = format!("load {}", block.split("```").next().unwrap_or_default());
        assert_eq!(without_measured(&shown), without_measured(&found), "{name}");
    }
}

#[test]
fn the_chats_shown_are_what_the_program_says() {
    for (name, n_least) in [("README.md", 1), ("docs/inference.md", 1)] {
        let text = document(name);
        let blocks = text.split("```text\n$ limpid chat").skip(1);
        let blocks: Vec<_> = blocks.filter_map(|rest| rest.split("```").next()).collect();
        assert!(blocks.len() >= n_least, "{name}: {} chats found", blocks.len());
        blocks.into_iter().for_each(|block| check_chat(name, block));
    }
}

/// A chat: its options, then what is written after `> `, and what the program says to that.
fn check_chat(name: &str, block: &str) {
    let (options, rest) = block.split_once('\n').expect("a chat has lines");
    let (written, shown): (Vec<_>, Vec<_>) = rest.lines().partition(|line| line.starts_with("> "));
    let written: Vec<_> = written.iter().map(|line| &line[2..]).collect();
    // Both streams in one file: in the order in which a terminal has them.
    let both = tempfile::NamedTempFile::new().expect("a temporary file");
    let stream = || std::fs::OpenOptions::new().append(true).open(both.path()).expect("a temporary file");
    let mut child = Command::new(env!("CARGO_BIN_EXE_limpid"))
        .arg("chat")
        .args(words(options.trim()))
        .stdin(Stdio::piped())
        .stdout(stream())
        .stderr(stream())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, (written.join("\n") + "\n").as_bytes()).expect("the program reads");
    drop(stdin);
    assert!(child.wait().expect("the program ends").success());
    let found = std::fs::read_to_string(both.path()).expect("UTF-8");
    assert_eq!(without_measured(&shown.join("\n")), without_measured(&found), "{name}: limpid chat{options}");
}

/// The words, where a quantity of time, speed or memory is a `#`.
fn without_measured(summary: &str) -> Vec<String> {
    const UNITS: [&str; 6] = ["ms", "s", "tok/s", "B", "KiB", "MiB"];
    let mut words: Vec<String> = Vec::new();
    for word in summary.split_whitespace() {
        let is_unit = UNITS.contains(&word.trim_end_matches([',', ':', ')']));
        match words.last_mut().filter(|before| is_unit && before.parse::<f64>().is_ok()) {
            Some(number) => *number = "#".to_owned(),
            None => words.push(word.to_owned()),
        }
    }
    words
}

#[test]
fn the_pages_link_to_files_that_exist() {
    for name in ["docs/inference.md", "docs/sampling.md"] {
        check_links(name);
    }
}

fn check_links(name: &str) {
    let text = document(name);
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let (mut n_links, mut missing) = (0, Vec::new());
    for target in targets.filter(|target| !target.starts_with('#') && !target.contains("://")) {
        n_links += 1;
        if !repository().join("docs").join(target).exists() {
            missing.push(target);
        }
    }
    assert!(n_links > 5, "only {n_links} links found in {name}");
    assert!(missing.is_empty(), "{name} links to nothing: {missing:#?}");
}

#[test]
fn a_wrong_output_is_found() {
    let found = ["a", "b c d", "e", "f"];
    for right in
        [&found[..], &["a", "...", "f"], &["...", "b...d", "..."], &["a", "...", "b c d", "e", "f"], &["..."]]
    {
        assert_eq!(difference(right, &found), None, "{right:?}");
    }
    for (wrong, at) in [
        (&["a", "b", "e", "f"][..], (1, 1)),
        (&["a", "b c d", "e"], (3, 3)),
        (&["a", "b c d", "e", "f", "g"], (4, 4)),
        (&["a", "b...x", "..."], (1, 1)),
        (&["a", "...", "x"], (2, 4)),
        (&["a", "...", "e", "x"], (3, 3)),
        (&["a", "b c d...d", "..."], (1, 1)),
    ] {
        assert_eq!(difference(wrong, &found), Some(at), "{wrong:?}");
    }
}

#[test]
fn blocks_and_words_are_read() {
    let text = "x\n```console\n$ limpid a \"b c\"\nout\n$ limpid 'd \"e' f=\"g h\"\n```\n```text\n$ limpid no\n```\n";
    let examples = examples(text);
    let seen: Vec<_> = examples.iter().map(|example| (example.line, example.output.as_slice())).collect();
    assert_eq!(seen, [(3, &["out"][..]), (5, &[][..])]);
    assert_eq!(words(examples[0].command), ["limpid", "a", "b c"]);
    assert_eq!(words(examples[1].command), ["limpid", "d \"e", "f=g h"]);
}

/// Runs the examples of a document, of which there are at least `n_least`.
fn check(name: &str, n_least: usize) {
    let text = document(name);
    let examples = examples(&text);
    assert!(
        examples.len() >= n_least,
        "{name}: {} examples found, at least {n_least} expected",
        examples.len()
    );
    let reports: Vec<_> = examples.iter().filter_map(Example::failure).collect();
    assert!(reports.is_empty(), "{name} shows something else:\n\n{}", reports.join("\n"));
}

impl Example<'_> {
    /// What is wrong with it, for people to read.
    fn failure(&self) -> Option<String> {
        let words = words(self.command);
        assert_eq!(words[0], "limpid", "line {}: only limpid is run", self.line);
        let output = Command::new(env!("CARGO_BIN_EXE_limpid"))
            .args(&words[1..])
            .current_dir(repository())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .output()
            .expect("the program starts");
        let heading = format!("line {}: $ {}\n", self.line, self.command);
        if !output.status.success() {
            return Some(format!("{heading}{}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
        }
        let stdout = String::from_utf8(output.stdout).expect("output is UTF-8");
        // A document cannot show whether the last line ends with a line break.
        let stdout = stdout.strip_suffix('\n').unwrap_or(&stdout);
        let found: Vec<_> = if stdout.is_empty() { Vec::new() } else { stdout.split('\n').collect() };
        let (expected_at, found_at) = difference(&self.output, &found)?;
        let mut report = heading;
        for (sign, lines, at) in [('-', &self.output, expected_at), ('+', &found, found_at)] {
            for (i, line) in lines.iter().enumerate() {
                let mark = if i == at { "  <-- here they differ" } else { "" };
                writeln!(report, "{sign} {line}{mark}").expect("a string takes all");
            }
        }
        Some(report)
    }
}

/// Where the lines differ: the first expected line that is not there and the line found in its place. Either may be one
/// past the end.
fn difference(expected: &[&str], found: &[&str]) -> Option<(usize, usize)> {
    let mut at = 0;
    let mut lines = expected.iter().enumerate();
    while let Some((i, &line)) = lines.next() {
        if line == "..." {
            let (next, &line) = lines.next()?;
            match found[at..].iter().position(|found| line_matches(line, found)) {
                Some(n_skipped) => at += n_skipped + 1,
                None => return Some((next, found.len())),
            }
        } else if found.get(at).is_some_and(|found| line_matches(line, found)) {
            at += 1;
        } else {
            return Some((i, at));
        }
    }
    (at < found.len()).then_some((expected.len(), at))
}

/// Whether a line is as expected, where `...` matches any text.
fn line_matches(expected: &str, found: &str) -> bool {
    let Some((first, rest)) = expected.split_once("...") else { return expected == found };
    let Some(mut found) = found.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = rest.split("...").collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match found.find(part) {
            Some(at) => found = &found[at + part.len()..],
            None => return false,
        }
    }
    found.ends_with(last)
}

/// The commands of all `console` blocks.
fn examples(text: &str) -> Vec<Example<'_>> {
    let mut examples: Vec<Example<'_>> = Vec::new();
    let (mut in_fence, mut in_console, mut is_first) = (false, false, false);
    for (i, line) in text.lines().enumerate() {
        let number = i + 1;
        if line.starts_with("```") {
            in_console = !in_fence && line == "```console";
            in_fence = !in_fence;
            is_first = true;
        } else if in_console {
            match line.strip_prefix("$ ") {
                Some(command) => examples.push(Example { line: number, command, output: Vec::new() }),
                None if is_first => panic!("line {number}: a console block begins with a command"),
                None => examples.last_mut().expect("a command came first").output.push(line),
            }
            is_first = false;
        }
    }
    assert!(!in_fence, "a block is not closed");
    examples
}

/// The words of a command line.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in command.chars() {
        match (c, quote) {
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            (' ', None) => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    assert_eq!(quote, None, "a quote is not closed: {command}");
    words.extend(word);
    words
}

fn document(name: &str) -> String {
    let path = repository().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
