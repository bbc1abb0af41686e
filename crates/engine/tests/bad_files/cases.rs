//! The bad files, each made from a sound one by one fault.

use super::writer::{
    ARRAY, BOOL, F16, F32, Gguf, I32, Q8_0, SMALL_HEADER, STRING, Tensor, U32, array, safetensors,
    small_gguf, string,
};

/// Path in the folder and content.
type File = (String, Vec<u8>);

pub(crate) fn all() -> Vec<File> {
    [not_gguf(), headers(), metadata(), tensors(), splits(), folders(), shards(), safetensors_headers()]
        .concat()
}

/// Sound models: a GGUF file, a split one, a folder with one safetensors file and one with two.
pub(crate) fn sound() -> Vec<File> {
    let mut files = vec![file("small.gguf", small_gguf().finish())];
    files.extend(split("split", [0, 1], [2, 2], 2));
    files.extend(folder("single", &[("model.safetensors", &small_safetensors())]));
    files.extend(folder("shards", &shard_files()));
    files
}

fn file(name: &str, bytes: impl Into<Vec<u8>>) -> File {
    (name.to_owned(), bytes.into())
}

/// Files that are something else.
fn not_gguf() -> Vec<File> {
    vec![
        file("empty.gguf", ""),
        file("wrong_magic.gguf", [b"GGML", &small_gguf().finish()[4..]].concat()),
        file("cut_in_magic.gguf", "GGU"),
        file("pytorch_model.bin", "PK\x03\x04\x00\x00\x08\x08archive/data.pkl"),
        file("pickle.pt", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".as_slice()),
        file("web_page.gguf", "\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n"),
        file("lfs_pointer.gguf", LFS_POINTER),
        file("model.safetensors", small_safetensors()),
        file("config.json", "{\n  \"model_type\": \"llama\"\n}\n"),
        file("before_gguf.bin", "tjgg\x03\x00\x00\x00\x20\x00\x00\x00"),
        file("text.gguf", "Once upon a time"),
    ]
}

const LFS_POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n";

fn headers() -> Vec<File> {
    let small = small_gguf();
    let whole = small.finish();
    let header_len = small.header().len();
    let with = |change: &dyn Fn(&mut Gguf)| {
        let mut file = small.clone();
        change(&mut file);
        file.finish()
    };
    vec![
        file("cut_in_header.gguf", &whole[..20]),
        file("cut_in_metadata.gguf", &whole[..60]),
        file("cut_in_tensor_infos.gguf", &whole[..header_len - 10]),
        file("cut_before_data.gguf", &whole[..header_len]),
        file("cut_in_data.gguf", &whole[..whole.len() - 1]),
        file("big_endian.gguf", with(&|f| f.version = 3u32.swap_bytes())),
        file("version_1.gguf", with(&|f| f.version = 1)),
        file("version_99.gguf", with(&|f| f.version = 99)),
        file("absurd_tensor_count.gguf", with(&|f| f.n_tensors = Some(u64::MAX))),
        file("too_many_tensors_for_file.gguf", with(&|f| f.n_tensors = Some(100))),
        file("one_tensor_too_many.gguf", with(&|f| f.n_tensors = Some(4))),
        file("absurd_key_count.gguf", with(&|f| f.n_keys = Some(1 << 40))),
        file("one_key_too_many.gguf", with(&|f| f.n_keys = Some(6))),
    ]
}

fn metadata() -> Vec<File> {
    let with = |key: &str, value_type, value: &[u8]| small_gguf().key(key, value_type, value).finish();
    let absurd_text = [&u64::MAX.to_le_bytes()[..], b"x"].concat();
    let mut bad_key = small_gguf();
    bad_key.keys[0].0[3] = 0xff;
    let mut absurd_key = small_gguf();
    absurd_key.keys.push((Vec::new(), U32, Vec::new()));
    let at = absurd_key.header().len() - infos_len(&absurd_key) - 12;
    let mut absurd_key = absurd_key.finish();
    absurd_key[at..at + 8].copy_from_slice(&(1u64 << 62).to_le_bytes());
    vec![
        file("absurd_key_length.gguf", absurd_key),
        file("absurd_string_length.gguf", with("general.name", STRING, &absurd_text)),
        file("absurd_array_length.gguf", with("x", ARRAY, &array(10, 1 << 61, &[0; 8]))),
        file("absurd_string_array_length.gguf", with("x", ARRAY, &array(STRING, 1 << 32, &[0; 8]))),
        file("absurd_string_in_array.gguf", with("x", ARRAY, &array(STRING, 1, &absurd_text))),
        file("array_of_arrays.gguf", with("x", ARRAY, &array(ARRAY, 1, &array(U32, 1, &[0; 4])))),
        file("unknown_value_type.gguf", with("x", 13, &[0; 8])),
        file("unknown_array_type.gguf", with("x", ARRAY, &array(77, 1, &[0; 8]))),
        file("boolean_of_2.gguf", with("x", BOOL, &[2])),
        file("boolean_of_2_in_array.gguf", with("x", ARRAY, &array(BOOL, 3, &[0, 1, 2]))),
        file("key_not_utf8.gguf", bad_key.finish()),
        file("string_not_utf8.gguf", with("general.name", STRING, &string(b"caf\xe9"))),
        file("key_empty.gguf", with("", U32, &[1, 0, 0, 0])),
        file("key_twice.gguf", with("llama.block_count", U32, &[2, 0, 0, 0])),
        file("alignment_0.gguf", with("general.alignment", U32, &[0; 4])),
        file("alignment_24.gguf", with("general.alignment", U32, &[24, 0, 0, 0])),
        file("alignment_negative.gguf", with("general.alignment", I32, &[0xff; 4])),
        file("alignment_absurd.gguf", with("general.alignment", U32, &[0, 0, 0, 0x80])),
        file("alignment_string.gguf", with("general.alignment", STRING, &string(b"32"))),
    ]
}

/// Bytes that a file's tensor infos take.
fn infos_len(file: &Gguf) -> usize {
    file.tensors.iter().map(|t| 8 + t.name.len() + 4 + 8 * t.dims.len() + 4 + 8).sum()
}

fn tensors() -> Vec<File> {
    let with = |i: usize, change: &dyn Fn(&mut Tensor)| {
        let mut file = small_gguf();
        change(&mut file.tensors[i]);
        file.finish()
    };
    vec![
        file("tensor_name_twice.gguf", with(1, &|t| t.name = b"output.weight".to_vec())),
        file("tensor_name_empty.gguf", with(1, &|t| t.name.clear())),
        file("tensor_name_too_long.gguf", with(1, &|t| t.name = vec![b'n'; 64])),
        file("tensor_name_not_utf8.gguf", with(1, &|t| t.name = b"blk.\xc3".to_vec())),
        file("no_dimensions.gguf", with(1, &|t| t.dims.clear())),
        file("five_dimensions.gguf", with(1, &|t| t.dims = vec![5, 1, 1, 1, 1])),
        file("dimension_of_0.gguf", with(1, &|t| t.dims = vec![5, 0])),
        file("shape_overflows.gguf", with(1, &|t| t.dims = vec![1 << 32, 1 << 32])),
        file("bytes_overflow.gguf", with(1, &|t| t.dims = vec![1 << 63])),
        file("end_overflows.gguf", with(1, &|t| t.offset = u64::MAX - 31)),
        file("row_no_whole_blocks.gguf", with(0, &|t| t.dims = vec![16, 6])),
        file("unsupported_type.gguf", with(0, &|t| t.ggml_type = 11)),
        file("unknown_type.gguf", with(0, &|t| t.ggml_type = 4711)),
        file("misaligned.gguf", with(1, &|t| t.offset += 4)),
        file("overlapping.gguf", with(2, &|t| t.offset = 96)),
        file("same_place.gguf", with(2, &|t| t.offset = 128)),
        file("tensor_beyond_file.gguf", with(2, &|t| t.offset = 1 << 20)),
        file("tensor_end_beyond_file.gguf", with(2, &|t| t.dims = vec![2, 300])),
        file(
            "no_data.gguf",
            Gguf { data: Vec::new(), ..Gguf::new().tensor("a", &[32], Q8_0, &[0; 34]) }.finish(),
        ),
    ]
}

/// Two files of a split model; what each says of itself can be a lie.
fn split(name: &str, no: [u16; 2], n_parts: [u16; 2], n_tensors: u32) -> Vec<File> {
    let part = |i: usize| {
        let file = Gguf::new()
            .key("split.no", 2, &no[i].to_le_bytes())
            .key("split.count", 2, &n_parts[i].to_le_bytes())
            .key("split.tensors.count", I32, &n_tensors.to_le_bytes())
            .tensor(&format!("part{i}"), &[2], F16, &[0; 4]);
        self::file(&format!("{name}-0000{}-of-00002.gguf", i + 1), file.finish())
    };
    vec![part(0), part(1)]
}

fn splits() -> Vec<File> {
    let sound = split("split", [0, 1], [2, 2], 2);
    let missing = split("split_missing", [0, 1], [2, 2], 2);
    let second_is_no_gguf = split("split_damaged", [0, 1], [2, 2], 2);
    let same_tensor = |no: u16| {
        let file = Gguf::new().key("split.no", 2, &no.to_le_bytes()).key("split.count", 2, &[2, 0]);
        let file = file.tensor("a", &[1], F32, &[0; 4]);
        self::file(&format!("split_same_tensor-0000{}-of-00002.gguf", no + 1), file.finish())
    };
    let mut files = vec![
        file("split_renamed.gguf", sound[0].1.clone()),
        file("split_renamed_second.gguf", sound[1].1.clone()),
        missing[0].clone(),
        second_is_no_gguf[0].clone(),
        file(&second_is_no_gguf[1].0, "nothing"),
        same_tensor(0),
        same_tensor(1),
    ];
    files.extend(split("split_wrong_part", [0, 0], [2, 2], 2));
    files.extend(split("split_other_count", [0, 1], [2, 3], 2));
    files.extend(split("split_part_beyond_count", [7, 1], [2, 2], 2));
    files.extend(split("split_other_tensor_count", [0, 1], [2, 2], 9));
    files
}

const CONFIG: &[u8] = br#"{"model_type":"llama"}"#;

fn small_safetensors() -> Vec<u8> {
    safetensors(SMALL_HEADER, &[0; 28])
}

/// A folder with a sound config.json, unless the files bring one.
fn folder(name: &str, files: &[(&str, &[u8])]) -> Vec<File> {
    let config = ("config.json", CONFIG);
    let with_config =
        files.iter().chain((!files.iter().any(|(name, _)| *name == "config.json")).then_some(&config));
    with_config.map(|(file, bytes)| self::file(&format!("{name}/{file}"), *bytes)).collect()
}

fn folders() -> Vec<File> {
    let model: (&str, &[u8]) = ("model.safetensors", &small_safetensors());
    let deep = "[".repeat(5000);
    let deep = format!(r#"{{"a":{deep}"#);
    let gptq = br#"{"quantization_config":{"quant_method":"gptq","bits":4}}"#;
    let templates =
        br#"{"chat_template":[{"name":"tool_use","template":"T"},{"name":"rag","template":"R"}]}"#;
    [
        vec![file("folder_without_config/model.safetensors", model.1)],
        vec![file("folder_of_gguf/model.gguf", small_gguf().finish())],
        vec![file("folder_of_adapter/adapter_config.json", "{}")],
        folder("config_empty", &[("config.json", b""), model]),
        folder("config_no_json", &[("config.json", b"model_type: llama\n"), model]),
        folder("config_cut", &[("config.json", b"{\"model_type\":\"lla"), model]),
        folder("config_no_object", &[("config.json", b"[1, 2]"), model]),
        folder("config_too_deep", &[("config.json", deep.as_bytes()), model]),
        folder("config_quantized", &[("config.json", gptq), model]),
        folder(
            "config_quantized_unnamed",
            &[("config.json", br#"{"quantization_config":{"bits":4}}"#), model],
        ),
        folder("generation_config_cut", &[model, ("generation_config.json", b"{\"top_k\":")]),
        folder("tokenizer_config_no_object", &[model, ("tokenizer_config.json", b"\"text\"")]),
        folder("chat_template_no_default", &[model, ("tokenizer_config.json", templates)]),
        folder("chat_template_number", &[model, ("tokenizer_config.json", br#"{"chat_template":7}"#)]),
        folder("chat_template_not_utf8", &[model, ("chat_template.jinja", b"caf\xe9")]),
        folder("tokenizer_is_a_folder", &[model, ("tokenizer.json/x", b"")]),
        folder("no_weights", &[]),
        folder("pytorch_weights_only", &[("pytorch_model.bin", b"PK\x03\x04")]),
        folder("weights_under_another_name", &[("weights.safetensors", model.1)]),
        folder("weights_empty", &[("model.safetensors", b"")]),
        folder("weights_lfs_pointer", &[("model.safetensors", LFS_POINTER.as_bytes())]),
    ]
    .concat()
}

fn shard(name: &str) -> Vec<u8> {
    safetensors(&format!(r#"{{"{name}":{{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}}}"#), &[0; 4])
}

fn shard_files() -> [(&'static str, &'static [u8]); 3] {
    [
        (INDEX, br#"{"weight_map":{"x":"a.safetensors","y":"b.safetensors"}}"#),
        ("a.safetensors", shard("x").leak()),
        ("b.safetensors", shard("y").leak()),
    ]
}

const INDEX: &str = "model.safetensors.index.json";

fn shards() -> Vec<File> {
    let [index, a, b] = shard_files();
    let tensor = r#"{"dtype":"F16","shape":[1],"data_offsets":"#;
    let x_again = safetensors(&format!(r#"{{"x":{tensor}[0,2]}},"y":{tensor}[2,4]}}}}"#), &[0; 4]);
    [
        folder("index_no_json", &[(INDEX, b"x"), a, b]),
        folder("index_without_map", &[(INDEX, b"{\"metadata\":{}}"), a, b]),
        folder("index_of_numbers", &[(INDEX, b"{\"weight_map\":{\"x\":1}}"), a, b]),
        folder("index_leaves_folder", &[(INDEX, br#"{"weight_map":{"x":"../secret"}}"#), a, b]),
        folder("index_absolute", &[(INDEX, br#"{"weight_map":{"x":"/etc/passwd"}}"#), a, b]),
        folder("index_names_nothing", &[(INDEX, br#"{"weight_map":{"x":""}}"#), a, b]),
        folder("index_empty", &[(INDEX, br#"{"weight_map":{}}"#), a, b]),
        folder("shard_missing", &[index, a]),
        folder("shard_without_tensor", &[(INDEX, br#"{"weight_map":{"z":"a.safetensors"}}"#), a]),
        folder(
            "tensor_in_other_shard",
            &[(INDEX, br#"{"weight_map":{"x":"b.safetensors","y":"a.safetensors"}}"#), a, b],
        ),
        folder("tensor_in_two_shards", &[index, a, ("b.safetensors", &x_again)]),
    ]
    .concat()
}

/// Safetensors files that the header or its length spoils.
fn safetensors_headers() -> Vec<File> {
    let one = |name: &str, file: &[u8]| folder(name, &[("model.safetensors", file)]);
    let tensor = |fields: &str, data: usize| safetensors(&format!(r#"{{"a":{{{fields}}}}}"#), &vec![0; data]);
    let sound = small_safetensors();
    let with_len = |len: u64| [&len.to_le_bytes(), &sound[8..]].concat();
    let two = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":"#;
    [
        one("header_cut_in_length", &sound[..5]),
        one("header_cut", &sound[..40]),
        one("header_length_absurd", &with_len(u64::MAX)),
        one("header_length_short", &with_len(20)),
        one("header_no_json", &safetensors("not a header", &[0; 4])),
        one("header_not_utf8", &[&2u64.to_le_bytes()[..], b"\xff}"].concat()),
        one("header_no_object", &safetensors("[]", &[])),
        one("data_cut", &sound[..sound.len() - 1]),
        one("data_longer", &[&sound[..], b"x"].concat()),
        one("tensor_without_shape", &tensor(r#""dtype":"F32","data_offsets":[0,4]"#, 4)),
        one("tensor_negative_shape", &tensor(r#""dtype":"F32","shape":[-1],"data_offsets":[0,4]"#, 4)),
        one(
            "tensor_shape_overflows",
            &tensor(r#""dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]"#, 4),
        ),
        one("tensor_of_other_size", &tensor(r#""dtype":"F32","shape":[3],"data_offsets":[0,4]"#, 4)),
        one("tensor_runs_backwards", &tensor(r#""dtype":"F32","shape":[1],"data_offsets":[4,0]"#, 4)),
        one("tensor_outside_file", &tensor(r#""dtype":"F32","shape":[1024],"data_offsets":[0,4096]"#, 4)),
        one("tensor_of_fp8", &tensor(r#""dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]"#, 4)),
        one("tensor_of_f64", &tensor(r#""dtype":"F64","shape":[1],"data_offsets":[0,8]"#, 8)),
        one("tensor_of_unknown_dtype", &tensor(r#""dtype":"Q3","shape":[4],"data_offsets":[0,4]"#, 4)),
        one("tensors_with_gap", &safetensors(&format!("{two}[12,20]}}}}"), &[0; 20])),
        one("tensors_overlap", &safetensors(&format!("{two}[4,12]}}}}"), &[0; 12])),
    ]
    .concat()
}
