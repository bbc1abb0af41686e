//! From what came of a request to the answer's JSON.

use super::request::{Ask, Endpoint};
use super::stop::StopJson;
use crate::texts::{Text, TextLogprob, Texts};
use limpid_engine::TokenId;
use limpid_engine::decode::TopLogprob;
use limpid_engine::engine::{Dropped, Finished};
use limpid_engine::tokenizer::Tokenizer;
use serde_json::{Map, Value, json};

/// The body of an answer. Beside OpenAI's fields it has the seed, what was dropped of the prompt, and of each choice
/// the exact reason of its end and its score, if it was ranked. `created`: seconds since 1970.
pub(crate) fn answer(
    ask: &Ask,
    texts: &Texts,
    finished: &Finished,
    dropped: Option<Dropped>,
    tokenizer: &Tokenizer,
    id: &str,
    created: u64,
) -> Value {
    let object = match ask.endpoint {
        Endpoint::Completions => "text_completion",
        Endpoint::ChatCompletions => "chat.completion",
    };
    let choices: Vec<Value> = texts
        .texts
        .iter()
        .enumerate()
        .map(|(index, text)| choice(ask, index, text, texts.prompt_logprobs.as_deref(), finished, tokenizer))
        .collect();
    let usage = finished.usage;
    let mut answer = json!({
        "id": id,
        "object": object,
        "created": created,
        "model": ask.model,
        "choices": choices,
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        },
        "seed": ask.request.sampling.seed,
    });
    if let (Some(logprobs), Value::Object(answer)) = (&texts.prompt_logprobs, &mut answer) {
        let of_tokens = logprobs.iter().map(|of| of_chat_token(of, tokenizer)).collect();
        answer.insert("prompt_logprobs".to_owned(), Value::Array(of_tokens));
    }
    if let (Some(Dropped { start, n_tokens }), Value::Object(answer)) = (dropped, &mut answer) {
        answer.insert("dropped".to_owned(), json!({"start": start, "n_tokens": n_tokens}));
    }
    answer
}

fn choice(
    ask: &Ask,
    index: usize,
    text: &Text,
    prompt_logprobs: Option<&[TextLogprob]>,
    finished: &Finished,
    tokenizer: &Tokenizer,
) -> Value {
    let reason = text.reason.as_ref().unwrap_or(&finished.reason);
    let mut choice = json!({"index": index});
    let (name, content, logprobs) = match ask.endpoint {
        Endpoint::Completions => {
            let echoed = prompt_logprobs.filter(|_| ask.echoes);
            let first = ask.request.prompt.first().copied();
            ("text", json!(text.text), of_completion(first, echoed, &text.logprobs, tokenizer))
        }
        Endpoint::ChatCompletions => {
            let of_tokens = text.logprobs.iter().map(|of| of_chat_token(of, tokenizer)).collect::<Vec<_>>();
            ("message", json!({"role": "assistant", "content": text.text}), json!({"content": of_tokens}))
        }
    };
    let logprobs = ask.request.logprobs.output.map(|_| logprobs);
    if let Value::Object(choice) = &mut choice {
        choice.insert(name.to_owned(), content);
        choice.insert("logprobs".to_owned(), json!(logprobs));
        choice.insert("finish_reason".to_owned(), json!(reason.name()));
        choice.insert("stop".to_owned(), json!(StopJson::new(reason)));
        if let Some(score) = text.score {
            choice.insert("score".to_owned(), json!(score));
        }
    }
    choice
}

/// Lists side by side, one entry a token; the first token of an echoed prompt has none. Offsets count the characters of
/// the tokens before.
fn of_completion(
    first: Option<TokenId>,
    echoed: Option<&[TextLogprob]>,
    logprobs: &[TextLogprob],
    tokenizer: &Tokenizer,
) -> Value {
    let of_first = first.filter(|_| echoed.is_some()).map(|id| (id, None));
    let all = echoed.unwrap_or_default().iter().chain(logprobs);
    let (mut tokens, mut values, mut tops, mut offsets) = (vec![], vec![], vec![], vec![]);
    let mut offset = 0;
    for (id, of) in of_first.into_iter().chain(all.map(|of| (of.id, Some(of)))) {
        let piece = tokenizer.piece(id);
        offsets.push(offset);
        offset += piece.chars().count();
        tokens.push(piece.into_owned());
        values.push(of.map(|of| of.logprob));
        let top = of.map(|of| of.top.iter().map(|top| named(top, tokenizer)).collect::<Map<_, _>>());
        tops.push(top);
    }
    json!({"tokens": tokens, "token_logprobs": values, "top_logprobs": tops, "text_offset": offsets})
}

fn named(top: &TopLogprob, tokenizer: &Tokenizer) -> (String, Value) {
    (tokenizer.piece(top.id).into_owned(), json!(top.logprob))
}

fn of_chat_token(of: &TextLogprob, tokenizer: &Tokenizer) -> Value {
    let one = |id: TokenId, logprob: f32| json!({"token": tokenizer.piece(id), "token_id": id.0, "logprob": logprob});
    let mut entry = one(of.id, of.logprob);
    if let Value::Object(entry) = &mut entry {
        let top = of.top.iter().map(|top| one(top.id, top.logprob)).collect();
        entry.insert("top_logprobs".to_owned(), Value::Array(top));
    }
    entry
}
