//! Names and words that have no place here.

use super::lexer::tokens;
use super::{Complaint, Source};
use crate::test::TEST_COMMAND;

/// Modules named so collect what has no home.
const BANNED_MODULES: &[&str] = &["util", "utils", "common", "misc", "helper", "helpers"];

/// Identifiers that mean two things in this field, and what to write.
const BANNED_NAMES: &[(&str, &str)] =
    &[("hidden_dim", "`hidden_size` (the model's width) or `intermediate_size` (the feed-forward layer's)")];
/// Fields, variables and parameters. An element of a tensor's list of dimensions may be `|dim|` in a closure.
const BANNED_FIELDS: &[(&str, &str)] =
    &[("dim", "the size that it is: `hidden_size`, `head_dim`, `rotary_dim`")];
/// Those of Llama 2's weights; two weights in a kernel may be called w0 and w1.
const BANNED_MODEL_NAMES: &[(&str, &str)] =
    &[("w1", "`gate_proj`"), ("w2", "`down_proj`"), ("w3", "`up_proj`"), ("wcls", "`lm_head`")];
const MODEL_FOLDERS: &[&str] = &["crates/engine/", "crates/limpid/"];

pub(super) fn names(source: &Source) -> Vec<Complaint> {
    if !source.is_rust() {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    let path = source.path.trim_end_matches(".rs");
    if let Some(name) = path.split('/').find(|part| BANNED_MODULES.contains(part)) {
        complaints.push((1, format!("`{name}` says nothing: name the file after what is in it")));
    }
    let model_names = if source.is_under(MODEL_FOLDERS) { BANNED_MODEL_NAMES } else { &[] };
    let tokens = tokens(&source.lines);
    for (i, token) in tokens.iter().enumerate() {
        let is_module = i > 0 && tokens[i - 1].text == "mod";
        if is_module && BANNED_MODULES.contains(&token.text) {
            complaints.push((
                token.line,
                format!("module `{}` says nothing: name it after what is in it", token.text),
            ));
        }
        let is_field = i > 0 && matches!(tokens[i - 1].text, "." | "let" | "mut")
            || tokens.get(i + 1).is_some_and(|next| next.text == ":");
        let field_names = if is_field { BANNED_FIELDS } else { &[] };
        let mut banned = BANNED_NAMES.iter().chain(model_names).chain(field_names);
        if let Some((name, better)) = banned.find(|(name, _)| *name == token.text) {
            complaints.push((token.line, format!("`{name}`: write {better}")));
        }
    }
    complaints
}

pub(super) fn unfinished(source: &Source) -> Vec<Complaint> {
    if !source.is_rust() {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (i, line) in source.lines.iter().enumerate() {
        let code: String = line.code.split_whitespace().collect();
        for mark in ["todo!(", "unimplemented!(", "dbg!("] {
            if code.contains(mark) {
                complaints.push((i + 1, format!("`{mark}...)`: write it, or leave it out")));
            }
        }
        if code.contains("#[ignore") {
            complaints
                .push((i + 1, "a test that does not run tests nothing: mend it or delete it".to_string()));
        }
        let mut words = line.comment.split(|c: char| !c.is_alphanumeric());
        if let Some(word) = words.find(|word| ["TODO", "FIXME", "XXX"].contains(word)) {
            complaints.push((i + 1, format!("{word}: do it, or file an issue and say here what holds now")));
        }
    }
    complaints
}

/// First folders of paths that exist only where someone happened to build.
const HOST_FOLDERS: &[&str] = &["work", "root", "home"];

pub(super) fn host_paths(source: &Source) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (i, line) in source.lines.iter().enumerate() {
        for folder in HOST_FOLDERS {
            let path = format!("/{folder}/");
            let is_path = |at: usize| {
                let before = line.text[..at].chars().next_back().unwrap_or(' ');
                !(before.is_alphanumeric() || "._-}$~*".contains(before))
            };
            if line.text.match_indices(&path).any(|(at, _)| is_path(at)) {
                complaints.push((
                    i + 1,
                    format!("{path} exists on one machine only: use a path relative to the repository"),
                ));
            }
        }
    }
    complaints
}

/// The README promises one command for all tests, and it is the one that the project's own check runs.
pub(super) fn test_command(source: &Source) -> Vec<Complaint> {
    let promises = source.path == "README.md" || source.path == ".ci/run";
    if !promises || source.text.contains(TEST_COMMAND) {
        return Vec::new();
    }
    vec![(1, format!("README.md and .ci/run both run the tests with `{TEST_COMMAND}`"))]
}
