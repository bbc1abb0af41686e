//! Developer commands, one file each: `cargo xtask COMMAND`.

mod clients;
mod goldens;
mod llama_cpp;
mod process;
mod real_model;
mod serving;
mod synth;
mod test;
mod tidy;
mod venv;
mod versus;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

/// What a command returns: it did its work, or one message for the person who called it.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of Limpid")]
enum Command {
    Clients(clients::Args),
    Goldens(goldens::Args),
    RealModel(real_model::Args),
    Serving(serving::Args),
    Synth(synth::Args),
    Test(test::Args),
    Tidy(tidy::Args),
    Versus(versus::Args),
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Clients(args) => clients::run(&args),
        Command::Goldens(args) => goldens::run(&args),
        Command::RealModel(args) => real_model::run(&args),
        Command::Serving(args) => serving::run(&args),
        Command::Synth(args) => synth::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Tidy(args) => tidy::run(&args),
        Command::Versus(args) => versus::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository that this program was built from.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the repository").to_path_buf()
}
