//! A tokenizer that knows more tokens than the embedding has rows: text with such a token is refused by name, and an
//! EOS token out of reach harms nothing.

use super::edit::Folder;
use super::{Model, golden, options};
use limpid_engine::TokenId;
use limpid_engine::engine::{Clock, Engine, EngineConfig, Events, Request};
use limpid_engine::model::arch;
use limpid_engine::sampling::{IgnoreEos, SamplingParams};
use limpid_engine::tokenizer::{Specials, Tokenizer};
use limpid_engine::trace::NoTrace;
use limpid_engine::weights::WeightsFile;
use limpid_kernels::Cpu;
use limpid_kernels::isa::Isa;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

struct Midnight;

impl Clock for Midnight {
    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

fn request(prompt: Vec<TokenId>) -> Request {
    let sampling =
        SamplingParams { ignore_eos: IgnoreEos::Forbid, min_tokens: 1, ..SamplingParams::greedy() };
    Request { max_tokens: Some(2), ..Request::new(prompt, sampling) }
}

#[test]
fn a_token_beyond_the_embedding() {
    const N_ROWS: usize = 300;
    let name = "llama3/hf";
    let mut folder = Folder::read(&golden(name));
    folder.set(&serde_json::json!({ "vocab_size": N_ROWS }));
    let (_, shape, data) = folder.tensors.get_mut("model.embed_tokens.weight").expect("it");
    data.truncate(data.len() / shape[0] * N_ROWS);
    shape[0] = N_ROWS;
    let path = tempfile::tempdir().expect("a temporary folder");
    folder.write(path.path());
    for file in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        fs::copy(golden(name).join(file), path.path().join(file)).expect("the golden's tokenizer");
    }

    let file = WeightsFile::open(path.path()).expect("a sound folder");
    let config = arch::read(&file).expect("a sound configuration");
    let options = options(&config);
    let cpu = Arc::new(Cpu::new(Isa::detect(), 1));
    let tokenizer = Arc::new(Tokenizer::new(file.metadata()).expect("the golden's tokenizer"));
    let model = Model::load(&file, config, cpu, &options, &mut |_| ()).expect("it loads");
    let limits = EngineConfig {
        context_length: options.limits.context_length,
        n_pages: 2,
        max_sequences: 1,
        max_waiting: 2,
        prefill_chunk: options.limits.max_rows,
        kv_cache: true,
    };
    let mut engine = Engine::new(Box::new(model), tokenizer.clone(), limits, Box::new(Midnight))
        .expect("these go together");

    let bos = tokenizer.encode("", Specials::Text, true).expect("ids");
    assert_eq!(bos, [TokenId(379)]);
    let error = engine.submit(request(bos)).expect_err("BOS is beyond the embedding");
    assert_eq!(
        error.to_string(),
        "token id 379 at position 0 of the prompt is not in the vocabulary; ids go from 0 to 299"
    );

    engine.submit(request(vec![TokenId(5)])).expect("a token within it");
    let mut events = Events::default();
    while !engine.is_idle() {
        engine.step(&mut events, &mut NoTrace);
    }
    assert_eq!(engine.check_integrity(), Ok(()));
}
