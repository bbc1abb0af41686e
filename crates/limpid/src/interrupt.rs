//! Ctrl-C: while a model is loading it ends the program; after that the first one asks, the second one ends it.

use crate::console::Console;
use crate::error::{CliError, INTERRUPTED};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the user has pressed Ctrl-C.
pub(crate) struct Interrupt {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_loaded: AtomicBool,
    is_asked: AtomicBool,
}

impl Interrupt {
    /// From now on, while the model is loading. Before, the system ends the program, as it does in other commands.
    pub(crate) fn while_loading(console: Console) -> Result<Self, CliError> {
        let state = Arc::new(State::default());
        let handler = {
            let state = state.clone();
            move || {
                let is_loaded = state.is_loaded.load(Ordering::Relaxed);
                if !is_loaded {
                    console.note_over_progress("interrupted while loading the model: there is no text");
                }
                if !is_loaded || state.is_asked.swap(true, Ordering::Relaxed) {
                    std::process::exit(i32::from(INTERRUPTED));
                }
            }
        };
        let remedy = "the system is out of threads or memory: end other programs, or allow more (ulimit -u, ulimit -v)";
        ctrlc::set_handler(handler)
            .map_err(|error| CliError::failure(format!("cannot listen for Ctrl-C: {error}; {remedy}")))?;
        Ok(Self { state })
    }

    /// The model is loaded: from now on Ctrl-C asks.
    pub(crate) fn loading_is_done(&self) {
        self.state.is_loaded.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.state.is_asked.load(Ordering::Relaxed)
    }
}
