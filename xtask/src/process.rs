//! Runs other programs: cargo, python, limpid, llama.cpp's.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Result, repository};

/// `cargo` in the repository's root: the one that runs us, where there is one.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(repository());
    command
}

/// Builds the release binary of `limpid`; returns its path.
pub(crate) fn build_limpid() -> Result<PathBuf> {
    let mut build =
        cargo(&["build", "--release", "--package", "limpid", "--message-format", "json-render-diagnostics"]);
    let output = build.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{}: {}", shown(&build), output.status).into());
    }
    let messages = String::from_utf8(output.stdout)?;
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let programs = messages.filter(|message| message["target"]["name"] == "limpid");
    let mut paths = programs.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    paths.next_back().ok_or_else(|| "cargo names no executable of limpid".into())
}

/// Shows the command, runs it with our terminal, and fails when it fails.
pub(crate) fn run(command: &mut Command) -> Result {
    let line = shown(command);
    eprintln!("+ {line}");
    let status = command.status().map_err(|e| format!("{line}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{line}: {status}").into()) }
}

/// Shows the command and runs it; what it prints is one JSON value.
pub(crate) fn json_of(command: &mut Command) -> Result<Value> {
    let stdout = watch(command)?.stdout;
    Ok(serde_json::from_str(&stdout).map_err(|e| format!("{}: no JSON: {e}", shown(command)))?)
}

/// What a program did.
pub(crate) struct Watched {
    pub stdout: String,
    /// From its start to its first output, or to its end if there was none.
    pub first_output: Duration,
    /// Resident bytes, mapped files included. 0 where the system does not tell.
    pub peak_bytes: u64,
}

/// Shows the command and runs it, without input, until it has ended well.
pub(crate) fn watch(command: &mut Command) -> Result<Watched> {
    let line = shown(command);
    eprintln!("+ {line}");
    let fail = |what: &dyn std::fmt::Display| format!("{line}: {what}");
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(|e| fail(&e))?;
    let mut stdout = child.stdout.take().ok_or_else(|| fail(&"no output"))?;
    let reader = thread::spawn(move || {
        let mut first = [0];
        let n_first = stdout.read(&mut first)?;
        let first_output = start.elapsed();
        let mut bytes = first[..n_first].to_vec();
        stdout.read_to_end(&mut bytes).map(|_| (bytes, first_output))
    });
    let mut peak_bytes = 0;
    // The peak only grows while the program lives, so the last look counts; a look costs microseconds.
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        peak_bytes = peak_resident_bytes(child.id()).unwrap_or(peak_bytes);
        thread::sleep(Duration::from_millis(5));
    };
    let read = reader.join().map_err(|_| fail(&"cannot read its output"))?;
    let (bytes, first_output) = read.map_err(|e: std::io::Error| fail(&e))?;
    if !status.success() {
        return Err(fail(&status).into());
    }
    Ok(Watched { stdout: String::from_utf8_lossy(&bytes).into_owned(), first_output, peak_bytes })
}

/// Linux's VmHWM of a process. `None` when it has ended or the system has no such file.
fn peak_resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_and_memory_are_measured() {
        assert_eq!(json_of(&mut shell("echo '{\"a\": 1}'")).unwrap()["a"], 1);
        let run = watch(&mut shell("sleep 0.2")).unwrap();
        assert!(!cfg!(target_os = "linux") || run.peak_bytes > 100_000, "{}", run.peak_bytes);
    }

    #[test]
    fn the_first_output_is_timed() {
        let run = watch(&mut shell("sleep 0.2; printf a; sleep 0.4; printf b")).unwrap();
        assert_eq!(run.stdout, "ab");
        assert!(run.first_output > Duration::from_millis(190), "{:?}", run.first_output);
        let silent = watch(&mut shell("sleep 0.2")).unwrap();
        assert!(silent.first_output > Duration::from_millis(190) && silent.stdout.is_empty());
    }

    #[test]
    fn failures_name_the_command() {
        for script in ["exit 3", "echo text"] {
            let error = json_of(&mut shell(script)).err().unwrap().to_string();
            assert!(error.starts_with(&format!("sh -c {script}: ")), "{error}");
        }
        let error =
            run(Command::new("sh").args(["-c", "exit 3"]).env("LEVEL", "low")).unwrap_err().to_string();
        assert_eq!(error, "LEVEL=low sh -c exit 3: exit status: 3");
    }
}
