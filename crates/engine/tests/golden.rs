//! Whole models against the official implementation: the goldens of `tools/goldens`, made by transformers in f32.

mod support;

use serde_json::Value;
use std::path::Path;
use support::{Bench, Setup, goldens};

/// Log-probabilities in f32 mode may differ by this much; what is seen is a hundredth of it. transformers' own distance
/// from the same computation in f64 is up to 3e-5.
const BOUND: f64 = 2e-3;

/// One prompt of a golden.json.
struct Prompt {
    ids: Vec<u32>,
    greedy: Vec<u32>,
    positions: Vec<usize>,
    /// `[positions][vocab_size]`
    logits: Vec<Vec<f32>>,
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().expect("a list").iter().map(|id| id.as_u64().expect("an id") as u32).collect()
}

fn prompts(folder: &Path) -> Vec<Prompt> {
    let text = std::fs::read_to_string(folder.join("golden.json")).expect("golden.json");
    let golden: Value = serde_json::from_str(&text).expect("JSON");
    let tensors = std::fs::read(folder.join("golden.safetensors")).expect("golden.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&tensors).expect("safetensors");
    let of = |prompt: &Value| {
        let view = tensors.tensor(prompt["logits"].as_str().expect("a name")).expect("the tensor");
        let values: Vec<f32> =
            view.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        Prompt {
            ids: ids(&prompt["prompt_token_ids"]),
            greedy: ids(&prompt["greedy_token_ids"]),
            positions: ids(&prompt["positions"]).into_iter().map(|p| p as usize).collect(),
            logits: values.chunks(view.shape()[1]).map(<[f32]>::to_vec).collect(),
        }
    };
    golden["prompts"].as_array().expect("a list").iter().map(of).collect()
}

/// Every model that was asked: its folder below the goldens and its file in it. A Hugging Face folder and a GGUF file
/// of the same folder hold the same weights.
const MODELS: &[&str] = &[
    "llama2/hf",
    "llama2/model-00001-of-00002.gguf",
    "llama3/hf",
    "llama3/model.gguf",
    "llama3_rope_parameters/hf",
    "llama_bias/hf",
    "llama_bias/model.gguf",
    "mistral/hf",
    "mistral_window/hf",
    "mistral_window/model.gguf",
    "quant_q4_0/model.gguf",
    "quant_q4_1/model.gguf",
    "quant_q4_k/model.gguf",
    "quant_q5_0/model.gguf",
    "quant_q5_1/model.gguf",
    "quant_q5_k/model.gguf",
    "quant_q6_k/model.gguf",
    "quant_q8_0/model.gguf",
    "qwen2/hf",
    "qwen2/model.gguf",
    "qwen2_layer_types/hf",
    "qwen2_window/hf",
    "qwen3/hf",
    "qwen3/model.gguf",
    "smollm/hf",
    "smollm/model.gguf",
    "stories260k/hf",
    "stories260k_q8_0/model.gguf",
];

/// The models that are there, by name.
fn models_on_disk() -> Vec<String> {
    let of = |entry: std::io::Result<std::fs::DirEntry>| {
        let folder = entry.expect("an entry").path();
        let name = folder.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
        let candidates = ["hf", "model.gguf", "model-00001-of-00002.gguf"];
        let files = candidates.into_iter().filter(move |file| folder.join(file).exists());
        files.map(move |file| format!("{name}/{file}"))
    };
    let mut found: Vec<String> = std::fs::read_dir(goldens()).expect("the goldens").flat_map(of).collect();
    found.sort();
    found
}

fn argmax(logits: &[f32]) -> u32 {
    let best = (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best });
    best as u32
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().fold(f64::NEG_INFINITY, |m, &l| m.max(f64::from(l)));
    let sum: f64 = logits.iter().map(|&l| (f64::from(l) - max).exp()).sum();
    logits.iter().map(|&l| f64::from(l) - max - sum.ln()).collect()
}

/// The largest difference of log-probabilities over a golden's positions, and whether its greedy tokens are equal.
fn compare(path: &Path, prompts: &[Prompt]) -> f64 {
    let mut worst: f64 = 0.0;
    for prompt in prompts {
        let mut bench = Bench::open(path, Setup::exact());
        let seq = bench.sequence();
        // As a user runs it: the prompt at once, then token by token.
        let mut rows = bench.feed(seq, &prompt.ids);
        let mut greedy = Vec::new();
        while greedy.len() < prompt.greedy.len() {
            greedy.push(argmax(rows.last().expect("a row")));
            rows.extend(bench.feed(seq, &greedy[greedy.len() - 1..]));
        }
        assert_eq!(greedy, prompt.greedy, "{}: greedy tokens", path.display());
        for (&position, expected) in prompt.positions.iter().zip(&prompt.logits) {
            let (found, expected) = (log_softmax(&rows[position]), log_softmax(expected));
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                worst = worst.max((found - expected).abs());
            }
        }
    }
    worst
}

#[test]
fn log_probabilities_and_greedy_tokens_are_those_of_transformers() {
    assert_eq!(models_on_disk(), MODELS, "a golden has gone, or a new one is not in the list");
    for name in MODELS {
        let path = goldens().join(name);
        let worst = compare(&path, &prompts(path.parent().expect("its folder")));
        println!("{name}: {worst:.1e}");
        assert!(worst < BOUND, "{name}: log-probabilities differ by {worst}");
    }
}

/// What the `gguf` package makes of raw blocks, bit for bit, by way of the embedding operation.
#[test]
fn dequantized_weights_are_those_of_the_gguf_package() {
    use limpid_kernels::buffer::Rows;
    use limpid_kernels::matrix::Matrix;
    use limpid_kernels::quant::Format;
    use limpid_kernels::{Cpu, isa::Isa, ops};
    for format in Format::ALL.into_iter().filter(|format| *format != Format::F32) {
        let path =
            goldens().join("dequant").join(format!("{}.safetensors", format.to_string().to_lowercase()));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
        let blocks = tensors.tensor("blocks").expect("blocks").data();
        let expected = tensors.tensor("values").expect("values");
        let n_rows = blocks.len() / format.block_bytes();
        for isa in Isa::available() {
            let cpu = Cpu::new(isa, 1);
            let matrix =
                Matrix::pack(&cpu, n_rows, format.block_len(), format, blocks).expect("whole blocks");
            let mut out = Rows::new(n_rows, format.block_len()).expect("memory");
            let ids: Vec<u32> = (0..n_rows as u32).collect();
            ops::embed(&cpu, &matrix, &ids, &mut out);
            let found = (0..n_rows).flat_map(|i| out.row(i).to_vec());
            let expected = expected.data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b));
            for (i, (found, expected)) in found.zip(expected).enumerate() {
                let same = found == expected || (found.is_nan() && expected.is_nan());
                assert!(same, "{format} on {isa}, weight {i}: {found} instead of {expected}");
            }
        }
    }
}
