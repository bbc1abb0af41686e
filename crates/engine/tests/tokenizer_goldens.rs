//! Ids and texts equal those of Hugging Face's `tokenizers`, from tokenizer.json and from GGUF files alike.
//!
//! The golden files are made by `tools/goldens/tokenizer_goldens.py`.

use std::fs;
use std::path::{Path, PathBuf};

use limpid_engine::TokenId;
use limpid_engine::tokenizer::{Detokenizer, Specials, Tokenizer};
use limpid_engine::weights::WeightsFile;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    name: String,
    checkpoints: Vec<String>,
    gguf: Vec<String>,
    cases: Vec<Case>,
}

/// A key that would repeat another is left out of the file.
#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    with_special: Vec<u32>,
    as_text: Option<Vec<u32>>,
    decoded: Option<String>,
    decoded_without_special: Option<String>,
}

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

fn numbers(ids: &[TokenId]) -> Vec<u32> {
    ids.iter().map(|id| id.0).collect()
}

fn check(tokenizer: &Tokenizer, case: &Case) -> Result<(), String> {
    let encode = |specials, bos| numbers(&tokenizer.encode(&case.text, specials, bos).unwrap());
    let equal = |what: &str, found: Vec<u32>, expected: &Vec<u32>| match &found == expected {
        true => Ok(()),
        false => Err(format!("{what} of {:?}: {found:?}, expected {expected:?}", case.text)),
    };
    equal("ids", encode(Specials::Parse, false), &case.ids)?;
    // Hugging Face puts BOS before a text that begins with it; here it stands exactly once.
    let bos = tokenizer.special().bos.filter(|_| tokenizer.special().add_bos).map(|id| id.0);
    let n_bos = case.with_special.iter().take_while(|id| Some(**id) == bos).count();
    let with_special = case.with_special[n_bos.saturating_sub(1)..].to_vec();
    equal("ids with BOS", encode(Specials::Parse, tokenizer.special().add_bos), &with_special)?;
    equal("ids as text", encode(Specials::Text, false), case.as_text.as_ref().unwrap_or(&case.ids))?;

    if tokenizer.fewest_ids(&case.text) > case.ids.len() {
        return Err(format!("fewest ids of {:?}: {}", case.text, tokenizer.fewest_ids(&case.text)));
    }
    let ids: Vec<TokenId> = case.ids.iter().copied().map(TokenId).collect();
    let decoded = case.decoded.as_ref().unwrap_or(&case.text);
    let without_special = case.decoded_without_special.as_ref().unwrap_or(decoded);
    for (skip_special, expected) in [(false, decoded), (true, without_special)] {
        let found = tokenizer.decode(&ids, skip_special);
        if &found != expected {
            return Err(format!("text of {:?}: {found:?}, expected {expected:?}", case.ids));
        }
        let mut detokenizer = Detokenizer::new(tokenizer);
        if !skip_special {
            detokenizer = detokenizer.with_special();
        }
        let mut streamed = String::new();
        ids.iter().for_each(|id| detokenizer.push(tokenizer, *id, &mut streamed));
        detokenizer.finish(&mut streamed);
        if streamed != found {
            return Err(format!("streamed text of {:?}: {streamed:?}, at once {found:?}", case.ids));
        }
    }
    Ok(())
}

fn check_all(name: &str) {
    let path = goldens().join(format!("tokenizers/{name}.json"));
    let golden: Golden = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(golden.cases.len() > 50, "{} texts are few", golden.cases.len());
    let later_shard = |path: &&String| path.contains("-of-") && !path.contains("-00001-of-");
    let models = golden.checkpoints.iter().chain(golden.gguf.iter().filter(|path| !later_shard(path)));
    let mut failures = Vec::new();
    for model in models {
        let file = WeightsFile::open(&goldens().join(model)).unwrap();
        let tokenizer = Tokenizer::new(file.metadata()).unwrap();
        assert!(tokenizer.most_bytes_per_id().is_some(), "{model}: all bytes of a text end up in its ids");
        let failed = golden.cases.iter().filter_map(|case| check(&tokenizer, case).err());
        failures.extend(failed.map(|failure| format!("{model}: {failure}")));
    }
    assert!(failures.is_empty(), "{} ({} failures):\n{}", golden.name, failures.len(), failures.join("\n"));
}

#[test]
fn llama2() {
    check_all("llama2");
}

#[test]
fn llama3() {
    check_all("llama3");
}

#[test]
fn mistral() {
    check_all("mistral");
}

#[test]
fn qwen2() {
    check_all("qwen2");
}

#[test]
fn qwen3() {
    check_all("qwen3");
}

#[test]
fn smollm() {
    check_all("smollm");
}

#[test]
fn stories260k() {
    check_all("stories260k");
}
