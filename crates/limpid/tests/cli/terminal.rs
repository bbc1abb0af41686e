//! `limpid chat` on a terminal: lines are edited, Ctrl-C stops an answer, and the terminal is left as it was.
//!
//! The terminal is a pseudo-terminal whose one end is the program's and whose other end is the test's. `setsid --ctty`
//! makes it the program's own, so that its keys send signals.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::tcgetattr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nothing that is waited for takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The prompt, once a line is being edited.
const READY: &str = "> \r\x1b[2C\x1b[?2026l";
const ENTER: &str = "\r";
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const UP: &str = "\x1b[A";

/// The slowest way to compute: an answer takes long enough to be stopped on its way.
const SLOWLY: [&str; 6] = ["--compute", "f32", "--threads", "1", "--ignore-eos=forbid", "--no-history"];

/// The program gets its own end only.
const FLAGS: OpenptFlags = OpenptFlags::RDWR.union(OpenptFlags::NOCTTY).union(OpenptFlags::CLOEXEC);

struct Terminal {
    test_end: File,
    program_end: OwnedFd,
    modes_before: String,
    child: Child,
    /// All that was shown, and how much of it was expected.
    shown: String,
    n_expected: usize,
    state: TempDir,
}

impl Terminal {
    fn start(args: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), args)
    }

    /// With the history of an earlier one.
    fn start_in(state: TempDir, args: &[&str]) -> Self {
        let test_end = openpt(FLAGS).unwrap();
        grantpt(&test_end).unwrap();
        unlockpt(&test_end).unwrap();
        let program_end = ioctl_tiocgptpeer(&test_end, FLAGS).unwrap();
        let stream = || Stdio::from(program_end.try_clone().unwrap());
        let child = Command::new("setsid")
            .args(["--ctty", env!("CARGO_BIN_EXE_limpid")])
            .args(args)
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .env("LIMPID_ISA", "portable")
            .env("XDG_STATE_HOME", state.path())
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap();
        let modes_before = modes(&program_end);
        let (shown, n_expected) = (String::new(), 0);
        Self { test_end: test_end.into(), program_end, modes_before, child, shown, n_expected, state }
    }

    /// A chat that waits for its first message.
    fn ready(args: &[&str]) -> Self {
        let mut terminal = Self::start(args);
        terminal.expect(READY);
        terminal
    }

    fn press(&mut self, keys: &str) {
        self.test_end.write_all(keys.as_bytes()).unwrap();
    }

    /// Writes a line and waits until the next one can be written.
    fn say(&mut self, line: &str) -> String {
        self.press(line);
        self.press(ENTER);
        self.expect(READY)
    }

    /// Waits until this is shown after what was expected before. What was shown up to there.
    fn expect(&mut self, text: &str) -> String {
        let start = Instant::now();
        loop {
            let new = &self.shown[self.n_expected..];
            if let Some(at) = new.find(text) {
                let before = new[..at].to_owned();
                self.n_expected += at + text.len();
                return before;
            }
            assert!(start.elapsed() < PATIENCE, "{text:?} is not shown: {:?}", self.shown);
            self.read();
        }
    }

    fn read(&mut self) {
        let mut fds = [PollFd::new(&self.test_end, PollFlags::IN)];
        let soon = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        if poll(&mut fds, Some(&soon)).unwrap() > 0 {
            let mut bytes = [0; 4096];
            let n = self.test_end.read(&mut bytes).unwrap();
            self.shown += &String::from_utf8_lossy(&bytes[..n]);
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Waits for the program's end: its status, and whether the terminal's modes are those of before.
    fn end(mut self) -> (ExitStatus, bool, String) {
        let start = Instant::now();
        let status = loop {
            self.read();
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "the program does not end: {:?}", self.shown);
        };
        self.read();
        (status, modes(&self.program_end) == self.modes_before, self.shown.clone())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn modes(terminal: impl AsFd) -> String {
    format!("{:?}", tcgetattr(terminal).unwrap())
}

#[test]
fn a_chat_is_edited_and_remembered() {
    let mut chat = Terminal::ready(&["chat", "-n", "2", "--seed", "1"]);
    chat.say("abc\x7f\x7f\x1b[Dx");
    chat.say("two\\\rlines");
    chat.say("\x1b[200~pasted \\\rlines\x1b[201~");
    chat.say("\"\"\"\r/block\r\"\"\"");
    let path = chat.state.path().join("limpid/history");
    let history = std::fs::read_to_string(&path).unwrap();
    let lines = ["#V2", "xa", "two\\nlines", "pasted \\\\\\nlines", "\"\"\"\\n/block\\n\"\"\""];
    assert_eq!(history.lines().collect::<Vec<_>>(), lines);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let saved = chat.state.path().join("chat.json");
    chat.say(&format!("/save {}", saved.display()));
    let saved: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(saved).unwrap()).unwrap();
    let messages = saved["messages"].as_array().unwrap().iter().step_by(2);
    let messages: Vec<_> = messages.map(|message| message["content"].as_str().unwrap()).collect();
    assert_eq!(messages, ["xa", "two\nlines", "pasted \\\nlines", "/block"]);
    chat.press(&format!("/quit{ENTER}"));
    let state = std::mem::replace(&mut chat.state, tempfile::tempdir().unwrap());
    assert!(chat.end().0.success());
    let mut next = Terminal::start_in(state, &["chat", "-n", "2"]);
    next.expect(READY);
    for shown in ["/quit", "/save ", "\"\"\""] {
        next.press(UP);
        next.expect(shown);
    }
}

#[test]
fn every_way_out_leaves_the_terminal_as_it_was() {
    let ends = |args: &[&str], keys: &str| {
        let mut chat = Terminal::ready(&[&["chat", "--no-history"], args].concat());
        chat.press(keys);
        let (status, is_same, shown) = chat.end();
        assert!(is_same, "{keys:?}: {shown:?}");
        assert!(shown.ends_with('\n'), "the next line begins at its left: {shown:?}");
        status
    };
    assert_eq!(ends(&[], &format!("/quit{ENTER}")).code(), Some(0));
    assert_eq!(ends(&[], CTRL_D).code(), Some(0));
    let mut chat = Terminal::ready(&["chat", "--no-history"]);
    chat.press(&format!("a{CTRL_C}"));
    assert_eq!(chat.expect(READY).matches("limpid: ").count(), 0, "the line is gone, and that is all");
    chat.press(CTRL_D);
    let (status, is_same, shown) = chat.end();
    assert!(is_same && status.success(), "{status} {shown:?}");
    for (name, number) in [("-TERM", 15), ("-HUP", 1)] {
        let mut chat = Terminal::ready(&["chat", "--no-history"]);
        chat.press("abc");
        chat.expect("abc");
        chat.signal(name);
        let (status, is_same, shown) = chat.end();
        assert!(is_same && status.signal() == Some(number), "{name}: {status} {shown:?}");
        assert!(shown.ends_with('\n'), "{shown:?}");
        assert!(shown.contains("abc\x1b[?2004l"), "pasting is as it was: {shown:?}");
    }
}

#[test]
fn a_signal_during_an_answer_leaves_the_terminal_as_it_was() {
    let mut chat = Terminal::ready(&[&["chat"], &SLOWLY[..]].concat());
    chat.press(&format!("Tell me a story.{ENTER}"));
    chat.expect("\x1b[?2004l");
    chat.expect("a");
    chat.signal("-TERM");
    let (status, is_same, shown) = chat.end();
    assert!(is_same && status.signal() == Some(15), "{status} {shown:?}");
}

#[test]
fn a_terminal_that_goes_away_ends_the_chat() {
    let mut chat = Terminal::ready(&["chat", "--no-history"]);
    chat.test_end = File::open("/dev/null").unwrap();
    let start = Instant::now();
    while chat.child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE, "it goes on without a terminal");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn ctrl_c_stops_an_answer_and_keeps_the_conversation() {
    let mut chat = Terminal::ready(&[&["chat"], &SLOWLY[..]].concat());
    chat.press(&format!("Tell me a story.{ENTER}"));
    chat.expect("\x1b[?2004l");
    chat.expect("a");
    chat.press(CTRL_C);
    let rest = chat.expect(READY);
    assert!(rest.contains(" | cancelled | "), "{rest:?}");
    assert!(rest.contains("limpid: interrupted: what was said so far is the answer"), "{rest:?}");
    let used: usize = number_before(&rest, " of 1,024");
    let next = chat.say("/set max_tokens 3") + &chat.say("And then?");
    assert!(next.contains(" reused, "), "{next:?}");
    assert_eq!(number_before(&next, " tokens reused"), used - 1, "the last token was chosen, not computed");
    chat.press(CTRL_C);
    let nothing = chat.expect(READY);
    assert!(nothing.contains("/quit or Ctrl-D ends the chat"), "{nothing:?}");
}

#[test]
fn a_second_ctrl_c_ends_the_program() {
    let mut chat = Terminal::ready(&[&["chat", "--prefill-chunk", "900"], &SLOWLY[..]].concat());
    // One step computes all of it.
    chat.press(&format!("\x1b[200~{}\x1b[201~", "fox ".repeat(700)));
    chat.press(ENTER);
    chat.expect("\x1b[?2004l");
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(300));
        chat.press(CTRL_C);
    }
    let (status, is_same, shown) = chat.end();
    assert!(is_same && status.code() == Some(130), "{status} {shown:?}");
}

#[test]
fn run_without_a_prompt_is_a_chat() {
    let mut chat =
        Terminal::ready(&["run", "-n", "2", "--stop", "x", "--temperature", "0", "-q", "--compute", "f32"]);
    let settings = chat.say("/set");
    for part in ["temperature 0\r\n", "max_tokens 2\r\n", "stop \"x\"\r\n"] {
        assert!(settings.contains(part), "{settings:?}");
    }
    chat.press(CTRL_D);
    assert!(chat.end().0.success());
    for (args, name) in [
        (&["run", "--json"][..], "--json"),
        (&["run", "--raw"], "--raw"),
        (&["run", "-n", "2", "--num-beams", "2"], "--num-beams"),
        (&["run", "--explain"], "--explain"),
        (&["run", "--no-kv-cache"], "--no-kv-cache"),
        (&["run", "--context-overflow", "truncate_left"], "--context-overflow"),
    ] {
        let (status, is_same, shown) = Terminal::start(args).end();
        assert!(is_same && status.code() == Some(2), "{args:?}: {shown}");
        assert!(
            shown.contains(&format!("there is no prompt, and {name} means nothing in a chat")),
            "{shown}"
        );
    }
}

/// `1,234` before a text.
fn number_before(text: &str, after: &str) -> usize {
    let (before, _) = text.split_once(after).unwrap_or_else(|| panic!("{after}: {text:?}"));
    before
        .rsplit(' ')
        .next()
        .unwrap_or_default()
        .replace(',', "")
        .parse()
        .unwrap_or_else(|_| panic!("{text:?}"))
}
