//! An answer that comes in chunks, as it is generated.

use super::own::{self, Ending, PromptEnd};
use super::request::{Ask, Endpoint, Translator};
use super::tokens::{CompletionTokens, chat_tokens};
use super::whole::ids_json;
use super::{ApiError, Head};
use crate::texts::TextLogprob;
use limpid_engine::TokenId;
use limpid_engine::decode::TokenLogprobs;
use limpid_engine::engine::{Dropped, EventKind, Finished};
use limpid_engine::sampling::FinishReason;
use serde_json::{Value, json};
use std::sync::Arc;

/// Makes the chunks of an answer from the engine's events.
pub(crate) struct Chunks {
    ask: Ask,
    head: Head,
    translator: Arc<Translator>,
    dropped: Vec<Option<Dropped>>,
    /// Of the prompts that are over.
    ends: Vec<Option<PromptEnd>>,
    choices: Vec<Choice>,
    has_begun: bool,
    /// The end of the text that ended last, which waits for the answer's end.
    last: Option<Value>,
}

/// What is known of one text.
#[derive(Default)]
struct Choice {
    /// Where a completion's log-probabilities are asked for.
    tokens: Option<CompletionTokens>,
    ending: Option<Ending>,
}

/// What an event brings of a text.
#[derive(Default)]
struct Piece<'a> {
    text: &'a str,
    id: Option<TokenId>,
    logprobs: Option<TextLogprob>,
}

impl Chunks {
    pub(crate) fn new(ask: Ask, head: Head, translator: Arc<Translator>) -> Self {
        let (n_prompts, n_choices) = (ask.requests.len(), ask.requests.len() * ask.n_texts());
        Self {
            ask,
            head,
            translator,
            dropped: vec![None; n_prompts],
            ends: vec![None; n_prompts],
            choices: (0..n_choices).map(|_| Choice::default()).collect(),
            has_begun: false,
            last: None,
        }
    }

    /// Takes an event of the request for prompt `i`, and appends the chunks that it makes.
    pub(crate) fn take(
        &mut self,
        i: usize,
        kind: EventKind<'_>,
        out: &mut Vec<Value>,
    ) -> Result<(), ApiError> {
        match kind {
            EventKind::Started { dropped } => {
                self.dropped[i] = dropped;
                if let Some(dropped) = dropped {
                    self.ask.drop_of_prompt(i, dropped);
                }
                if !self.has_prompt_logprobs() {
                    self.begin(i, &[], out);
                }
            }
            EventKind::PromptLogprobs(logprobs) => {
                let prompt = &self.ask.requests[i].prompt;
                let of_tokens = prompt[1..].iter().zip(logprobs.iter());
                let of_tokens: Vec<_> = of_tokens.map(|(&id, of)| TextLogprob::new(id, of)).collect();
                self.begin(i, &of_tokens, out);
            }
            EventKind::Token { choice, id, text, logprobs } => {
                let logprobs = logprobs.map(|of: TokenLogprobs<'_>| TextLogprob::new(id, of));
                let is_shown = !text.is_empty() || logprobs.is_some() || self.ask.returns_token_ids;
                if is_shown {
                    let piece = Piece { text, id: Some(id), logprobs };
                    let chunk = self.piece(self.index(i, choice), &piece);
                    out.push(chunk);
                }
            }
            EventKind::Text { choice, text } => {
                let chunk = self.piece(self.index(i, choice), &Piece { text, ..Piece::default() });
                out.push(chunk);
            }
            EventKind::Ended { choice, reason, score } => {
                self.end_choice(self.index(i, choice), Ending { reason: reason.clone(), score }, out);
            }
            EventKind::Finished(finished) => self.finish(i, finished, out)?,
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.ends.iter().all(Option::is_some)
    }

    fn has_prompt_logprobs(&self) -> bool {
        self.ask.requests.first().is_some_and(|request| request.logprobs.prompt.is_some())
    }

    /// Of all choices together.
    fn index(&self, i: usize, choice: usize) -> usize {
        i * self.ask.n_texts() + choice
    }

    /// The first chunk of each text of a prompt: the role, or the prompt where it is echoed.
    fn begin(&mut self, i: usize, of_prompt: &[TextLogprob], out: &mut Vec<Value>) {
        let echo = self.translator.echo(&self.ask, i);
        for choice in 0..self.ask.n_texts() {
            let index = self.index(i, choice);
            let mut chunk = self.first_of(i, index, &echo, of_prompt);
            if !self.has_begun {
                self.has_begun = true;
                chunk["limpid"] = own::begin(&self.ask, self.translator.defaults());
            }
            if choice == 0 && self.has_prompt_logprobs() {
                chunk["prompt_logprobs"] = chat_tokens(of_prompt, self.translator.tokenizer());
            }
            out.push(chunk);
        }
    }

    fn first_of(&mut self, i: usize, index: usize, echo: &str, of_prompt: &[TextLogprob]) -> Value {
        let prompt = &self.ask.requests[i].prompt;
        let state = &mut self.choices[index];
        let mut choice = match self.ask.endpoint {
            Endpoint::Completions => json!({"index": index, "text": echo, "logprobs": null}),
            Endpoint::ChatCompletions => {
                let delta = json!({"role": "assistant", "content": "", "refusal": null});
                json!({"index": index, "delta": delta, "logprobs": null})
            }
        };
        if self.ask.endpoint == Endpoint::Completions && self.ask.wants_logprobs() {
            let tokenizer = self.translator.tokenizer();
            state.tokens = Some(if self.ask.echoes {
                let mut tokens = CompletionTokens::with_echo(prompt, of_prompt, tokenizer);
                choice["logprobs"] = tokens.take();
                tokens
            } else {
                CompletionTokens::after(prompt, tokenizer)
            });
        }
        choice["finish_reason"] = Value::Null;
        if self.ask.returns_token_ids {
            choice["prompt_token_ids"] = ids_json(prompt);
            choice["token_ids"] = json!([]);
        }
        self.chunk(choice)
    }

    fn piece(&mut self, index: usize, piece: &Piece<'_>) -> Value {
        let (tokenizer, state) = (self.translator.tokenizer(), &mut self.choices[index]);
        let mut choice = match self.ask.endpoint {
            Endpoint::Completions => {
                let logprobs = piece.logprobs.as_ref().zip(state.tokens.as_mut()).map(|(of, tokens)| {
                    tokens.push(of, tokenizer);
                    tokens.take()
                });
                json!({"index": index, "text": piece.text, "logprobs": logprobs})
            }
            Endpoint::ChatCompletions => {
                let of_one = |of| json!({"content": chat_tokens(std::slice::from_ref(of), tokenizer), "refusal": null});
                let logprobs = piece.logprobs.as_ref().map(of_one);
                json!({"index": index, "delta": {"content": piece.text}, "logprobs": logprobs})
            }
        };
        choice["finish_reason"] = Value::Null;
        if self.ask.returns_token_ids {
            choice["token_ids"] = piece.id.iter().map(|id| id.0).collect();
        }
        self.chunk(choice)
    }

    fn end_of(&self, index: usize, reason: &FinishReason) -> Value {
        self.chunk(match self.ask.endpoint {
            Endpoint::Completions => {
                json!({"index": index, "text": "", "logprobs": null, "finish_reason": reason.name()})
            }
            Endpoint::ChatCompletions => {
                json!({"index": index, "delta": {}, "logprobs": null, "finish_reason": reason.name()})
            }
        })
    }

    /// The request for a prompt is over; with the last one, so is the answer.
    fn finish(&mut self, i: usize, finished: &Finished, out: &mut Vec<Value>) -> Result<(), ApiError> {
        if let Some(error) = &finished.error {
            return Err(self.translator.failed(error));
        }
        let (usage, timings) = (finished.usage, finished.timings.clone());
        self.ends[i] = Some(PromptEnd { dropped: self.dropped[i], usage, timings });
        // A request that ended in the queue has told nothing of its texts.
        for index in self.index(i, 0)..self.index(i + 1, 0) {
            if self.choices[index].ending.is_none() {
                self.end_choice(index, Ending { reason: finished.reason.clone(), score: None }, out);
            }
        }
        if self.is_over() {
            self.conclude(out);
        }
        Ok(())
    }

    /// A text has ended. The last one waits for what is known only when all is over.
    fn end_choice(&mut self, index: usize, ending: Ending, out: &mut Vec<Value>) {
        let chunk = self.end_of(index, &ending.reason);
        self.choices[index].ending = Some(ending);
        if self.choices.iter().any(|choice| choice.ending.is_none()) {
            out.push(chunk);
        } else {
            self.last = Some(chunk);
        }
    }

    /// The end of the text that ended last, with what is known only now.
    fn conclude(&mut self, out: &mut Vec<Value>) {
        let ends: Vec<_> = self.ends.iter().flatten().cloned().collect();
        let endings: Vec<_> = self.choices.iter().flat_map(|choice| choice.ending.clone()).collect();
        let mut chunk = self.last.take().expect("each prompt has a text, which has ended");
        chunk["limpid"] = own::end(&self.ask, self.translator.defaults(), &ends, &endings);
        out.push(chunk);
        if self.includes_usage() {
            let mut chunk = self.head.object(json!([]));
            chunk["usage"] = own::usage(&ends);
            out.push(chunk);
        }
    }

    fn includes_usage(&self) -> bool {
        self.ask.stream.is_some_and(|stream| stream.includes_usage)
    }

    fn chunk(&self, choice: Value) -> Value {
        let mut chunk = self.head.object(Value::Array(vec![choice]));
        if self.includes_usage() {
            chunk["usage"] = Value::Null;
        }
        chunk
    }
}
