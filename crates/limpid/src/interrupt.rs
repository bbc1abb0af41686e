//! Ctrl-C: the first one asks, the second one ends the program.

use crate::error::{CliError, INTERRUPTED};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the user has pressed Ctrl-C.
pub(crate) struct Interrupt {
    asked: Arc<AtomicBool>,
}

impl Interrupt {
    /// From now on. Before, Ctrl-C ends the program at once, which is what one wants while a model is loading.
    pub(crate) fn listen() -> Result<Self, CliError> {
        let asked = Arc::new(AtomicBool::new(false));
        let handler = {
            let asked = asked.clone();
            move || {
                if asked.swap(true, Ordering::Relaxed) {
                    std::process::exit(i32::from(INTERRUPTED));
                }
            }
        };
        ctrlc::set_handler(handler)
            .map_err(|error| CliError::failure(format!("cannot listen for Ctrl-C: {error}")))?;
        Ok(Self { asked })
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}
