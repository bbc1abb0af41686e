//! Bad model files: each must end in one clear error, without a panic and without a large allocation.
//!
//! `files/` is the regression folder: each entry is named for its fault and has the expected error beside it (`.txt`).
//! Those that `cases.rs` describes are written when they are missing; a missing `.txt` is written too. Either makes
//! the test fail once, so that someone reads what was written before committing it.

mod alloc;
mod cases;
mod mutations;
#[path = "../support/random.rs"]
mod random;
#[path = "../../src/weights/tests/writer.rs"]
mod writer;

use std::fs;
use std::path::{Path, PathBuf};

use limpid_engine::weights::{Metadata, WeightsFile};

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

/// The files are at most a few kilobytes.
const MAX_ALLOCATION: usize = 1 << 20;

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_files/files")
}

/// The error of opening a path, or what it opened as; looks at everything that opening promises.
fn outcome(path: &Path) -> String {
    let (opened, peak) = alloc::peak_of(|| WeightsFile::open(path));
    assert!(peak < MAX_ALLOCATION, "{}: opening took {peak} bytes", path.display());
    match opened {
        Ok(weights) => {
            for tensor in weights.tensors() {
                let n_bytes = tensor.n_elements() / tensor.format.block_len() * tensor.format.block_bytes();
                assert_eq!(tensor.bytes.len(), n_bytes, "{}: {}", path.display(), tensor.name);
                std::hint::black_box(tensor.bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)));
            }
            if let Metadata::Gguf(metadata) = weights.metadata() {
                std::hint::black_box(
                    metadata.iter().map(|(_, value)| value.to_string().len()).sum::<usize>(),
                );
            }
            format!("opened, {} tensors", weights.n_tensors())
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_bad_file_ends_in_the_error_beside_it() {
    let mut wrong = check_cases();
    for entry in fs::read_dir(files()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "txt") {
            wrong.extend(check_error(&path));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Writes the cases that are missing; what is wrong with the others.
fn check_cases() -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, bytes) in cases::all() {
        let path = files().join(&name);
        match fs::read(&path) {
            Ok(found) if found == bytes => {}
            Ok(_) => {
                wrong.push(format!("{name} is not what cases.rs says; delete it and it is written anew"))
            }
            Err(_) => {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, bytes).unwrap();
                wrong.push(format!("{name} was missing and is written now"));
            }
        }
    }
    wrong
}

/// What is wrong with one file's error, if anything.
fn check_error(path: &Path) -> Option<String> {
    let folder = files().display().to_string();
    let found = outcome(path).replace(&format!("{folder}/"), "").replace(&folder, "FOLDER") + "\n";
    let snapshot = PathBuf::from(format!("{}.txt", path.display()));
    match fs::read_to_string(&snapshot) {
        Ok(expected) if expected == found => None,
        Ok(expected) => Some(format!("{}:\n  found    {found}  expected {expected}", path.display())),
        Err(_) => {
            fs::write(&snapshot, &found).unwrap();
            Some(format!("{}: wrote what was found, read it: {found}", path.display()))
        }
    }
}

#[test]
fn the_files_that_the_cases_start_from_open() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in cases::sound() {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    for entry in ["small.gguf", "split-00001-of-00002.gguf", "single", "shards"] {
        let outcome = outcome(&folder.path().join(entry));
        assert!(outcome.starts_with("opened, "), "{entry}: {outcome}");
    }
}
