//! Ids equal those of llama.cpp on its own test texts, for vocabularies of real models.
//!
//! The environment variable `LIMPID_TEST_TOKENIZERS` names a folder with llama.cpp's `ggml-vocab-NAME.gguf.xz` (or
//! the file unpacked), `.gguf.inp` (texts) and `.gguf.out` (a line of ids for each). Without it nothing is tested.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use limpid_engine::TokenId;
use limpid_engine::tokenizer::{Specials, Tokenizer};
use limpid_engine::weights::WeightsFile;

const FOLDER: &str = "LIMPID_TEST_TOKENIZERS";
const SEPARATOR: &str = "\n__ggml_vocab_test__\n";

/// The GGUF file, unpacked into `scratch` if need be.
fn unpacked(folder: &Path, name: &str, scratch: &Path) -> PathBuf {
    let plain = folder.join(name);
    if plain.exists() {
        return plain;
    }
    let packed = folder.join(format!("{name}.xz"));
    let output = Command::new("xz").arg("--decompress").arg("--stdout").arg(&packed).output().unwrap();
    assert!(
        output.status.success(),
        "xz failed on {}: {}",
        packed.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    let path = scratch.join(name);
    fs::write(&path, output.stdout).unwrap();
    path
}

fn check(model: &str) {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        println!("skipped: {FOLDER} does not name a folder with llama.cpp's vocabularies");
        return;
    };
    let name = format!("ggml-vocab-{model}.gguf");
    let scratch = tempfile::tempdir().unwrap();
    let file = WeightsFile::open(&unpacked(&folder, &name, scratch.path())).unwrap();
    let tokenizer = Tokenizer::new(file.metadata()).unwrap();
    let texts = fs::read_to_string(folder.join(format!("{name}.inp"))).unwrap();
    let outputs = fs::read_to_string(folder.join(format!("{name}.out"))).unwrap();
    let texts: Vec<&str> = texts.split_terminator(SEPARATOR).collect();
    let outputs: Vec<&str> = outputs.lines().collect();
    assert_eq!(texts.len(), outputs.len());
    assert!(texts.len() > 40, "{} texts are few", texts.len());
    for (text, output) in texts.iter().zip(outputs) {
        let expected: Vec<TokenId> =
            output.split_whitespace().map(|id| TokenId(id.parse().unwrap())).collect();
        assert_eq!(tokenizer.encode(text, Specials::Text, false).unwrap(), expected, "{model}: {text:?}");
        assert_eq!(&tokenizer.decode(&expected, false), text, "{model}: {expected:?}");
    }
}

#[test]
fn gpt_2() {
    check("gpt-2");
}

#[test]
fn llama_spm() {
    check("llama-spm");
}

#[test]
fn phi_3() {
    check("phi-3");
}

#[test]
fn mpt() {
    check("mpt");
}

#[test]
fn starcoder() {
    check("starcoder");
}
