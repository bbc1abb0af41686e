//! `cargo xtask goldens`: asks the official implementations again and writes the golden files.

use std::path::PathBuf;
use std::process::Command;

use crate::process::run as run_process;
use crate::{Result, repository, venv};

#[derive(clap::Args)]
#[command(about = "Make the golden files again: runs tools/goldens/make.py")]
pub(crate) struct Args {
    /// A Python that has what tools/goldens/requirements.txt lists; without it, one is made under target/
    #[arg(long)]
    python: Option<PathBuf>,
    /// What make.py should do: see tools/goldens/README.md
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    args: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result {
    let tool = repository().join("tools/goldens");
    let python = match &args.python {
        Some(python) => python.clone(),
        None => venv::python("goldens", &tool.join("requirements.txt"))?,
    };
    run_process(Command::new(python).arg(tool.join("make.py")).args(&args.args))
}
