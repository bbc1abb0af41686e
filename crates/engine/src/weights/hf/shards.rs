//! A folder's safetensors files: one, or several with an index.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use limpid_kernels::quant::Format;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::Deserialize;

use super::super::source::Source;
use super::super::{TensorEntry, WeightsError, not_a_model};
use super::{SUPPORTED, first_with_extension, read_file};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// The header's length, before the header.
const LEN_BYTES: usize = 8;
/// A header is parsed as a whole, into many times its size. The largest models need 12 MB.
const MAX_HEADER_BYTES: u64 = 16 << 20;
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
    let index: Index = serde_json::from_slice(&text)
        .map_err(|e| WeightsError::malformed(&index_path, "JSON", e, "an object with `weight_map`"))?;
    let shards: BTreeSet<&str> = index.weight_map.values().map(String::as_str).collect();
    for shard in shards {
        if Path::new(shard).file_name().is_none_or(|name| name != shard) {
            let found = format_args!("\"{}\"", shard.escape_debug()).to_string();
            let expected = "names of files in the same folder";
            return Err(WeightsError::malformed(&index_path, "`weight_map`", found, expected));
        }
        weights.add(&folder.join(shard))?;
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
    not_a_model(folder, found, remedy)
}

impl Weights {
    /// Maps one safetensors file and takes over its tensors.
    fn add(&mut self, path: &Path) -> Result<(), WeightsError> {
        let source = Source::map(path)?;
        let bytes = source.bytes();
        check_header_len(path, bytes)?;
        let (header_len, header) =
            SafeTensors::read_metadata(bytes).map_err(|e| bad_header(path, bytes.len(), &e))?;
        let data_start = LEN_BYTES + header_len;
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
        let found: HashMap<&str, usize> = self.tensors.iter().map(|t| (t.name.as_str(), t.source)).collect();
        for (name, shard) in &index.weight_map {
            let in_shard = found
                .get(name.as_str())
                .is_some_and(|&source| self.sources[source].path.file_name().is_some_and(|f| f == &**shard));
            if !in_shard && !self.buffers.contains_key(name) {
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

fn check_header_len(path: &Path, bytes: &[u8]) -> Result<(), WeightsError> {
    let bad = |found, expected| Err(WeightsError::malformed(path, "header length", found, expected));
    if bytes.starts_with(b"version https://git-lfs") {
        let remedy = "run `git lfs pull` in its folder to get the file itself";
        return Err(not_a_model(path, "a git-lfs pointer", remedy));
    }
    let Some((len, rest)) = bytes.split_first_chunk::<LEN_BYTES>() else {
        return bad(format!("a file of {} bytes", bytes.len()), "8 bytes at its start".to_owned());
    };
    let len = u64::from_le_bytes(*len);
    if len > rest.len() as u64 {
        return bad(len.to_string(), format!("at most the {} bytes left of the file", rest.len()));
    }
    if len > MAX_HEADER_BYTES {
        return bad(len.to_string(), format!("at most {MAX_HEADER_BYTES}"));
    }
    Ok(())
}

/// Gives the crate's errors field, found and expected.
fn bad_header(path: &Path, file_len: usize, error: &SafeTensorError) -> WeightsError {
    let (field, found, expected) = match error {
        SafeTensorError::InvalidOffset(name) => (
            format!("tensor `{}`", name.escape_debug()),
            "data_offsets that leave a gap, overlap or run backwards".to_owned(),
            "each tensor to start where the one before it ends",
        ),
        SafeTensorError::MetadataIncompleteBuffer => (
            "data".to_owned(),
            format!("another size than the header describes, in a file of {file_len} bytes"),
            "header and tensors to fill the file exactly",
        ),
        SafeTensorError::TensorInvalidInfo => (
            "header".to_owned(),
            "a tensor whose shape and dtype need other than its data_offsets".to_owned(),
            "product of shape x bytes of dtype = length of data",
        ),
        SafeTensorError::ValidationOverflow => {
            ("header".to_owned(), "a shape whose product overflows".to_owned(), "one that fits 64 bits")
        }
        SafeTensorError::InvalidHeaderDeserialization(_) | SafeTensorError::InvalidHeader(_) => {
            ("header".to_owned(), error.to_string(), "a JSON object of tensors")
        }
        other => ("header".to_owned(), other.to_string(), "a safetensors header"),
    };
    WeightsError::malformed(path, field, found, expected)
}
