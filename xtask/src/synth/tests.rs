//! Tests of the files that synth writes, through a reader of their own.

use std::collections::HashMap;

use half::{bf16, f16};

use super::format::{Format, Recipe};
use super::shape::{Shape, ShapeName};
use super::{Options, vocab, write, write_file};
use clap::ValueEnum;

/// Small, with every optional tensor.
fn small_shape() -> Shape {
    let llama = ShapeName::Llama32_1b.shape();
    Shape {
        hidden_size: 256,
        intermediate_size: 512,
        n_layers: 8,
        n_heads: 8,
        n_kv_heads: 2,
        vocab_size: 1000,
        qkv_bias: true,
        qk_norm: true,
        tied_embeddings: false,
        tokenizer: vocab::Tokenizer {
            pre: "llama-bpe",
            bos: 990,
            eos: 1,
            add_bos: true,
            special: &[(1, "<end>"), (990, "<begin>")],
            reserved_from: 980,
        },
        ..*llama
    }
}

fn bytes_of(shape: &Shape, recipe: Recipe, pure: bool, seed: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let n_bytes = write(shape, &Options { recipe, pure, seed }, &mut bytes).unwrap();
    assert_eq!(n_bytes, bytes.len() as u64);
    bytes
}

/// Metadata (strings and u32 as text, arrays as their texts) and tensors of a GGUF.
struct File {
    metadata: HashMap<String, Vec<String>>,
    tensors: Vec<(String, Vec<u64>, u32, Vec<u8>)>,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        self.at += N;
        self.bytes[self.at - N..self.at].try_into().unwrap()
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn str(&mut self) -> String {
        let len = self.u64() as usize;
        self.at += len;
        String::from_utf8(self.bytes[self.at - len..self.at].to_vec()).unwrap()
    }

    fn values(&mut self, tag: u32) -> Vec<String> {
        match tag {
            4 | 5 => vec![self.u32().to_string()],
            6 => vec![f32::from_le_bytes(self.take()).to_string()],
            7 => vec![(self.take::<1>()[0] == 1).to_string()],
            8 => vec![self.str()],
            9 => {
                let tag = self.u32();
                (0..self.u64()).flat_map(|_| self.values(tag)).collect()
            }
            _ => panic!("type {tag}"),
        }
    }
}

fn read(bytes: &[u8]) -> File {
    let mut reader = Reader { bytes, at: 0 };
    assert_eq!(&reader.take(), b"GGUF");
    assert_eq!(reader.u32(), 3);
    let (n_tensors, n_keys) = (reader.u64(), reader.u64());
    let mut metadata = HashMap::new();
    for _ in 0..n_keys {
        let (key, tag) = (reader.str(), reader.u32());
        let values = reader.values(tag);
        assert!(metadata.insert(key.clone(), values).is_none(), "{key} twice");
    }
    let mut table = Vec::new();
    for _ in 0..n_tensors {
        let (name, n_dims) = (reader.str(), reader.u32());
        let dims: Vec<u64> = (0..n_dims).map(|_| reader.u64()).collect();
        table.push((name, dims, reader.u32(), reader.u64() as usize));
    }
    let data = &bytes[reader.at.next_multiple_of(32)..];
    let ends = table.iter().skip(1).map(|t| t.3).chain([data.len()]).collect::<Vec<_>>();
    let tensors = table.into_iter().zip(ends).map(|((name, dims, ggml_type, start), end)| {
        let format = FORMATS.into_iter().find(|f| f.ggml_type() == ggml_type).unwrap();
        let len = format.n_bytes(dims.iter().product::<u64>() as usize) as usize;
        assert_eq!(start + len.next_multiple_of(32), end, "{name}: tensors follow each other");
        (name, dims, ggml_type, data[start..start + len].to_vec())
    });
    File { metadata, tensors: tensors.collect() }
}

const FORMATS: [Format; 11] = [
    Format::F32,
    Format::F16,
    Format::Bf16,
    Format::Q4_0,
    Format::Q4_1,
    Format::Q5_0,
    Format::Q5_1,
    Format::Q8_0,
    Format::Q4K,
    Format::Q5K,
    Format::Q6K,
];

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn nibbles(bytes: &[u8]) -> Vec<f32> {
    let low = bytes.iter().map(|b| f32::from(b & 15));
    low.chain(bytes.iter().map(|b| f32::from(b >> 4))).collect()
}

fn five_bits(bytes: &[u8]) -> Vec<f32> {
    let bit = |k: usize| f32::from(bytes[k / 8] >> (k % 8) & 1) * 16.0;
    nibbles(&bytes[4..]).into_iter().enumerate().map(|(k, q)| q + bit(k)).collect()
}

/// The weights `q` of a super-block of Q4_K or Q5_K with its header.
fn with_minima(header: &[u8], q: &[f32]) -> Vec<f32> {
    let packed = &header[4..];
    let sub_block = |(i, q): (usize, &[f32])| -> Vec<f32> {
        let (scale, min) = match i {
            0..4 => (packed[i] & 63, packed[i + 4] & 63),
            _ => (packed[i + 4] & 15 | packed[i - 4] >> 6 << 4, packed[i + 4] >> 4 | packed[i] >> 6 << 4),
        };
        assert!(scale >= 32 && min >= 32);
        let (scale, min) = (half_at(header, 0) * f32::from(scale), half_at(header, 2) * f32::from(min));
        q.iter().map(|q| scale * q - min).collect()
    };
    q.chunks(32).enumerate().flat_map(sub_block).collect()
}

/// The plain formulas of the formats.
fn dequantize(format: Format, block: &[u8]) -> Vec<f32> {
    let half = |at: usize| half_at(block, at);
    match format {
        Format::F32 => vec![f32::from_le_bytes(block.try_into().unwrap())],
        Format::F16 => vec![half(0)],
        Format::Bf16 => vec![bf16::from_le_bytes(block.try_into().unwrap()).to_f32()],
        Format::Q4_0 => nibbles(&block[2..]).iter().map(|q| half(0) * (q - 8.0)).collect(),
        Format::Q4_1 => nibbles(&block[4..]).iter().map(|q| half(0) * q + half(2)).collect(),
        Format::Q8_0 => block[2..].iter().map(|&q| half(0) * f32::from(q as i8)).collect(),
        Format::Q5_0 => five_bits(&block[2..]).iter().map(|q| half(0) * (q - 16.0)).collect(),
        Format::Q5_1 => five_bits(&block[4..]).iter().map(|q| half(0) * q + half(2)).collect(),
        Format::Q4K => {
            with_minima(&block[..16], &block[16..].chunks(32).flat_map(nibbles).collect::<Vec<_>>())
        }
        Format::Q5K => {
            let bit = |k: usize| f32::from(block[16 + k % 32] >> (k / 32) & 1) * 16.0;
            let q = block[48..].chunks(32).flat_map(nibbles).enumerate().map(|(k, q)| q + bit(k));
            with_minima(&block[..16], &q.collect::<Vec<_>>())
        }
        // The order of the weights does not matter here: low bits, high bits and scales are independent.
        Format::Q6K => (0..256)
            .map(|i| {
                let low = block[i / 2] >> (i % 2 * 4) & 15;
                let high = block[128 + i / 4] >> (i % 4 * 2) & 3;
                let scale = f32::from(block[192 + i / 16] as i8);
                half(208) * scale * (f32::from(low | high << 4) - 32.0)
            })
            .collect(),
    }
}

#[test]
fn weights_have_zero_mean_and_the_intended_deviation() {
    for recipe in Recipe::value_variants() {
        let file = read(&bytes_of(&small_shape(), *recipe, false, 1));
        for (name, dims, ggml_type, data) in file.tensors.iter().filter(|t| t.1.len() == 2) {
            let format = FORMATS.into_iter().find(|f| f.ggml_type() == *ggml_type).unwrap();
            let weights: Vec<f32> =
                data.chunks(format.block_bytes()).flat_map(|block| dequantize(format, block)).collect();
            assert_eq!(weights.len() as u64, dims[0] * dims[1]);
            let unit = (dims[0] as f32).sqrt();
            let mean = weights.iter().sum::<f32>() / weights.len() as f32 * unit;
            let deviation = (weights.iter().map(|w| w * w).sum::<f32>() / weights.len() as f32).sqrt() * unit;
            // A matrix has at least 32,768 weights, of which 32 share a scale and a minimum.
            assert!(mean.abs() < 0.06, "{recipe:?} {name} {format:?}: mean {mean}");
            assert!((0.9..1.2).contains(&deviation), "{recipe:?} {name} {format:?}: deviation {deviation}");
        }
        let (.., norm) = file.tensors.iter().find(|t| t.0 == "blk.0.attn_norm.weight").unwrap();
        assert!(norm.chunks(4).all(|x| (0.9..1.1).contains(&dequantize(Format::F32, x)[0])));
    }
}

#[test]
fn the_seed_decides_every_byte() {
    let shape = small_shape();
    let one = bytes_of(&shape, Recipe::Q4KM, false, 1);
    assert!(one == bytes_of(&shape, Recipe::Q4KM, false, 1));
    assert!(one != bytes_of(&shape, Recipe::Q4KM, false, 2));
}

#[test]
fn formats_are_mixed_as_llama_quantize_does() {
    let types = |recipe, pure| -> HashMap<String, u32> {
        let file = read(&bytes_of(&small_shape(), recipe, pure, 1));
        file.tensors.into_iter().map(|t| (t.0, t.2)).collect()
    };
    let mixed = types(Recipe::Q4KM, false);
    let q6_k_layers = |name: &str| -> Vec<usize> {
        (0..8).filter(|l| mixed[&format!("blk.{l}.{name}.weight")] == Format::Q6K.ggml_type()).collect()
    };
    // With 8 layers: the first, the last, and those of 1..7 that are 2 above a multiple of 3, counted from 1.
    assert_eq!(q6_k_layers("attn_v"), [0, 3, 6, 7]);
    assert_eq!(q6_k_layers("ffn_down"), [0, 3, 6, 7]);
    assert!(q6_k_layers("ffn_up").is_empty());
    assert_eq!(mixed["output.weight"], Format::Q6K.ggml_type());
    assert_eq!(mixed["token_embd.weight"], Format::Q4K.ggml_type());
    let five_bits = types(Recipe::Q5KM, false);
    for (name, &ggml_type) in &mixed {
        let expected = if ggml_type == Format::Q4K.ggml_type() { Format::Q5K.ggml_type() } else { ggml_type };
        assert_eq!(five_bits[name], expected, "{name}");
    }
    assert_eq!(mixed["blk.0.attn_q.bias"], Format::F32.ggml_type());
    assert_eq!(types(Recipe::Q4_0, false)["output.weight"], Format::Q6K.ggml_type());
    assert_eq!(types(Recipe::Q4_0, true)["output.weight"], Format::Q4_0.ggml_type());
    assert_eq!(types(Recipe::Q4KM, true)["blk.0.attn_v.weight"], Format::Q4K.ggml_type());
}

#[test]
fn rows_that_are_not_whole_blocks_fall_back_or_are_refused() {
    let shape = ShapeName::SmolLm2_135m.shape();
    let tensors = shape.tensors();
    let embed = &tensors[0];
    assert_eq!(Recipe::Q4_0.format_of(embed, shape, false).unwrap(), Format::Q8_0);
    assert_eq!(Recipe::Q4KM.format_of(embed, shape, true).unwrap(), Format::Q5_0);
    assert_eq!(Recipe::Q5KM.format_of(embed, shape, true).unwrap(), Format::Q5_1);
    let narrow = Shape { hidden_size: 100, ..*shape };
    for recipe in [Recipe::Q5_0, Recipe::Q4KM, Recipe::Q6K] {
        let error = recipe.format_of(&narrow.tensors()[0], &narrow, true).unwrap_err().to_string();
        assert!(error.contains("token_embd.weight: rows of 100 weights"), "{error}");
    }
}

#[test]
fn every_token_is_made_by_a_merge_of_earlier_ones() {
    let (tokens, merges) = vocab::normal_tokens(20_000);
    assert_eq!(merges.len(), tokens.len() - 256);
    let ids: HashMap<&str, usize> = tokens.iter().enumerate().map(|(id, t)| (t.as_str(), id)).collect();
    assert_eq!(ids.len(), tokens.len(), "tokens are different");
    for (i, merge) in merges.iter().enumerate() {
        let (left, right) = merge.split_once(' ').unwrap();
        assert!(ids[left] < 256 + i && ids[right] < 256 + i, "{merge}");
        assert_eq!(tokens[256 + i], format!("{left}{right}"));
    }
}

#[test]
fn the_vocabulary_has_special_tokens_at_their_places() {
    let metadata = read(&bytes_of(&small_shape(), Recipe::Q8_0, false, 1)).metadata;
    let (tokens, types) = (&metadata["tokenizer.ggml.tokens"], &metadata["tokenizer.ggml.token_type"]);
    assert_eq!((tokens.len(), types.len()), (1000, 1000));
    let special: Vec<usize> = (0..1000).filter(|&id| types[id] == "3").collect();
    assert_eq!(special, [1].into_iter().chain(980..1000).collect::<Vec<_>>());
    assert_eq!((tokens[1].as_str(), tokens[990].as_str()), ("<end>", "<begin>"));
    assert_eq!(tokens[980], "<|reserved_special_token_980|>");
}

#[test]
fn llama3_rope_factors_are_those_of_the_converter() {
    let factors = ShapeName::Llama32_1b.shape().rope_factors();
    assert_eq!(factors.len(), 32);
    assert!(factors[..15].iter().all(|&f| f == 1.0) && factors[18..].iter().all(|&f| f == 32.0));
    // What convert_hf_to_gguf.py writes for Llama 3.2 1B.
    for (factor, expected) in factors[15..18].iter().zip([1.651_329_3, 3.292_262, 9.666_729]) {
        assert!((factor - expected).abs() < 1e-5 * expected, "{factor} {expected}");
    }
}

#[test]
fn every_shape_is_consistent() {
    for name in ShapeName::value_variants() {
        let shape = name.shape();
        assert_eq!(shape.name, name.to_possible_value().unwrap().get_name());
        assert!(shape.n_heads.is_multiple_of(shape.n_kv_heads));
        for tensor in shape.tensors() {
            assert!(Recipe::Q8_0.format_of(&tensor, shape, false).is_ok(), "{} {}", shape.name, tensor.name);
        }
    }
}

#[test]
fn a_file_appears_only_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model.gguf");
    let options = Options { recipe: Recipe::Q8_0, pure: false, seed: 1 };
    let n_bytes = write_file(&small_shape(), &options, &out).unwrap();
    assert_eq!(out.metadata().unwrap().len(), n_bytes);
    assert_eq!(folder.path().read_dir().unwrap().count(), 1, "no partial file is left");
}
