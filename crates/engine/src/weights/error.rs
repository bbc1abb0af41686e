//! What can be wrong with a model file. Every message names the file, the field, what was found, what was expected
//! and what to do.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}; {}", path.display(), io_remedy(source))]
    Io { path: PathBuf, action: &'static str, source: std::io::Error },

    /// What lies at the path is something else than a model, or no whole one.
    #[error("{}: found {found}, expected {expected}; {remedy}", path.display())]
    NotAModel { path: PathBuf, found: String, expected: String, remedy: String },

    /// The file contradicts itself or its format: damaged, cut short or hostile.
    #[error("{}: {field}: found {found}, expected {expected}; \
             the file is damaged or incomplete, get it again", path.display())]
    Malformed { path: PathBuf, field: String, found: String, expected: String },

    /// The file is sound, but asks for something that is not built.
    #[error("{}: {field}: {found} is not supported; supported are {supported}", path.display())]
    Unsupported { path: PathBuf, field: String, found: String, supported: String },

    /// A metadata key that this kind of model must have.
    #[error("{}: `{key}`: found nothing, expected {expected}; \
             convert the model again with a current converter", path.display())]
    MissingKey { path: PathBuf, key: String, expected: &'static str },

    /// A metadata value of another type, or a number that does not fit.
    #[error("{}: `{key}`: found {found}, expected {expected}; \
             convert the model again with a current converter", path.display())]
    WrongType { path: PathBuf, key: String, found: String, expected: &'static str },

    /// A tensor that the architecture needs.
    #[error("{}: tensor `{name}`: found no such tensor among {n_tensors}, expected one of shape {expected:?}; \
             the model is incomplete or not of the architecture that its metadata names", path.display())]
    MissingTensor { path: PathBuf, name: String, n_tensors: usize, expected: Vec<usize> },

    /// A tensor whose shape disagrees with the metadata. Shapes are row-major, slowest first.
    #[error("{}: tensor `{name}`: found shape {found:?}, expected {expected:?}; \
             metadata and tensors are not of the same model, get it again", path.display())]
    WrongShape { path: PathBuf, name: String, found: Vec<usize>, expected: Vec<usize> },
}

fn io_remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => "check the path",
        ErrorKind::PermissionDenied => "ask for the right to read it, or give another copy",
        _ => "check the disk or network that it is on, or give another copy",
    }
}

impl WeightsError {
    pub(super) fn malformed(
        path: &Path,
        field: impl ToString,
        found: impl ToString,
        expected: impl ToString,
    ) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            field: field.to_string(),
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }

    pub(super) fn unsupported(
        path: &Path,
        field: impl ToString,
        found: impl ToString,
        supported: impl ToString,
    ) -> Self {
        Self::Unsupported {
            path: path.to_owned(),
            field: field.to_string(),
            found: found.to_string(),
            supported: supported.to_string(),
        }
    }

    pub(super) fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, source }
    }
}
