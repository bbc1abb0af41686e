//! `cargo xtask synth`: a GGUF file of a real model's shape with random weights.
//!
//! For speed and memory only the shape and the format of a model count, so benchmarks and tests need no download.
//! The file is a function of its options: the same seed gives the same bytes. It is written as it is made, so a
//! model may be larger than the memory. What llama.cpp's converter and `llama-quantize` would write is followed in
//! the metadata, the order of dimensions and the mixture of formats, and both llama.cpp and Limpid load it.
//! Weights have zero mean and a standard deviation of 1 / sqrt(columns), so activations keep the order of 1.

mod fill;
mod format;
mod gguf;
mod rng;
mod shape;
mod vocab;

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::Result;
use fill::Filler;
pub(crate) use format::Recipe;
use format::Role;
use rng::Rng;
use shape::Shape;
pub(crate) use shape::ShapeName;

#[derive(clap::Args)]
#[command(about = "Write a GGUF of a real model's shape with random weights")]
pub(crate) struct Args {
    /// Whose shape
    #[arg(long)]
    shape: ShapeName,
    /// Weight format, with the mixture that llama-quantize makes of it
    #[arg(long)]
    format: Recipe,
    /// Every matrix in the one format: no Q6_K embedding in a Q4_0 file, no mixture in a Q4_K_M one
    #[arg(long)]
    pure: bool,
    #[arg(long, default_value_t = Options::SEED)]
    seed: u64,
    /// Where the file goes
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result {
    make(args.shape, &Options { recipe: args.format, pure: args.pure, seed: args.seed }, &args.out)
}

/// Writes a model and tells how large it is.
pub(crate) fn make(shape: ShapeName, options: &Options, out: &Path) -> Result {
    let start = Instant::now();
    let n_bytes = write_file(shape.shape(), options, out)?;
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("{}: {:.1} MB in {seconds:.1} s", out.display(), n_bytes as f64 / 1e6);
    Ok(())
}

/// What the weights of a shape are made of.
pub(crate) struct Options {
    pub recipe: Recipe,
    /// All matrices in the one format.
    pub pure: bool,
    pub seed: u64,
}

impl Options {
    const SEED: u64 = 1;

    /// As llama-quantize mixes it, with the seed that is the default.
    pub(crate) fn of(recipe: Recipe) -> Self {
        Self { recipe, pure: false, seed: Self::SEED }
    }
}

/// Writes beside the target and renames at the end: an interrupted run leaves no half a model under the name.
fn write_file(shape: &Shape, options: &Options, out: &Path) -> Result<u64> {
    let mut partial = out.as_os_str().to_owned();
    partial.push(".part");
    let mut file = BufWriter::new(File::create(&partial).map_err(|e| format!("{}: {e}", out.display()))?);
    let n_bytes = write(shape, options, &mut file)?;
    file.into_inner()?;
    fs::rename(&partial, out)?;
    Ok(n_bytes)
}

/// The whole file; returns its length in bytes.
fn write(shape: &Shape, options: &Options, out: &mut impl Write) -> Result<u64> {
    let mut header = gguf::Header::new();
    shape.write_metadata(&mut header);
    header.u32("general.file_type", options.recipe.file_type());
    header.u32("general.quantization_version", 2);
    vocab::write_metadata(&shape.tokenizer, shape.vocab_size, &mut header);

    let mut tensors = Vec::new();
    for tensor in shape.tensors() {
        let format = options.recipe.format_of(&tensor, shape, options.pure)?;
        let n_bytes = format.n_bytes(tensor.n_weights());
        header.tensor(&tensor.name, &tensor.dims, format.ggml_type(), n_bytes);
        tensors.push((tensor, format, n_bytes));
    }
    let mut n_written = header.write(out)?;
    for (tensor, format, n_bytes) in &tensors {
        if tensor.role == Role::RopeFactors {
            let factors = shape.rope_factors();
            out.write_all(&factors.iter().flat_map(|f| f.to_le_bytes()).collect::<Vec<u8>>())?;
        } else {
            let rng = Rng::new(options.seed, &tensor.name);
            Filler::new(*format, tensor.role, tensor.dims[0], rng).write(*n_bytes, out)?;
        }
        n_written += n_bytes + gguf::write_padding(*n_bytes, out)?;
    }
    Ok(n_written)
}
