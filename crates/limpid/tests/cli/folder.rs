//! Hugging Face folders for tests: a Llama of any size whose weights are all 0, with the tokenizer of a golden.
//!
//! The file of weights is sparse, so that even a large one is written at once.

use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The golden whose tokenizer it has, and the tokens of that.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/tests/goldens/llama3/hf");
const VOCAB_SIZE: usize = 380;

/// Head dimension 64, all layers alike, f32.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) n_layers: usize,
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
}

pub(crate) const SMALL: Shape = Shape { n_layers: 2, hidden_size: 64, intermediate_size: 96 };

pub(crate) struct Folder {
    dir: TempDir,
}

impl Folder {
    pub(crate) fn new(shape: Shape) -> Self {
        Self::with_vocabulary(shape, VOCAB_SIZE)
    }

    /// `vocab_size` 384 has the special tokens of a chat, too.
    pub(crate) fn with_vocabulary(shape: Shape, vocab_size: usize) -> Self {
        let folder = Self { dir: tempfile::tempdir().expect("a temporary folder") };
        let n_heads = shape.hidden_size / 64;
        folder.write(
            "config.json",
            &json!({"model_type": "llama", "hidden_size": shape.hidden_size, "num_attention_heads": n_heads,
                "intermediate_size": shape.intermediate_size, "num_hidden_layers": shape.n_layers,
                "vocab_size": vocab_size, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
                "tie_word_embeddings": true, "hidden_act": "silu"}),
        );
        for name in ["tokenizer.json", "tokenizer_config.json"] {
            fs::copy(Path::new(GOLDEN).join(name), folder.path().join(name)).expect("the golden's tokenizer");
        }
        folder.write_weights(shape, vocab_size);
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn as_str(&self) -> &str {
        self.path().to_str().expect("a path in UTF-8")
    }

    pub(crate) fn write(&self, name: &str, content: &Value) {
        fs::write(self.path().join(name), content.to_string()).expect("a temporary file");
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn write_weights(&self, shape: Shape, vocab_size: usize) {
        let Shape { n_layers, hidden_size: h, intermediate_size: ffn } = shape;
        let mut tensors =
            vec![("model.embed_tokens".to_owned(), vec![vocab_size, h]), ("model.norm".to_owned(), vec![h])];
        for layer in 0..n_layers {
            let name = |part: &str| format!("model.layers.{layer}.{part}");
            for part in ["input_layernorm", "post_attention_layernorm"] {
                tensors.push((name(part), vec![h]));
            }
            for part in ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"] {
                tensors.push((name(part), vec![h, h]));
            }
            for (part, shape) in [("gate", [ffn, h]), ("up", [ffn, h]), ("down", [h, ffn])] {
                tensors.push((name(&format!("mlp.{part}_proj")), shape.to_vec()));
            }
        }
        let (mut header, mut end) = (serde_json::Map::new(), 0);
        for (name, shape) in tensors {
            let start = end;
            end += 4 * shape.iter().product::<usize>();
            let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]});
            header.insert(format!("{name}.weight"), entry);
        }
        let header = Value::from(header).to_string();
        let mut file = fs::File::create(self.file("model.safetensors")).expect("a temporary file");
        file.write_all(&(header.len() as u64).to_le_bytes()).expect("a temporary file");
        file.write_all(header.as_bytes()).expect("a temporary file");
        file.set_len((8 + header.len() + end) as u64).expect("a temporary file");
    }
}
