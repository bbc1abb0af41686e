//! Takes model files apart, so that a test can change one thing in them, and puts them together again.

use super::writer::{ARRAY, Gguf, STRING, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A sound GGUF file.
pub(crate) fn read_gguf(path: &Path) -> Gguf {
    let bytes = fs::read(path).expect("the golden");
    let mut cursor = Cursor { bytes: &bytes, at: 0 };
    assert_eq!(cursor.take(4), b"GGUF");
    let mut gguf = Gguf::new();
    gguf.version = cursor.u32();
    let (n_tensors, n_keys) = (cursor.u64(), cursor.u64());
    for _ in 0..n_keys {
        let key = cursor.string().to_vec();
        let value_type = cursor.u32();
        gguf.keys.push((key, value_type, cursor.value(value_type).to_vec()));
    }
    for _ in 0..n_tensors {
        let name = cursor.string().to_vec();
        let n_dims = cursor.u32();
        let dims = (0..n_dims).map(|_| cursor.u64()).collect();
        gguf.tensors.push(Tensor { name, dims, ggml_type: cursor.u32(), offset: cursor.u64() });
    }
    gguf.data = bytes[cursor.at.next_multiple_of(gguf.alignment)..].to_vec();
    gguf
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> &'a [u8] {
        self.at += n;
        &self.bytes[self.at - n..self.at]
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().expect("4 bytes"))
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().expect("8 bytes"))
    }

    fn string(&mut self) -> &'a [u8] {
        let len = self.u64() as usize;
        self.take(len)
    }

    /// The bytes of a value, whatever it is.
    fn value(&mut self, value_type: u32) -> &'a [u8] {
        let start = self.at;
        match value_type {
            STRING => {
                self.string();
            }
            ARRAY => {
                let (element_type, len) = (self.u32(), self.u64());
                for _ in 0..len {
                    self.value(element_type);
                }
            }
            0 | 1 | 7 => self.at += 1,
            2 | 3 => self.at += 2,
            4..=6 => self.at += 4,
            10..=12 => self.at += 8,
            other => panic!("value type {other}"),
        }
        &self.bytes[start..self.at]
    }
}

/// Sets or adds a key.
pub(crate) fn set_key(gguf: &mut Gguf, key: &str, value_type: u32, value: &[u8]) {
    remove_key(gguf, key);
    gguf.keys.push((key.as_bytes().to_vec(), value_type, value.to_vec()));
}

pub(crate) fn remove_key(gguf: &mut Gguf, key: &str) {
    gguf.keys.retain(|(found, ..)| found != key.as_bytes());
}

/// Takes a tensor out of the list; its data stays as a gap.
pub(crate) fn remove_tensor(gguf: &mut Gguf, name: &str) {
    let n_before = gguf.tensors.len();
    gguf.tensors.retain(|tensor| tensor.name != name.as_bytes());
    assert!(gguf.tensors.len() < n_before, "there is no {name}");
}

/// Adds a tensor, in place of one of the same name if there is one.
pub(crate) fn set_tensor(gguf: &mut Gguf, name: &str, dims: &[u64], ggml_type: u32, data: &[u8]) {
    gguf.tensors.retain(|tensor| tensor.name != name.as_bytes());
    *gguf = gguf.clone().tensor(name, dims, ggml_type, data);
}

/// Name, type, shape and data of each tensor.
pub(crate) type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// A sound Hugging Face folder with one file of weights.
#[derive(Clone)]
pub(crate) struct Folder {
    pub(crate) config: Value,
    pub(crate) tensors: Tensors,
}

impl Folder {
    pub(crate) fn read(path: &Path) -> Self {
        let config = fs::read(path.join("config.json")).expect("the golden");
        let bytes = fs::read(path.join("model.safetensors")).expect("the golden");
        let tensors = SafeTensors::deserialize(&bytes).expect("safetensors").tensors();
        let entry = |(name, view): (String, TensorView<'_>)| {
            (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        };
        Self {
            config: serde_json::from_slice(&config).expect("JSON"),
            tensors: tensors.into_iter().map(entry).collect(),
        }
    }

    /// Sets these fields of config.json; `null` is the same as leaving it out, except for a window.
    pub(crate) fn set(&mut self, fields: &Value) {
        for (key, value) in fields.as_object().expect("an object") {
            self.config[key.as_str()] = value.clone();
        }
    }

    pub(crate) fn write(&self, path: &Path) {
        fn view((dtype, shape, data): &(Dtype, Vec<usize>, Vec<u8>)) -> TensorView<'_> {
            TensorView::new(*dtype, shape.clone(), data).expect("as many bytes as the shape says")
        }
        let tensors: Vec<_> = self.tensors.iter().map(|(name, tensor)| (name, view(tensor))).collect();
        let weights = safetensors::serialize(tensors, None).expect("safetensors");
        fs::create_dir_all(path).expect("a temporary folder");
        fs::write(path.join("config.json"), self.config.to_string()).expect("a temporary file");
        fs::write(path.join("model.safetensors"), weights).expect("a temporary file");
    }
}
