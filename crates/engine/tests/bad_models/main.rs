//! Sound containers with a wrong model inside: a configuration that contradicts itself, its tensors, or what the
//! forward pass does. Each must end in one clear error, without a panic and without a large allocation.
//!
//! - `gguf`, `hf`: tables of changes to the goldens and the exact errors that they must give.
//! - `vocabulary`: a tokenizer that knows more tokens than the embedding has rows.
//! - `mutations`: some thousand changes by chance.  `edit`: takes model files apart and puts them together again.

#[path = "../bad_files/alloc.rs"]
mod alloc;
mod edit;
mod gguf;
mod hf;
mod mutations;
#[path = "../support/random.rs"]
mod random;
mod vocabulary;
#[path = "../../src/weights/tests/writer.rs"]
#[allow(dead_code, reason = "written for more tests than these")]
mod writer;

use limpid_engine::TokenId;
use limpid_engine::kv::KvCache;
use limpid_engine::model::{
    Batch, BatchLimits, BatchRow, Forward, MemoryPlan, Model, ModelConfig, ModelOptions, Want, arch,
};
use limpid_engine::trace::NoTrace;
use limpid_engine::weights::WeightsFile;
use limpid_kernels::Cpu;
use limpid_kernels::isa::Isa;
use limpid_kernels::ops::{Compute, KvFormat};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

/// How `ModelError::Config` and `ModelError::Unsupported` end.
const DAMAGED: &str = "; the configuration is damaged or not this model's, get the model again";
const NOT_BUILT: &str = "; the model asks for a computation that is not built, use another model";
/// How errors of the metadata and of the tensors end.
const CONVERT: &str = "; convert the model again with a current converter";
const INCOMPLETE: &str = "; the model is incomplete or not of the architecture that its metadata names";
const MISSHAPEN: &str = "; metadata and tensors are not of the same model, get it again";

const N_TOKENS: usize = 3;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

fn options(config: &ModelConfig) -> ModelOptions {
    let context_length = config.context_length.min(128);
    let limits = BatchLimits { max_rows: N_TOKENS, max_logit_rows: 1, context_length };
    ModelOptions { compute: Compute::Fast, kv_format: KvFormat::F16, limits }
}

/// Everything from the path to the logits of three tokens; the first error.
fn run(path: &Path) -> Result<(), String> {
    let file = WeightsFile::open(path).map_err(|error| error.to_string())?;
    let config = arch::read(&file).map_err(|error| error.to_string())?;
    let options = options(&config);
    let planned = MemoryPlan::new(&file, &config, options.compute, options.kv_format, 1);
    let planned =
        planned.map(|plan| plan.weights() + plan.kv(N_TOKENS, N_TOKENS) + plan.workspace(options.limits));
    let cpu = Arc::new(Cpu::new(Isa::detect(), 1));
    let loaded = Model::load(&file, config.clone(), cpu, &options, &mut |_| ());
    match (planned, loaded) {
        (Ok(_), Ok(mut model)) => forward(&mut model),
        (Err(planned), Err(loaded)) => {
            assert_eq!(planned.to_string(), loaded.to_string(), "planning and loading disagree");
            Err(loaded.to_string())
        }
        (Ok(_), Err(error)) => panic!("{}: the plan passes what loading refuses: {error}", path.display()),
        (Err(error), Ok(_)) => panic!("{}: the plan refuses what loads: {error}", path.display()),
    }
}

fn forward(model: &mut Model) -> Result<(), String> {
    let layout = model.kv_layout().clone();
    let mut kv = KvCache::new(layout, 1).map_err(|error| error.to_string())?;
    let seq = kv.create(N_TOKENS);
    kv.extend(seq, N_TOKENS).map_err(|error| error.to_string())?;
    let want = |i| if i + 1 == N_TOKENS { Want::Logits } else { Want::Nothing };
    let row = |i| BatchRow { token: TokenId(i as u32), position: i as u32, seq, want: want(i) };
    let batch = Batch { rows: (0..N_TOKENS).map(row).collect() };
    let logits = model.forward(&batch, &mut kv, &mut NoTrace).map_err(|error| error.to_string())?;
    std::hint::black_box(logits.row(0).iter().sum::<f32>());
    Ok(())
}

/// The error of running the model at `path` without the path that it must start with, which is `path` or a file in it.
fn error_of(path: &Path) -> String {
    // The goldens have 100,000 weights.
    const MAX_ALLOCATION: usize = 8 << 20;
    let (outcome, peak) = alloc::peak_of(|| run(path));
    let error = match outcome {
        Ok(()) => return "none, it runs".to_owned(),
        Err(error) => error,
    };
    assert!(peak < MAX_ALLOCATION, "took {peak} bytes: {error}");
    let file = path.join("config.json");
    let without = |path: &Path| error.strip_prefix(&format!("{}: ", path.display())).map(str::to_owned);
    without(&file).or_else(|| without(path)).unwrap_or_else(|| format!("no path: {error}"))
}

/// What a table expects and does not find.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn compare(&mut self, found: &str, expected: &str) {
        if found != expected {
            self.0.push(format!("found     {found}\nexpected  {expected}\n"));
        }
    }
}

impl Drop for Differences {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.0.is_empty(), "{} differ:\n{}", self.0.len(), self.0.join("\n"));
        }
    }
}
