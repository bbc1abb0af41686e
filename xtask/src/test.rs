//! `cargo xtask test`: everything that must hold before a change is merged, the cheap checks first.

use std::path::PathBuf;

use crate::process::{cargo, run as run_process};
use crate::{Result, clients, tidy};

/// What the README tells people to type and `.ci/run` runs.
pub(crate) const TEST_COMMAND: &str = "cargo xtask test";

#[derive(clap::Args)]
#[command(
    about = "Run all checks: format, clippy, tidy, tests, the program's on every instruction set, a client, a sanitizer"
)]
pub(crate) struct Args {
    /// Also compare tokenizers with llama.cpp: a folder with its ggml-vocab-NAME files (.gguf or .gguf.xz, .gguf.inp,
    /// .gguf.out)
    #[arg(long, value_name = "DIR")]
    vocabularies: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result {
    run_process(&mut cargo(&["fmt", "--all", "--check"]))?;
    tidy::run(&tidy::Args::here())?;
    run_process(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    run_process(&mut cargo(&["test", "--workspace"]))?;
    // The tests of kernels and engine go over the instruction sets themselves. Those of the program read its output,
    // which must be the same bytes on each (design rule 1). The run above has taken the best level, the last one.
    let levels = isa_levels();
    for level in &levels[..levels.len() - 1] {
        run_process(cargo(&["test", "--package", "limpid"]).env("LIMPID_ISA", level))?;
    }
    clients::run_if_possible()?;
    sanitize()?;
    match &args.vocabularies {
        None => eprintln!("left out: llama.cpp's vocabularies, which need --vocabularies DIR"),
        Some(folder) => {
            let folder = std::path::absolute(folder)?;
            let example = ["run", "--package", "limpid-engine", "--example", "tokenizer_llama_cpp", "--"];
            run_process(cargo(&example).arg(folder))?;
        }
    }
    Ok(())
}

/// The tests of kernels, where all `unsafe` is, under AddressSanitizer.
fn sanitize() -> Result {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let rustc = std::process::Command::new("rustc").args(["--print", "target-libdir"]).output()?;
    let libraries = String::from_utf8(rustc.stdout)?;
    let is_runtime = |name: &str| name.starts_with("librustc") && name.ends_with("_rt.asan.a");
    let mut names =
        std::fs::read_dir(libraries.trim())?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    if cfg!(not(all(target_arch = "x86_64", target_os = "linux"))) || !names.any(|name| is_runtime(&name)) {
        eprintln!("left out: AddressSanitizer, whose runtime this Rust does not have");
        return Ok(());
    }
    let mut tests = cargo(&["test", "--package", "limpid-kernels", "--tests"]);
    tests.args(["--target", TARGET, "--target-dir", "target/asan"]);
    // The option is not stable, though the compiler and the runtime are those of a stable Rust.
    tests.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    // Looking for leaks needs the right to trace processes, which not every container has.
    tests.env("ASAN_OPTIONS", "detect_leaks=0");
    run_process(&mut tests)
}

/// The values of LIMPID_ISA that this machine can run, the best one last.
fn isa_levels() -> Vec<&'static str> {
    #[allow(unused_mut, reason = "only x86-64 has more than one level")]
    let mut levels = vec!["portable"];
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        let vnni = is_x86_feature_detected!("avx512vnni");
        let bf16 = is_x86_feature_detected!("avx512bf16");
        let has = [
            ("avx2", avx2),
            ("avx512", avx2 && avx512),
            ("avx512vnni", avx2 && avx512 && vnni),
            ("avx512bf16", avx2 && avx512 && vnni && bf16),
        ];
        levels.extend(has.iter().filter(|(_, has)| *has).map(|(level, _)| *level));
    }
    levels
}
