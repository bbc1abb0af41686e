//! Tests of opening sound models. Bad ones are in `tests/bad_files`.

mod writer;

use std::fs;
use std::path::{Path, PathBuf};

use limpid_kernels::quant::Format;
use tempfile::TempDir;

use super::gguf::{GgufMetadata, NumberType, Value};
use super::hf::HfMetadata;
use super::{Metadata, WeightsError, WeightsFile};
use writer::{
    ARRAY, BOOL, F16, F32, Gguf, I32, Q8_0, SMALL_HEADER, STRING, array, safetensors, small_gguf, string,
};

fn in_memory(file: &Gguf) -> WeightsFile {
    WeightsFile::from_bytes("(model in memory)", file.finish().leak()).unwrap()
}

fn gguf(weights: &WeightsFile) -> &GgufMetadata {
    match weights.metadata() {
        Metadata::Gguf(metadata) => metadata,
        Metadata::HuggingFace(_) => panic!("a Hugging Face folder"),
    }
}

fn hf(weights: &WeightsFile) -> &HfMetadata {
    match weights.metadata() {
        Metadata::HuggingFace(metadata) => metadata,
        Metadata::Gguf(_) => panic!("a GGUF file"),
    }
}

/// A folder with these files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn names(weights: &WeightsFile) -> Vec<&str> {
    weights.tensors().map(|t| t.name).collect()
}

#[test]
fn a_gguf_file_from_memory_and_from_disk_is_the_same() {
    for version in [2, 3] {
        let file = Gguf { version, ..small_gguf() };
        let folder = folder(&[("model", &file.finish())]);
        let mapped = WeightsFile::open(&folder.path().join("model")).unwrap();
        let memory = in_memory(&file);
        for weights in [&mapped, &memory] {
            assert_eq!(names(weights), ["token_embd.weight", "blk.0.attn_norm.weight", "output.weight"]);
            let embed = weights.tensor("token_embd.weight").unwrap();
            assert_eq!((embed.shape, embed.format, embed.bytes), (&[3, 32][..], Format::Q8_0, &[7; 102][..]));
            let output = weights.require("output.weight", &[3, 2]).unwrap();
            assert_eq!((output.format, output.bytes), (Format::F16, &[2; 12][..]));
            assert_eq!(weights.n_parameters(), 96 + 5 + 6);
            assert_eq!(weights.size_on_disk(), file.finish().len() as u64);
            assert!(weights.tensor("output").is_none());
        }
        assert_eq!(memory.path(), Path::new("(model in memory)"));
    }
}

#[test]
fn tensors_come_in_the_order_of_their_data() {
    let mut file = small_gguf();
    file.tensors.reverse();
    assert_eq!(names(&in_memory(&file)), ["token_embd.weight", "blk.0.attn_norm.weight", "output.weight"]);
}

#[test]
fn alignment_is_read() {
    for alignment in [1, 8, 64, 4096] {
        let file = Gguf { alignment, ..Gguf::new() }
            .u32("general.alignment", alignment as u32)
            .tensor("a", &[3], F32, &[1; 12])
            .tensor("b", &[1], F16, &[2; 2]);
        let weights = in_memory(&file);
        assert_eq!(weights.tensor("a").unwrap().bytes, [1; 12]);
        assert_eq!(weights.tensor("b").unwrap().bytes, [2; 2]);
    }
}

#[test]
fn a_file_without_tensors_opens() {
    let weights = in_memory(&Gguf::new().str("general.architecture", "llama"));
    assert_eq!(weights.n_tensors(), 0);
    assert_eq!(gguf(&weights).architecture().unwrap(), "llama");
}

#[test]
fn metadata_values_of_every_type() {
    let file = Gguf::new()
        .key("u8", 0, &[200])
        .key("i8", 1, &[200])
        .key("u16", 2, &[0xff, 0xff])
        .key("i16", 3, &[0xff, 0xff])
        .u32("u32", u32::MAX)
        .key("i32", I32, &(-7i32).to_le_bytes())
        .key("f32", 6, &0.1f32.to_le_bytes())
        .key("bool", BOOL, &[1])
        .str("str", "\u{e9}")
        .key("u64", 10, &u64::MAX.to_le_bytes())
        .key("i64", 11, &i64::MIN.to_le_bytes())
        .key("f64", 12, &0.1f64.to_le_bytes())
        .key("strs", ARRAY, &array(STRING, 3, &[&b""[..], b"ab", b"c"].map(string).concat()))
        .key("i16s", ARRAY, &array(3, 2, &[1, 0, 0xff, 0xff]));
    let weights = in_memory(&file);
    let metadata = gguf(&weights);
    let ints = [200, -56, 65535, -1, u32::MAX.into(), -7, u64::MAX.into(), i64::MIN.into()];
    for (key, int) in ["u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64"].iter().zip(ints) {
        assert_eq!(metadata.get(key), Some(&Value::Int(int)), "{key}");
    }
    assert_eq!(metadata.f32("f32").unwrap(), Some(0.1));
    assert_eq!(metadata.get("f64"), Some(&Value::Float(0.1)));
    assert_eq!(metadata.f32("f64").unwrap(), Some(0.1));
    assert_eq!(metadata.bool("bool").unwrap(), Some(true));
    assert_eq!(metadata.str("str").unwrap(), Some("\u{e9}"));
    let strs = metadata.str_array("strs").unwrap().unwrap();
    assert_eq!(strs.iter().collect::<Vec<_>>(), ["", "ab", "c"]);
    assert_eq!((strs.len(), strs.get(1), strs.get(2), strs.get(3)), (3, Some("ab"), Some("c"), None));
    assert_eq!(metadata.i32_array("i16s").unwrap(), Some(vec![1, -1]));
    let Some(Value::Numbers(numbers)) = metadata.get("i16s") else { panic!("no array") };
    assert_eq!((numbers.number_type(), numbers.len()), (NumberType::I16, 2));
    assert_eq!(metadata.iter().count(), 14);
    assert_eq!(metadata.iter().next(), Some(("u8", &Value::Int(200))));
}

#[test]
fn integers_of_any_width_are_read_where_they_fit() {
    let file = Gguf::new().key("small", 0, &[5]).key("negative", I32, &(-1i32).to_le_bytes()).key(
        "large",
        10,
        &(1u64 << 32).to_le_bytes(),
    );
    let weights = in_memory(&file);
    let metadata = gguf(&weights);
    assert_eq!(metadata.u32("small").unwrap(), Some(5));
    assert_eq!(metadata.u64("small").unwrap(), Some(5));
    assert_eq!(metadata.usize("small").unwrap(), Some(5));
    assert_eq!(metadata.i32("small").unwrap(), Some(5));
    assert_eq!(metadata.i32("negative").unwrap(), Some(-1));
    assert_eq!(metadata.u64("large").unwrap(), Some(1 << 32));
    assert_eq!(metadata.u32("absent").unwrap(), None);
    assert_eq!(
        metadata.u32("large").unwrap_err().to_string(),
        "(model in memory): `large`: found integer 4294967296, expected an integer from 0 to 4294967295; \
         convert the model again with a current converter"
    );
    assert!(metadata.u64("negative").is_err());
    assert!(metadata.f32("small").is_err());
}

#[test]
fn values_of_other_types_are_named() {
    let weights = in_memory(&small_gguf());
    let metadata = gguf(&weights);
    let found = |error: WeightsError| match error {
        WeightsError::WrongType { found, expected, .. } => (found, expected),
        other => panic!("{other}"),
    };
    let key = "general.architecture";
    assert_eq!(found(metadata.bool(key).unwrap_err()), ("string \"llama\"".to_owned(), "a boolean"));
    assert_eq!(found(metadata.str_array(key).unwrap_err()).1, "an array of strings");
    let key = "tokenizer.ggml.token_type";
    assert_eq!(found(metadata.str(key).unwrap_err()), ("array of 3 I32".to_owned(), "a string"));
    assert_eq!(metadata.u32_array(key).unwrap(), Some(vec![2, 1, 1]));
    assert!(metadata.f32_array(key).is_err());
    assert!(metadata.bool_array(key).is_err());
    assert_eq!(
        metadata.require("x.y", "a number", GgufMetadata::f32).unwrap_err().to_string(),
        "(model in memory): `x.y`: found nothing, expected a number; \
         convert the model again with a current converter"
    );
}

#[test]
fn missing_and_misshapen_tensors_are_errors() {
    let weights = in_memory(&small_gguf());
    assert_eq!(
        weights.require("output.weight", &[2, 3]).unwrap_err().to_string(),
        "(model in memory): tensor `output.weight`: found shape [3, 2], expected [2, 3]; \
         metadata and tensors are not of the same model, get it again"
    );
    assert_eq!(
        weights.require("rope_freqs.weight", &[4]).unwrap_err().to_string(),
        "(model in memory): tensor `rope_freqs.weight`: found no such tensor among 3, expected one of shape [4]; \
         the model is incomplete or not of the architecture that its metadata names"
    );
}

#[test]
fn what_is_no_file_is_refused() {
    let error = |path: &str| WeightsFile::open(Path::new(path)).err().unwrap().to_string();
    assert!(error("/no/such/file").starts_with("/no/such/file: cannot open: "));
    #[cfg(unix)]
    assert!(error("/dev/null").contains("found neither a file nor a folder"));
    let error = WeightsFile::from_bytes("(model in memory)", b"").err().unwrap().to_string();
    assert!(error.starts_with("(model in memory): found an empty file"), "{error}");
    let part = split_parts(2).swap_remove(0).1.leak();
    let error = WeightsFile::from_bytes("(model in memory)", part).err().unwrap().to_string();
    assert!(error.contains("found the first of 2 files of a split model under another name"), "{error}");
}

/// Kilobytes of the mapped file that are resident in this process.
#[cfg(target_os = "linux")]
fn resident_kb(path: &Path) -> usize {
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mapping = smaps.split_once(path.to_str().unwrap()).unwrap().1;
    let rss = mapping.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
    rss.trim().trim_end_matches(" kB").parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn opening_leaves_data_on_disk_and_releasing_puts_it_back() {
    // The system maps up to 2 MB around a byte that is read.
    let n = 4 << 20;
    let file = Gguf::new().tensor("large", &[n as u64], F32, &vec![1; 4 * n]);
    let folder = folder(&[("model.gguf", &file.finish())]);
    let path = folder.path().join("model.gguf");
    let weights = WeightsFile::open(&path).unwrap();
    assert!(resident_kb(&path) < (8 << 10), "{}", resident_kb(&path));
    assert!(weights.tensor("large").unwrap().bytes.iter().all(|&byte| byte == 1));
    assert!(resident_kb(&path) >= (16 << 10), "{}", resident_kb(&path));
    weights.release("large", 0..usize::MAX);
    assert!(resident_kb(&path) < (8 << 10), "{}", resident_kb(&path));
}

#[test]
fn released_tensors_read_the_same_again() {
    let data: Vec<u8> = (0..40_000u32).flat_map(u32::to_le_bytes).collect();
    let file = small_gguf().tensor("large", &[40_000], F32, &data);
    let folder = folder(&[("model.gguf", &file.finish())]);
    let weights = WeightsFile::open(&folder.path().join("model.gguf")).unwrap();
    for name in ["large", "output.weight", "no such tensor"] {
        weights.prefetch(name, 0..100_000);
    }
    let large = weights.tensor("large").unwrap();
    assert_eq!(large.bytes, data);
    for name in ["large", "output.weight", "no such tensor"] {
        weights.release(name, 4..usize::MAX);
    }
    assert_eq!(large.bytes, data);
    assert_eq!(weights.tensor("output.weight").unwrap().bytes, [2; 12]);
}

/// The parts of a split model, each with one tensor.
fn split_parts(n_parts: u32) -> Vec<(String, Vec<u8>)> {
    let part = |no: u32| {
        let first = if no == 0 { Gguf::new().str("general.architecture", "llama") } else { Gguf::new() };
        let file = first
            .key("split.no", 2, &(no as u16).to_le_bytes())
            .key("split.count", 2, &(n_parts as u16).to_le_bytes())
            .key("split.tensors.count", I32, &n_parts.to_le_bytes())
            .tensor(&format!("part{no}"), &[2], F16, &[no as u8; 4]);
        (format!("m-{:05}-of-{n_parts:05}.gguf", no + 1), file.finish())
    };
    (0..n_parts).map(part).collect()
}

#[test]
fn a_split_model_opens_from_its_first_file() {
    let parts = split_parts(3);
    let files: Vec<(&str, &[u8])> = parts.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    let folder = folder(&files);
    let weights = WeightsFile::open(&folder.path().join(files[0].0)).unwrap();
    assert_eq!(names(&weights), ["part0", "part1", "part2"]);
    assert_eq!(weights.tensor("part2").unwrap().bytes, [2; 4]);
    assert_eq!(weights.size_on_disk(), files.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
    weights.release("part1", 0..usize::MAX);
    assert_eq!(weights.tensor("part1").unwrap().bytes, [1; 4]);
    let error = WeightsFile::open(&folder.path().join(files[1].0)).err().unwrap().to_string();
    assert!(error.contains("part 2 of 3 of a split model"), "{error}");
    assert!(error.contains("m-00001-of-00003.gguf"), "{error}");
}

const CONFIG: (&str, &[u8]) = ("config.json", br#"{"model_type":"llama","quantization_config":null}"#);

fn small_safetensors() -> Vec<u8> {
    safetensors(SMALL_HEADER, &[[1; 12].as_slice(), &[2; 12], &[1; 4]].concat())
}

#[test]
fn a_folder_with_one_safetensors_file() {
    let folder = folder(&[
        CONFIG,
        ("model.safetensors", &small_safetensors()),
        ("generation_config.json", br#"{"top_k":20}"#),
        ("tokenizer_config.json", br#"{"chat_template":"T"}"#),
        ("special_tokens_map.json", br#"{"eos_token":"</s>"}"#),
        ("tokenizer.json", b"{}"),
    ]);
    let weights = WeightsFile::open(folder.path()).unwrap();
    assert_eq!(names(&weights), ["lm_head.weight", "model.norm.weight"]);
    let head = weights.require("lm_head.weight", &[2, 3]).unwrap();
    assert_eq!((head.format, head.bytes), (Format::BF16, &[1; 12][..]));
    assert_eq!(weights.tensor("model.norm.weight").unwrap().bytes, [2; 12]);
    assert_eq!(weights.n_parameters(), 9);
    let buffer = weights.require("mask", &[2, 2]).unwrap_err().to_string();
    assert!(
        buffer.ends_with("tensor `mask`: BOOL is not supported; supported are F32, F16, BF16"),
        "{buffer}"
    );
    let metadata = hf(&weights);
    assert_eq!(metadata.folder, folder.path());
    assert_eq!(metadata.config["model_type"], "llama");
    assert_eq!(metadata.generation_config.as_ref().unwrap()["top_k"], 20);
    assert_eq!(metadata.special_tokens_map.as_ref().unwrap()["eos_token"], "</s>");
    assert_eq!(metadata.tokenizer_json.as_deref(), Some(&b"{}"[..]));
    assert_eq!(metadata.chat_template.as_deref(), Some("T"));
}

#[test]
fn a_folder_with_shards() {
    let shard = |name: &str, byte: u8| {
        let header = format!(r#"{{"{name}":{{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}}}"#);
        safetensors(&header, &[byte; 4])
    };
    let index = br#"{"metadata":{"total_size":8},"weight_map":{"x":"b.safetensors","y":"a.safetensors"}}"#;
    let folder = folder(&[
        CONFIG,
        ("model.safetensors.index.json", index),
        ("a.safetensors", &shard("y", 1)),
        ("b.safetensors", &shard("x", 2)),
    ]);
    let weights = WeightsFile::open(folder.path()).unwrap();
    assert_eq!(names(&weights), ["y", "x"]);
    assert_eq!(weights.tensor("x").unwrap().bytes, [2; 4]);
    weights.release("x", 0..usize::MAX);
    assert_eq!(weights.tensor("x").unwrap().bytes, [2; 4]);
    let metadata = hf(&weights);
    assert!(metadata.chat_template.is_none() && metadata.tokenizer_json.is_none());
}

#[test]
fn the_chat_template_file_wins_over_the_configuration() {
    let list = br#"{"chat_template":[{"name":"rag","template":"R"},{"name":"default","template":"D"}]}"#;
    let model = small_safetensors();
    let mut files = vec![CONFIG, ("model.safetensors", &model[..]), ("tokenizer_config.json", list)];
    let template = |files: &[(&str, &[u8])]| {
        let folder = folder(files);
        hf(&WeightsFile::open(folder.path()).unwrap()).chat_template.clone()
    };
    assert_eq!(template(&files).as_deref(), Some("D"));
    files.push(("chat_template.jinja", b"F"));
    assert_eq!(template(&files).as_deref(), Some("F"));
}

/// What Python's gguf and safetensors packages list for the pocket model and the checkpoint that it was made from.
#[test]
fn the_pocket_model_opens_both_ways() {
    let pocket = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/pocket");
    let file = WeightsFile::open(&pocket.join("pocket.gguf")).unwrap();
    let checkpoint = WeightsFile::open(&pocket.join("weights")).unwrap();
    for weights in [&file, &checkpoint] {
        assert_eq!((weights.n_tensors(), weights.n_parameters()), (56, 3_148_224));
    }
    let embed = file.require("token_embd.weight", &[4096, 192]).unwrap();
    assert_eq!((embed.format, embed.bytes.len()), (Format::Q8_0, 835_584));
    assert_eq!(embed.bytes.as_ptr().align_offset(32), 0);
    let names = names(&file);
    assert_eq!(
        (names[0], names[1], names[55]),
        ("token_embd.weight", "blk.0.attn_norm.weight", "output_norm.weight")
    );
    let metadata = gguf(&file);
    assert_eq!(metadata.str("tokenizer.ggml.pre").unwrap(), Some("qwen2"));
    assert_eq!(metadata.f32("llama.rope.freq_base").unwrap(), Some(10_000.0));
    let merges = metadata.str_array("tokenizer.ggml.merges").unwrap().unwrap();
    assert_eq!((merges.len(), merges.get(0), merges.get(1)), (3832, Some("h e"), Some("\u{120} t")));
    assert!(hf(&checkpoint).tokenizer_json.is_some());
}

#[test]
fn q8_0_rows_must_be_whole_blocks_also_in_three_dimensions() {
    let file = Gguf::new().tensor("experts", &[64, 2, 3], Q8_0, &[0; 2 * 34 * 6]);
    assert_eq!(in_memory(&file).tensor("experts").unwrap().shape, [3, 2, 64]);
}
