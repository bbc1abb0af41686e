//! Model files: named tensors and metadata, from a GGUF file, a Hugging Face folder, or bytes in memory.
//!
//! Nothing here knows what a tensor is for: `model/arch` gives names their meaning. Opening reads headers and
//! tokenizer files and checks that every tensor lies inside its file; tensor data is mapped and stays unread.

mod error;
pub mod gguf;
pub mod hf;
mod source;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use limpid_kernels::quant::Format;

pub use error::WeightsError;
use gguf::GgufMetadata;
use hf::HfMetadata;
use source::Source;

/// One tensor as it lies in the file, not copied.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    pub name: &'a str,
    /// Row-major, slowest first: a matrix is `[rows, cols]` (GGUF's order reversed).
    pub shape: &'a [usize],
    pub format: Format,
    /// Exactly as many bytes as shape and format say; alignment is not promised.
    pub bytes: &'a [u8],
}

impl TensorView<'_> {
    /// The product of the shape; checked not to overflow when the file was opened.
    pub fn n_elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Everything a model file says beside its tensors.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a model has one")]
pub enum Metadata {
    Gguf(GgufMetadata),
    HuggingFace(HfMetadata),
}

impl Metadata {
    /// The file or folder that it is from.
    pub fn path(&self) -> &Path {
        match self {
            Metadata::Gguf(gguf) => gguf.path(),
            Metadata::HuggingFace(hf) => &hf.folder,
        }
    }

    /// The chat template, in Jinja, as it came with the model.
    pub fn chat_template(&self) -> Result<Option<&str>, WeightsError> {
        match self {
            Metadata::Gguf(gguf) => gguf.str("tokenizer.chat_template"),
            Metadata::HuggingFace(hf) => Ok(hf.chat_template.as_deref()),
        }
    }
}

/// Where a tensor is: checked against its file.
struct TensorEntry {
    name: String,
    shape: Vec<usize>,
    format: Format,
    /// Index into the files of the model.
    source: usize,
    range: Range<usize>,
}

/// An opened model: metadata and named tensors, mapped.
pub struct WeightsFile {
    path: PathBuf,
    metadata: Metadata,
    sources: Vec<Source>,
    /// In the order of the files, and in each in the order of their data.
    tensors: Vec<TensorEntry>,
    by_name: HashMap<String, usize>,
    /// Tensors of types that are no weights (integers, booleans: buffers that some checkpoints carry), by name.
    buffers: HashMap<String, String>,
}

impl WeightsFile {
    /// Opens a GGUF file (of a split model: its first file) or a Hugging Face folder; which one it is shows from what
    /// lies there, not from its name.
    pub fn open(path: &Path) -> Result<WeightsFile, WeightsError> {
        let found = fs::metadata(path).map_err(|e| WeightsError::io(path, "open", e))?;
        if found.is_dir() {
            return hf::open(path);
        }
        if !found.is_file() {
            return Err(not_a_model(
                path,
                "neither a file nor a folder",
                A_MODEL,
                "give the model's own path",
            ));
        }
        let head = read_head(path)?;
        if !head.starts_with(gguf::MAGIC) {
            return Err(refuse_by_head(path, &head));
        }
        gguf::open(Source::map(path)?)
    }

    /// A GGUF file that is already in memory, such as the embedded model. Messages call it `name`.
    pub fn from_bytes(name: &str, bytes: &'static [u8]) -> Result<WeightsFile, WeightsError> {
        if !bytes.starts_with(gguf::MAGIC) {
            return Err(refuse_by_head(Path::new(name), &bytes[..bytes.len().min(HEAD_LEN)]));
        }
        gguf::open(Source::memory(name, bytes))
    }

    /// `tensors` must lie inside their sources; fails on a name that occurs twice.
    fn new(
        path: &Path,
        metadata: Metadata,
        sources: Vec<Source>,
        mut tensors: Vec<TensorEntry>,
        buffers: HashMap<String, String>,
    ) -> Result<WeightsFile, WeightsError> {
        tensors.sort_by(|a, b| {
            (a.source, a.range.start, a.range.end, &a.name).cmp(&(
                b.source,
                b.range.start,
                b.range.end,
                &b.name,
            ))
        });
        let mut by_name = HashMap::with_capacity(tensors.len());
        for (i, tensor) in tensors.iter().enumerate() {
            if by_name.insert(tensor.name.clone(), i).is_some() {
                return Err(WeightsError::malformed(
                    &sources[tensor.source].path,
                    format_args!("tensor `{}`", tensor.name.escape_debug()),
                    "the name twice",
                    "each name once",
                ));
            }
        }
        Ok(WeightsFile { path: path.to_owned(), metadata, sources, tensors, by_name, buffers })
    }

    /// The path that was opened; for bytes in memory their name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    pub fn n_tensors(&self) -> usize {
        self.tensors.len()
    }

    /// All tensors in the order in which their data lies in the files: reading them so reads the disk sequentially.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = TensorView<'_>> {
        self.tensors.iter().map(|t| self.view(t))
    }

    pub fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        self.by_name.get(name).map(|&i| self.view(&self.tensors[i]))
    }

    /// The tensor `name`, which must have this shape (row-major, slowest first).
    pub fn require(&self, name: &str, shape: &[usize]) -> Result<TensorView<'_>, WeightsError> {
        let Some(view) = self.tensor(name) else {
            if let Some(dtype) = self.buffers.get(name) {
                let field = format!("tensor `{name}`");
                return Err(WeightsError::unsupported(&self.path, field, dtype, hf::SUPPORTED));
            }
            return Err(WeightsError::MissingTensor {
                path: self.path.clone(),
                name: name.to_owned(),
                n_tensors: self.tensors.len(),
                expected: shape.to_vec(),
            });
        };
        if view.shape != shape {
            return Err(WeightsError::WrongShape {
                path: self.path.clone(),
                name: name.to_owned(),
                found: view.shape.to_vec(),
                expected: shape.to_vec(),
            });
        }
        Ok(view)
    }

    /// Bytes of all weight files together (of a folder: its safetensors files).
    pub fn size_on_disk(&self) -> u64 {
        self.sources.iter().map(|s| s.bytes().len() as u64).sum()
    }

    /// Numbers in all tensors together, as stored: a tied embedding counts once.
    pub fn n_parameters(&self) -> u64 {
        self.tensors().map(|t| t.n_elements() as u64).sum()
    }

    /// Asks the system to start reading `bytes` of a tensor from disk, while others are being worked on.
    /// Nothing happens for an unknown name or for bytes in memory.
    pub fn prefetch(&self, name: &str, bytes: Range<usize>) {
        if let Some((source, range)) = self.place(name, bytes) {
            source.prefetch(range);
        }
    }

    /// Gives back the resident memory of `bytes` of a tensor that were copied or repacked. They may still be read: that
    /// reads the file again. Nothing happens for an unknown name or for bytes in memory.
    pub fn release(&self, name: &str, bytes: Range<usize>) {
        if let Some((source, range)) = self.place(name, bytes) {
            source.release(range);
        }
    }

    /// Where `bytes` of a tensor lie, as far as it has them.
    fn place(&self, name: &str, bytes: Range<usize>) -> Option<(&Source, Range<usize>)> {
        let tensor = &self.tensors[*self.by_name.get(name)?];
        let at = |i: usize| tensor.range.start + i.min(tensor.range.len());
        Some((&self.sources[tensor.source], at(bytes.start)..at(bytes.end)))
    }

    fn view<'a>(&'a self, tensor: &'a TensorEntry) -> TensorView<'a> {
        TensorView {
            name: &tensor.name,
            shape: &tensor.shape,
            format: tensor.format,
            bytes: &self.sources[tensor.source].bytes()[tensor.range.clone()],
        }
    }
}

/// As much of a file as it takes to tell what it is.
const HEAD_LEN: usize = 64;

fn read_head(path: &Path) -> Result<Vec<u8>, WeightsError> {
    let mut head = Vec::with_capacity(HEAD_LEN);
    fs::File::open(path)
        .map_err(|e| WeightsError::io(path, "open", e))?
        .take(HEAD_LEN as u64)
        .read_to_end(&mut head)
        .map_err(|e| WeightsError::io(path, "read", e))?;
    Ok(head)
}

/// What `WeightsFile::open` takes.
const A_MODEL: &str = "a GGUF file or a Hugging Face folder";

fn not_a_model(
    path: &Path,
    found: impl Into<String>,
    expected: impl Into<String>,
    remedy: impl Into<String>,
) -> WeightsError {
    WeightsError::NotAModel {
        path: path.to_owned(),
        found: found.into(),
        expected: expected.into(),
        remedy: remedy.into(),
    }
}

/// Names what people give by mistake, by the first bytes of the file.
fn refuse_by_head(path: &Path, head: &[u8]) -> WeightsError {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let give_folder = format!("give its folder: {}", folder.display());
    let text = head.trim_ascii_start();
    let (found, remedy) = if head.is_empty() {
        ("an empty file", "get it again".to_owned())
    } else if head.starts_with(b"PK\x03\x04") || head.starts_with(b"\x80\x02") {
        ("a PyTorch checkpoint (zip or pickle)", "get the model as safetensors or GGUF".to_owned())
    } else if text.to_ascii_lowercase().starts_with(b"<!doctype")
        || text.to_ascii_lowercase().starts_with(b"<html")
    {
        ("a web page", "the download saved the page about the file, get the file itself".to_owned())
    } else if head.starts_with(b"version https://git-lfs") {
        ("a git-lfs pointer", "run `git lfs pull` in its folder to get the file itself".to_owned())
    } else if head.get(8) == Some(&b'{') {
        ("a safetensors file", give_folder)
    } else if text.starts_with(b"{") {
        ("a JSON file", give_folder)
    } else if [&b"lmgg"[..], b"fmgg", b"tjgg", b"algg"].iter().any(|magic| head.starts_with(magic)) {
        ("a GGML file from before GGUF", "convert the original model again".to_owned())
    } else {
        let first = &head[..head.len().min(4)];
        let found = format!("a file that starts with \"{}\"", first.escape_ascii());
        return not_a_model(path, found, A_MODEL, "a GGUF file starts with \"GGUF\"");
    };
    not_a_model(path, found, A_MODEL, remedy)
}
