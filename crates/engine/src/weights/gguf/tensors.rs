//! Tensor infos: name, shape, type and place of each tensor, checked against the file.

use std::fmt::Display;
use std::path::Path;

use limpid_kernels::quant::Format;

use super::super::{TensorEntry, WeightsError};
use super::cursor::Cursor;
use super::types;

/// Name length, a name of one byte, number of dimensions, one dimension, type, offset.
pub(super) const MIN_INFO_BYTES: usize = 8 + 1 + 4 + 8 + 4 + 8;
/// GGML_MAX_NAME - 1: llama.cpp refuses longer ones.
const MAX_NAME_LEN: usize = 63;
/// GGML_MAX_DIMS.
const MAX_DIMS: u32 = 4;

/// A tensor info as the file gives it; the offset counts from the start of the data.
struct Info<'a> {
    name: &'a str,
    shape: Vec<usize>,
    format: Format,
    offset: u64,
    n_bytes: u64,
}

/// Reads `n_tensors` infos, which end the header, and locates the tensors in the data after it.
pub(super) fn read(
    cursor: &mut Cursor,
    n_tensors: u64,
    alignment: u64,
    source: usize,
) -> Result<Vec<TensorEntry>, WeightsError> {
    let mut infos = Vec::new();
    for i in 0..n_tensors {
        infos.push(read_info(cursor, i, alignment)?);
    }
    let data_start = (cursor.position() as u64).next_multiple_of(alignment);
    let mut tensors = Vec::with_capacity(infos.len());
    for info in infos {
        tensors.push(locate(cursor, info, data_start, source)?);
    }
    refuse_overlap(cursor.path, &mut tensors)?;
    Ok(tensors)
}

fn read_info<'a>(cursor: &mut Cursor<'a>, i: u64, alignment: u64) -> Result<Info<'a>, WeightsError> {
    let path = cursor.path;
    let name = cursor.str(format_args!("name of tensor {i}"))?;
    if name.is_empty() || name.len() > MAX_NAME_LEN {
        let field = format_args!("name of tensor {i}").to_string();
        let expected = format!("1 to {MAX_NAME_LEN} bytes");
        return Err(WeightsError::malformed(path, field, format_args!("{} bytes", name.len()), expected));
    }
    let field = format!("tensor `{}`", name.escape_debug());
    let n_dims = cursor.u32(&field)?;
    if !(1..=MAX_DIMS).contains(&n_dims) {
        let expected = format!("1 to {MAX_DIMS}");
        return Err(WeightsError::malformed(path, field, format_args!("{n_dims} dimensions"), expected));
    }
    // GGUF lists the fastest dimension first.
    let mut dims = Vec::with_capacity(n_dims as usize);
    for _ in 0..n_dims {
        dims.push(cursor.u64(&field)?);
    }
    dims.reverse();
    let ggml_type = cursor.u32(&field)?;
    let offset = cursor.u64(&field)?;
    let Some(format) = types::format(ggml_type) else {
        let found = format!("{} (type {ggml_type})", types::name(ggml_type));
        return Err(WeightsError::unsupported(path, field, found, types::supported()));
    };
    let (shape, n_bytes) = size(path, &field, &dims, format)?;
    if !offset.is_multiple_of(alignment) {
        let expected = format!("a multiple of the alignment, {alignment}");
        return Err(WeightsError::malformed(path, field, format_args!("offset {offset}"), expected));
    }
    Ok(Info { name, shape, format, offset, n_bytes })
}

/// The shape in native numbers and the bytes of the tensor.
fn size(
    path: &Path,
    field: impl Display,
    dims: &[u64],
    format: Format,
) -> Result<(Vec<usize>, u64), WeightsError> {
    let bad = |found: String, expected: String| WeightsError::malformed(path, &field, found, expected);
    let n_elements = dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim));
    let shape = dims.iter().map(|&dim| usize::try_from(dim)).collect::<Result<Vec<_>, _>>();
    let (Some(n_elements), Ok(shape)) = (n_elements, shape) else {
        return Err(bad(format!("shape {dims:?}"), "one whose product fits 64 bits".to_owned()));
    };
    if n_elements == 0 {
        return Err(bad(format!("shape {dims:?}"), "no dimension of 0".to_owned()));
    }
    let cols = shape[shape.len() - 1];
    if cols % format.block_len() != 0 {
        let expected = format!("a multiple of {}, the block of {format}", format.block_len());
        return Err(bad(format!("rows of {cols} weights"), expected));
    }
    match (n_elements / format.block_len() as u64).checked_mul(format.block_bytes() as u64) {
        Some(n_bytes) => Ok((shape, n_bytes)),
        None => Err(bad(format!("shape {dims:?}"), "one whose bytes fit 64 bits".to_owned())),
    }
}

fn locate(cursor: &Cursor, info: Info, data_start: u64, source: usize) -> Result<TensorEntry, WeightsError> {
    let start = data_start.checked_add(info.offset);
    let end = start.and_then(|start| start.checked_add(info.n_bytes));
    match (start, end) {
        (Some(start), Some(end)) if end <= cursor.file_len() as u64 => Ok(TensorEntry {
            name: info.name.to_owned(),
            shape: info.shape,
            format: info.format,
            source,
            range: start as usize..end as usize,
        }),
        _ => Err(WeightsError::malformed(
            cursor.path,
            format_args!("tensor `{}`", info.name.escape_debug()),
            format_args!("{} bytes at offset {} of the data", info.n_bytes, info.offset),
            format_args!(
                "an end within the {} bytes of data in the file",
                (cursor.file_len() as u64).saturating_sub(data_start)
            ),
        )),
    }
}

fn refuse_overlap(path: &Path, tensors: &mut [TensorEntry]) -> Result<(), WeightsError> {
    tensors.sort_by_key(|t| t.range.start);
    for pair in tensors.windows(2) {
        let [a, b] = pair else { continue };
        if b.range.start < a.range.end {
            return Err(WeightsError::malformed(
                path,
                format_args!("tensor `{}`", b.name.escape_debug()),
                format_args!("data that overlaps tensor `{}`", a.name.escape_debug()),
                "tensors apart from each other",
            ));
        }
    }
    Ok(())
}
