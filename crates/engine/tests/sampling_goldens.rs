//! Distributions against transformers, and against restatements of vLLM's and llama.cpp's formulas
//! (tools/goldens/sampling_goldens.py).

use limpid_engine::TokenId;
use limpid_engine::sampling::{Candidates, History, Sampler, SamplingParams};
use limpid_engine::trace::{Candidate, Recorder, What};
use limpid_kernels::isa::Isa;
use serde_json::Value;

/// Keeps the last stage.
#[derive(Default)]
struct Last(Vec<Candidate>);

impl Recorder for Last {
    fn wants(&self, what: What) -> bool {
        what == What::Stages
    }

    fn stage(&mut self, _: &'static str, candidates: &mut dyn Iterator<Item = Candidate>) {
        self.0 = candidates.collect();
    }
}

fn ids(value: &Value) -> Vec<TokenId> {
    value.as_array().expect("a list").iter().map(|id| TokenId(id.as_u64().expect("an id") as u32)).collect()
}

fn set(params: &mut SamplingParams, name: &str, value: &Value) {
    let number = value.as_f64().unwrap_or(f64::NAN) as f32;
    match name {
        "temperature" => params.temperature = number,
        "dynatemp_min" => params.dynatemp_min = number,
        "dynatemp_max" => params.dynatemp_max = number,
        "dynatemp_exponent" => params.dynatemp_exponent = number,
        "top_p" => params.top_p = number,
        "top_k" => params.top_k = number as u32,
        "min_p" => params.min_p = number,
        "typical_p" => params.typical_p = number,
        "epsilon_cutoff" => params.epsilon_cutoff = number,
        "eta_cutoff" => params.eta_cutoff = number,
        "top_n_sigma" => params.top_n_sigma = number,
        "xtc_probability" => params.xtc_probability = number,
        "xtc_threshold" => params.xtc_threshold = number,
        "repetition_penalty" => params.repetition_penalty = number,
        "frequency_penalty" => params.frequency_penalty = number,
        "presence_penalty" => params.presence_penalty = number,
        "penalty_scope" => params.penalty_scope = value.as_str().unwrap().parse().unwrap(),
        "dry_multiplier" => params.dry_multiplier = number,
        "dry_base" => params.dry_base = number,
        "dry_allowed_length" => params.dry_allowed_length = number as u32,
        "dry_breakers" => params.dry_breakers = ids(value),
        "no_repeat_ngram_size" => params.no_repeat_ngram_size = number as u32,
        "bad_words_ids" => params.bad_words_ids = value.as_array().unwrap().iter().map(ids).collect(),
        "allowed_token_ids" => params.allowed_token_ids = ids(value),
        "min_tokens" => params.min_tokens = number as u32,
        "mirostat_tau" => params.mirostat_tau = number,
        // The sampler's, not the parameters'.
        "stop_token_ids" => {}
        "suppress_tokens" => params.suppress_tokens = ids(value),
        "logit_bias" => params.logit_bias = value.as_array().unwrap().iter().map(bias).collect(),
        _ => panic!("{name}"),
    }
}

fn bias(pair: &Value) -> (TokenId, f32) {
    (TokenId(pair[0].as_u64().unwrap() as u32), pair[1].as_f64().unwrap() as f32)
}

#[test]
fn distributions_are_those_of_the_peers() {
    let file: Value = serde_json::from_str(include_str!("goldens/sampling/orders.json")).expect("JSON");
    let cases = file["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), 55);
    for case in cases {
        let mut params = SamplingParams { temperature: 1.0, ..SamplingParams::greedy() };
        params.sampler_order = case["order"].as_str().unwrap().parse().unwrap();
        for (name, value) in case["params"].as_object().unwrap() {
            set(&mut params, name, value);
        }
        let logit = |logit: &Value| logit.as_f64().map_or(f32::NEG_INFINITY, |logit| logit as f32);
        let logits: Vec<f32> = case["logits"].as_array().unwrap().iter().map(logit).collect();
        let stop_ids = case["params"].get("stop_token_ids").map_or_else(Vec::new, ids);
        let output = ids(&case["output"]);
        let mut history = History::new(&ids(&case["prompt"]), output.len(), logits.len());
        output.iter().for_each(|&id| history.push(id));
        let sampler = Sampler::new(&params, &[], &stop_ids, logits.len()).expect("valid parameters");
        for isa in Isa::available() {
            let mut last = Last::default();
            let mut scratch = Candidates::new(logits.len(), isa);
            sampler.sample(&logits, &mut history.clone(), &mut scratch, &mut last).expect("a token");
            let name = format!("{} {}", case["order"], case["params"]);
            let expected = case["probs"].as_array().unwrap();
            let kept: Vec<u64> = expected.iter().map(|pair| pair[0].as_u64().unwrap()).collect();
            let found: Vec<u64> = last.0.iter().map(|candidate| u64::from(candidate.id.0)).collect();
            assert_eq!(found, kept, "{name}");
            for (candidate, pair) in last.0.iter().zip(expected) {
                let p = pair[1].as_f64().unwrap();
                assert!((candidate.p - p).abs() <= 2e-6 * p + 1e-9, "{name}: {} for {pair}", candidate.p);
            }
        }
    }
}
