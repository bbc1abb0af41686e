//! `cargo xtask clients`: what programs that others wrote get from the server: the unmodified openai package, and
//! schemathesis, which makes requests up from a description.
//!
//! As a part of all tests the first is left out, with a message, where Python or the network are not to be had.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{build_limpid, run as run_process};
use crate::venv::Environment;
use crate::{Result, repository};

#[derive(clap::Args)]
#[command(about = "Ask a server with the unmodified openai package, or with schemathesis, from PyPI")]
pub(crate) struct Args {
    /// A Python that has what tools/server/requirements*.txt list; without it, one is made under target/
    #[arg(long)]
    python: Option<PathBuf>,
    /// schemathesis instead: requests made up from the server's own description
    #[arg(long)]
    schemas: bool,
    /// And from OpenAI's, as JSON
    #[arg(long, value_name = "FILE", requires = "schemas")]
    openai: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result {
    let (requirements, script) = match args.schemas {
        false => ("requirements.txt", "clients.py"),
        true => ("requirements-schemas.txt", "schemas.py"),
    };
    let python = match &args.python {
        Some(python) => python.clone(),
        None => environment(requirements)?,
    };
    let mut command = Command::new(python);
    command.arg(folder().join(script)).arg("--limpid").arg(build_limpid()?);
    if let Some(description) = &args.openai {
        command.arg("--openai").arg(description);
    }
    run_process(&mut command)
}

/// The openai package, if it can be had.
pub(crate) fn run_if_possible() -> Result {
    match environment("requirements.txt") {
        Ok(python) => run(&Args { python: Some(python), schemas: false, openai: None }),
        Err(error) => {
            eprintln!("left out: the openai package, which cannot be had ({error})");
            Ok(())
        }
    }
}

fn folder() -> PathBuf {
    repository().join("tools/server")
}

/// A Python with the packages of a file in `tools/server`.
fn environment(requirements: &str) -> Result<PathBuf> {
    let path = folder().join(requirements);
    let name = Path::new(requirements).file_stem().unwrap_or_default();
    let requirements = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Environment { folder: repository().join("target/clients").join(name), requirements }.python()
}
