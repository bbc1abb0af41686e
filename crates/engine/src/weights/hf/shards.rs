//! A folder's safetensors files: one, or several with an index.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::path::Path;

use limpid_kernels::quant::Format;
use safetensors::Dtype;
use serde::Deserialize;

use super::super::source::Source;
use super::super::{A_MODEL, TensorEntry, WeightsError, not_a_model};
use super::{SUPPORTED, bad_json, first_with_extension, header, read_file};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// The tensors of all files together.
#[derive(Default)]
pub(super) struct Weights {
    pub(super) sources: Vec<Source>,
    pub(super) tensors: Vec<TensorEntry>,
    /// Types of the tensors that are no weights, by name.
    pub(super) buffers: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Index {
    /// Which file each tensor is in.
    weight_map: BTreeMap<String, String>,
}

pub(super) fn open(folder: &Path) -> Result<Weights, WeightsError> {
    let single = folder.join(SINGLE);
    let mut weights = Weights::default();
    if single.is_file() {
        weights.add(&single)?;
        return Ok(weights);
    }
    let index_path = folder.join(INDEX);
    let Some(text) = read_file(&index_path, MAX_INDEX_BYTES)? else { return Err(no_weights(folder)) };
    let index: Index = serde_json::from_slice(&text).map_err(|e| {
        WeightsError::malformed(&index_path, "text", bad_json(&e), "an object with `weight_map`")
    })?;
    if index.weight_map.is_empty() {
        return Err(WeightsError::malformed(&index_path, "`weight_map`", "no tensors", "the model's"));
    }
    let shards: BTreeSet<&str> = index.weight_map.values().map(String::as_str).collect();
    for shard in shards {
        if Path::new(shard).file_name().is_none_or(|name| name != shard) {
            let found = format_args!("\"{}\"", shard.escape_debug()).to_string();
            let expected = "names of files in the same folder";
            return Err(WeightsError::malformed(&index_path, "`weight_map`", found, expected));
        }
        let path = folder.join(shard);
        if !path.is_file() {
            let expected = format!("a file that {INDEX} lists");
            return Err(not_a_model(&path, "no file", expected, "get the model's other files as well"));
        }
        weights.add(&path)?;
    }
    weights.check_index(&index_path, &index)?;
    Ok(weights)
}

fn no_weights(folder: &Path) -> WeightsError {
    let (found, remedy) = if first_with_extension(folder, "bin").is_some() {
        ("a folder with PyTorch weights (.bin) only", "get the model as safetensors or GGUF".to_owned())
    } else if let Some(file) = first_with_extension(folder, "safetensors") {
        let name = file.file_name().unwrap_or_default().display().to_string();
        let remedy = format!("{name} must be named {SINGLE}, or several files be listed in {INDEX}");
        ("a folder with safetensors files under other names", remedy)
    } else {
        ("a folder with config.json and no weights", format!("get {SINGLE} as well"))
    };
    not_a_model(folder, found, A_MODEL, remedy)
}

impl Weights {
    /// Maps one safetensors file and takes over its tensors.
    fn add(&mut self, path: &Path) -> Result<(), WeightsError> {
        let source = Source::map(path)?;
        let (data_start, header) = header::read(path, source.bytes())?;
        for name in header.offset_keys() {
            let Some(info) = header.info(&name) else { continue };
            let format = match info.dtype {
                Dtype::F32 => Format::F32,
                Dtype::F16 => Format::F16,
                Dtype::BF16 => Format::BF16,
                dtype if is_buffer(dtype) => {
                    self.buffers.insert(name, format!("{dtype:?}"));
                    continue;
                }
                dtype => {
                    let field = format!("tensor `{}`", name.escape_debug());
                    return Err(WeightsError::unsupported(path, field, format_args!("{dtype:?}"), SUPPORTED));
                }
            };
            let (start, end) = info.data_offsets;
            self.tensors.push(TensorEntry {
                name,
                shape: info.shape.clone(),
                format,
                source: self.sources.len(),
                range: data_start + start..data_start + end,
            });
        }
        self.sources.push(source);
        Ok(())
    }

    /// Every tensor of the index must be in the file that the index says.
    fn check_index(&self, index_path: &Path, index: &Index) -> Result<(), WeightsError> {
        let found: HashSet<(&str, Option<&OsStr>)> = self
            .tensors
            .iter()
            .map(|tensor| (tensor.name.as_str(), self.sources[tensor.source].path.file_name()))
            .collect();
        for (name, shard) in &index.weight_map {
            if !found.contains(&(name, Some(OsStr::new(shard)))) && !self.buffers.contains_key(name) {
                return Err(WeightsError::malformed(
                    index_path,
                    format_args!("tensor `{}`", name.escape_debug()),
                    "no such tensor in its file",
                    format_args!("it in {shard}"),
                ));
            }
        }
        Ok(())
    }
}

/// Integers and booleans are not weights (position ids, masks). They are left alone until someone asks for one.
fn is_buffer(dtype: Dtype) -> bool {
    matches!(
        dtype,
        Dtype::BOOL
            | Dtype::U8
            | Dtype::I8
            | Dtype::U16
            | Dtype::I16
            | Dtype::U32
            | Dtype::I32
            | Dtype::U64
            | Dtype::I64
    )
}
