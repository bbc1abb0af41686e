//! Developer commands, one file each: `cargo xtask COMMAND`.

mod synth;

use std::process::ExitCode;

use clap::Parser;

/// What a command returns: it did its work, or one message for the person who called it.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of Limpid")]
enum Command {
    Synth(synth::Args),
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Synth(args) => synth::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
