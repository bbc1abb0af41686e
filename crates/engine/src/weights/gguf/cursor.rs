//! Reads little-endian numbers and strings from a file's header. A length from the file is compared with what is left
//! of the file before anything is done with it.

use std::fmt::Display;
use std::path::Path;

use super::super::WeightsError;

pub(super) struct Cursor<'a> {
    pub(super) path: &'a Path,
    /// The part of the file that a header may take.
    bytes: &'a [u8],
    file_len: usize,
    position: usize,
}

impl<'a> Cursor<'a> {
    /// A header may take up to `max_bytes` of the file.
    pub(super) fn new(path: &'a Path, file: &'a [u8], max_bytes: usize) -> Self {
        Self { path, bytes: &file[..file.len().min(max_bytes)], file_len: file.len(), position: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn file_len(&self) -> usize {
        self.file_len
    }

    /// The next `n` bytes.
    pub(super) fn take(&mut self, n: u64, field: impl Display) -> Result<&'a [u8], WeightsError> {
        let left = &self.bytes[self.position..];
        let Some(taken) = usize::try_from(n).ok().and_then(|n| left.get(..n)) else {
            return Err(self.too_short(field, format_args!("{n} bytes at offset {}", self.position)));
        };
        self.position += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: impl Display) -> Result<[u8; N], WeightsError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64, field)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self, field: impl Display) -> Result<u32, WeightsError> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, field: impl Display) -> Result<u64, WeightsError> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A string: its length in bytes as u64, then UTF-8.
    pub(super) fn str(&mut self, field: impl Display) -> Result<&'a str, WeightsError> {
        let len = self.u64(&field)?;
        let bytes = self.take(len, &field)?;
        std::str::from_utf8(bytes).map_err(|e| {
            let at = self.position - bytes.len() + e.valid_up_to();
            WeightsError::malformed(self.path, field, format_args!("a bad byte at offset {at}"), "UTF-8")
        })
    }

    /// Fails if `count` things of at least `min_bytes` each cannot be in what is left, or are more than `limit`.
    pub(super) fn check_count(
        &self,
        count: u64,
        min_bytes: usize,
        limit: u64,
        field: impl Display,
    ) -> Result<(), WeightsError> {
        let left = self.bytes.len() - self.position;
        if count > (left / min_bytes) as u64 {
            return Err(self.too_short(field, format_args!("{count} of at least {min_bytes} bytes each")));
        }
        if count > limit {
            let expected = format_args!("at most {limit}").to_string();
            return Err(WeightsError::malformed(self.path, field, count, expected));
        }
        Ok(())
    }

    fn too_short(&self, field: impl Display, found: impl Display) -> WeightsError {
        let left = self.bytes.len() - self.position;
        let of_what = if self.bytes.len() < self.file_len {
            format!("left of the {} bytes that a header may take", self.bytes.len())
        } else {
            format!("left of the file's {}", self.file_len)
        };
        WeightsError::malformed(self.path, field, found, format_args!("at most the {left} bytes {of_what}"))
    }
}
