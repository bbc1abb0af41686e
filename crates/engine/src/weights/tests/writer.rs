//! Writes small GGUF and safetensors files for tests, bad ones included: every field can be set to a lie.
//! Shared by the unit tests and `tests/bad_files`.

/// Value types of GGUF that tests spell out.
pub(crate) const U32: u32 = 4;
pub(crate) const I32: u32 = 5;
pub(crate) const BOOL: u32 = 7;
pub(crate) const STRING: u32 = 8;
pub(crate) const ARRAY: u32 = 9;

/// Tensor types of ggml that tests spell out.
pub(crate) const F32: u32 = 0;
pub(crate) const F16: u32 = 1;
pub(crate) const Q8_0: u32 = 8;

#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) name: Vec<u8>,
    /// Fastest first, as in the file.
    pub(crate) dims: Vec<u64>,
    pub(crate) ggml_type: u32,
    /// From the start of the data.
    pub(crate) offset: u64,
}

#[derive(Clone)]
pub(crate) struct Gguf {
    pub(crate) version: u32,
    /// What the data is padded to; tell the reader by a key if it is not 32.
    pub(crate) alignment: usize,
    /// Counts in the header in place of the true ones.
    pub(crate) n_tensors: Option<u64>,
    pub(crate) n_keys: Option<u64>,
    /// Key, value type and value as in the file.
    pub(crate) keys: Vec<(Vec<u8>, u32, Vec<u8>)>,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) data: Vec<u8>,
}

impl Gguf {
    pub(crate) fn new() -> Gguf {
        Gguf {
            version: 3,
            alignment: 32,
            n_tensors: None,
            n_keys: None,
            keys: Vec::new(),
            tensors: Vec::new(),
            data: Vec::new(),
        }
    }

    pub(crate) fn key(mut self, key: &str, value_type: u32, value: &[u8]) -> Gguf {
        self.keys.push((key.as_bytes().to_vec(), value_type, value.to_vec()));
        self
    }

    pub(crate) fn u32(self, key: &str, value: u32) -> Gguf {
        self.key(key, U32, &value.to_le_bytes())
    }

    pub(crate) fn str(self, key: &str, value: &str) -> Gguf {
        self.key(key, STRING, &string(value.as_bytes()))
    }

    /// Appends a tensor after the data so far.
    pub(crate) fn tensor(mut self, name: &str, dims: &[u64], ggml_type: u32, data: &[u8]) -> Gguf {
        pad(&mut self.data, self.alignment);
        let offset = self.data.len() as u64;
        self.tensors.push(Tensor { name: name.as_bytes().to_vec(), dims: dims.to_vec(), ggml_type, offset });
        self.data.extend_from_slice(data);
        self
    }

    /// The file up to the data.
    pub(crate) fn header(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(self.n_tensors.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        out.extend(self.n_keys.unwrap_or(self.keys.len() as u64).to_le_bytes());
        for (key, value_type, value) in &self.keys {
            out.extend(string(key));
            out.extend(value_type.to_le_bytes());
            out.extend(value);
        }
        for tensor in &self.tensors {
            out.extend(string(&tensor.name));
            out.extend((tensor.dims.len() as u32).to_le_bytes());
            tensor.dims.iter().for_each(|dim| out.extend(dim.to_le_bytes()));
            out.extend(tensor.ggml_type.to_le_bytes());
            out.extend(tensor.offset.to_le_bytes());
        }
        out
    }

    pub(crate) fn finish(&self) -> Vec<u8> {
        let mut out = self.header();
        pad(&mut out, self.alignment);
        out.extend(&self.data);
        out
    }
}

fn pad(bytes: &mut Vec<u8>, alignment: usize) {
    bytes.resize(bytes.len().next_multiple_of(alignment), 0);
}

/// A string as GGUF has it.
pub(crate) fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

/// An array as GGUF has it: `elements` are already in the file's form.
pub(crate) fn array(element_type: u32, len: u64, elements: &[u8]) -> Vec<u8> {
    [&element_type.to_le_bytes()[..], &len.to_le_bytes(), elements].concat()
}

/// A small sound file: three tensors of three formats, values of several types.
pub(crate) fn small_gguf() -> Gguf {
    let tokens = [&b"<unk>"[..], b"a", "\u{e9}".as_bytes()].map(string).concat();
    Gguf::new()
        .str("general.architecture", "llama")
        .u32("llama.block_count", 1)
        .key("tokenizer.ggml.add_bos_token", BOOL, &[1])
        .key("tokenizer.ggml.tokens", ARRAY, &array(STRING, 3, &tokens))
        .key("tokenizer.ggml.token_type", ARRAY, &array(I32, 3, &[2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]))
        .tensor("token_embd.weight", &[32, 3], Q8_0, &[7; 3 * 34])
        .tensor("blk.0.attn_norm.weight", &[5], F32, &[1; 5 * 4])
        .tensor("output.weight", &[2, 3], F16, &[2; 6 * 2])
}

/// A safetensors file: header length, header, data.
pub(crate) fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// A small sound safetensors header for 28 bytes of data.
pub(crate) const SMALL_HEADER: &str = r#"{"__metadata__":{"format":"pt"},
"model.norm.weight":{"dtype":"F32","shape":[3],"data_offsets":[12,24]},
"lm_head.weight":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},
"mask":{"dtype":"BOOL","shape":[2,2],"data_offsets":[24,28]}}"#;
