//! The facts about a model, as JSON and as text.

use crate::cli::run::DefaultsJson;
use crate::error::CliError;
use crate::line::one_line;
use crate::load::ModelFile;
use crate::machine::AvailableMemory;
use crate::sizing::Sizing;
use crate::units;
use limpid_engine::TokenId;
use limpid_engine::model::config::{FfnConfig, LayerConfig, MixerConfig};
use limpid_engine::sampling::Defaults;
use limpid_engine::tokenizer::Tokenizer;
use limpid_kernels::ops::KvFormat;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// `limpid inspect --json`.
#[derive(Serialize)]
pub(super) struct InspectJson {
    model: String,
    architecture: String,
    parameters: u64,
    layers: usize,
    hidden_size: usize,
    /// Where layers differ, those of the first one.
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    intermediate_size: usize,
    vocab_size: usize,
    tied_embeddings: bool,
    tensors: TensorsJson,
    context_length: ContextJson,
    tokenizer: TokenizerFacts,
    chat_template: bool,
    defaults: DefaultsJson,
    size_on_disk_bytes: u64,
    weights_bytes: usize,
    kv: KvJson,
    /// What was asked with --context.
    contexts: Vec<MemoryRow>,
    /// The longest context that fits this machine; null where its memory is not known.
    fits: Option<FitsJson>,
}

#[derive(Serialize)]
struct TensorsJson {
    count: usize,
    by_format: BTreeMap<String, FormatJson>,
}

#[derive(Serialize, Default)]
struct FormatJson {
    tensors: usize,
    parameters: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct ContextJson {
    tokens: usize,
    /// The key that says so.
    source: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum TokenizerFacts {
    Usable(TokenizerJson),
    /// Why text cannot be turned into ids.
    Unusable {
        error: String,
    },
}

#[derive(Serialize)]
struct TokenizerJson {
    vocab_size: usize,
    bos: Option<TokenJson>,
    /// BOS comes first in every prompt.
    adds_bos: bool,
    eos: Vec<EosJson>,
    unknown: Option<TokenJson>,
    pad: Option<TokenJson>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct TokenJson {
    id: u32,
    text: String,
}

#[derive(Serialize)]
struct EosJson {
    id: u32,
    text: String,
    /// The keys that name it.
    sources: Vec<&'static str>,
}

#[derive(Serialize)]
struct KvJson {
    format: String,
    /// While no window is full.
    bytes_per_token: usize,
    layer_groups: Vec<KvGroupJson>,
}

/// Layers that are alike.
#[derive(Serialize)]
struct KvGroupJson {
    layers: usize,
    /// Tokens after which their keys and values stop growing.
    window: Option<u32>,
    bytes_per_token: usize,
}

#[derive(Serialize)]
struct FitsJson {
    context: usize,
    available_bytes: usize,
    limit: &'static str,
}

/// What one context length takes.
#[derive(Serialize)]
pub(super) struct MemoryRow {
    context: usize,
    /// More tokens than the model was made for.
    is_beyond_model: bool,
    weights_bytes: usize,
    kv_bytes: usize,
    workspace_bytes: usize,
    /// What this process holds without a model, as a run will.
    runtime_bytes: usize,
    total_bytes: usize,
    /// What the scores of all pairs would take in one layer; they are never held.
    score_matrix_bytes: usize,
}

impl MemoryRow {
    pub(super) fn new(sizing: &Sizing<'_>, file: &ModelFile, n: usize, runtime: usize) -> Self {
        let need = sizing.need(n);
        Self {
            context: n,
            is_beyond_model: n > file.config.context_length,
            weights_bytes: need.weights,
            kv_bytes: need.kv,
            workspace_bytes: need.workspace,
            runtime_bytes: runtime,
            total_bytes: need.total().saturating_add(runtime),
            score_matrix_bytes: sizing.plan.score_matrix(n),
        }
    }
}

impl InspectJson {
    pub(super) fn new(
        file: &ModelFile,
        tokenizer: Result<&Tokenizer, &CliError>,
        defaults: &Defaults,
        sizing: &Sizing<'_>,
        kv_format: KvFormat,
        contexts: Vec<MemoryRow>,
        fits: Option<(usize, AvailableMemory)>,
    ) -> Result<Self, CliError> {
        let config = &file.config;
        let Some(LayerConfig { mixer: MixerConfig::Attention(attention), ffn }) = config.layers.first()
        else {
            return Err(CliError::failure(format!("{} has no layers", file.name())));
        };
        let FfnConfig::Dense { intermediate_size, .. } = *ffn;
        Ok(Self {
            model: file.name(),
            architecture: config.architecture.clone(),
            parameters: file.weights.n_parameters(),
            layers: config.layers.len(),
            hidden_size: config.hidden_size,
            heads: attention.n_heads,
            kv_heads: attention.n_kv_heads,
            head_dim: attention.head_dim,
            intermediate_size,
            vocab_size: config.vocab_size,
            tied_embeddings: config.tied_embeddings,
            tensors: TensorsJson::new(file),
            context_length: ContextJson {
                tokens: config.context_length,
                source: config.context_length_source.clone(),
            },
            tokenizer: match tokenizer {
                Ok(tokenizer) => TokenizerFacts::Usable(TokenizerJson::new(tokenizer)),
                Err(error) => TokenizerFacts::Unusable { error: error.to_string() },
            },
            chat_template: file.weights.metadata().chat_template()?.is_some(),
            defaults: DefaultsJson::new(defaults),
            size_on_disk_bytes: file.weights.size_on_disk(),
            weights_bytes: sizing.plan.weights(),
            kv: KvJson::new(sizing, kv_format),
            contexts,
            fits: fits.map(|(context, available)| FitsJson {
                context,
                available_bytes: available.bytes,
                limit: available.limit,
            }),
        })
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        for (name, value) in self.facts() {
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(out, "{name:<18} {}", one_line(&value));
        }
        if !self.contexts.is_empty() {
            out.push('\n');
            let has_windows = self.kv.layer_groups.iter().any(|group| group.window.is_some());
            out.push_str(&memory_table(&self.contexts, has_windows));
        }
        out
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = vec![
            ("model", self.model.clone()),
            ("architecture", self.architecture.clone()),
            ("parameters", units::count(self.parameters as usize)),
            (
                "shape",
                format!(
                    "{}, hidden size {}, {}, {} of {}, FFN {}{}",
                    units::counted(self.layers, "layer"),
                    self.hidden_size,
                    units::counted(self.heads, "head"),
                    units::counted(self.kv_heads, "key-value head"),
                    self.head_dim,
                    self.intermediate_size,
                    if self.tied_embeddings { ", tied embeddings" } else { "" },
                ),
            ),
        ];
        for (format, tensors) in &self.tensors.by_format {
            let FormatJson { tensors, parameters, bytes } = tensors;
            let (parameters, bytes) = (units::count(*parameters as usize), units::bytes(*bytes as usize));
            facts.push(("tensors", format!("{tensors} {format}, {parameters} parameters, {bytes}")));
        }
        let context = &self.context_length;
        facts.push((
            "context length",
            format!("{} tokens ({})", units::count(context.tokens), context.source),
        ));
        match &self.tokenizer {
            TokenizerFacts::Usable(tokenizer) => facts.extend(tokenizer.facts()),
            TokenizerFacts::Unusable { error } => facts.push(("tokenizer", format!("not usable: {error}"))),
        }
        facts.push(("chat template", if self.chat_template { "yes" } else { "none" }.to_owned()));
        facts.push(("default sampling", self.defaults.text()));
        facts.push(("size on disk", units::bytes(self.size_on_disk_bytes as usize)));
        facts.push(("weights in memory", units::bytes(self.weights_bytes)));
        facts.extend(self.kv.facts());
        facts.push((
            "fits this machine",
            self.fits.as_ref().map_or_else(|| "unknown".to_owned(), FitsJson::text),
        ));
        facts
    }
}

impl TensorsJson {
    fn new(file: &ModelFile) -> Self {
        let mut by_format: BTreeMap<String, FormatJson> = BTreeMap::new();
        for tensor in file.weights.tensors() {
            let entry = by_format.entry(tensor.format.to_string()).or_default();
            entry.tensors += 1;
            entry.parameters += tensor.n_elements() as u64;
            entry.bytes += tensor.bytes.len() as u64;
        }
        Self { count: file.weights.n_tensors(), by_format }
    }
}

impl TokenizerJson {
    fn new(tokenizer: &Tokenizer) -> Self {
        let special = tokenizer.special();
        let text = |id: TokenId| tokenizer.piece(id).into_owned();
        let token = |id: Option<TokenId>| id.map(|id| TokenJson { id: id.0, text: text(id) });
        Self {
            vocab_size: tokenizer.vocab_size(),
            bos: token(special.bos),
            adds_bos: special.add_bos,
            eos: special
                .eos
                .iter()
                .map(|eos| EosJson { id: eos.id.0, text: text(eos.id), sources: eos.sources.clone() })
                .collect(),
            unknown: token(special.unknown),
            pad: token(special.pad),
            warnings: tokenizer.warnings().to_vec(),
        }
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = vec![("tokenizer", format!("{} tokens", units::count(self.vocab_size)))];
        let added = if self.adds_bos { "begins every prompt" } else { "is not added" };
        if let Some(TokenJson { id, text }) = &self.bos {
            facts.push(("BOS", format!("{id} {text:?}, {added}")));
        }
        for EosJson { id, text, sources } in &self.eos {
            facts.push(("EOS", format!("{id} {text:?} ({})", sources.join(", "))));
        }
        for (name, token) in [("unknown", &self.unknown), ("padding", &self.pad)] {
            if let Some(TokenJson { id, text }) = token {
                facts.push((name, format!("{id} {text:?}")));
            }
        }
        facts.extend(self.warnings.iter().map(|warning| ("warning", warning.clone())));
        facts
    }
}

impl KvJson {
    fn new(sizing: &Sizing<'_>, format: KvFormat) -> Self {
        let groups = &sizing.plan.kv_layout().groups;
        Self {
            format: format!("{format:?}").to_lowercase(),
            bytes_per_token: sizing.plan.kv_bytes_per_token(),
            layer_groups: groups
                .iter()
                .map(|group| KvGroupJson {
                    layers: group.layers.len(),
                    window: group.window,
                    bytes_per_token: group.shape.bytes_per_token(),
                })
                .collect(),
        }
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts =
            vec![("KV cache", format!("{} a token ({})", units::bytes(self.bytes_per_token), self.format))];
        for KvGroupJson { layers, window, bytes_per_token } in &self.layer_groups {
            let layers = units::counted(*layers, "layer");
            if let Some(window) = window {
                let bytes = units::bytes(*bytes_per_token);
                let window = units::count(*window as usize);
                facts.push((
                    "",
                    format!("of these, {bytes} in {layers} no longer grow after {window} tokens"),
                ));
            }
        }
        facts
    }
}

impl FitsJson {
    fn text(&self) -> String {
        let available = units::bytes(self.available_bytes);
        match self.context {
            0 => format!("no: {available} are available ({})", self.limit),
            n => format!("up to {} tokens: {available} are available ({})", units::count(n), self.limit),
        }
    }
}

/// One line a context length. Each column says how it grows with the context n; layers with a window stop growing.
fn memory_table(rows: &[MemoryRow], has_windows: bool) -> String {
    let title = ["context", "weights", "KV cache", "workspace", "runtime", "total", "score matrix"]
        .map(str::to_owned);
    let kv = if has_windows { "~ n, window" } else { "~ n" };
    let growth = ["n", "constant", kv, "~ chunk", "constant", kv, "~ n^2"].map(str::to_owned);
    let mut lines = vec![title, growth];
    for row in rows {
        let [weights, kv, workspace, runtime, total, scores] = [
            row.weights_bytes,
            row.kv_bytes,
            row.workspace_bytes,
            row.runtime_bytes,
            row.total_bytes,
            row.score_matrix_bytes,
        ]
        .map(units::bytes);
        let mark = if row.is_beyond_model { "*" } else { "" };
        lines.push([units::count(row.context) + mark, weights, kv, workspace, runtime, total, scores]);
    }
    let mut out = String::new();
    for line in &lines {
        for (column, cell) in line.iter().enumerate() {
            let width = lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
            let _ = write!(out, "{}{cell:>width$}", if column == 0 { "" } else { "  " });
        }
        out.push('\n');
    }
    out.push_str("The score matrix of one layer is for comparison: attention never holds it.\n");
    if rows.iter().any(|row| row.is_beyond_model) {
        out.push_str("* is longer than what the model was made for.\n");
    }
    out
}
