//! Ids equal those of llama.cpp on its own test texts, for vocabularies of real models.
//!
//!     cargo run --package limpid-engine --example tokenizer_llama_cpp -- DIR
//!
//! DIR has llama.cpp's `ggml-vocab-NAME.gguf` (or the same packed, `.gguf.xz`), `.gguf.inp` (texts) and `.gguf.out`
//! (a line of ids for each). These files are llama.cpp's and not in this repository, so this is no test:
//! `cargo xtask test --vocabularies DIR` runs it.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use limpid_engine::TokenId;
use limpid_engine::tokenizer::{Specials, Tokenizer};
use limpid_engine::weights::WeightsFile;

/// Those of llama.cpp's vocabularies whose pre-tokenizers Limpid has.
const NAMES: [&str; 5] = ["gpt-2", "llama-spm", "mpt", "phi-3", "starcoder"];
const SEPARATOR: &str = "\n__ggml_vocab_test__\n";

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: tokenizer_llama_cpp DIR");
        return ExitCode::from(2);
    };
    let mut code = ExitCode::SUCCESS;
    for name in NAMES {
        match check(&folder, name) {
            Ok(n_texts) => println!("{name}: {n_texts} texts, ids and back"),
            Err(error) => {
                eprintln!("{name}: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

/// How many texts agree, or the first that does not.
fn check(folder: &Path, name: &str) -> Result<usize, Box<dyn Error>> {
    let file_name = format!("ggml-vocab-{name}.gguf");
    let scratch = tempfile::tempdir()?;
    let file = WeightsFile::open(&unpacked(folder, &file_name, scratch.path())?)?;
    let tokenizer = Tokenizer::new(file.metadata())?;
    let texts = fs::read_to_string(folder.join(format!("{file_name}.inp")))?;
    let outputs = fs::read_to_string(folder.join(format!("{file_name}.out")))?;
    let texts: Vec<&str> = texts.split_terminator(SEPARATOR).collect();
    let outputs: Vec<&str> = outputs.lines().collect();
    if texts.len() != outputs.len() || texts.len() < 40 {
        return Err(format!("{} texts and {} lines of ids", texts.len(), outputs.len()).into());
    }
    for (text, output) in texts.iter().zip(outputs) {
        let ids = output.split_whitespace().map(|id| id.parse().map(TokenId));
        let expected = ids.collect::<Result<Vec<_>, _>>()?;
        let found = tokenizer.encode(text, Specials::Text, false)?;
        if found != expected {
            return Err(format!("{text:?} gives {found:?}, llama.cpp has {expected:?}").into());
        }
        let back = tokenizer.decode(&expected, false);
        if back != *text {
            return Err(format!("{expected:?} give {back:?} instead of {text:?}").into());
        }
    }
    Ok(texts.len())
}

/// The GGUF file, unpacked into `scratch` if need be.
fn unpacked(folder: &Path, file_name: &str, scratch: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let plain = folder.join(file_name);
    if plain.exists() {
        return Ok(plain);
    }
    let packed = folder.join(format!("{file_name}.xz"));
    let output = Command::new("xz").args(["--decompress", "--stdout"]).arg(&packed).output()?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(format!("xz failed on {}: {message}", packed.display()).into());
    }
    let path = scratch.join(file_name);
    fs::write(&path, output.stdout)?;
    Ok(path)
}
