//! The Python environment of the tools that ask official implementations. It lives under `target/`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::process::run;
use crate::{Result, repository};

/// The interpreter of the environment `target/venv`, with the packages of tools/requirements.txt. It is made or brought
/// up to date when that file has changed since.
pub(crate) fn python() -> Result<PathBuf> {
    let folder = repository().join("target/venv");
    let requirements = repository().join("tools/requirements.txt");
    let python = folder.join("bin/python");
    let wanted = fs::read_to_string(&requirements).map_err(|e| format!("{}: {e}", requirements.display()))?;
    // Written last: an interrupted installation is done again.
    let stamp = folder.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements))?;
    fs::write(&stamp, wanted)?;
    Ok(python)
}
