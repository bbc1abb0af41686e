//! Python environments under `target/`: that of the tools that ask official implementations, and others.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::process::run;
use crate::{Result, repository};

/// Where an environment lies and what is installed there: the text of a requirements file.
pub(crate) struct Environment {
    pub folder: PathBuf,
    pub requirements: String,
}

impl Environment {
    /// Its interpreter. It is made or brought up to date when the requirements have changed since.
    pub(crate) fn python(&self) -> Result<PathBuf> {
        let Self { folder, requirements } = self;
        let python = folder.join("bin/python");
        // Written last: an interrupted installation is done again.
        let stamp = folder.join("installed.txt");
        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == *requirements) {
            return Ok(python);
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let wanted = folder.join("wanted.txt");
        fs::write(&wanted, requirements)?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(wanted))?;
        fs::write(&stamp, requirements)?;
        Ok(python)
    }
}

/// The interpreter of the environment `target/venv`, with the packages of tools/requirements.txt.
pub(crate) fn python() -> Result<PathBuf> {
    let path = repository().join("tools/requirements.txt");
    let requirements = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Environment { folder: repository().join("target/venv"), requirements }.python()
}
