//! What can be wrong with the metadata and the tensors of a GGUF file.

use super::edit::{read_gguf, remove_key, remove_tensor, set_key, set_tensor};
use super::writer::{self, ARRAY, BOOL, F16, F32, Gguf, Q8_0, STRING, U32};
use super::{CONVERT, DAMAGED, Differences, INCOMPLETE, MISSHAPEN, NOT_BUILT, error_of, golden};
use std::fs;

const FLOAT32: u32 = 6;
const U64: u32 = 10;
const I64: u32 = 11;

type Edit = Box<dyn Fn(&mut Gguf)>;
/// A change, the error, and how it ends.
type Row = (Edit, &'static str, &'static str);

fn check(name: &str, rows: Vec<Row>) {
    let sound = read_gguf(&golden(name));
    let mut differences = Differences::default();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.gguf");
    for (edit, expected, ending) in rows {
        let mut changed = sound.clone();
        edit(&mut changed);
        fs::write(&path, changed.finish()).expect("a temporary file");
        differences.compare(&error_of(&path), &format!("{expected}{ending}"));
    }
}

fn key(name: &'static str, value_type: u32, value: &[u8]) -> Edit {
    let value = value.to_vec();
    Box::new(move |gguf| set_key(gguf, name, value_type, &value))
}

fn u32(name: &'static str, value: u32) -> Edit {
    key(name, U32, &value.to_le_bytes())
}

fn f32(name: &'static str, value: f32) -> Edit {
    key(name, FLOAT32, &value.to_le_bytes())
}

fn str(name: &'static str, value: &str) -> Edit {
    key(name, STRING, &writer::string(value.as_bytes()))
}

fn no_key(name: &'static str) -> Edit {
    Box::new(move |gguf| remove_key(gguf, name))
}

fn no_tensor(name: &'static str) -> Edit {
    Box::new(move |gguf| remove_tensor(gguf, name))
}

fn tensor(name: &'static str, dims: &'static [u64], ggml_type: u32, n_bytes: usize) -> Edit {
    Box::new(move |gguf| set_tensor(gguf, name, dims, ggml_type, &vec![0; n_bytes]))
}

fn both(first: Edit, second: Edit) -> Edit {
    Box::new(move |gguf| {
        first(gguf);
        second(gguf);
    })
}

#[test]
fn numbers() {
    check(
        "llama_bias/model.gguf",
        vec![
            (Box::new(|_| ()), "none, it runs", ""),
            (
                u32("llama.block_count", 4_000_000_000),
                "`llama.block_count`: found 4000000000, expected an integer from 1 to 1024",
                DAMAGED,
            ),
            (
                u32("llama.block_count", 0),
                "`llama.block_count`: found 0, expected an integer from 1 to 1024",
                DAMAGED,
            ),
            (
                no_key("llama.block_count"),
                "`llama.block_count`: found nothing, expected an integer of 1 or more",
                CONVERT,
            ),
            (
                str("llama.block_count", "2"),
                "`llama.block_count`: found string \"2\", expected an integer of 0 or more",
                CONVERT,
            ),
            (
                key("llama.embedding_length", U64, &(1_u64 << 40).to_le_bytes()),
                "`llama.embedding_length`: found 1099511627776, expected an integer from 1 to 1048576",
                DAMAGED,
            ),
            (
                key("llama.embedding_length", I64, &(-40_i64).to_le_bytes()),
                "`llama.embedding_length`: found integer -40, expected an integer of 0 or more",
                CONVERT,
            ),
            (
                f32("llama.feed_forward_length", 56.0),
                "`llama.feed_forward_length`: found number 56, expected an integer of 0 or more",
                CONVERT,
            ),
            (
                u32("llama.feed_forward_length", 0),
                "`llama.feed_forward_length`: found 0, expected an integer from 1 to 1048576",
                DAMAGED,
            ),
            (
                u32("llama.context_length", u32::MAX),
                "`llama.context_length`: found 4294967295, expected an integer from 1 to 268435456",
                DAMAGED,
            ),
            (
                f32("llama.attention.layer_norm_rms_epsilon", f32::NAN),
                "`llama.attention.layer_norm_rms_epsilon`: found NaN, expected a number from 0 to below 1",
                DAMAGED,
            ),
            (
                f32("llama.attention.layer_norm_rms_epsilon", -1e-5),
                "`llama.attention.layer_norm_rms_epsilon`: found -0.00001, expected a number from 0 to below 1",
                DAMAGED,
            ),
            (
                no_key("llama.attention.layer_norm_rms_epsilon"),
                "`llama.attention.layer_norm_rms_epsilon`: found nothing, expected a floating-point number",
                CONVERT,
            ),
        ],
    );
}

#[test]
fn heads() {
    check(
        "llama_bias/model.gguf",
        vec![
            (
                u32("llama.attention.head_count", 0),
                "`llama.attention.head_count`: found 0, expected an integer from 1 to 1048576",
                DAMAGED,
            ),
            (
                both(no_key("llama.attention.key_length"), u32("llama.attention.head_count", 3)),
                "`llama.attention.head_count`: found 3, expected a divisor of the hidden size, 40",
                DAMAGED,
            ),
            (
                u32("llama.attention.head_count_kv", 2),
                "`llama.attention.head_count_kv`: found 2, expected a divisor of the number of heads, 5",
                DAMAGED,
            ),
            (
                u32("llama.attention.head_count_kv", 0),
                "`llama.attention.head_count_kv`: found 0, expected an integer from 1 to 1048576",
                DAMAGED,
            ),
            (
                key(
                    "llama.attention.head_count_kv",
                    ARRAY,
                    &writer::array(U32, 2, &[1, 0, 0, 0, 1, 0, 0, 0]),
                ),
                "`llama.attention.head_count_kv`: found array of 2 U32, expected an integer of 0 or more",
                CONVERT,
            ),
            (
                u32("llama.attention.key_length", 1 << 20),
                "`llama.attention.key_length`: found 1048576, expected an integer from 1 to 4096",
                DAMAGED,
            ),
            (
                u32("llama.attention.value_length", 16),
                "`llama.attention.value_length`: found 16, expected the key length, 8",
                NOT_BUILT,
            ),
            (
                u32("llama.rope.dimension_count", 10),
                "`llama.rope.dimension_count`: found 10, expected an even number from 2 to the head dimension, 8",
                DAMAGED,
            ),
            (
                u32("llama.rope.dimension_count", 3),
                "`llama.rope.dimension_count`: found 3, expected an even number from 2 to the head dimension, 8",
                DAMAGED,
            ),
            (
                both(
                    no_key("llama.rope.dimension_count"),
                    both(u32("llama.attention.key_length", 7), u32("llama.attention.value_length", 7)),
                ),
                "`llama.attention.key_length`: found 7, expected an even number from 2 to the head dimension, 7",
                DAMAGED,
            ),
            (u32("llama.rope.dimension_count", 4), "none, it runs", ""),
        ],
    );
}

#[test]
fn what_is_not_built() {
    check(
        "llama_bias/model.gguf",
        vec![
            (
                str("general.architecture", "mamba"),
                "`general.architecture`: architecture \"mamba\" is not supported; supported are llama, qwen2, qwen3",
                "",
            ),
            (
                no_key("general.architecture"),
                "`general.architecture`: found nothing, expected a string",
                CONVERT,
            ),
            (
                u32("general.architecture", 1),
                "`general.architecture`: found integer 1, expected a string",
                CONVERT,
            ),
            (
                u32("llama.expert_count", 8),
                "`llama.expert_count`: found integer 8, expected 0: mixtures of experts are not built yet",
                NOT_BUILT,
            ),
            (u32("llama.expert_count", 0), "none, it runs", ""),
            (
                key("llama.attention.causal", BOOL, &[0]),
                "`llama.attention.causal`: found boolean false, \
                 expected boolean true: a text model sees what came before only",
                NOT_BUILT,
            ),
            (
                f32("llama.logit_scale", 0.5),
                "`llama.logit_scale`: found 0.5, expected 1 or nothing",
                NOT_BUILT,
            ),
            (
                f32("llama.rope.scale_linear", 4.0),
                "`llama.rope.scale_linear`: found 4, expected 1 or nothing",
                NOT_BUILT,
            ),
            (u32("llama.attention.sliding_window", u32::MAX), "none, it runs", ""),
            (u32("llama.attention.sliding_window", 0), "none, it runs", ""),
            (
                key("llama.attention.sliding_window", I64, &(-1_i64).to_le_bytes()),
                "`llama.attention.sliding_window`: found integer -1, expected an integer from 0 to 4294967295",
                CONVERT,
            ),
        ],
    );
}

#[test]
fn rope() {
    let scaling = |kind: &str| str("llama.rope.scaling.type", kind);
    check(
        "llama_bias/model.gguf",
        vec![
            (
                f32("llama.rope.freq_base", 0.0),
                "`llama.rope.freq_base`: found 0, expected a number above 0",
                DAMAGED,
            ),
            (
                f32("llama.rope.freq_base", f32::INFINITY),
                "`llama.rope.freq_base`: found inf, expected a number above 0",
                DAMAGED,
            ),
            (
                u32("llama.rope.freq_base", 10_000),
                "`llama.rope.freq_base`: found integer 10000, expected a floating-point number",
                CONVERT,
            ),
            (
                scaling("yarn"),
                "`llama.rope.scaling.type`: found \"yarn\", expected \"none\" or \"linear\"",
                NOT_BUILT,
            ),
            (
                scaling("linear"),
                "`llama.rope.scaling.factor`: found nothing, expected a number above 0",
                DAMAGED,
            ),
            (
                f32("llama.rope.scaling.factor", -2.0),
                "`llama.rope.scaling.factor`: found -2, expected a number above 0",
                DAMAGED,
            ),
            (both(scaling("linear"), f32("llama.rope.scaling.factor", 2.0)), "none, it runs", ""),
        ],
    );
    check(
        "llama3/model.gguf",
        vec![
            (
                tensor("rope_freqs.weight", &[7], F32, 28),
                "tensor `rope_freqs.weight`: found shape [7], expected [8]",
                MISSHAPEN,
            ),
            (
                tensor("rope_freqs.weight", &[8], F32, 32),
                "`rope_freqs.weight`: found 0, expected numbers above 0",
                DAMAGED,
            ),
            (
                f32("llama.rope.scaling.factor", 2.0),
                "`llama.rope.scaling.factor`: found 2, expected no scaling beside that of the tensor rope_freqs.weight",
                NOT_BUILT,
            ),
            (
                scaling("longrope"),
                "`llama.rope.scaling.type`: found \"longrope\", expected \"none\" or \"linear\"",
                NOT_BUILT,
            ),
        ],
    );
}

#[test]
fn tensors() {
    check(
        "llama_bias/model.gguf",
        vec![
            (
                no_tensor("token_embd.weight"),
                "`token_embd.weight`: found no such tensor, \
                 expected a matrix of rows of 40 numbers, one for each token",
                DAMAGED,
            ),
            (
                tensor("token_embd.weight", &[40], F32, 160),
                "`token_embd.weight`: found shape [40], expected a matrix of rows of 40 numbers, one for each token",
                DAMAGED,
            ),
            (
                tensor("token_embd.weight", &[38, 352], F16, 38 * 352 * 2),
                "tensor `token_embd.weight`: found shape [352, 38], expected [352, 40]",
                MISSHAPEN,
            ),
            (
                tensor("output.weight", &[40, 351], F16, 40 * 351 * 2),
                "tensor `output.weight`: found shape [351, 40], expected [352, 40]",
                MISSHAPEN,
            ),
            (no_tensor("output.weight"), "none, it runs", ""),
            (
                no_tensor("blk.1.attn_k.weight"),
                "tensor `blk.1.attn_k.weight`: found no such tensor among 34, expected one of shape [8, 40]",
                INCOMPLETE,
            ),
            (
                no_tensor("blk.1.ffn_up.bias"),
                "tensor `blk.1.ffn_up.bias`: found no such tensor among 34, expected one of shape [56]",
                INCOMPLETE,
            ),
            (
                no_tensor("blk.0.attn_q.bias"),
                "5 tensors have no place in architecture llama, the first is `blk.0.attn_k.bias`; \
                 the model is of another architecture than its metadata says",
                "",
            ),
            (
                tensor("blk.2.attn_norm.weight", &[40], F32, 160),
                "1 tensor has no place in architecture llama, the first is `blk.2.attn_norm.weight`; \
                 the model is of another architecture than its metadata says",
                "",
            ),
            (
                tensor("output_norm.weight", &[40, 1], F32, 160),
                "tensor `output_norm.weight`: found shape [1, 40], expected [40]",
                MISSHAPEN,
            ),
        ],
    );
    check(
        "quant_q4_0/model.gguf",
        vec![(
            tensor("output_norm.weight", &[64], Q8_0, 68),
            "`type of output_norm.weight`: found Q8_0, expected F32, F16 or BF16: a vector is not quantized",
            DAMAGED,
        )],
    );
}
