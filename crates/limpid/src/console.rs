//! Standard error: notes, warnings and the summary. Errors are printed by `error`, progress by `progress`.

use crate::line::one_line;
use crate::output;
use std::io::{IsTerminal, Write};

/// What may be said, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Console {
    /// Nothing but errors.
    quiet: bool,
    is_terminal: bool,
    color: bool,
}

impl Console {
    pub(crate) fn new(quiet: bool) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let color = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { quiet, is_terminal, color }
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// A line that is rewritten in place makes sense.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Something that the user should know and that stops nothing.
    pub(crate) fn note(&self, message: &str) {
        if !self.quiet {
            print_line(&format!("limpid: {}", one_line(message)));
        }
    }

    /// The same while a line of progress may be on the terminal: it is erased.
    pub(crate) fn note_over_progress(&self, message: &str) {
        if !self.quiet && self.is_terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
        self.note(message);
    }

    /// After a text that is whole and went to standard output: what comes next begins a line, also where both streams
    /// end up in one place. (On a terminal `output::end_line` sees to it.)
    pub(crate) fn begin_line(&self, text: &str) {
        let is_open = !text.is_empty() && !text.ends_with('\n') && !std::io::stdout().is_terminal();
        if !self.quiet && is_open && output::may_join(self.is_terminal) {
            print_line("");
        }
    }

    /// A line of a log, as it is.
    pub(crate) fn log(&self, line: &str) {
        if !self.quiet {
            print_line(line);
        }
    }

    /// The line after the text, dimmed on a terminal: the text is what matters.
    pub(crate) fn summary(&self, line: &str) {
        match (self.quiet, self.color) {
            (true, _) => {}
            (false, true) => print_line(&format!("\x1b[2m{line}\x1b[0m")),
            (false, false) => print_line(line),
        }
    }
}

/// One line on standard error. If nobody can read it, there is nobody to tell.
pub(crate) fn print_line(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
