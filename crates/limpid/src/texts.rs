//! The texts of a request, put together from the engine's events.

use limpid_engine::TokenId;
use limpid_engine::decode::{TokenLogprobs, TopLogprob};
use limpid_engine::engine::EventKind;
use limpid_engine::sampling::FinishReason;

/// A token's log-probability and those of the likeliest in its place.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct TextLogprob {
    pub(crate) id: TokenId,
    pub(crate) logprob: f32,
    pub(crate) top: Vec<TopLogprob>,
}

impl TextLogprob {
    pub(crate) fn new(id: TokenId, of: TokenLogprobs<'_>) -> Self {
        Self { id, logprob: of.logprob, top: of.top.to_vec() }
    }
}

/// One of a request's texts.
#[derive(Default)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) token_ids: Vec<TokenId>,
    /// As long as `token_ids`, if they were asked for.
    pub(crate) logprobs: Vec<TextLogprob>,
    pub(crate) reason: Option<FinishReason>,
    pub(crate) score: Option<f64>,
}

/// What has come so far.
pub(crate) struct Texts {
    /// By choice; the first is always there.
    pub(crate) texts: Vec<Text>,
    /// What each text begins with.
    pub(crate) echo: String,
    pub(crate) prompt_logprobs: Option<Vec<TextLogprob>>,
}

impl Texts {
    pub(crate) fn new(echo: String) -> Self {
        let mut texts = Self { texts: Vec::new(), echo, prompt_logprobs: None };
        texts.text(0);
        texts
    }

    /// Takes an event of a request with this prompt, and gives the text that it brought.
    pub(crate) fn take<'a>(&mut self, kind: EventKind<'a>, prompt: &[TokenId]) -> &'a str {
        match kind {
            EventKind::Token { choice, id, text, logprobs } => {
                let told = self.text(choice);
                told.token_ids.push(id);
                told.logprobs.extend(logprobs.map(|of| TextLogprob::new(id, of)));
                told.text.push_str(text);
                return text;
            }
            EventKind::Text { choice, text } => {
                self.text(choice).text.push_str(text);
                return text;
            }
            EventKind::PromptLogprobs(logprobs) => {
                let of_tokens = prompt[1..].iter().zip(logprobs.iter());
                self.prompt_logprobs = Some(of_tokens.map(|(&id, of)| TextLogprob::new(id, of)).collect());
            }
            EventKind::Ended { choice, reason, score } => {
                let told = self.text(choice);
                (told.reason, told.score) = (Some(reason.clone()), score);
            }
            EventKind::Started { .. } | EventKind::Finished(_) => {}
        }
        ""
    }

    /// So many texts there are, also where nothing was told of some.
    pub(crate) fn expect_texts(&mut self, n_texts: usize) {
        self.text(n_texts - 1);
    }

    fn text(&mut self, choice: usize) -> &mut Text {
        while self.texts.len() <= choice {
            self.texts.push(Text { text: self.echo.clone(), ..Text::default() });
        }
        &mut self.texts[choice]
    }
}
