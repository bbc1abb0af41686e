//! Ranges and defaults.

use serde_json::json;

use super::*;
use crate::sampling::{Defaults, ParamError, PenaltyScope, SamplerOrder, Setting, Source};
use crate::weights::gguf;

/// Defaults from `general.sampling.` keys, among others that are none.
fn hints(hints: &[(&str, gguf::Value)]) -> Result<Defaults, ParamError> {
    let named = |(key, value): &(&str, gguf::Value)| (format!("general.sampling.{key}"), value.clone());
    let mut entries: Vec<_> = hints.iter().map(named).collect();
    entries.push(("general.name".to_owned(), gguf::Value::Str("x".to_owned())));
    Defaults::from_hints(entries.iter().map(|(key, value)| (key.as_str(), value)))
}

#[test]
fn out_of_range_is_refused_by_name() {
    let refused = |params: SamplingParams| params.validate().expect_err("out of range").to_string();
    let nan = f32::NAN;
    for temperature in [-0.1, nan, f32::INFINITY, 1e-7, 2e6] {
        let error = refused(SamplingParams { temperature, ..plain() });
        assert_eq!(
            error,
            format!("temperature is {temperature}, allowed is 0 (greedy) or from 0.000001 to 1000000")
        );
    }
    for value in [-0.1, 1.5, nan] {
        let error = refused(SamplingParams { top_p: value, ..plain() });
        assert_eq!(error, format!("top_p is {value}, allowed is from 0 to 1"));
        let error = refused(SamplingParams { min_p: value, ..plain() });
        assert_eq!(error, format!("min_p is {value}, allowed is from 0 to 1"));
    }
    for value in [0.0, -1.0, 101.0, nan] {
        let error = refused(SamplingParams { repetition_penalty: value, ..plain() });
        assert_eq!(error, format!("repetition_penalty is {value}, allowed is from 0.01 to 100"));
    }
    for value in [-2.1, 2.1, nan] {
        let error = refused(SamplingParams { frequency_penalty: value, ..plain() });
        assert_eq!(error, format!("frequency_penalty is {value}, allowed is from -2 to 2"));
        let error = refused(SamplingParams { presence_penalty: value, ..plain() });
        assert_eq!(error, format!("presence_penalty is {value}, allowed is from -2 to 2"));
    }
    assert!(Sampler::new(&SamplingParams { top_p: 2.0, ..plain() }, &[], &[], 6).is_err());
}

#[test]
fn every_range_is_checked() {
    let check = |change: &dyn Fn(&mut SamplingParams, f32), name: &str, good: &[f32], bad: &[f32]| {
        for &value in good {
            let mut params = plain();
            change(&mut params, value);
            assert_eq!(params.validate(), Ok(()), "{name} {value}");
        }
        for &value in bad.iter().chain(&[f32::NAN, f32::INFINITY, -1.0]) {
            let mut params = plain();
            change(&mut params, value);
            assert_eq!(params.validate().expect_err("out of range").name, name, "{value}");
        }
    };
    check(&|p, x| p.typical_p = x, "typical_p", &[0.0, 1.0], &[1.1]);
    check(&|p, x| p.epsilon_cutoff = x, "epsilon_cutoff", &[0.0, 1.0], &[1.1]);
    check(&|p, x| p.eta_cutoff = x, "eta_cutoff", &[0.0, 1.0], &[1.1]);
    check(&|p, x| p.top_n_sigma = x, "top_n_sigma", &[0.0, 1000.0], &[1001.0]);
    check(&|p, x| p.xtc_threshold = x, "xtc_threshold", &[0.0, 0.5], &[0.51]);
    check(&|p, x| p.xtc_probability = x, "xtc_probability", &[0.0, 1.0], &[1.1]);
    check(&|p, x| p.mirostat_tau = x, "mirostat_tau", &[0.0, 100.0], &[101.0]);
    check(&|p, x| p.mirostat_eta = x, "mirostat_eta", &[0.0, 1.0], &[1.1]);
    check(&|p, x| p.dynatemp_exponent = x, "dynatemp_exponent", &[0.0, 100.0], &[101.0]);
    check(&|p, x| p.dynatemp_max = x, "dynatemp_max", &[0.0], &[2e6, 1e-7]);
    check(&|p, x| p.dynatemp_min = x, "dynatemp_min", &[0.0], &[2e6, 1e-7]);
    check(&|p, x| p.dry_multiplier = x, "dry_multiplier", &[0.0, 100.0], &[101.0]);
    check(&|p, x| p.dry_base = x, "dry_base", &[1.0, 100.0], &[0.9, 101.0]);
    for bias in [-101.0, 101.0, f32::NAN] {
        let params = SamplingParams { logit_bias: vec![(TokenId(3), bias)], ..plain() };
        let error = params.validate().expect_err("out of range").to_string();
        assert_eq!(error, format!("logit_bias of token 3 is {bias}, allowed is from -100 to 100"));
    }
    let none = SamplingParams { dry_allowed_length: 0, ..plain() };
    assert_eq!(none.validate().expect_err("out of range").name, "dry_allowed_length");
}

#[test]
fn contradictions_are_refused_by_name() {
    let refused = |params: SamplingParams| params.validate().expect_err("a contradiction").to_string();
    let dynatemp = SamplingParams { dynatemp_min: 0.5, dynatemp_max: 1.0, ..plain() };
    assert_eq!(dynatemp.validate(), Ok(()));
    for (params, error) in [
        (
            SamplingParams { dynatemp_min: 2.0, ..dynatemp.clone() },
            "dynatemp_min is 2, allowed is from 0.000001 to",
        ),
        (SamplingParams { dynatemp_max: 0.0, ..dynatemp.clone() }, "dynatemp_min is 0.5"),
        (SamplingParams { dynatemp_min: 0.0, ..dynatemp }, "dynatemp_min is 0"),
        (
            SamplingParams { mirostat_tau: 5.0, ..SamplingParams::greedy() },
            "mirostat_tau is 5, allowed is 0 (off)",
        ),
        (
            SamplingParams {
                logit_bias: vec![(TokenId(1), 1.0), (TokenId(2), 1.0), (TokenId(1), 1.0)],
                ..plain()
            },
            "logit_bias is 1, allowed is each token once",
        ),
        (
            SamplingParams { bad_words_ids: vec![ids(&[1]), ids(&[])], ..plain() },
            "bad_words_ids is an empty list",
        ),
        (SamplingParams { penalty_scope: PenaltyScope::Last(0), ..plain() }, "penalty_scope is last_0"),
        (
            SamplingParams { penalty_scope: PenaltyScope::All, dry_multiplier: 1.0, ..plain() },
            "penalty_scope is all, allowed is output where repetition_penalty,",
        ),
    ] {
        let found = refused(params);
        assert!(found.starts_with(error), "{found}");
    }
}

#[test]
fn bans_that_leave_nothing_are_refused() {
    let all = SamplingParams { suppress_tokens: ids(&[1, 2, 0, 0, 3]), ..plain() };
    let few = SamplingParams { allowed_token_ids: ids(&[1, 2]), suppress_tokens: ids(&[2, 3, 1]), ..plain() };
    let eos = SamplingParams { allowed_token_ids: ids(&[2]), ignore_eos: IgnoreEos::Forbid, ..plain() };
    let some = SamplingParams { suppress_tokens: ids(&[1, 0]), ignore_eos: IgnoreEos::Forbid, ..plain() };
    for (params, error) in [
        (&all, "suppress_tokens is 5 tokens, allowed is fewer tokens than there are"),
        (&few, "allowed_token_ids is 2 tokens, allowed is one token at least that is not in suppress_tokens"),
        (
            &eos,
            "allowed_token_ids is 1 tokens, allowed is one token at least that is not in suppress_tokens, and",
        ),
        (&some, "suppress_tokens is 2 tokens, allowed is fewer"),
    ] {
        let vocab_size = if error.contains("2 tokens, allowed is fewer") { 3 } else { 4 };
        let found = Sampler::new(params, &ids(&[2, 900]), &[], vocab_size).expect_err(error).to_string();
        assert!(found.starts_with(error), "{found}");
        assert!(Sampler::new(params, &ids(&[900]), &[], 5).is_ok() || params == &few, "{error}");
    }
}

#[test]
fn tokens_that_do_not_exist_are_refused_by_name() {
    let one = ids(&[6]);
    for (params, name) in [
        (SamplingParams { logit_bias: vec![(TokenId(6), 1.0)], ..plain() }, "logit_bias"),
        (SamplingParams { allowed_token_ids: one.clone(), ..plain() }, "allowed_token_ids"),
        (SamplingParams { suppress_tokens: one.clone(), ..plain() }, "suppress_tokens"),
        (SamplingParams { bad_words_ids: vec![ids(&[1, 6])], ..plain() }, "bad_words_ids"),
        (SamplingParams { dry_breakers: one, ..plain() }, "dry_breakers"),
    ] {
        let error = Sampler::new(&params, &[], &[], 6).expect_err("no such token").to_string();
        assert_eq!(error, format!("{name} is 6, allowed is tokens from 0 to 5"));
        assert!(Sampler::new(&params, &[], &[], 7).is_ok());
    }
}

#[test]
fn orders_and_scopes_are_checked() {
    let with =
        |order: &str, params| SamplingParams { sampler_order: order.parse().expect("names"), ..params };
    let refused = |order, params| with(order, params).validate().expect_err("a wrong order").to_string();
    for order in ["top_k,top_p,top_k", "penalties,presence_penalty"] {
        assert!(refused(order, plain()).contains("each name once"), "{order}");
    }
    assert!(refused("mirostat,top_k", plain()).ends_with("allowed is mirostat in the last place only"));
    let has_no_place = |order, params, knob: &str| {
        let error = refused(order, params);
        assert!(error.starts_with(knob) && error.contains("(off): sampler_order "), "{error}");
    };
    let warm = || SamplingParams { temperature: 0.7, ..plain() };
    has_no_place("top_k", warm(), "temperature is 0.7, allowed is 1 (off)");
    has_no_place("vllm", SamplingParams { typical_p: 0.5, ..plain() }, "typical_p is 0.5, allowed is 1");
    has_no_place(
        "hf",
        SamplingParams { xtc_probability: 0.5, ..plain() },
        "xtc_probability is 0.5, allowed is 0",
    );
    has_no_place(
        "llama.cpp",
        SamplingParams { eta_cutoff: 0.5, ..plain() },
        "eta_cutoff is 0.5, allowed is 0",
    );
    let dynatemp = SamplingParams { dynatemp_min: 1.0, dynatemp_max: 2.0, ..plain() };
    has_no_place("top_k", dynatemp.clone(), "dynatemp_max is 2, allowed is 0");
    assert_eq!(with("vllm", dynatemp).validate(), Ok(()), "it stands where the temperature does");
    assert_eq!(with("top_k", SamplingParams::greedy()).validate(), Ok(()), "greedy is no stage");
    for wrong in ["", "top_x", "top_k,", "Notes", "notes,top_k"] {
        assert_eq!(wrong.parse::<SamplerOrder>().expect_err("no order").name, "sampler_order", "{wrong}");
    }
    for scope in [PenaltyScope::Output, PenaltyScope::All, PenaltyScope::Last(64)] {
        assert_eq!(scope.to_string().parse(), Ok(scope));
    }
    for wrong in ["", "last", "last_", "last_0", "last_-1", "prompt"] {
        assert_eq!(wrong.parse::<PenaltyScope>().expect_err("no scope").name, "penalty_scope", "{wrong}");
    }
}

#[test]
fn the_ends_of_the_ranges_are_allowed() {
    for value in [0.0, 1.0] {
        assert_eq!(
            SamplingParams { top_p: value, min_p: value, temperature: value, ..plain() }.validate(),
            Ok(())
        );
    }
    for value in [-2.0, 2.0] {
        let params = SamplingParams { frequency_penalty: value, presence_penalty: value, ..plain() };
        assert_eq!(params.validate(), Ok(()));
    }
}

#[test]
fn without_a_word_from_the_model_the_defaults_are_limpids() {
    let own = Defaults::from_generation_config(&json!({"eos_token_id": 2, "do_sample": true, "top_k": null}))
        .unwrap();
    assert_eq!(own, Defaults::limpid());
    assert_eq!(own, hints(&[]).unwrap());
    let params = own.params(7);
    assert_eq!(params, SamplingParams { temperature: 0.8, top_p: 0.95, seed: 7, ..SamplingParams::greedy() });
    assert_eq!(own.temperature.source, Source::Limpid);
}

#[test]
fn generation_config_counts_key_by_key() {
    let config = json!({"temperature": 0.6, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.05});
    let defaults = Defaults::from_generation_config(&config).unwrap();
    let source = Source::GenerationConfig;
    assert_eq!(defaults.temperature, Setting { value: 0.6, source });
    assert_eq!(defaults.top_k, Setting { value: 20, source });
    assert_eq!(defaults.min_p, Setting { value: 0.05, source });
    assert_eq!(defaults.repetition_penalty, Setting { value: 1.05, source });
    assert_eq!(defaults.top_p, Setting { value: 0.95, source: Source::Limpid });
    assert_eq!(defaults.not_followed, [""; 0]);
}

#[test]
fn do_sample_false_is_greedy() {
    let config = json!({"do_sample": false, "temperature": 0.6, "top_p": 0.9});
    let defaults = Defaults::from_generation_config(&config).unwrap();
    assert_eq!(defaults.temperature, Setting { value: 0.0, source: Source::GenerationConfig });
    assert_eq!(defaults.top_p, Setting { value: 0.9, source: Source::GenerationConfig });
}

#[test]
fn hints_count_key_by_key() {
    let defaults = hints(&[
        ("temp", gguf::Value::Float(0.7)),
        ("top_k", gguf::Value::Int(40)),
        ("top_p", gguf::Value::Float(0.9)),
        ("min_p", gguf::Value::Float(0.1)),
        ("penalty_repeat", gguf::Value::Float(1.1)),
    ])
    .unwrap();
    let params = SamplingParams {
        temperature: 0.7,
        top_p: 0.9,
        top_k: 40,
        min_p: 0.1,
        repetition_penalty: 1.1,
        ..SamplingParams::greedy()
    };
    assert_eq!(defaults.params(0), params);
    assert_eq!(defaults.top_k.source, Source::GgufHints);
    assert_eq!(defaults.not_followed, [""; 0]);
}

#[test]
fn what_is_not_followed_is_named() {
    let not_followed = |config| {
        let mut keys = Defaults::from_generation_config(&config).unwrap().not_followed;
        keys.sort();
        keys
    };
    let numbers = json!({"typical_p": 0.9, "num_beams": 4, "eta_cutoff": 0.0, "max_length": 4096});
    assert_eq!(not_followed(numbers), ["max_length", "num_beams"]);
    let others = json!({"stop_strings": ["x"], "begin_suppress_tokens": [220],
        "max_new_tokens": 512, "early_stopping": true, "a_new_key": "x"});
    let all: Vec<_> = others.as_object().unwrap().keys().cloned().collect();
    let mut expected = all.clone();
    expected.sort();
    assert_eq!(not_followed(others), expected);
    let silent = json!({"bos_token_id": 1, "pad_token_id": 2, "transformers_version": "4.1", "max_length": 20,
        "early_stopping": false, "suppress_tokens": [], "stop_strings": null, "use_cache": true});
    assert_eq!(not_followed(silent), [""; 0]);
    let defaults = hints(&[
        ("mirostat", gguf::Value::Int(1)),
        ("mirostat_tau", gguf::Value::Float(5.0)),
        ("xtc_probability", gguf::Value::Float(0.0)),
        ("xtc_threshold", gguf::Value::Float(1.0)),
        ("sequence", gguf::Value::Str("top_k;temp".to_owned())),
        ("a_new_one", gguf::Value::Bool(false)),
    ]);
    let expected = ["a_new_one", "mirostat", "sequence"].map(|key| format!("general.sampling.{key}"));
    assert_eq!(defaults.unwrap().not_followed, expected);
}

#[test]
fn rarer_knobs_are_followed_too() {
    let config =
        json!({"typical_p": 0.9, "epsilon_cutoff": 0.001, "eta_cutoff": 0.002, "no_repeat_ngram_size": 3});
    let defaults = Defaults::from_generation_config(&config).unwrap();
    assert_eq!(defaults.not_followed, [""; 0]);
    let expected = SamplingParams {
        temperature: 0.8,
        top_p: 0.95,
        typical_p: 0.9,
        epsilon_cutoff: 0.001,
        eta_cutoff: 0.002,
        no_repeat_ngram_size: 3,
        ..plain()
    };
    assert_eq!(defaults.params(0), expected);
    let source = Source::GenerationConfig;
    assert_eq!(defaults.others[0], ("typical_p", Setting { value: 0.9, source }));
    let mirostat = |tau: &[(&str, gguf::Value)]| {
        let on = ("mirostat", gguf::Value::Int(2));
        let defaults = hints(&[&[on], tau].concat()).unwrap();
        assert_eq!(defaults.not_followed, [""; 0]);
        defaults.params(0).mirostat_tau
    };
    assert_eq!(mirostat(&[]), 5.0);
    assert_eq!(mirostat(&[("mirostat_tau", gguf::Value::Float(3.0))]), 3.0);
    let xtc = [("xtc_probability", gguf::Value::Float(0.5)), ("xtc_threshold", gguf::Value::Float(0.2))];
    let params = hints(&xtc).unwrap().params(0);
    assert_eq!((params.xtc_probability, params.xtc_threshold), (0.5, 0.2));
    let wrong = Defaults::from_generation_config(&json!({"typical_p": 1.5})).unwrap_err();
    assert_eq!(wrong.name, "typical_p (generation_config.json)");
    let wrong = Defaults::from_generation_config(&json!({"no_repeat_ngram_size": 1.5})).unwrap_err();
    assert_eq!(wrong.name, "no_repeat_ngram_size (generation_config.json)");
}

#[test]
fn lists_of_tokens_are_followed() {
    let config = json!({"suppress_tokens": [1, 5], "bad_words_ids": [[2], [3, 4]]});
    let defaults = Defaults::from_generation_config(&config).unwrap();
    assert_eq!(defaults.not_followed, [""; 0]);
    let source = Source::GenerationConfig;
    assert_eq!(defaults.suppress_tokens, Setting { value: ids(&[1, 5]), source });
    let params = defaults.params(0);
    assert_eq!(params.suppress_tokens, ids(&[1, 5]));
    assert_eq!(params.bad_words_ids, [ids(&[2]), ids(&[3, 4])]);
    assert_eq!(defaults.greedy().params(0).suppress_tokens, ids(&[1, 5]), "beams too");
    let none = json!({"suppress_tokens": null, "bad_words_ids": []});
    assert_eq!(Defaults::from_generation_config(&none).unwrap(), Defaults::limpid());
    for (config, name) in [
        (json!({"suppress_tokens": 1}), "suppress_tokens (generation_config.json)"),
        (json!({"suppress_tokens": [-1]}), "suppress_tokens (generation_config.json)"),
        (json!({"bad_words_ids": [1]}), "bad_words_ids (generation_config.json)"),
        (json!({"bad_words_ids": [[]]}), "bad_words_ids (generation_config.json)"),
    ] {
        assert_eq!(Defaults::from_generation_config(&config).unwrap_err().name, name);
    }
}

#[test]
fn a_default_that_does_not_go_with_a_request_says_whose_it_is() {
    let config = json!({"top_k": 20, "typical_p": 0.9});
    let defaults = Defaults::from_generation_config(&config).unwrap();
    let order = |order: &str| {
        let sampler_order = order.parse().unwrap();
        let error = SamplingParams { sampler_order, ..defaults.params(0) }.validate().unwrap_err();
        defaults.blamed(error).to_string()
    };
    assert_eq!(
        order("top_k"),
        "temperature is 0.8 by default (Limpid's own), allowed is 1 (off): sampler_order top_k has no place for \
         temperature; set it yourself"
    );
    let found = order("temperature,top_p,typical_p");
    assert!(
        found.starts_with("top_k is 20 by default (generation_config.json), allowed is 0 (off)"),
        "{found}"
    );
    let found = order("vllm");
    assert!(
        found.starts_with("typical_p is 0.9 by default (generation_config.json), allowed is 1"),
        "{found}"
    );
    let other = ParamError::new("dry_base", 0, "from 1 to 100");
    assert_eq!(defaults.blamed(other.clone()), other, "no file sets it");
}

#[test]
fn what_a_file_says_of_draws_does_not_hold_where_nothing_is_drawn() {
    let hints = hints(&[("mirostat", gguf::Value::Int(2)), ("xtc_probability", gguf::Value::Float(0.5))]);
    let defaults = hints.unwrap().greedy();
    assert_eq!(defaults.temperature, Setting { value: 0.0, source: Source::Limpid });
    assert_eq!((defaults.params(0).mirostat_tau, defaults.params(0).validate()), (0.0, Ok(())));
    assert_eq!(defaults.others.iter().map(|of| of.0).collect::<Vec<_>>(), ["xtc_probability"]);
}

#[test]
fn minus_one_turns_top_k_off() {
    let defaults = Defaults::from_generation_config(&json!({"top_k": -1})).unwrap();
    assert_eq!(defaults.top_k, Setting { value: 0, source: Source::GenerationConfig });
}

#[test]
fn broken_files_are_refused_with_file_and_key() {
    let refused = |config| Defaults::from_generation_config(&config).unwrap_err();
    let hot = refused(json!({"temperature": "hot"}));
    assert_eq!(hot, ParamError::new("temperature", "\"hot\"", "a number"));
    assert_eq!(refused(json!({"top_p": 1.5})).name, "top_p (generation_config.json)");
    assert_eq!(refused(json!({"top_k": 1.5})).value, "1.5");
    assert_eq!(
        refused(json!({"top_k": -3})),
        ParamError::new("top_k", -3, "a whole number; 0 and -1 are off")
    );
    assert_eq!(refused(json!({"top_k": 1e12})).value, "1000000000000");
    assert_eq!(refused(json!({"do_sample": 1})).name, "do_sample");
    assert_eq!(refused(json!({"num_beams": "4"})).name, "num_beams");
    let nan = hints(&[("temp", gguf::Value::Float(f64::NAN))]).unwrap_err();
    assert_eq!(nan.name, "temperature (GGUF general.sampling.*)");
    for key in ["temp", "top_k", "mirostat"] {
        let error = hints(&[(key, gguf::Value::Str("0.7".to_owned()))]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("general.sampling.{key} is string \"0.7\", allowed is a number")
        );
    }
}
