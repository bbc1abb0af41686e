//! `cargo xtask clients`: what the unmodified openai package gets from the server.
//!
//! Where Python or the network are not to be had the command says so and succeeds, unless it was asked for by itself.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::process::{build_limpid, run as run_process};
use crate::venv::Environment;
use crate::{Result, repository};

#[derive(clap::Args)]
#[command(about = "Ask a server with the unmodified openai package from PyPI")]
pub(crate) struct Args {
    /// A Python that has what tools/server/requirements.txt lists; without it, one is made under target/
    #[arg(long)]
    python: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result {
    let python = match &args.python {
        Some(python) => python.clone(),
        None => environment()?,
    };
    ask(&python)
}

/// As part of all tests: left out, with a message, where the package cannot be had.
pub(crate) fn run_if_possible() -> Result {
    match environment() {
        Ok(python) => ask(&python),
        Err(error) => {
            eprintln!("left out: the openai package, which cannot be had ({error})");
            Ok(())
        }
    }
}

fn environment() -> Result<PathBuf> {
    let path = repository().join("tools/server/requirements.txt");
    let requirements = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Environment { folder: repository().join("target/clients"), requirements }.python()
}

fn ask(python: &PathBuf) -> Result {
    let script = repository().join("tools/server/clients.py");
    run_process(Command::new(python).arg(script).arg("--limpid").arg(build_limpid()?))
}
