//! Hugging Face folders: config.json, safetensors, tokenizer.json, chat template, generation_config.json.
//!
//! File names and their order of preference are those of transformers.

mod header;
mod shards;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{A_MODEL, Metadata, WeightsError, WeightsFile, not_a_model};

/// Tensor types of safetensors files that are read, for messages.
pub(super) const SUPPORTED: &str = "F32, F16, BF16";

/// Limits of the JSON files. Parsed JSON takes many times its bytes, so a damaged folder must not bring much of it.
const MAX_CONFIG_BYTES: u64 = 4 << 20;
const MAX_TOKENIZER_CONFIG_BYTES: u64 = 16 << 20;
const MAX_TOKENIZER_BYTES: u64 = 256 << 20;

/// The folder's files other than weights, as they are. Reading meaning into them is left to those who need it.
#[derive(Debug)]
pub struct HfMetadata {
    pub folder: PathBuf,
    /// config.json; an object.
    pub config: Value,
    /// generation_config.json; an object.
    pub generation_config: Option<Value>,
    /// tokenizer_config.json; an object.
    pub tokenizer_config: Option<Value>,
    /// special_tokens_map.json; an object.
    pub special_tokens_map: Option<Value>,
    /// tokenizer.json, unparsed.
    pub tokenizer_json: Option<Vec<u8>>,
    /// chat_template.jinja, else the template in tokenizer_config.json.
    pub chat_template: Option<String>,
}

pub(super) fn open(folder: &Path) -> Result<WeightsFile, WeightsError> {
    let config_path = folder.join("config.json");
    let Some(config) = read_object(&config_path, MAX_CONFIG_BYTES)? else {
        return Err(no_config(folder));
    };
    refuse_quantized(&config_path, &config)?;
    let weights = shards::open(folder)?;
    let tokenizer_config_path = folder.join("tokenizer_config.json");
    let tokenizer_config = read_object(&tokenizer_config_path, MAX_TOKENIZER_CONFIG_BYTES)?;
    let metadata = HfMetadata {
        folder: folder.to_owned(),
        config,
        generation_config: read_object(&folder.join("generation_config.json"), MAX_CONFIG_BYTES)?,
        special_tokens_map: read_object(&folder.join("special_tokens_map.json"), MAX_CONFIG_BYTES)?,
        tokenizer_json: read_file(&folder.join("tokenizer.json"), MAX_TOKENIZER_BYTES)?,
        chat_template: chat_template(folder, &tokenizer_config_path, tokenizer_config.as_ref())?,
        tokenizer_config,
    };
    WeightsFile::new(
        folder,
        Metadata::HuggingFace(metadata),
        weights.sources,
        weights.tensors,
        weights.buffers,
    )
}

/// Names what the folder is instead of a model.
fn no_config(folder: &Path) -> WeightsError {
    if folder.join("adapter_config.json").is_file() {
        let found = "a folder with a LoRA adapter (adapter_config.json)";
        return not_a_model(folder, found, A_MODEL, "merge the adapter into its base model first");
    }
    match first_with_extension(folder, "gguf") {
        Some(file) => {
            let remedy = format!("give the file: {}", file.display());
            not_a_model(folder, "a folder with GGUF files and no config.json", A_MODEL, remedy)
        }
        None => {
            let remedy = "give the folder that config.json is in";
            not_a_model(folder, "a folder without config.json", A_MODEL, remedy)
        }
    }
}

/// The first file by name with this extension.
fn first_with_extension(folder: &Path, extension: &str) -> Option<PathBuf> {
    let paths = fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()).map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|e| e == extension)).min()
}

/// Quantized checkpoints keep packed integers under names of their own.
fn refuse_quantized(path: &Path, config: &Value) -> Result<(), WeightsError> {
    let Some(quantization) = config.get("quantization_config").filter(|q| !q.is_null()) else {
        return Ok(());
    };
    let method = quantization.get("quant_method").and_then(Value::as_str).unwrap_or("an unnamed method");
    Err(WeightsError::unsupported(
        path,
        "`quantization_config`",
        format_args!("a checkpoint quantized with {method}"),
        "F32, F16 and BF16 safetensors; for a quantized model get a GGUF file",
    ))
}

/// A JSON file that holds an object; `None` if there is no such file.
fn read_object(path: &Path, max_bytes: u64) -> Result<Option<Value>, WeightsError> {
    let Some(text) = read_file(path, max_bytes)? else { return Ok(None) };
    let value: Value = serde_json::from_slice(&text)
        .map_err(|e| WeightsError::malformed(path, "text", bad_json(&e), "a JSON object"))?;
    if !value.is_object() {
        return Err(WeightsError::malformed(path, "text", kind(&value), "a JSON object"));
    }
    Ok(Some(value))
}

/// A whole file; `None` if there is none.
fn read_file(path: &Path, max_bytes: u64) -> Result<Option<Vec<u8>>, WeightsError> {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(WeightsError::io(path, "open", e)),
    };
    if !found.is_file() {
        return Err(WeightsError::malformed(path, "file", "something else under this name", "a file"));
    }
    if found.len() > max_bytes {
        let found = format_args!("{} bytes", found.len()).to_string();
        return Err(WeightsError::malformed(path, "size", found, format_args!("at most {max_bytes} bytes")));
    }
    let mut bytes = Vec::with_capacity(found.len() as usize);
    fs::File::open(path)
        .map_err(|e| WeightsError::io(path, "open", e))?
        .take(max_bytes)
        .read_to_end(&mut bytes)
        .map_err(|e| WeightsError::io(path, "read", e))?;
    Ok(Some(bytes))
}

/// A file wins over the configuration. There the template is a string, or a list of `{name, template}` of which the
/// one named `default` is the chat template.
fn chat_template(
    folder: &Path,
    config_path: &Path,
    config: Option<&Value>,
) -> Result<Option<String>, WeightsError> {
    let path = folder.join("chat_template.jinja");
    if let Some(bytes) = read_file(&path, MAX_CONFIG_BYTES)? {
        return String::from_utf8(bytes)
            .map(Some)
            .map_err(|e| WeightsError::malformed(&path, "text", e.utf8_error(), "UTF-8"));
    }
    let template = config.and_then(|config| config.get("chat_template"));
    let found = match template {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(template)) => return Ok(Some(template.clone())),
        Some(Value::Array(list)) => {
            let default = list.iter().find(|t| t["name"] == "default").and_then(|t| t["template"].as_str());
            if let Some(template) = default {
                return Ok(Some(template.to_owned()));
            }
            let names: Vec<_> = list.iter().filter_map(|t| t["name"].as_str()).collect();
            format!("a list with only {names:?}")
        }
        Some(other) => kind(other).to_owned(),
    };
    let supported = "a string, or a list of {name, template} with one named `default`";
    Err(WeightsError::unsupported(config_path, "`chat_template`", found, supported))
}

/// How messages put what the parser says; its words often start with "expected".
fn bad_json(error: &serde_json::Error) -> String {
    format!("bad JSON ({error})")
}

/// What JSON calls a value, for messages.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
