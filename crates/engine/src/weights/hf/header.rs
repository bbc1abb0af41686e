//! The header of a safetensors file. The crate checks it; here its errors get field, found and expected.

use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{SafeTensorError, SafeTensors};
use serde_json::{Map, Value};

use super::super::{WeightsError, not_a_model};

/// The header's length, before the header.
const LEN_BYTES: usize = 8;
/// A header is parsed as a whole, into many times its size. A thousand tensors take about 100 kB.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// Where the data starts in the file, and the tensors. The crate makes sure that tensors neither overlap nor leave
/// gaps, have the sizes that their shapes need, and fill the file exactly.
pub(super) fn read(path: &Path, file: &[u8]) -> Result<(usize, Metadata), WeightsError> {
    check_start(path, file)?;
    match SafeTensors::read_metadata(file) {
        Ok((header_len, header)) => Ok((LEN_BYTES + header_len, header)),
        Err(error) => Err(explain(path, file, &error)),
    }
}

/// The length and first byte of the header.
fn check_start(path: &Path, file: &[u8]) -> Result<(), WeightsError> {
    let bad = |found, expected| Err(WeightsError::malformed(path, "header length", found, expected));
    if file.starts_with(b"version https://git-lfs") {
        let remedy = "run `git lfs pull` in its folder to get the file itself";
        return Err(not_a_model(path, "a git-lfs pointer", "a safetensors file", remedy));
    }
    let Some((len, rest)) = file.split_first_chunk::<LEN_BYTES>() else {
        return bad(format!("a file of {} bytes", file.len()), format!("{LEN_BYTES} bytes at its start"));
    };
    let len = u64::from_le_bytes(*len);
    if len > rest.len() as u64 {
        return bad(len.to_string(), format!("at most the {} bytes left of the file", rest.len()));
    }
    if len > MAX_HEADER_BYTES {
        return bad(len.to_string(), format!("at most {MAX_HEADER_BYTES}"));
    }
    if len == 0 || rest[0] != b'{' {
        let found = format!("\"{}\"", rest[..rest.len().min(4)].escape_ascii());
        return Err(WeightsError::malformed(path, "start of header", found, "a JSON object"));
    }
    Ok(())
}

/// The crate does not say which tensor or number it means.
fn explain(path: &Path, file: &[u8], error: &SafeTensorError) -> WeightsError {
    let bad =
        |field: &str, found: String, expected: &str| WeightsError::malformed(path, field, found, expected);
    match error {
        SafeTensorError::InvalidOffset(name) => bad(
            &tensor(name),
            "data_offsets that leave a gap, overlap or run backwards".to_owned(),
            "each tensor to start where the one before it ends",
        ),
        SafeTensorError::TensorInvalidInfo | SafeTensorError::ValidationOverflow => {
            let expected = "data_offsets as far apart as shape and dtype need";
            match infos(file).into_iter().find(|(_, info)| n_bytes(info) != Some(span(info))) {
                Some((name, TensorInfo { dtype, shape, data_offsets: (start, end) })) => {
                    bad(&tensor(&name), format!("{dtype} {shape:?} in bytes {start} to {end}"), expected)
                }
                None => bad("header", error.to_string(), expected),
            }
        }
        SafeTensorError::MetadataIncompleteBuffer => {
            let ends = infos(file).into_iter().map(|(_, info)| info.data_offsets.1);
            let n_data_bytes = ends.max().unwrap_or(0);
            let n_header_bytes = LEN_BYTES + header_text(file).len();
            bad(
                "data",
                format!("{} bytes after the header", file.len() - n_header_bytes),
                &format!("{n_data_bytes}, where the last tensor ends"),
            )
        }
        other => bad("header", other.to_string(), "a JSON object of tensors"),
    }
}

fn tensor(name: &str) -> String {
    format!("tensor `{}`", name.escape_debug())
}

/// The header's JSON. `check_start` has found it to be inside the file.
fn header_text(file: &[u8]) -> &[u8] {
    let Some((len, rest)) = file.split_first_chunk::<LEN_BYTES>() else { return &[] };
    usize::try_from(u64::from_le_bytes(*len)).ok().and_then(|len| rest.get(..len)).unwrap_or(&[])
}

/// The tensors of a header that is JSON, in its order.
fn infos(file: &[u8]) -> Vec<(String, TensorInfo)> {
    let header: Map<String, Value> = serde_json::from_slice(header_text(file)).unwrap_or_default();
    let infos = header.into_iter().map(|(name, info)| serde_json::from_value(info).map(|info| (name, info)));
    infos.flatten().collect()
}

/// What shape and dtype need; `None` if that is no whole number of bytes or none that fits.
fn n_bytes(info: &TensorInfo) -> Option<usize> {
    let n_elements = info.shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim))?;
    let n_bits = n_elements.checked_mul(info.dtype.bitsize())?;
    n_bits.is_multiple_of(8).then_some(n_bits / 8)
}

fn span(info: &TensorInfo) -> usize {
    let (start, end) = info.data_offsets;
    end.saturating_sub(start)
}
