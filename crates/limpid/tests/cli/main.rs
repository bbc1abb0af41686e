//! Runs the program as a user does: arguments and standard input go in; output, messages and exit code come out. The
//! model is the embedded one.

mod batch;
mod bench;
mod chat;
mod decoding;
mod explain;
mod files;
mod folder;
mod harness;
mod inspect;
mod json;
mod logits;
mod perplexity;
mod run;
mod sample;
mod sampling;
mod streams;
#[cfg(unix)]
mod terminal;
mod tokens;
mod usage;
