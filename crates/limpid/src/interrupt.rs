//! Ctrl-C: while a model is loading it ends the program; while a text is generated the first one asks, the second one
//! ends the program; between two texts it depends on who else may take it.

use crate::console::Console;
use crate::error::{CliError, INTERRUPTED};
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What Ctrl-C finds the program doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Phase {
    Loading,
    Working,
    /// It has asked.
    Asked,
    /// For standard input, with nothing to lose.
    Waiting,
    /// The key means something to the line editor, and nothing in the moments around it.
    Editing,
}

/// Whether the user has pressed Ctrl-C.
pub(crate) struct Interrupt {
    phase: Arc<AtomicU8>,
}

impl Interrupt {
    /// From now on, while the model is loading. Before, the system ends the program, as it does in other commands.
    pub(crate) fn while_loading(console: Console) -> Result<Self, CliError> {
        let phase = Arc::new(AtomicU8::new(Phase::Loading as u8));
        let handler = {
            let phase = phase.clone();
            move || {
                let (working, asked) = (Phase::Working as u8, Phase::Asked as u8);
                match phase.compare_exchange(working, asked, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => return,
                    Err(found) if found == Phase::Editing as u8 => return,
                    Err(found) if found == Phase::Loading as u8 => {
                        console.note_over_progress("interrupted while loading the model: there is no text");
                    }
                    Err(_) => leave_line(),
                }
                std::process::exit(i32::from(INTERRUPTED));
            }
        };
        let remedy = "the system is out of threads or memory: end other programs, or allow more (ulimit -u, ulimit -v)";
        ctrlc::set_handler(handler)
            .map_err(|error| CliError::failure(format!("cannot listen for Ctrl-C: {error}; {remedy}")))?;
        Ok(Self { phase })
    }

    /// The model is loaded, or another text begins: from now on Ctrl-C asks.
    pub(crate) fn work_begins(&self) {
        self.set(Phase::Working);
    }

    /// A text is over, and the next one is waited for: a line editor takes the key, or else it ends the program.
    pub(crate) fn work_is_done(&self, has_editor: bool) {
        self.set(if has_editor { Phase::Editing } else { Phase::Waiting });
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == Phase::Asked as u8
    }

    fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }
}

/// A terminal's next line begins at its left.
fn leave_line() {
    if std::io::stderr().is_terminal() {
        let _ = writeln!(std::io::stderr());
    }
}
