//! From a path to an opened model: the file, its configuration and its tokenizer.

use crate::cli::args::Setup;
use crate::console::Console;
use crate::error::CliError;
use crate::progress::{Progress, Unit};
use crate::sizing::{SequenceSize, Sizing};
use limpid_engine::engine::{Clock, Engine, EngineConfig};
use limpid_engine::model::{Model, ModelConfig, ModelError, ModelOptions, arch};
use limpid_engine::sampling::Defaults;
use limpid_engine::tokenizer::Tokenizer;
use limpid_engine::weights::WeightsFile;
use limpid_kernels::Cpu;
use limpid_kernels::matrix::MatrixError;
use std::path::Path;
use std::sync::Arc;

/// The model that every copy of this program carries (`models/pocket`).
static POCKET: &[u8] = include_bytes!("../../../models/pocket/pocket.gguf");

/// How the embedded model is called where a path would stand.
pub(crate) const POCKET_NAME: &str = "the embedded pocket model";

/// An opened model: headers are read and checked, weights are not.
pub(crate) struct ModelFile {
    pub(crate) weights: WeightsFile,
    pub(crate) config: ModelConfig,
    is_embedded: bool,
}

impl ModelFile {
    /// Without a path: the embedded model.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, CliError> {
        let weights = match path {
            Some(path) => WeightsFile::open(path)?,
            None => WeightsFile::from_bytes(POCKET_NAME, POCKET)?,
        };
        let config = arch::read(&weights)?;
        Ok(Self { weights, config, is_embedded: path.is_none() })
    }

    /// The path, or what stands for it.
    pub(crate) fn name(&self) -> String {
        self.weights.path().display().to_string()
    }

    /// Bytes of the program itself that loading brings into memory and that stay there: the embedded model's.
    pub(crate) fn bytes_in_program(&self) -> usize {
        if self.is_embedded { POCKET.len() } else { 0 }
    }

    pub(crate) fn tokenizer(&self) -> Result<Tokenizer, CliError> {
        Ok(Tokenizer::new(self.weights.metadata())?)
    }

    /// Reads and repacks the weights, with progress.
    pub(crate) fn load(
        &self,
        cpu: Arc<Cpu>,
        options: &ModelOptions,
        console: &Console,
    ) -> Result<Model, CliError> {
        let progress = Progress::start(console, "loading", Unit::Bytes);
        let model = Model::load(&self.weights, self.config.clone(), cpu, options, &mut |at| {
            progress.set(at.done_bytes, at.total_bytes);
        });
        model.map_err(|error| match error {
            // Which memory was short does not show from the model's parts.
            ModelError::Alloc(_) => CliError::failure(format!("{}: {error}", self.name())),
            ModelError::Matrix { source: MatrixError::Alloc(_), .. } => CliError::failure(format!(
                "{error}; end other programs, or use fewer --threads or a model in a smaller format"
            )),
            error => error.into(),
        })
    }

    /// Loads the model into an engine for one request at a time.
    pub(crate) fn engine(
        &self,
        loading: &Loading<'_>,
        tokenizer: Arc<Tokenizer>,
        console: &Console,
        clock: Box<dyn Clock>,
    ) -> Result<Engine, CliError> {
        let &Loading { setup, sizing, size, kv_cache } = loading;
        let limits = sizing.limits(size.n_positions);
        let options = ModelOptions { compute: setup.compute, kv_format: setup.kv_format, limits };
        let model = self.load(setup.cpu(), &options, console)?;
        let config = EngineConfig {
            context_length: size.context_length,
            n_pages: sizing.n_pages(size.n_positions),
            max_sequences: sizing.n_sequences,
            max_waiting: 1,
            prefill_chunk: size.prefill_chunk,
            kv_cache,
        };
        Ok(Engine::new(Box::new(model), tokenizer, config, clock)?)
    }
}

/// How an engine for one request at a time is loaded.
pub(crate) struct Loading<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) sizing: &'a Sizing<'a>,
    pub(crate) size: SequenceSize,
    pub(crate) kv_cache: bool,
}

/// What is odd about the model's files, and what of them is not done.
pub(crate) fn warn(console: &Console, tokenizer: &Tokenizer, defaults: &Defaults) {
    for warning in tokenizer.warnings() {
        console.note(&format!("warning: {warning}"));
    }
    for key in &defaults.not_followed {
        console
            .note(&format!("warning: the model's files set {key}, which is not supported and is left out"));
    }
}
