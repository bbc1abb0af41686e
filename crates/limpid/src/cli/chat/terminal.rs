//! Messages from the user: edited on a terminal, else read line by line.
//!
//! While a line is edited the terminal is in raw mode. Whoever ends the program meanwhile, a signal or a panic, gives
//! the terminal back as it was.

use super::input::{self, Written, is_open_block};
use crate::console::Console;
use crate::error::CliError;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{
    Behavior, Cmd, ConditionalEventHandler, Config, Editor, Event, EventContext, EventHandler, KeyCode,
    KeyEvent, Modifiers, RepeatCount,
};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const PROMPT: &str = "> ";

/// Messages that the history keeps.
const MAX_HISTORY: usize = 1000;

/// What came from the user.
#[derive(Debug)]
pub(super) enum Input {
    Written(Written),
    /// Ctrl-C: what was being written is dropped. Whether that was nothing.
    Interrupted {
        was_empty: bool,
    },
    End,
}

/// Where messages come from.
pub(super) enum Source {
    Editor(Box<LineEditor>),
    /// `asks`: somebody sits there, on a terminal that cannot be edited on.
    Lines {
        asks: bool,
    },
}

/// Whether somebody sits at standard input.
pub(crate) fn is_interactive() -> bool {
    std::io::stdin().is_terminal()
}

impl Source {
    /// `keeps_history`: also in a file, for the next time.
    pub(super) fn open(keeps_history: bool, console: &Console) -> Result<Self, CliError> {
        if !is_interactive() || is_dumb() {
            return Ok(Self::Lines { asks: is_interactive() });
        }
        Ok(Self::Editor(Box::new(LineEditor::open(keeps_history, console)?)))
    }

    pub(super) fn is_editor(&self) -> bool {
        matches!(self, Self::Editor(_))
    }

    pub(super) fn read(&mut self) -> Result<Input, CliError> {
        match self {
            Self::Editor(editor) => editor.read(),
            Self::Lines { asks } => {
                if *asks {
                    let _ = write!(std::io::stderr(), "{PROMPT}");
                }
                let written = input::read(&mut std::io::stdin().lock()).map_err(CliError::failure)?;
                Ok(written.map_or(Input::End, Input::Written))
            }
        }
    }
}

/// A terminal without a cursor that moves.
fn is_dumb() -> bool {
    let term = std::env::var_os("TERM");
    term.is_some_and(|term| ["dumb", "cons25", "emacs"].iter().any(|dumb| term == *dumb))
}

/// The line editor and its history.
pub(super) struct LineEditor {
    editor: Editor<(), FileHistory>,
    /// Where the history is kept, as long as that works.
    history: Option<PathBuf>,
    was_empty: Arc<AtomicBool>,
    /// Lines of the message at hand that Enter continued.
    continued: Arc<Mutex<Vec<String>>>,
    console: Console,
    _guard: TerminalGuard,
}

impl LineEditor {
    fn open(keeps_history: bool, console: &Console) -> Result<Self, CliError> {
        let guard = TerminalGuard::new()?;
        // The terminal, also where standard output is a file: that is for answers.
        let config = Config::builder().behavior(Behavior::PreferTerm).max_history_size(MAX_HISTORY);
        let config =
            config.and_then(|config| config.history_ignore_dups(true)).map_err(|error| failure(&error))?;
        let mut editor =
            Editor::<(), FileHistory>::with_config(config.build()).map_err(|error| failure(&error))?;
        let continued = Arc::new(Mutex::new(Vec::new()));
        for key in [KeyEvent(KeyCode::Enter, Modifiers::NONE), KeyEvent::ctrl('J')] {
            let enter = Enter { continued: continued.clone() };
            editor.bind_sequence(key, EventHandler::Conditional(Box::new(enter)));
        }
        let was_empty = Arc::new(AtomicBool::new(true));
        let ctrl_c = CtrlC { was_empty: was_empty.clone() };
        let key = KeyEvent::ctrl('C');
        editor.bind_sequence(key, EventHandler::Conditional(Box::new(ctrl_c)));
        let history = if keeps_history { history_path() } else { None };
        let mut line_editor =
            Self { editor, history, was_empty, continued, console: *console, _guard: guard };
        line_editor.load_history();
        Ok(line_editor)
    }

    fn read(&mut self) -> Result<Input, CliError> {
        locked(&self.continued).clear();
        let text = match self.editor.readline(PROMPT) {
            Ok(text) => without_backslashes(&text, &locked(&self.continued)),
            Err(ReadlineError::Eof) => return Ok(Input::End),
            Err(ReadlineError::Interrupted) => {
                let was_empty = self.was_empty.load(Ordering::Relaxed);
                return Ok(Input::Interrupted { was_empty });
            }
            // The terminal is gone.
            Err(ReadlineError::Io(_) | ReadlineError::Errno(_)) => return Ok(Input::End),
            Err(error) => return Err(failure(&error)),
        };
        if !text.trim().is_empty() {
            self.remember(&text);
        }
        Ok(Input::Written(input::written(&text)))
    }

    fn load_history(&mut self) {
        let Some(path) = &self.history else { return };
        if path.exists() {
            let loaded = self.editor.load_history(path);
            self.give_up_history_unless(loaded);
        }
    }

    /// At once, so that no way to end loses it.
    fn remember(&mut self, text: &str) {
        let added = self.editor.add_history_entry(text).map(|_| ());
        self.give_up_history_unless(added);
        let Some(path) = &self.history else { return };
        let folder = path.parent().map_or(Ok(()), create_private_folder);
        let saved = folder.map_err(ReadlineError::from).and_then(|()| self.editor.append_history(path));
        self.give_up_history_unless(saved);
    }

    fn give_up_history_unless(&mut self, done: rustyline::Result<()>) {
        if let (Err(error), Some(path)) = (done, &self.history) {
            let path = path.display();
            self.console
                .note(&format!("the history is not kept in {path}: {error}; --no-history does without"));
            self.history = None;
        }
    }
}

fn failure(error: &ReadlineError) -> CliError {
    CliError::failure(format!("the terminal cannot be read: {error}"))
}

/// As the XDG base directory specification has it.
fn history_path() -> Option<PathBuf> {
    let is_absolute = |path: &PathBuf| path.is_absolute();
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(is_absolute);
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(is_absolute);
    Some(state.or_else(|| Some(home?.join(".local/state")))?.join("limpid/history"))
}

fn create_private_folder(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Enter ends the message, unless its last line ends with a backslash or it is an open block.
struct Enter {
    continued: Arc<Mutex<Vec<String>>>,
}

impl ConditionalEventHandler for Enter {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        let text = context.line();
        if is_open_block(text) {
            return Some(Cmd::Newline);
        }
        if text.ends_with('\\') && context.pos() == text.len() {
            let last_line = text.rsplit('\n').next().unwrap_or(text);
            locked(&self.continued).push(last_line.to_owned());
            return Some(Cmd::Newline);
        }
        Some(Cmd::AcceptLine)
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The text without the backslashes of its `continued` lines. Those of a pasted text are its own.
fn without_backslashes(text: &str, continued: &[String]) -> String {
    let lines = text.split('\n').map(|line| match line.strip_suffix('\\') {
        Some(short) if continued.iter().any(|of| of == line) => short,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

struct CtrlC {
    was_empty: Arc<AtomicBool>,
}

impl ConditionalEventHandler for CtrlC {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        self.was_empty.store(context.line().is_empty(), Ordering::Relaxed);
        Some(Cmd::Interrupt)
    }
}

/// Gives the terminal back as it was when this is dropped, and when a signal ends the program.
#[cfg(unix)]
struct TerminalGuard(rustix::termios::Termios);

#[cfg(unix)]
impl TerminalGuard {
    fn new() -> Result<Self, CliError> {
        use signal_hook::consts::{SIGHUP, SIGQUIT, SIGTERM};
        let failure = |error: std::io::Error| CliError::failure(format!("cannot use the terminal: {error}"));
        let before = rustix::termios::tcgetattr(std::io::stdin()).map_err(|error| failure(error.into()))?;
        let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGQUIT, SIGTERM]).map_err(failure)?;
        let for_signals = before.clone();
        let waits = move || {
            if let Some(signal) = signals.forever().next() {
                restore(&for_signals);
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(waits).map_err(failure)?;
        Ok(Self(before))
    }
}

#[cfg(unix)]
impl Drop for TerminalGuard {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, &self.0);
    }
}

/// Switches bracketed pasting off, which the line editor has on.
#[cfg(unix)]
const END_OF_PASTING_AND_LINE: &[u8] = b"\x1b[?2004l\r\n";

/// From wherever the cursor is: the mode, pasting as it was, and a line of its own for what comes next. A terminal that
/// is gone needs nothing.
#[cfg(unix)]
fn restore(before: &rustix::termios::Termios) {
    let _ = rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, before);
    if let Ok(mut terminal) = std::fs::OpenOptions::new().write(true).open("/dev/tty") {
        let _ = terminal.write_all(END_OF_PASTING_AND_LINE);
    }
}

/// The line editor looks after it by itself.
#[cfg(not(unix))]
struct TerminalGuard;

#[cfg(not(unix))]
impl TerminalGuard {
    fn new() -> Result<Self, CliError> {
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_enter_continued_lose_their_backslash() {
        let continued = ["a\\".to_owned()];
        assert_eq!(without_backslashes("a\\\nb\\\nc", &continued), "a\nb\\\nc");
        assert_eq!(without_backslashes("a\\\nb", &[]), "a\\\nb");
    }
}
