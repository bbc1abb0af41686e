//! Some thousand models that were changed by chance, from the file to the logits of three tokens: an error or a result,
//! never a panic, and never more memory than the limit. Weights may become NaN and give logits that are.

use super::edit::{Folder, read_gguf};
use super::random::Random;
use super::writer::Gguf;
use super::{alloc, golden, run};
use serde_json::{Value, json};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

const MAX_ALLOCATION: usize = 256 << 20;

/// Numbers that counts and sizes go wrong at.
const EDGES: [u64; 18] = [
    0,
    1,
    2,
    3,
    5,
    16,
    63,
    64,
    65,
    256,
    1000,
    4096,
    1 << 16,
    1 << 20,
    1 << 28,
    u32::MAX as u64,
    1 << 40,
    u64::MAX,
];

const EDGE_FLOATS: [f32; 10] =
    [0.0, -1.0, 1e-45, 1e-20, 1.0, 1e20, f32::MAX, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];

/// Runs `n` models, each written by `write` with its seed to the same path.
fn replay(name: &str, n: u64, path: &Path, mut write: impl FnMut(&mut Random)) {
    let (mut n_ran, mut n_refused) = (0, 0);
    for seed in 0..n {
        write(&mut Random(seed));
        let outcome = catch_unwind(AssertUnwindSafe(|| alloc::peak_of(|| run(path))));
        let (outcome, peak) = outcome.unwrap_or_else(|_| panic!("{name} changed with seed {seed}"));
        assert!(peak < MAX_ALLOCATION, "{name} changed with seed {seed} took {peak} bytes: {outcome:?}");
        match outcome {
            Ok(()) => n_ran += 1,
            Err(_) => n_refused += 1,
        }
    }
    // Changed weights and tokenizers do not show; changed numbers and names do.
    assert!(n_ran > n / 20 && n_refused > n / 4, "{name}: {n_ran} ran, {n_refused} were refused");
}

/// ext4 waits for the disk when a file is overwritten, but not when it is made anew.
fn write_anew(path: &Path, bytes: &[u8]) {
    let _ = fs::remove_file(path);
    fs::write(path, bytes).expect("a temporary file");
}

/// Changes some bytes of `bytes[..n_header]`, where the structure is, or one of the weights.
fn damage(bytes: &mut Vec<u8>, n_header: usize, random: &mut Random) {
    let at = if random.below(4) > 0 { random.below(n_header) } else { random.below(bytes.len()) };
    match random.below(5) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next() as u8,
        2 => {
            let edge = random.pick(&EDGES).to_le_bytes();
            let n = random.pick(&[4, 8]).min(bytes.len() - at);
            bytes[at..at + n].copy_from_slice(&edge[..n]);
        }
        3 => {
            let end = (at + 1 + random.below(8)).min(bytes.len());
            bytes[at..end].fill(random.pick(&[0, 0x7f, 0xff]));
        }
        _ => {
            // Longer weights are not there any more.
            let end = (at + random.below(64)).min(bytes.len());
            bytes.drain(at..end);
        }
    }
}

/// Keys that the tokenizer reads are left out half of the time: they say nothing to the model.
fn change_key(gguf: &mut Gguf, random: &mut Random) {
    let tokenizer = |key: &[u8]| key.starts_with(b"tokenizer.");
    let mut i = random.below(gguf.keys.len());
    while tokenizer(&gguf.keys[i].0) && random.below(8) > 0 {
        i = random.below(gguf.keys.len());
    }
    let (_, value_type, value) = &mut gguf.keys[i];
    match (random.below(6), *value_type) {
        (0, _) => drop(gguf.keys.remove(i)),
        // Another type, with the bytes of the old one.
        (1, _) => *value_type = random.pick(&[0, 2, 4, 5, 6, 7, 10, 11, 12]),
        (_, 4..=5) => *value = (random.pick(&EDGES) as u32).to_le_bytes().to_vec(),
        (_, 6) => *value = random.pick(&EDGE_FLOATS).to_le_bytes().to_vec(),
        (_, 8) => {
            *value = super::writer::string(random.pick(&["llama", "qwen2", "qwen3", "", "linear"]).as_bytes())
        }
        _ => {
            // A wider integer, so that numbers beyond 32 bits are met.
            (*value_type, *value) = (10, random.pick(&EDGES).to_le_bytes().to_vec());
        }
    }
}

fn change_tensor(gguf: &mut Gguf, random: &mut Random) {
    let i = random.below(gguf.tensors.len());
    let j = random.below(gguf.tensors.len());
    match random.below(6) {
        0 => drop(gguf.tensors.remove(i)),
        1 => gguf.tensors[i].dims.reverse(),
        2 => {
            let d = random.below(gguf.tensors[i].dims.len());
            gguf.tensors[i].dims[d] = random.pick(&EDGES);
        }
        3 => gguf.tensors[i].ggml_type = random.pick(&[0, 1, 2, 3, 8, 12, 14, 30, 99]),
        4 => {
            let name = gguf.tensors[j].name.clone();
            gguf.tensors[j].name = std::mem::replace(&mut gguf.tensors[i].name, name);
        }
        _ => gguf.tensors[i].dims.push(1),
    }
}

fn replay_gguf(name: &str, n: u64) {
    let sound = read_gguf(&golden(name));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.gguf");
    replay(name, n, &path, |random| {
        let mut gguf = sound.clone();
        for _ in 0..1 + random.below(2) {
            match random.below(4) {
                0 | 1 => change_key(&mut gguf, random),
                2 => change_tensor(&mut gguf, random),
                _ => {}
            }
        }
        let mut bytes = gguf.finish();
        if random.below(3) == 0 {
            damage(&mut bytes, gguf.header().len(), random);
        }
        write_anew(&path, &bytes);
    });
}

#[test]
fn changed_gguf_files() {
    replay_gguf("quant_q4_0/model.gguf", 1200);
    replay_gguf("llama3/model.gguf", 800);
}

/// A value that a field of config.json may wrongly have.
fn any_value(random: &mut Random) -> Value {
    match random.below(10) {
        0 => Value::Null,
        1 => json!(random.pick(&["llama", "mistral", "qwen2", "qwen3", "linear", "llama3", "silu", ""])),
        2 => json!(random.next().is_multiple_of(2)),
        3 => json!(-(random.below(100) as i64)),
        4 => json!([1, "full_attention"]),
        5 => json!({"rope_type": random.pick(&["linear", "llama3", "default", "yarn"]), "factor": 2.0}),
        6 => json!(f64::from(random.pick(&EDGE_FLOATS))),
        _ => json!(random.pick(&EDGES)),
    }
}

fn change_config(config: &mut Value, random: &mut Random) {
    let Some(fields) = config.as_object_mut() else { return };
    let i = random.below(fields.len());
    let Some((key, value)) = fields.iter_mut().nth(i) else { return };
    if value.is_object() && random.below(4) > 0 {
        return change_config(value, random);
    }
    if random.below(5) == 0 {
        let key = key.clone();
        fields.remove(&key);
    } else {
        *value = any_value(random);
    }
}

#[test]
fn changed_hugging_face_folders() {
    let name = "qwen2_layer_types/hf";
    let sound = Folder::read(&golden(name));
    let weights = fs::read(golden(name).join("model.safetensors")).expect("the golden");
    let n_header = 8 + u64::from_le_bytes(weights[..8].try_into().expect("8 bytes")) as usize;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    replay(name, 1200, path, |random| {
        let mut config = sound.config.clone();
        let mut bytes = weights.clone();
        for _ in 0..1 + random.below(3) {
            match random.below(4) {
                0 => damage(&mut bytes, n_header, random),
                _ => change_config(&mut config, random),
            }
        }
        let mut config = config.to_string().into_bytes();
        if random.below(8) == 0 {
            let n = config.len();
            damage(&mut config, n, random);
        }
        write_anew(&path.join("config.json"), &config);
        write_anew(&path.join("model.safetensors"), &bytes);
    });
}
