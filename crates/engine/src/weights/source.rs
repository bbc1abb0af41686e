//! Where the bytes of a model file are: mapped from disk, or already in memory (the embedded model).

use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::{WeightsError, not_a_model};

/// One file's bytes and the name that errors call it by.
pub(super) struct Source {
    pub(super) path: PathBuf,
    data: Data,
}

enum Data {
    Mapped(Mmap),
    Memory(&'static [u8]),
}

impl Source {
    /// Maps a regular file. Reads nothing of it.
    pub(super) fn map(path: &Path) -> Result<Source, WeightsError> {
        let found = fs::metadata(path).map_err(|e| WeightsError::io(path, "open", e))?;
        if !found.is_file() {
            // Opening a pipe would wait for its other end.
            return Err(not_a_model(path, "no regular file", "a file", "replace it by the file itself"));
        }
        let file = File::open(path).map_err(|e| WeightsError::io(path, "open", e))?;
        // SAFETY: the mapping is shared with the file and read-only, so nothing in this process changes its bytes. What
        // remains is that another process truncates or rewrites the file while it is mapped; every program that maps
        // model files lives with that, and the header, which decides all offsets, is copied out and checked once.
        let mapped = unsafe { Mmap::map(&file) }.map_err(|e| WeightsError::io(path, "map into memory", e))?;
        Ok(Source { path: path.to_owned(), data: Data::Mapped(mapped) })
    }

    pub(super) fn memory(name: &str, bytes: &'static [u8]) -> Source {
        Source { path: PathBuf::from(name), data: Data::Memory(bytes) }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::Mapped(mapped) => mapped,
            Data::Memory(bytes) => bytes,
        }
    }

    /// Asks the system to read a range from disk in the background. A hint: a refusal changes nothing.
    pub(super) fn prefetch(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Data::Mapped(mapped) = &self.data {
            let _ = mapped.advise_range(memmap2::Advice::WillNeed, range.start, range.len());
        }
    }

    /// Takes a range out of the process's resident memory. Reading it again is allowed and reads the file again.
    pub(super) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Data::Mapped(mapped) = &self.data {
            // SAFETY: the mapping is shared, file-backed and never written, so a dropped page holds nothing that the
            // file does not: the next access, also through a slice handed out before, faults the same bytes in.
            let _ = unsafe {
                mapped.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len())
            };
        }
    }
}
