//! Who may use whom: crates, the modules inside them, and `unsafe`.

use super::lexer::{Token, tokens};
use super::{Complaint, Source};

/// Where `unsafe` may stand: the numbers, the mapped file, and the tests that count allocations.
const UNSAFE_HOMES: &[&str] =
    &["crates/kernels/", "crates/engine/src/weights/", "crates/engine/tests/allocations"];

/// A crate's modules in order: each uses only those above it.
const LADDERS: &[(&str, &[&str])] = &[
    (
        "crates/kernels/src/",
        &["isa", "pool", "buffer", "simd", "quant", "matrix", "ops", "limits", "reference"],
    ),
    (
        "crates/engine/src/",
        &[
            "stats",
            "trace",
            "weights",
            "tokenizer",
            "chat",
            "sampling",
            "kv",
            "model",
            "evaluation",
            "scheduler",
            "decode",
            "engine",
        ],
    ),
];

/// What a crate must not depend on. The surfaces know the engine, the engine knows the kernels, never the other way.
const FORBIDDEN_DEPENDENCIES: &[(&str, &[&str])] = &[
    (
        "crates/kernels/Cargo.toml",
        &["limpid-engine", "limpid", "serde", "serde_json", "tokenizers", "tokio", "axum", "clap"],
    ),
    ("crates/engine/Cargo.toml", &["limpid", "tokio", "axum", "clap", "hyper", "reqwest"]),
    ("crates/limpid/Cargo.toml", &["xtask"]),
    // `cargo xtask tidy` runs while the product does not compile.
    ("xtask/Cargo.toml", &["limpid-kernels", "limpid-engine", "limpid"]),
];

pub(super) fn unsafe_home(source: &Source) -> Vec<Complaint> {
    // A test that counts allocations needs an allocator of its own, which is an unsafe trait.
    let file_name = source.path.rsplit('/').next().unwrap_or_default();
    let is_counting_allocator = source.is_test() && file_name.starts_with("alloc");
    if !source.is_rust() || source.is_under(UNSAFE_HOMES) || is_counting_allocator {
        return Vec::new();
    }
    let words = tokens(&source.lines).into_iter().filter(|token| token.text == "unsafe");
    words
        .map(|token| {
            (token.line, "`unsafe` lives in crates/kernels and the mapped file of weights/".to_string())
        })
        .collect()
}

pub(super) fn arrows(source: &Source) -> Vec<Complaint> {
    let Some((root, ladder)) = LADDERS.iter().find(|(root, _)| source.path.starts_with(root)) else {
        return Vec::new();
    };
    let parts: Vec<&str> = source.path[root.len()..].trim_end_matches(".rs").split('/').collect();
    let Some(own) = ladder.iter().position(|module| *module == parts[0]) else { return Vec::new() };
    // How many `super::` lead to the crate's root: one more in kv/pages.rs than in kv.rs or kv/mod.rs.
    let depth = parts.len() - usize::from(parts.ends_with(&["mod"]));
    let mut complaints = Vec::new();
    for (line, module) in uses_from_root(&tokens(&source.lines), depth) {
        if ladder.iter().position(|m| *m == module).is_some_and(|used| used > own) {
            complaints.push((
                line,
                format!(
                    "`{}` must not use `{module}`, which stands below it: move what both need up",
                    ladder[own]
                ),
            ));
        }
    }
    complaints
}

/// Line and first name of each path from the crate's root: `crate::a`, `crate::{a, b}`, `super::super::a`.
fn uses_from_root<'a>(tokens: &[Token<'a>], depth: usize) -> Vec<(usize, &'a str)> {
    let mut uses = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let n_supers = tokens[at..]
            .chunks(2)
            .take_while(|c| c.len() == 2 && c[0].text == "super" && c[1].text == "::")
            .count();
        let is_crate = tokens[at].text == "crate" && tokens.get(at + 1).is_some_and(|t| t.text == "::");
        at += if is_crate { 2 } else { 2 * n_supers };
        if is_crate || n_supers >= depth {
            uses.extend(heads(&tokens[at..]));
        }
        at += usize::from(!is_crate && n_supers == 0);
    }
    uses
}

/// The first name of a path, or of each path in a group in braces.
fn heads<'a>(tokens: &[Token<'a>]) -> Vec<(usize, &'a str)> {
    let Some(first) = tokens.first() else { return Vec::new() };
    if first.text != "{" {
        return vec![(first.line, first.text)];
    }
    let mut depth = 0;
    let mut names = Vec::new();
    for pair in tokens.windows(2) {
        match pair[0].text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(pair[0].text, "{" | ",") {
            names.push((pair[1].line, pair[1].text));
        }
    }
    names
}

pub(super) fn dependencies(source: &Source) -> Vec<Complaint> {
    let Some((_, forbidden)) = FORBIDDEN_DEPENDENCIES.iter().find(|(path, _)| *path == source.path) else {
        return Vec::new();
    };
    let mut complaints = Vec::new();
    let mut in_dependencies = false;
    for (i, line) in source.lines.iter().enumerate() {
        let text = line.text.trim();
        if text.starts_with('[') {
            in_dependencies = text.trim_end_matches(']').ends_with("dependencies");
        }
        let name = text.split(['=', '.', ' ']).next().unwrap_or_default();
        if in_dependencies && forbidden.contains(&name) {
            complaints
                .push((i + 1, format!("this crate must not depend on {name}; ARCHITECTURE.md says why")));
        }
    }
    complaints
}
