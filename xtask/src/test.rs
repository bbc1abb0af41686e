//! `cargo xtask test`: everything that must hold before a change is merged, the cheap checks first.

use crate::process::{cargo, run as run_process};
use crate::{Result, repository, tidy};

/// What the README tells people to type and `.ci/run` runs.
pub(crate) const TEST_COMMAND: &str = "cargo xtask test";

/// Integration tests of the engine that hold whole models against golden texts and against themselves. They are run
/// once for each instruction set of the machine: the bytes must not depend on it (design rule 1).
const ISA_TESTS: &[&str] = &["equivalence", "goldens"];

#[derive(clap::Args)]
#[command(
    about = "Run all checks: formatting, clippy, tidy, tests, and the engine's tests on every instruction set"
)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args) -> Result {
    run_process(&mut cargo(&["fmt", "--all", "--check"]))?;
    tidy::run(&tidy::Args::here())?;
    run_process(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    run_process(&mut cargo(&["test", "--workspace"]))?;
    let mut isa_tests = vec!["test", "--package", "limpid-engine"];
    let has_test = |name: &&&str| repository().join(format!("crates/engine/tests/{name}.rs")).exists();
    for name in ISA_TESTS.iter().filter(has_test) {
        isa_tests.extend(["--test", name]);
    }
    // The last level is what the run above has taken.
    let levels = isa_levels();
    for level in &levels[..levels.len() - 1] {
        run_process(cargo(&isa_tests).env("LIMPID_ISA", level))?;
    }
    Ok(())
}

/// The values of LIMPID_ISA that this machine can run, the best one last.
fn isa_levels() -> Vec<&'static str> {
    #[allow(unused_mut, reason = "only x86-64 has more than one level")]
    let mut levels = vec!["portable"];
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        let vnni = is_x86_feature_detected!("avx512vnni");
        let has = [("avx2", avx2), ("avx512", avx2 && avx512), ("avx512vnni", avx2 && avx512 && vnni)];
        levels.extend(has.iter().filter(|(_, has)| *has).map(|(level, _)| *level));
    }
    levels
}
