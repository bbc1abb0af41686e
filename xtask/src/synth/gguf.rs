//! Writes GGUF version 3: header, metadata, tensor table, then the caller streams the tensors.
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::io::{self, Write};

/// Of the tensor data and of each tensor in it; the format's default.
const ALIGNMENT: u64 = 32;

/// Type tags of metadata values.
const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Everything before the tensor data. Tensors are laid out in the order in which they are declared.
pub(super) struct Header {
    metadata: Vec<u8>,
    n_keys: u64,
    tensors: Vec<u8>,
    n_tensors: u64,
    data_len: u64,
}

impl Header {
    pub(super) fn new() -> Self {
        Self { metadata: Vec::new(), n_keys: 0, tensors: Vec::new(), n_tensors: 0, data_len: 0 }
    }

    pub(super) fn u32(&mut self, key: &str, value: u32) {
        self.key(key, U32);
        self.metadata.extend(value.to_le_bytes());
    }

    pub(super) fn f32(&mut self, key: &str, value: f32) {
        self.key(key, F32);
        self.metadata.extend(value.to_le_bytes());
    }

    pub(super) fn bool(&mut self, key: &str, value: bool) {
        self.key(key, BOOL);
        self.metadata.push(u8::from(value));
    }

    pub(super) fn str(&mut self, key: &str, value: &str) {
        self.key(key, STRING);
        push_str(&mut self.metadata, value);
    }

    pub(super) fn strs(&mut self, key: &str, values: &[String]) {
        self.array(key, STRING, values.len());
        for value in values {
            push_str(&mut self.metadata, value);
        }
    }

    pub(super) fn i32s(&mut self, key: &str, values: &[i32]) {
        self.array(key, I32, values.len());
        for value in values {
            self.metadata.extend(value.to_le_bytes());
        }
    }

    /// `dims` in the file's order: the contiguous one (the columns) first.
    pub(super) fn tensor(&mut self, name: &str, dims: &[usize], ggml_type: u32, n_bytes: u64) {
        self.n_tensors += 1;
        push_str(&mut self.tensors, name);
        self.tensors.extend((dims.len() as u32).to_le_bytes());
        for &n in dims {
            self.tensors.extend((n as u64).to_le_bytes());
        }
        self.tensors.extend(ggml_type.to_le_bytes());
        self.tensors.extend(self.data_len.to_le_bytes());
        self.data_len += n_bytes.next_multiple_of(ALIGNMENT);
    }

    /// Returns the bytes written, the padding up to the tensor data included.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<u64> {
        out.write_all(b"GGUF")?;
        out.write_all(&3u32.to_le_bytes())?;
        out.write_all(&self.n_tensors.to_le_bytes())?;
        out.write_all(&self.n_keys.to_le_bytes())?;
        out.write_all(&self.metadata)?;
        out.write_all(&self.tensors)?;
        let n_bytes = 24 + (self.metadata.len() + self.tensors.len()) as u64;
        Ok(n_bytes + write_padding(n_bytes, out)?)
    }

    fn key(&mut self, key: &str, tag: u32) {
        self.n_keys += 1;
        push_str(&mut self.metadata, key);
        self.metadata.extend(tag.to_le_bytes());
    }

    fn array(&mut self, key: &str, tag: u32, len: usize) {
        self.key(key, ARRAY);
        self.metadata.extend(tag.to_le_bytes());
        self.metadata.extend((len as u64).to_le_bytes());
    }
}

/// Zeros from a length up to the next multiple of the alignment; returns how many.
pub(super) fn write_padding(len: u64, out: &mut impl Write) -> io::Result<u64> {
    let n_zeros = len.next_multiple_of(ALIGNMENT) - len;
    out.write_all(&[0; ALIGNMENT as usize][..n_zeros as usize])?;
    Ok(n_zeros)
}

fn push_str(bytes: &mut Vec<u8>, value: &str) {
    bytes.extend((value.len() as u64).to_le_bytes());
    bytes.extend(value.as_bytes());
}
