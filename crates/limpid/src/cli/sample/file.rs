//! A vector of numbers from a file: a JSON array, or NumPy's format
//! (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>).

use crate::error::CliError;
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::Path;

/// The most that is read: a hundred times the largest vocabulary.
const MAX_BYTES: u64 = 1 << 30;

pub(crate) fn read(path: &Path) -> Result<Vec<f32>, CliError> {
    let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let failed = |error: &dyn std::fmt::Display| CliError::failure(format!("{name}: {error}"));
    let mut bytes = Vec::new();
    let is_read = match path == Path::new("-") {
        true => std::io::stdin().lock().take(MAX_BYTES).read_to_end(&mut bytes),
        false => std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes)),
    };
    is_read.map_err(|error| failed(&error))?;
    let logits = match bytes.starts_with(MAGIC) {
        true => npy(&bytes),
        false => json(&bytes),
    };
    let logits = logits.map_err(|error| failed(&error))?;
    if logits.is_empty() { Err(failed(&"there are no logits, one or more are expected")) } else { Ok(logits) }
}

/// `[1, 2.5, -inf]`: what JSON has, and the numbers that it lacks as Python writes them (-Infinity, NaN).
fn json(bytes: &[u8]) -> Result<Vec<f32>, String> {
    const EXPECTED: &str = "a JSON array of numbers such as [1, 2.5, -inf] or a NumPy file is expected";
    let text = std::str::from_utf8(bytes).map_err(|_| EXPECTED)?.trim();
    let list = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).ok_or(EXPECTED)?;
    if list.trim().is_empty() {
        return Ok(Vec::new());
    }
    let number = |(i, part): (usize, &str)| {
        let part = part.trim().trim_matches('"');
        part.parse().map_err(|_| format!("number {i} of the array, counted from 0, is `{part}`; {EXPECTED}"))
    };
    narrowed(list.split(',').enumerate().map(number).collect::<Result<_, _>>()?)
}

/// As logits are. Refuses a number that would become an infinite one.
fn narrowed(numbers: Vec<f64>) -> Result<Vec<f32>, String> {
    let is_too_large = |x: &f64| x.is_finite() && (*x as f32).is_infinite();
    match numbers.iter().position(is_too_large) {
        None => Ok(numbers.into_iter().map(|x| x as f32).collect()),
        Some(i) => {
            Err(format!("number {i}, counted from 0, is {:e}; give numbers up to 1e30, or -inf", numbers[i]))
        }
    }
}

const MAGIC: &[u8] = b"\x93NUMPY";
const VERSIONS: RangeInclusive<u8> = 1..=3;

/// One dimension, or more of which all but one are 1.
fn npy(bytes: &[u8]) -> Result<Vec<f32>, String> {
    if let Some(version) = bytes.get(MAGIC.len()).filter(|version| !VERSIONS.contains(version)) {
        return Err(format!("the NumPy file has version {version} of the format, 1 to 3 are read"));
    }
    let (header, data) = header(bytes).ok_or("the header of the NumPy file is cut off")?;
    let value = |key: &str| {
        let (_, rest) = header.split_once(&format!("'{key}':"))?;
        Some(rest.trim_start())
    };
    let shape = value("shape").and_then(|rest| rest.strip_prefix('(')?.split(')').next());
    let shape = shape.ok_or("the NumPy file has no shape")?;
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let sizes: Vec<usize> =
        sizes.map(str::parse).collect::<Result<_, _>>().map_err(|_| "its shape is no list of sizes")?;
    if sizes.iter().filter(|&&size| size != 1).count() > 1 {
        return Err(format!("the shape is ({shape}), a vector is expected"));
    }
    let descr =
        value("descr").and_then(|rest| rest.strip_prefix('\'')?.split('\'').next()).unwrap_or_default();
    let numbers: Vec<f32> = match descr {
        "<f4" => data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
        "<f8" => narrowed(data.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect())?,
        _ => return Err(format!("the numbers are '{descr}', '<f4' or '<f8' is expected")),
    };
    let expected = sizes.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
    if expected == Some(numbers.len()) {
        Ok(numbers)
    } else {
        Err(format!("the shape is ({shape}), and there are {} numbers", numbers.len()))
    }
}

/// The description (a Python dictionary) and what follows it.
fn header(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (start, len) = match bytes.get(MAGIC.len())? {
        1 => (10, usize::from(u16::from_le_bytes(*bytes.get(8..)?.first_chunk()?))),
        _ => (12, u32::from_le_bytes(*bytes.get(8..)?.first_chunk()?) as usize),
    };
    let (header, data) = bytes.get(start..)?.split_at_checked(len)?;
    Some((std::str::from_utf8(header).ok()?, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_of_numbers() {
        let minus = f32::NEG_INFINITY;
        assert_eq!(json(b"[1, -2.5e1,3]\n"), Ok(vec![1.0, -25.0, 3.0]));
        assert_eq!(json(b" [-Infinity, \"-inf\", -inf] "), Ok(vec![minus; 3]));
        assert_eq!(json(b"[]"), Ok(Vec::new()));
        for (wrong, part) in [
            (&b"1,2"[..], "a JSON array"),
            (b"[1,2", "a JSON array"),
            (b"\xff", "a JSON array"),
            (b"[1,,2]", "number 1 of the array"),
            (b"[1,null]", "`null`"),
            (b"[1,-1e39]", "number 1, counted from 0, is -1e39"),
            (b"[[1],[2]]", "`[1]`"),
            (b"{\"a\":1}", "a JSON array"),
        ] {
            let error = json(wrong).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let len = header.len() as u16;
        let mut bytes = [MAGIC, &[version, 0], &len.to_le_bytes()].concat();
        if version > 1 {
            bytes.extend([0, 0]);
        }
        [&bytes, header.as_bytes(), data].concat()
    }

    #[test]
    fn numpy_files() {
        let f4 = [1.0f32, -2.0].map(f32::to_le_bytes).concat();
        let f8 = [1.0f64, -2.0].map(f64::to_le_bytes).concat();
        let header = |descr: &str, shape: &str| {
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}   \n")
        };
        for version in [1, 2, 3] {
            assert_eq!(npy(&file(version, &header("<f4", "(2,)"), &f4)), Ok(vec![1.0, -2.0]));
        }
        assert_eq!(npy(&file(1, &header("<f8", "(1, 2)"), &f8)), Ok(vec![1.0, -2.0]));
        for (bytes, part) in [
            (file(1, &header("<f4", "(3,)"), &f4), "there are 2 numbers"),
            (file(1, &header("<f4", "(2, 2)"), &f4), "a vector is expected"),
            (file(1, &header("<f2", "(2,)"), &f4), "'<f2'"),
            (file(9, &header("<f4", "(2,)"), &f4), "version 9 of the format, 1 to 3 are read"),
            (file(0, &header("<f4", "(2,)"), &f4), "version 0 of the format"),
            (file(1, "{}", &f4), "no shape"),
            (file(1, &header("<f4", "(2,)"), &f4)[..20].to_vec(), "cut off"),
            (MAGIC.to_vec(), "cut off"),
        ] {
            let error = npy(&bytes).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
