//! Models split into several files by llama.cpp's `gguf-split`: NAME-00001-of-00003.gguf and so on. The first has all
//! metadata; each has its own tensors. Keys: `split.no` (from 0), `split.count`, `split.tensors.count`.

use std::path::{Path, PathBuf};

use super::super::{WeightsError, not_a_model};
use super::GgufMetadata;

const PART: &str = "split.no";
const N_PARTS: &str = "split.count";
const N_TENSORS: &str = "split.tensors.count";

pub(super) struct Split {
    n_parts: u32,
    n_tensors: Option<u32>,
}

impl Split {
    /// What the opened file says of its split; `None` if it is whole. A file that is not the first is refused with the
    /// name of the first.
    pub(super) fn of_first(path: &Path, metadata: &GgufMetadata) -> Result<Option<Split>, WeightsError> {
        let n_parts = metadata.u32(N_PARTS)?.unwrap_or(1);
        if n_parts <= 1 {
            return Ok(None);
        }
        let part = metadata.u32(PART)?.unwrap_or(0);
        if part >= n_parts {
            let expected = format_args!("less than {N_PARTS}, {n_parts}").to_string();
            return Err(WeightsError::malformed(path, format_args!("`{PART}`"), part, expected));
        }
        if part > 0 {
            let found = format!("part {} of {n_parts} of a split model", part + 1);
            let remedy = match prefix(path, part, n_parts) {
                Some(prefix) => {
                    let first = path.with_file_name(part_name(prefix, 0, n_parts));
                    format!("give {}", first.display())
                }
                None => "give the file that `gguf-split` numbered 00001".to_owned(),
            };
            return Err(not_a_model(path, found, "its first file", remedy));
        }
        Ok(Some(Split { n_parts, n_tensors: metadata.u32(N_TENSORS)? }))
    }

    /// Numbers (from 0) and paths of the parts after the first.
    pub(super) fn other_paths<'a>(
        &self,
        first: &'a Path,
    ) -> Result<impl Iterator<Item = (u32, PathBuf)> + use<'a>, WeightsError> {
        let n_parts = self.n_parts;
        let Some(prefix) = prefix(first, 0, n_parts) else {
            let found = format!("the first of {n_parts} files of a split model under another name");
            let expected = part_name("NAME", 0, n_parts);
            return Err(not_a_model(first, found, expected, "name all its files as `gguf-split` did"));
        };
        Ok((1..n_parts).map(move |part| (part, first.with_file_name(part_name(prefix, part, n_parts)))))
    }

    /// Says that a file which cannot be opened is part of a whole.
    pub(super) fn missing_part(&self, error: WeightsError, part: u32) -> WeightsError {
        match error {
            WeightsError::Io { path, source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                let expected = format!("part {} of {} of a split model", part + 1, self.n_parts);
                not_a_model(&path, "no file", expected, "put all its files into one folder")
            }
            other => other,
        }
    }

    /// The file found under a part's name must be that part.
    pub(super) fn check_part(&self, metadata: &GgufMetadata, part: u32) -> Result<(), WeightsError> {
        for (key, expected) in [(PART, part), (N_PARTS, self.n_parts)] {
            let found = metadata.require(key, "an integer", GgufMetadata::u32)?;
            if found != expected {
                let field = format_args!("`{key}`").to_string();
                return Err(WeightsError::malformed(metadata.path(), field, found, expected));
            }
        }
        Ok(())
    }

    pub(super) fn check_total(&self, first: &Path, n_tensors: usize) -> Result<(), WeightsError> {
        match self.n_tensors {
            Some(expected) if expected as usize != n_tensors => {
                let field = format_args!("`{N_TENSORS}`").to_string();
                let found = format!("{n_tensors} tensors in {} files", self.n_parts);
                Err(WeightsError::malformed(first, field, found, expected))
            }
            _ => Ok(()),
        }
    }
}

fn part_name(prefix: &str, part: u32, n_parts: u32) -> String {
    format!("{prefix}-{:05}-of-{n_parts:05}.gguf", part + 1)
}

/// The name of a part's file without what `part_name` appends; `None` if it is not so named.
fn prefix(path: &Path, part: u32, n_parts: u32) -> Option<&str> {
    path.file_name()?.to_str()?.strip_suffix(&part_name("", part, n_parts))
}
