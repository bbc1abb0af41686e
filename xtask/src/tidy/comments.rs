//! What must be said in a comment: a file's purpose, why `unsafe` is sound, why a lint is off.

use super::{Complaint, Source};

pub(super) fn purpose(source: &Source) -> Vec<Complaint> {
    let opens = source.lines.first().is_some_and(|line| line.text.starts_with("//! "));
    if !source.is_rust() || opens {
        return Vec::new();
    }
    vec![(1, "open the file with `//!` and its purpose: what lives here and what does not".to_string())]
}

/// Files of intrinsics, where one argument in the file's head ("the processor has them") holds for every block.
const INTRINSICS: &str = "crates/kernels/src/simd/";

pub(super) fn safety(source: &Source) -> Vec<Complaint> {
    let mut head = source.lines.iter().take_while(|line| line.comment.starts_with("//!"));
    if source.path.starts_with(INTRINSICS) && head.any(|line| line.comment.starts_with("//! SAFETY")) {
        return Vec::new();
    }
    let needs_argument = |code: &str| {
        let mut rest = code;
        while let Some(at) = rest.find("unsafe") {
            let after = rest[at + "unsafe".len()..].trim_start();
            if after.starts_with('{') || after.starts_with("impl") {
                return true;
            }
            rest = after;
        }
        false
    };
    let unsafe_lines = source.lines.iter().enumerate().filter(|(_, line)| needs_argument(&line.code));
    let unexplained = unsafe_lines.filter(|(i, _)| source.is_rust() && !says(source, *i, "SAFETY:"));
    unexplained
        .map(|(i, _)| (i + 1, "say above it in a `// SAFETY:` comment why it is sound".to_string()))
        .collect()
}

pub(super) fn allow(source: &Source) -> Vec<Complaint> {
    if !source.is_rust() {
        return Vec::new();
    }
    let is_allow = |code: &str| {
        let code: String = code.split_whitespace().collect();
        ["#[allow(", "#![allow(", "#[expect(", "#![expect("].iter().any(|attribute| code.contains(attribute))
    };
    let mut complaints = Vec::new();
    for (i, line) in source.lines.iter().enumerate() {
        let explained = line.code.contains("reason =") || !line.comment.is_empty() || says(source, i, "//");
        if is_allow(&line.code) && !explained {
            complaints.push((
                i + 1,
                "say why: `reason = \"...\"` in the attribute, or a comment above it".to_string(),
            ));
        }
    }
    complaints
}

/// Whether a comment on the line or directly above the statement that it belongs to contains the words.
fn says(source: &Source, line: usize, words: &str) -> bool {
    if source.lines[line].comment.contains(words) {
        return true;
    }
    for above in source.lines[..line].iter().rev() {
        let code = above.code.trim();
        let is_end_of_another = code.ends_with(['{', '}', ';', ',']);
        if above.comment.is_empty() && code.is_empty() || is_end_of_another && !code.starts_with("#[") {
            return false;
        }
        // Documentation explains the item, not what is switched off in it.
        let is_doc = above.comment.starts_with("///") || above.comment.starts_with("//!");
        if above.comment.contains(words) && !is_doc {
            return true;
        }
    }
    false
}
