//! The parameters that both kinds of completions share.

use super::fields::{ApiError, Fields};
use crate::breakers::Breakers;
use limpid_engine::TokenId;
use limpid_engine::decode::{BeamParams, Choices, Decoding, EarlyStopping, LogprobsMode};
use limpid_engine::engine::ContextOverflow;
use limpid_engine::sampling::{Defaults, IgnoreEos, ParamError, SamplingParams, Source, StopParams};
use limpid_engine::tokenizer::Tokenizer;
use serde_json::Value;

/// What is in force where a request is silent: what the model's files spell out, and else what OpenAI's API says,
/// temperature 1 and no filters.
pub(super) fn defaults(mut of_model: Defaults) -> Defaults {
    for setting in [&mut of_model.temperature, &mut of_model.top_p] {
        if setting.source == Source::Limpid {
            setting.value = 1.0;
        }
    }
    of_model
}

/// How tokens are chosen. `seed` is the one of a request that gives none. Beams do not draw unless the request itself
/// says so (which is refused further on).
pub(super) fn sampling(
    fields: &mut Fields,
    defaults: &Defaults,
    decoding: &Decoding,
    tokenizer: &Tokenizer,
    seed: u64,
) -> Result<SamplingParams, ApiError> {
    let seed = fields.whole("seed", u64::MAX)?.unwrap_or(seed);
    let temperature = fields.float("temperature")?;
    let is_greedy = temperature == Some(0.0) || matches!(decoding, Decoding::Beams(_));
    let mut params = if is_greedy { defaults.clone().greedy().params(seed) } else { defaults.params(seed) };
    check_companions(fields, &params)?;
    params.temperature = temperature.unwrap_or(params.temperature);
    numbers(fields, &mut params)?;
    lists(fields, &mut params)?;
    let breakers = fields.read("dry_breakers", Breakers::EXPECTED, Breakers::from_json)?;
    params.dry_breakers = breakers.unwrap_or_default().tokens(Some(tokenizer))?;
    if temperature.is_some() && params.dynatemp_max > 0.0 {
        let message = "`dynatemp_max` takes the place of `temperature`: give one of them";
        return Err(ApiError::invalid(Some("dynatemp_max"), message));
    }
    let scope = |value: &Value| value.as_str()?.parse().ok();
    let expected = "\"output\", \"all\" or such as \"last_64\"";
    params.penalty_scope = fields.read("penalty_scope", expected, scope)?.unwrap_or(params.penalty_scope);
    if let Some(order) = fields.text("sampler_order")? {
        params.sampler_order = order.parse()?;
    }
    let ignore_eos = |value: &Value| match value {
        Value::Bool(false) => Some(IgnoreEos::No),
        Value::Bool(true) => Some(IgnoreEos::GenerateThrough),
        value if value == "generate_through" => Some(IgnoreEos::GenerateThrough),
        value if value == "forbid" => Some(IgnoreEos::Forbid),
        _ => None,
    };
    let expected = "true, false, \"generate_through\" or \"forbid\"";
    params.ignore_eos = fields.read("ignore_eos", expected, ignore_eos)?.unwrap_or_default();
    let blamed = |error: ParamError| if fields.gave(&error.name) { error } else { defaults.blamed(error) };
    params.validate().map_err(blamed)?;
    Ok(params)
}

/// Fields that say how another one works, and mean nothing where that one is off.
const COMPANIONS: [(&str, &str); 8] = [
    ("dynatemp_min", "dynatemp_max"),
    ("dynatemp_max", "dynatemp_min"),
    ("dynatemp_exponent", "dynatemp_max"),
    ("xtc_threshold", "xtc_probability"),
    ("mirostat_eta", "mirostat_tau"),
    ("dry_base", "dry_multiplier"),
    ("dry_allowed_length", "dry_multiplier"),
    ("dry_breakers", "dry_multiplier"),
];

/// Refuses a field whose companion neither the request gives nor `silent`, what holds without the request, turns on.
/// (A request may give it and say "off": then it says all there is to say.)
fn check_companions(fields: &Fields, silent: &SamplingParams) -> Result<(), ApiError> {
    for (name, companion) in COMPANIONS {
        let is_on = match companion {
            "xtc_probability" => silent.xtc_probability > 0.0,
            "mirostat_tau" => silent.mirostat_tau > 0.0,
            // No model's files set it.
            _ => false,
        };
        if fields.has(name) && !fields.has(companion) && !is_on {
            return Err(missing_companion(name, companion));
        }
    }
    Ok(())
}

fn missing_companion(name: &str, companion: &str) -> ApiError {
    let message = format!("`{name}` needs `{companion}`, which is off: give both, or neither");
    ApiError::invalid(Some(name), message)
}

/// The knobs that are a number each.
fn numbers(fields: &mut Fields, params: &mut SamplingParams) -> Result<(), ApiError> {
    for (name, value) in [
        ("dynatemp_min", &mut params.dynatemp_min),
        ("dynatemp_max", &mut params.dynatemp_max),
        ("dynatemp_exponent", &mut params.dynatemp_exponent),
        ("top_p", &mut params.top_p),
        ("min_p", &mut params.min_p),
        ("typical_p", &mut params.typical_p),
        ("epsilon_cutoff", &mut params.epsilon_cutoff),
        ("eta_cutoff", &mut params.eta_cutoff),
        ("top_n_sigma", &mut params.top_n_sigma),
        ("xtc_threshold", &mut params.xtc_threshold),
        ("xtc_probability", &mut params.xtc_probability),
        ("mirostat_tau", &mut params.mirostat_tau),
        ("mirostat_eta", &mut params.mirostat_eta),
        ("repetition_penalty", &mut params.repetition_penalty),
        ("frequency_penalty", &mut params.frequency_penalty),
        ("presence_penalty", &mut params.presence_penalty),
        ("dry_multiplier", &mut params.dry_multiplier),
        ("dry_base", &mut params.dry_base),
    ] {
        *value = fields.float(name)?.unwrap_or(*value);
    }
    for (name, value) in [
        ("top_k", &mut params.top_k),
        ("min_tokens", &mut params.min_tokens),
        ("dry_allowed_length", &mut params.dry_allowed_length),
        ("no_repeat_ngram_size", &mut params.no_repeat_ngram_size),
    ] {
        *value = fields.whole(name, u64::from(u32::MAX))?.map_or(*value, |number| number as u32);
    }
    Ok(())
}

/// The knobs that name tokens.
fn lists(fields: &mut Fields, params: &mut SamplingParams) -> Result<(), ApiError> {
    for (name, ids) in [
        ("allowed_token_ids", &mut params.allowed_token_ids),
        ("suppress_tokens", &mut params.suppress_tokens),
    ] {
        let Some(given) = fields.read(name, "a list of token ids", token_ids)? else { continue };
        if given.is_empty() && name == "allowed_token_ids" {
            let message =
                "`allowed_token_ids` is empty, which would allow nothing: name a token, or leave it out";
            return Err(ApiError::invalid(Some(name), message));
        }
        *ids = given;
    }
    let words = |value: &Value| value.as_array()?.iter().map(token_ids).collect();
    if let Some(words) = fields.read("bad_words_ids", "a list of lists of token ids", words)? {
        params.bad_words_ids = words;
    }
    let id = |text: &String| text.parse().ok().filter(|id: &u32| id.to_string() == *text).map(TokenId);
    let bias = |(text, bias): (&String, &Value)| Some((id(text)?, bias.as_f64()? as f32));
    let biases = |value: &Value| value.as_object()?.iter().map(bias).collect();
    let expected = "an object of token ids and numbers, such as {\"50256\": -100},";
    if let Some(biases) = fields.read("logit_bias", expected, biases)? {
        params.logit_bias = biases;
    }
    Ok(())
}

pub(super) fn stop(fields: &mut Fields) -> Result<StopParams, ApiError> {
    let strings = |value: &Value| match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(texts) => texts.iter().map(|text| text.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    Ok(StopParams {
        stop: fields.read("stop", "a string or a list of strings", strings)?.unwrap_or_default(),
        stop_token_ids: fields.read("stop_token_ids", "a list of token ids", token_ids)?.unwrap_or_default(),
        include_stop: fields.flag("include_stop")?.unwrap_or(false),
    })
}

pub(super) fn token_ids(value: &Value) -> Option<Vec<TokenId>> {
    let id = |value: &Value| Some(TokenId(u32::try_from(value.as_u64()?).ok()?));
    value.as_array()?.iter().map(id).collect()
}

pub(super) fn decoding(fields: &mut Fields) -> Result<Decoding, ApiError> {
    let decoding = match fields.count("num_beams", 1)? {
        None | Some(1) => {
            for name in ["length_penalty", "early_stopping", "num_return_sequences"] {
                if fields.has(name) {
                    let message =
                        format!("`{name}` needs `num_beams` of 2 or more: other texts are not ranked so");
                    return Err(ApiError::invalid(Some(name), message));
                }
            }
            let n = fields.count("n", 1)?.unwrap_or(1);
            Decoding::Choices(Choices { n, best_of: fields.count("best_of", 1)?.unwrap_or(n) })
        }
        Some(num_beams) => Decoding::Beams(beams(fields, num_beams)?),
    };
    decoding.validate()?;
    Ok(decoding)
}

fn beams(fields: &mut Fields, num_beams: usize) -> Result<BeamParams, ApiError> {
    for name in ["n", "best_of"] {
        // Clients send 1 as a matter of course.
        if fields.count(name, 1)?.is_some_and(|n| n != 1) {
            let message =
                format!("`{name}` does not go with `num_beams`: use `num_return_sequences` instead");
            return Err(ApiError::invalid(Some(name), message));
        }
    }
    let early_stopping = |value: &Value| match value {
        Value::Bool(true) => Some(EarlyStopping::True),
        Value::Bool(false) => Some(EarlyStopping::False),
        value if value == "never" => Some(EarlyStopping::Never),
        _ => None,
    };
    Ok(BeamParams {
        num_beams,
        length_penalty: fields.number("length_penalty")?.unwrap_or(0.0),
        early_stopping: fields
            .read("early_stopping", "true, false or \"never\"", early_stopping)?
            .unwrap_or_default(),
        num_return_sequences: fields.count("num_return_sequences", 1)?.unwrap_or(1),
    })
}

/// `has_output`: log-probabilities of generated tokens are asked for. Those of the prompt know no mode.
pub(super) fn logprobs_mode(fields: &mut Fields, has_output: bool) -> Result<LogprobsMode, ApiError> {
    if fields.has("logprobs_mode") && !has_output {
        return Err(missing_companion("logprobs_mode", "logprobs"));
    }
    let names = [("raw", LogprobsMode::Raw), ("processed", LogprobsMode::Processed)];
    Ok(fields.name("logprobs_mode", &names)?.unwrap_or_default())
}

pub(super) fn context_overflow(fields: &mut Fields) -> Result<ContextOverflow, ApiError> {
    let names = [
        ("error", ContextOverflow::Error),
        ("truncate_left", ContextOverflow::TruncateLeft),
        ("truncate_middle", ContextOverflow::TruncateMiddle),
    ];
    Ok(fields.name("context_overflow", &names)?.unwrap_or_default())
}
