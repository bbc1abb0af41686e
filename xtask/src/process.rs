//! Runs other programs: cargo, python, limpid.

use std::ffi::OsStr;
use std::process::Command;

use crate::{Result, repository};

/// `cargo` in the repository's root: the one that runs us, where there is one.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(repository());
    command
}

/// Shows the command, runs it with our terminal, and fails when it fails.
pub(crate) fn run(command: &mut Command) -> Result {
    let line = shown(command);
    eprintln!("+ {line}");
    let status = command.status().map_err(|e| format!("{line}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{line}: {status}").into()) }
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let set = command.get_envs().filter_map(|(name, value)| Some(format!("{}={}", text(name), text(value?))));
    let called = std::iter::once(command.get_program()).chain(command.get_args()).map(text);
    set.chain(called).collect::<Vec<_>>().join(" ")
}

fn text(value: &OsStr) -> String {
    value.to_string_lossy().into_owned()
}
