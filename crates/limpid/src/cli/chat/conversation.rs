//! What was said, and the token ids that the engine has of it. No terminal and no engine.

use crate::prompt::message;
use limpid_engine::TokenId;
use limpid_engine::chat::{Message, Rendered};
use limpid_engine::tokenizer::{Detokenizer, Tokenizer, TokenizerError};

/// Messages of a system (the first one, if any), of users and of assistants.
#[derive(Clone, Default)]
pub(super) struct Conversation {
    messages: Vec<Message>,
    last: Option<Answered>,
}

/// The last prompt that was answered: the next one usually goes on from it.
#[derive(Clone)]
struct Answered {
    rendered: Rendered,
    prompt: Vec<TokenId>,
    text: String,
    /// The ids whose text is `text`, if there are such: a stop string may end within a token.
    answer: Option<Vec<TokenId>>,
    n_tokens: usize,
}

impl Conversation {
    pub(super) fn new(system: Option<&str>) -> Self {
        let mut conversation = Self::default();
        conversation.set_system(system);
        conversation
    }

    /// Refuses what is no conversation. Nothing of it is computed yet.
    pub(super) fn from_messages(messages: Vec<Message>) -> Result<Self, String> {
        for (i, Message { role, .. }) in messages.iter().enumerate() {
            match role.as_str() {
                "user" | "assistant" => {}
                "system" if i == 0 => {}
                "system" => return Err(format!("messages[{i}]: only the first one can be the system's")),
                _ => {
                    return Err(format!(
                        "messages[{i}]: the role is `{role}`; system, user and assistant are known"
                    ));
                }
            }
        }
        Ok(Self { messages, last: None })
    }

    pub(super) fn messages(&self) -> &[Message] {
        &self.messages
    }

    pub(super) fn system(&self) -> Option<&str> {
        self.messages.first().filter(|first| first.role == "system").map(|first| first.content.as_str())
    }

    /// Sets, changes or removes the system's message; the others stay.
    pub(super) fn set_system(&mut self, text: Option<&str>) {
        let n_system = usize::from(self.system().is_some());
        let message = text.map(|text| message("system", text.to_owned()));
        self.messages.splice(..n_system, message);
    }

    /// Forgets all but the system's message.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.system().map(str::to_owned).as_deref());
    }

    pub(super) fn say(&mut self, text: String) {
        self.messages.push(message("user", text));
    }

    /// Takes the answers after the user's last message back, so that it can be answered again. Whether there is such a
    /// message.
    pub(super) fn take_back_answer(&mut self) -> bool {
        let Some(asked) = self.messages.iter().rposition(|message| message.role == "user") else {
            return false;
        };
        self.messages.truncate(asked + 1);
        true
    }

    /// Drops the oldest turn: a user's message and all up to the next user's. What was asked last is never dropped.
    /// How many messages are gone.
    pub(super) fn drop_oldest(&mut self) -> Option<usize> {
        let start = usize::from(self.system().is_some());
        let is_user = |message: &Message| message.role == "user";
        let end = self.messages.iter().skip(start + 1).position(is_user)? + start + 1;
        self.messages.drain(start..end);
        Some(end - start)
    }

    /// The ids of the messages as the template has written them. Where they begin with the last prompt and its answer,
    /// those keep their ids: a model does not always choose the tokens that the tokenizer would, and what it chose is
    /// what the cache has.
    pub(super) fn prompt_ids(
        &self,
        rendered: &Rendered,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<TokenId>, TokenizerError> {
        match self.continue_last(rendered, tokenizer)? {
            Some(ids) => Ok(ids),
            None => tokenizer.encode_rendered(rendered),
        }
    }

    fn continue_last(
        &self,
        rendered: &Rendered,
        tokenizer: &Tokenizer,
    ) -> Result<Option<Vec<TokenId>>, TokenizerError> {
        let Some(last) = &self.last else { return Ok(None) };
        let Some(rest) = rendered.strip_prefix(&last.rendered) else { return Ok(None) };
        if rest.is_empty() {
            return Ok(Some(last.prompt.clone()));
        }
        let (Some(answer), Some(rest)) = (&last.answer, rest.strip_text(&last.text)) else { return Ok(None) };
        let rest = tokenizer.encode_continuation(&rest)?;
        Ok(rest.map(|rest| [last.prompt.as_slice(), answer, &rest].concat()))
    }

    /// Takes an answer to a prompt. `ids` is all that was generated but the token that ended it.
    pub(super) fn answer(
        &mut self,
        rendered: Rendered,
        prompt: Vec<TokenId>,
        text: String,
        ids: &[TokenId],
        tokenizer: &Tokenizer,
    ) {
        let answer = n_ids_of_text(&prompt, ids, &text, tokenizer).map(|n| ids[..n].to_vec());
        self.messages.push(message("assistant", text.clone()));
        let n_tokens = prompt.len() + ids.len();
        self.last = Some(Answered { rendered, prompt, text, answer, n_tokens });
    }

    /// The tokens of the last prompt and its answer.
    pub(super) fn n_tokens(&self) -> usize {
        self.last.as_ref().map_or(0, |last| last.n_tokens)
    }
}

/// How many of the ids after a prompt make `text`, as many as possible.
fn n_ids_of_text(prompt: &[TokenId], ids: &[TokenId], text: &str, tokenizer: &Tokenizer) -> Option<usize> {
    let mut detokenizer = Detokenizer::after(tokenizer, prompt);
    let (mut found, mut told) = (None, String::new());
    for n in 0..=ids.len() {
        // A character that is never completed is part of a text that ends with it.
        let mut rest = String::new();
        detokenizer.clone().finish(&mut rest);
        let is_whole =
            told.len() + rest.len() == text.len() && text.starts_with(&told) && text.ends_with(&rest);
        if (n > 0 && is_whole) || (n == 0 && text.is_empty()) {
            found = Some(n);
        }
        if let Some(&id) = ids.get(n) {
            detokenizer.push(tokenizer, id, &mut told);
        }
    }
    found
}

#[cfg(test)]
mod tests;
