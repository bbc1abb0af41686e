//! A chat while it lasts: the conversation, the engine that has it in its cache, and what is said about both.

use super::conversation::Conversation;
use super::settings::Settings;
use super::totals::Totals;
use crate::cli::run::{Generation, MonotonicClock, Watch, generate};
use crate::console::{self, Console};
use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::line::one_line;
use crate::output;
use crate::prompt::ChatPrompt;
use crate::units;
use limpid_engine::TokenId;
use limpid_engine::chat::Rendered;
use limpid_engine::engine::{ConversationId, Engine, Finished, PromptLimits, Request};
use limpid_engine::sampling::{Defaults, FinishReason};
use limpid_engine::tokenizer::Tokenizer;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// There is one at a time.
const CONVERSATION: ConversationId = ConversationId(0);

/// What a chat is made of once the model is loaded.
pub(super) struct Session<'a> {
    pub(super) console: Console,
    pub(super) interrupt: &'a Interrupt,
    pub(super) model: String,
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) template: ChatPrompt,
    pub(super) defaults: Defaults,
    pub(super) engine: Engine,
    pub(super) clock: MonotonicClock,
    pub(super) limits: PromptLimits,
    pub(super) prefill_chunk: usize,
    pub(super) time_limit: Option<Duration>,
    /// Somebody edits lines: Ctrl-C between two answers is a key.
    pub(super) has_editor: bool,
    pub(super) settings: Settings,
    pub(super) conversation: Conversation,
    pub(super) totals: Totals,
}

/// A prompt that fits.
struct Fitted {
    rendered: Rendered,
    ids: Vec<TokenId>,
}

impl Session<'_> {
    /// Answers a message. Whether the answer was interrupted.
    pub(super) fn answer(&mut self, message: String) -> Result<bool, CliError> {
        let before = self.conversation.clone();
        self.conversation.say(message);
        self.answer_or(before)
    }

    /// Answers the last message again.
    pub(super) fn regenerate(&mut self) -> Result<bool, CliError> {
        let before = self.conversation.clone();
        if !self.conversation.take_back_answer() {
            return Err(CliError::failure("there is no message yet that could be answered again"));
        }
        let reason = match self.settings.sampling(&self.defaults, &self.tokenizer)? {
            sampling if sampling.is_greedy() => Some("the temperature is 0"),
            _ if self.settings.has_seed() => Some("the seed is set (/set seed default draws one each time)"),
            _ => None,
        };
        if let Some(reason) = reason {
            self.console.note(&format!("{reason}: the answer is chosen as it was before"));
        }
        self.answer_or(before)
    }

    /// Answers the last message; if nothing comes of it the conversation is the one from before.
    fn answer_or(&mut self, before: Conversation) -> Result<bool, CliError> {
        self.interrupt.work_begins();
        let answered = self.try_answer();
        self.interrupt.work_is_done(self.has_editor);
        if !matches!(answered, Ok(Answer::Whole | Answer::Interrupted)) {
            self.conversation = before;
        }
        match answered? {
            Answer::Whole => Ok(false),
            Answer::Interrupted => {
                self.console.note("interrupted: what was said so far is the answer");
                Ok(true)
            }
            Answer::Nothing => {
                self.console.note("interrupted before anything was said: the message is taken back");
                Ok(true)
            }
            Answer::TooLate => Err(CliError::failure(
                "the time limit was up before anything was said: the message is taken back; /quit and allow more with \
                 --time-limit-s",
            )),
        }
    }

    fn try_answer(&mut self) -> Result<Answer, CliError> {
        let accepted_at = self.clock.0.elapsed();
        let sampling = self.settings.sampling(&self.defaults, &self.tokenizer)?;
        let Fitted { rendered, ids } = self.fit()?;
        let seed = sampling.seed;
        let request = Request {
            stop: self.settings.stop_params(),
            max_tokens: self.settings.max_tokens(),
            time_limit: self.time_limit,
            conversation: Some(CONVERSATION),
            accepted_at,
            tokenized_at: self.clock.0.elapsed(),
            ..Request::new(ids.clone(), sampling)
        };
        let id = self.engine.submit(request)?;
        let watch = Watch {
            console: &self.console,
            interrupt: self.interrupt,
            prompt: &ids,
            prefill_chunk: self.prefill_chunk,
            kv_cache: true,
            streams: true,
            explains: false,
        };
        let generation = generate(&mut self.engine, id, &watch, String::new(), None)?;
        let first = generation.first();
        // Where nothing came, the line is that of the terminal's own ^C.
        if !first.text.ends_with('\n') && (!first.token_ids.is_empty() || self.has_editor) {
            output::write("\n")?;
        }
        if let Some(error) = generation.finished.error {
            return Err(CliError::Request { model: self.model.clone(), error });
        }
        Ok(self.take(generation, rendered, ids, seed))
    }

    /// The answer becomes part of the conversation, if there is any.
    fn take(
        &mut self,
        generation: Generation,
        rendered: Rendered,
        prompt: Vec<TokenId>,
        seed: u64,
    ) -> Answer {
        let Generation { mut texts, finished, .. } = generation;
        let was_interrupted = finished.reason == FinishReason::Cancelled;
        if texts[0].token_ids.is_empty() {
            return if was_interrupted { Answer::Nothing } else { Answer::TooLate };
        }
        let first = texts.swap_remove(0);
        if first.text.is_empty() {
            self.console.note(&format!("the answer is empty: {}", finished.reason));
        }
        let said = n_said(&finished, first.token_ids.len(), self.settings.stop_params().include_stop);
        let ids = &first.token_ids[..said];
        self.conversation.answer(rendered, prompt, first.text, ids, &self.tokenizer);
        self.totals.add(&finished);
        self.console.summary(&self.summary(&finished, seed));
        if was_interrupted { Answer::Interrupted } else { Answer::Whole }
    }

    fn summary(&self, finished: &Finished, seed: u64) -> String {
        let (usage, timings) = (&finished.usage, &finished.timings);
        let ttft =
            timings.ttft.map_or("no text".to_owned(), |ttft| format!("TTFT {}", units::time(ttft.total())));
        let mut parts = vec![ttft];
        parts.extend(timings.decode_tok_per_s().map(units::rate));
        parts.push(format!(
            "{} reused, {} new",
            units::counted(usage.cached_tokens, "token"),
            units::count(usage.prompt_tokens - usage.cached_tokens)
        ));
        parts.push(self.context_used());
        if !matches!(finished.reason, FinishReason::Eos { .. }) {
            parts.push(finished.reason.to_string());
        }
        parts.push(format!("seed {seed}"));
        parts.join(" | ")
    }

    pub(super) fn context_used(&self) -> String {
        let (used, most) = (self.conversation.n_tokens(), self.limits.max_len);
        format!("context {} of {}", units::count(used), units::count(most))
    }

    /// The ids of the conversation, of which the oldest turns are dropped while it leaves too little room for an
    /// answer. That is said first.
    fn fit(&mut self) -> Result<Fitted, CliError> {
        let mut fitted = self.prompt()?;
        let n_asked = fitted.ids.len();
        let room = self.settings.max_tokens().unwrap_or(self.limits.max_len.div_ceil(4));
        let most = self.limits.max_len.saturating_sub(room);
        let (mut shorter, mut n_messages) = (self.conversation.clone(), 0);
        // What is dropped makes all that follows new to the cache: better more at once than a little in each turn.
        let target = |n_messages| if n_messages == 0 { most } else { most - most / 4 };
        while fitted.ids.len() > target(n_messages) {
            let Some(n) = shorter.drop_oldest() else {
                if fitted.ids.len() <= most {
                    break;
                }
                return Err(self.too_long(fitted.ids.len(), room));
            };
            n_messages += n;
            fitted = self.prompt_of(&shorter)?;
        }
        if n_messages > 0 {
            // Whatever else is quiet: nothing is dropped unsaid.
            self.say(&format!(
                "limpid: the oldest {} ({}) are dropped: the conversation has {n_asked} tokens, and {} holds {} of \
                 which {room} are kept for the answer",
                units::counted(n_messages, "message"),
                units::counted(n_asked.saturating_sub(fitted.ids.len()), "token"),
                self.limits.limit,
                self.limits.max_len,
            ));
            self.conversation = shorter;
        }
        Ok(fitted)
    }

    fn too_long(&self, n_prompt: usize, room: usize) -> CliError {
        let &PromptLimits { limit, max_len, .. } = &self.limits;
        let remedy = match self.settings.max_tokens() {
            Some(_) => "lower it with /set max_tokens, or shorten the message",
            None => "shorten the message, or ask for less with /set max_tokens",
        };
        let kept = match self.settings.max_tokens() {
            Some(_) => format!("max_tokens is {room}"),
            None => format!("a quarter of that, {room}, is kept for the answer"),
        };
        let with_system = if self.conversation.system().is_some() { " and the system message" } else { "" };
        CliError::failure(format!(
            "the message alone{with_system}, as the chat template writes it, has {}; {limit} holds \
             {max_len}, and {kept}: it is taken back; {remedy}",
            units::counted(n_prompt, "token"),
        ))
    }

    fn prompt(&self) -> Result<Fitted, CliError> {
        self.prompt_of(&self.conversation)
    }

    fn prompt_of(&self, conversation: &Conversation) -> Result<Fitted, CliError> {
        let rendered = self.template.render(conversation.messages())?;
        let ids = conversation.prompt_ids(&rendered, &self.tokenizer)?;
        Ok(Fitted { rendered, ids })
    }

    pub(super) fn reset(&mut self) {
        self.conversation.reset();
        self.engine.forget(CONVERSATION);
        self.console.note("forgotten; what comes now begins a conversation");
    }

    /// Changes the system's message, unless the template has no place for it; an empty text removes it.
    pub(super) fn set_system(&mut self, text: &str) -> Result<(), CliError> {
        let mut changed = self.conversation.clone();
        changed.set_system(Some(text).filter(|text| !text.is_empty()));
        self.check(&changed)?;
        self.conversation = changed;
        Ok(())
    }

    /// Refuses a conversation that the template does not write.
    fn check(&self, conversation: &Conversation) -> Result<(), CliError> {
        let mut asked = conversation.clone();
        if asked.messages().last().is_none_or(|last| last.role != "user") {
            asked.say("?".to_owned());
        }
        self.template.render(asked.messages())?;
        Ok(())
    }

    pub(super) fn set(&mut self, pairs: &[(String, String)]) -> Result<(), CliError> {
        let settings = self.settings.with(pairs).map_err(CliError::failure)?;
        self.take_settings(settings)
    }

    fn take_settings(&mut self, settings: Settings) -> Result<(), CliError> {
        let checked = settings.check(&self.defaults, &self.tokenizer, &self.limits);
        checked.map_err(|error| CliError::failure(error.to_string()))?;
        self.settings = settings;
        Ok(())
    }

    pub(super) fn load(&mut self, path: &Path) -> Result<(), CliError> {
        let (conversation, settings) = super::saved::load(path).map_err(CliError::failure)?;
        let of_file = |error| CliError::failure(format!("{}: {error}", path.display()));
        self.check(&conversation).map_err(of_file)?;
        if let Some(settings) = settings {
            self.take_settings(settings).map_err(of_file)?;
        }
        let n_messages = conversation.messages().len();
        self.conversation = conversation;
        self.console.note(&format!("{} read from {}", units::counted(n_messages, "message"), path.display()));
        Ok(())
    }

    pub(super) fn save(&self, path: &Path, overwrites: bool) -> Result<(), CliError> {
        super::saved::save(path, overwrites, &self.conversation, &self.settings)
            .map_err(CliError::failure)?;
        let n_messages = self.conversation.messages().len();
        self.console.note(&format!(
            "{} written to {}",
            units::counted(n_messages, "message"),
            path.display()
        ));
        Ok(())
    }

    pub(super) fn stats(&self) -> String {
        let kv = self.engine.kv_stats();
        let mut lines = vec![self.model.clone()];
        lines.push(format!(
            "{}, {}, KV cache {}",
            units::counted(self.conversation.messages().len(), "message"),
            self.context_used(),
            units::bytes(kv.touched_bytes)
        ));
        lines.extend(self.totals.lines());
        lines.join("\n")
    }

    /// What was asked for, or must be known: also where all else is quiet.
    pub(super) fn say(&self, text: &str) {
        text.lines().for_each(|line| console::print_line(&one_line(line)));
    }
}

/// How an answer went.
enum Answer {
    Whole,
    Interrupted,
    /// Interrupted before the first token.
    Nothing,
    /// The time limit was up before the first token.
    TooLate,
}

/// Of the generated tokens, those that are part of what was said: not the one that ended it.
fn n_said(finished: &Finished, n_tokens: usize, include_stop: bool) -> usize {
    match finished.reason {
        FinishReason::Eos { .. } => n_tokens - 1,
        FinishReason::StopId { .. } if !include_stop => n_tokens - 1,
        _ => n_tokens,
    }
}
