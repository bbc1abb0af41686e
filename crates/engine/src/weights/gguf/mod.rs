//! The GGUF container, versions 2 and 3, little endian, in one file or split into several.
//!
//! Layout (ggml's docs/gguf.md): header, metadata, tensor infos, padding, tensor data. The header is copied out and
//! checked; tensor data is only located.

mod cursor;
mod metadata;
mod split;
mod tensors;
mod types;

use std::collections::HashMap;
use std::path::Path;

use self::cursor::Cursor;
pub use self::metadata::{GgufMetadata, NumberArray, NumberType, StrArray, Value};
use super::source::Source;
use super::{Metadata, TensorEntry, WeightsError, WeightsFile};

pub(super) const MAGIC: &[u8] = b"GGUF";

/// Metadata and tensor infos may take this much of a file. The largest vocabularies take about 20 MB.
const MAX_HEADER_BYTES: usize = 128 << 20;
/// Keys that a file may have; real ones have fewer than a hundred.
const MAX_KEYS: u64 = 1 << 16;
/// Tensors that a file may have; real ones have a few thousand.
const MAX_TENSORS: u64 = 1 << 17;
/// `general.alignment` where the file does not give one.
const DEFAULT_ALIGNMENT: u32 = 32;

/// Opens a model from its only or first file.
pub(super) fn open(first: Source) -> Result<WeightsFile, WeightsError> {
    let path = first.path.clone();
    let header = read_header(&first, 0)?;
    let mut tensors = header.tensors;
    let mut sources = vec![first];
    if let Some(split) = split::Split::of_first(&path, &header.metadata)? {
        for (part, path) in split.other_paths(&path)? {
            let source = Source::map(&path).map_err(|e| split.missing_part(e, part))?;
            let header = read_header(&source, sources.len())?;
            split.check_part(&header.metadata, part)?;
            tensors.extend(header.tensors);
            sources.push(source);
        }
        split.check_total(&path, tensors.len())?;
    }
    WeightsFile::new(&path, Metadata::Gguf(header.metadata), sources, tensors, HashMap::new())
}

struct Header {
    metadata: GgufMetadata,
    tensors: Vec<TensorEntry>,
}

/// Reads and checks all of a file but its tensor data. `source_idx` is the file's place among the model's files.
fn read_header(source: &Source, source_idx: usize) -> Result<Header, WeightsError> {
    let path = source.path.as_path();
    let mut cursor = Cursor::new(path, source.bytes(), MAX_HEADER_BYTES);
    let magic = cursor.take(MAGIC.len() as u64, "magic")?;
    if magic != MAGIC {
        let found = format_args!("\"{}\"", magic.escape_ascii()).to_string();
        return Err(WeightsError::malformed(path, "magic", found, "\"GGUF\""));
    }
    check_version(path, cursor.u32("version")?)?;
    let n_tensors = cursor.u64("tensor count")?;
    let n_keys = cursor.u64("metadata key count")?;
    cursor.check_count(n_keys, metadata::MIN_KEY_BYTES, MAX_KEYS, "metadata key count")?;
    cursor.check_count(n_tensors, tensors::MIN_INFO_BYTES, MAX_TENSORS, "tensor count")?;
    let metadata = metadata::read(&mut cursor, n_keys)?;
    let tensors = tensors::read(&mut cursor, n_tensors, alignment(&metadata)?, source_idx)?;
    Ok(Header { metadata, tensors })
}

fn check_version(path: &Path, version: u32) -> Result<(), WeightsError> {
    let supported = "versions 2 and 3, little endian; convert the original model again";
    match version {
        2 | 3 => Ok(()),
        _ if matches!(version.swap_bytes(), 1..=3) => {
            let found = format_args!("version {}, big endian", version.swap_bytes()).to_string();
            Err(WeightsError::unsupported(path, "version", found, supported))
        }
        _ => Err(WeightsError::unsupported(path, "version", format_args!("version {version}"), supported)),
    }
}

fn alignment(metadata: &GgufMetadata) -> Result<u64, WeightsError> {
    let alignment = metadata.u32("general.alignment")?.unwrap_or(DEFAULT_ALIGNMENT);
    if !alignment.is_power_of_two() {
        return Err(WeightsError::malformed(
            metadata.path(),
            "`general.alignment`",
            alignment,
            "a power of two",
        ));
    }
    Ok(u64::from(alignment))
}
