//! `cargo xtask tidy`: the rules of CONTRIBUTING.md that a program can check. It is also a test, so they hold.
//!
//! A rule is a function from one file to its findings, in the file of its subject; `RULES` lists them. Each has a test
//! with a snippet that breaks it. Rust is read by a lexer that knows comments, strings and braces, which is enough.

mod comments;
mod determinism;
mod lexer;
mod modules;
mod size;
mod words;

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Result, repository};
use lexer::Line;

#[derive(clap::Args)]
#[command(about = "Check the rules of CONTRIBUTING.md that a program can check")]
pub(crate) struct Args {
    /// The repository's root
    #[arg(long, default_value_os_t = repository())]
    root: PathBuf,
}

impl Args {
    /// The repository that this program was built from.
    pub(crate) fn here() -> Self {
        Self { root: repository() }
    }
}

pub(crate) fn run(args: &Args) -> Result {
    let findings = check_tree(&args.root)?;
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => Err("tidy found 1 place to mend".into()),
        n => Err(format!("tidy found {n} places to mend").into()),
    }
}

/// One file of the repository.
struct Source {
    /// From the root, with forward slashes.
    path: String,
    text: String,
    /// Of Rust files with code and comments told apart; else all text.
    lines: Vec<Line>,
}

impl Source {
    fn new(path: &str, text: String) -> Self {
        let lines = if path.ends_with(".rs") { lexer::read_rust(&text) } else { lexer::read_plain(&text) };
        Self { path: path.to_string(), text, lines }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// All of it is test code.
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs")
            || self.path.split('/').any(|part| part == "tests" || part == "benches")
    }

    fn is_under(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }
}

/// A rule's complaint: where, and what to do.
struct Finding {
    path: String,
    /// From 1.
    line: usize,
    rule: &'static str,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.message)
    }
}

/// Line (from 1) and message.
type Complaint = (usize, String);

struct Rule {
    name: &'static str,
    check: fn(&Source) -> Vec<Complaint>,
}

const RULES: &[Rule] = &[
    Rule { name: "line-length", check: size::line_length },
    Rule { name: "function-length", check: size::function_length },
    Rule { name: "file-length", check: size::file_length },
    Rule { name: "purpose", check: comments::purpose },
    Rule { name: "safety", check: comments::safety },
    Rule { name: "allow", check: comments::allow },
    Rule { name: "unsafe", check: modules::unsafe_home },
    Rule { name: "arrows", check: modules::arrows },
    Rule { name: "dependencies", check: modules::dependencies },
    Rule { name: "names", check: words::names },
    Rule { name: "unfinished", check: words::unfinished },
    Rule { name: "host-paths", check: words::host_paths },
    Rule { name: "test-command", check: words::test_command },
    Rule { name: "float-functions", check: determinism::float_functions },
    Rule { name: "environment", check: determinism::environment },
];

fn check(source: &Source) -> Vec<Finding> {
    let complaints_of = |rule: &'static Rule| {
        (rule.check)(source).into_iter().map(|(line, message)| Finding {
            path: source.path.clone(),
            line,
            rule: rule.name,
            message,
        })
    };
    RULES.iter().flat_map(complaints_of).collect()
}

/// Kinds of files that people write.
const EXTENSIONS: &[&str] = &["rs", "md", "toml", "py", "sh", "yml", "yaml"];
/// Folders that hold what tools or others made.
const SKIPPED_FOLDERS: &[&str] = &[".git", "target", "__pycache__", ".venv", "node_modules", "corpus"];

fn check_tree(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !SKIPPED_FOLDERS.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if is_written_by_people(&path, root) {
                let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
                findings.extend(check(&Source::new(&relative(&path, root), text)));
            }
        }
    }
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    Ok(findings)
}

fn is_written_by_people(path: &Path, root: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    EXTENSIONS.iter().any(|e| extension == *e) || path.starts_with(root.join(".ci"))
}

fn relative(path: &Path, root: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    path.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}
