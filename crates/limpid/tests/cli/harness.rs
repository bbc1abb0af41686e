//! Starts the program and collects what it says.

use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// A prompt that the embedded model tells a story to.
pub(crate) const PROMPT: &str = "Tell me a story about a fox and a lamp.";

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_limpid"));
    command.args(args).env_remove("NO_COLOR");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    pub(crate) fn new(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        let status = output.status;
        let code = status.code().unwrap_or_else(|| panic!("the program does not end by itself: {status}"));
        Self { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Fails the test unless the command did what was asked.
    pub(crate) fn success(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self
    }

    /// The only JSON value on standard output.
    pub(crate) fn json(self) -> Value {
        let outcome = self.success();
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {}", outcome.stdout))
    }
}

pub(crate) fn limpid(args: &[&str]) -> Outcome {
    Outcome::new(command(args).output().expect("the program starts"))
}

pub(crate) fn limpid_with_stdin(args: &[&str], stdin: &[u8]) -> Outcome {
    let mut child = command(args).stdin(Stdio::piped()).spawn().expect("the program starts");
    child.stdin.take().expect("standard input is a pipe").write_all(stdin).expect("the program reads");
    Outcome::new(child.wait_with_output().expect("the program ends"))
}

/// One line that begins as all errors do, nothing on standard output, and this exit code.
pub(crate) fn expect_error(args: &[&str], code: i32, parts: &[&str]) {
    let outcome = limpid(args);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (code, ""), "{args:?}: {}", outcome.stderr);
    let line = outcome.stderr.strip_suffix('\n').expect("a line");
    assert!(line.starts_with("limpid: error: ") && !line.contains('\n'), "{args:?}: {line}");
    for part in parts {
        assert!(line.contains(part), "{args:?}: `{part}` is not in: {line}");
    }
}

/// The names in a JSON object, in order.
pub(crate) fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}
