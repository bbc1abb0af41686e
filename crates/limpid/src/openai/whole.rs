//! An answer that comes as a whole.

use super::own::{self, Ending, PromptEnd};
use super::request::{Ask, Endpoint, Translator};
use super::tokens::{CompletionTokens, chat_tokens};
use super::{ApiError, Head};
use crate::texts::{Text, Texts};
use limpid_engine::TokenId;
use limpid_engine::engine::{Dropped, EventKind};
use limpid_engine::sampling::FinishReason;
use limpid_engine::tokenizer::Tokenizer;
use serde_json::{Value, json};

/// Collects what comes of a request.
pub(crate) struct Whole {
    ask: Ask,
    head: Head,
    prompts: Vec<OfPrompt>,
    error: Option<ApiError>,
}

struct OfPrompt {
    texts: Texts,
    dropped: Option<Dropped>,
    end: Option<PromptEnd>,
}

impl Whole {
    pub(crate) fn new(ask: Ask, head: Head, translator: &Translator) -> Self {
        let of_prompt =
            |i| OfPrompt { texts: Texts::new(translator.echo(&ask, i)), dropped: None, end: None };
        let prompts = (0..ask.requests.len()).map(of_prompt).collect();
        Self { ask, head, prompts, error: None }
    }

    /// Takes an event of the request for prompt `i`.
    pub(crate) fn take(&mut self, i: usize, kind: EventKind<'_>, translator: &Translator) {
        let of_prompt = &mut self.prompts[i];
        match kind {
            EventKind::Started { dropped: Some(dropped) } => {
                of_prompt.dropped = Some(dropped);
                self.ask.drop_of_prompt(i, dropped);
                // Nothing was told before.
                of_prompt.texts = Texts::new(translator.echo(&self.ask, i));
            }
            EventKind::Finished(finished) => {
                let (usage, timings, dropped) = (finished.usage, finished.timings.clone(), of_prompt.dropped);
                of_prompt.end = Some(PromptEnd { dropped, usage, timings });
                let failed = finished.error.as_ref().map(|error| translator.failed(error));
                let stopped = (finished.reason == FinishReason::Cancelled).then(ApiError::stopping);
                self.error = self.error.take().or(failed).or(stopped);
                // Whose texts did not end by themselves: all of them here, where nothing came of it.
                of_prompt.texts.expect_texts(self.ask.n_texts());
                of_prompt.texts.texts.iter_mut().for_each(|text| {
                    text.reason.get_or_insert_with(|| finished.reason.clone());
                });
            }
            kind => {
                of_prompt.texts.take(kind, &self.ask.requests[i].prompt);
            }
        }
    }

    /// The answer's body, once it is over.
    pub(crate) fn answer(&self, translator: &Translator) -> Result<Value, ApiError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let ends: Vec<_> = self.prompts.iter().map(|of| of.end.clone().expect("it is over")).collect();
        let (mut choices, mut endings) = (Vec::new(), Vec::new());
        for (i, of_prompt) in self.prompts.iter().enumerate() {
            for text in &of_prompt.texts.texts {
                let reason = text.reason.clone().expect("it is over");
                choices.push(self.choice(i, choices.len(), text, translator.tokenizer()));
                endings.push(Ending { reason, score: text.score });
            }
        }
        let mut answer = self.head.object(Value::Array(choices));
        answer["usage"] = own::usage(&ends);
        if let Some(logprobs) = self.prompt_logprobs(translator.tokenizer()) {
            answer["prompt_logprobs"] = logprobs;
        }
        answer["limpid"] = own::end(&self.ask, translator.defaults(), &ends, &endings);
        Ok(answer)
    }

    /// Of the prompt, or a list of those of each.
    fn prompt_logprobs(&self, tokenizer: &Tokenizer) -> Option<Value> {
        let of_prompt = |of: &OfPrompt| Some(chat_tokens(of.texts.prompt_logprobs.as_ref()?, tokenizer));
        match &self.prompts[..] {
            [one] => of_prompt(one),
            all => all.iter().map(of_prompt).collect::<Option<Vec<_>>>().map(Value::Array),
        }
    }

    fn choice(&self, i: usize, index: usize, text: &Text, tokenizer: &Tokenizer) -> Value {
        let prompt = &self.ask.requests[i].prompt;
        let mut choice = json!({"index": index});
        let logprobs = match self.ask.endpoint {
            Endpoint::Completions => {
                choice["text"] = json!(text.text);
                let echoed = self.prompts[i].texts.prompt_logprobs.as_deref().filter(|_| self.ask.echoes);
                let mut tokens = match echoed {
                    Some(told) => CompletionTokens::with_echo(prompt, told, tokenizer),
                    None => CompletionTokens::after(prompt, tokenizer),
                };
                text.logprobs.iter().for_each(|of| tokens.push(of, tokenizer));
                tokens.take()
            }
            Endpoint::ChatCompletions => {
                choice["message"] = json!({"role": "assistant", "content": text.text, "refusal": null});
                json!({"content": chat_tokens(&text.logprobs, tokenizer), "refusal": null})
            }
        };
        choice["logprobs"] = if self.ask.wants_logprobs() { logprobs } else { Value::Null };
        choice["finish_reason"] = json!(text.reason.as_ref().expect("it is over").name());
        if self.ask.returns_token_ids {
            choice["token_ids"] = ids_json(&text.token_ids);
            choice["prompt_token_ids"] = ids_json(prompt);
        }
        choice
    }
}

pub(super) fn ids_json(ids: &[TokenId]) -> Value {
    ids.iter().map(|id| id.0).collect()
}
