//! Whether a sequence goes on after a token: EOS, stop ids, and stop strings in the text.
//!
//! A stop string may lie across tokens. Text that could still become one is held back, and released or
//! dropped when that is known: never more bytes than the longest beginning of a stop string that the text
//! ends with.

mod automaton;

#[cfg(test)]
mod tests;

use self::automaton::Automaton;
use super::finish::FinishReason;
use super::params::{IgnoreEos, ParamError, SamplingParams};
use crate::TokenId;
use std::sync::Arc;

/// The most stop strings of a request.
pub const MAX_STOP_STRINGS: usize = 16;

/// The longest stop string. As much of a text may be held back.
pub const MAX_STOP_BYTES: usize = 4096;

/// Where a request wants to stop, besides EOS.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct StopParams {
    /// At most [`MAX_STOP_STRINGS`] of at most [`MAX_STOP_BYTES`], none empty.
    pub stop: Vec<String>,
    pub stop_token_ids: Vec<TokenId>,
    /// Whether the stop string, or the stop token's text, is part of the output.
    pub include_stop: bool,
}

impl StopParams {
    /// Refuses too many, too long or empty strings, ids that the vocabulary does not have, and to include what is not
    /// there.
    pub fn validate(&self, vocab_size: usize) -> Result<(), ParamError> {
        if self.stop.len() > MAX_STOP_STRINGS {
            let found = format!("{} strings", self.stop.len());
            return Err(ParamError::new("stop", found, &format!("at most {MAX_STOP_STRINGS} strings")));
        }
        if self.stop.iter().any(String::is_empty) {
            return Err(ParamError::new("stop", "an empty string", "strings of one character or more"));
        }
        if let Some(text) = self.stop.iter().find(|text| text.len() > MAX_STOP_BYTES) {
            let found = format!("a string of {} bytes", text.len());
            return Err(ParamError::new(
                "stop",
                found,
                &format!("strings of at most {MAX_STOP_BYTES} bytes"),
            ));
        }
        if self.include_stop && self.stop.is_empty() && self.stop_token_ids.is_empty() {
            return Err(ParamError::new("include_stop", true, "true only with stop or stop_token_ids"));
        }
        match self.stop_token_ids.iter().find(|id| id.0 as usize >= vocab_size) {
            Some(id) => Err(ParamError::new(
                "stop_token_ids",
                id.0,
                &format!("from 0 to {}", vocab_size.saturating_sub(1)),
            )),
            None => Ok(()),
        }
    }
}

/// Watches one sequence's output.
///
/// For each generated token call [`StopMatcher::token`]; if it does not end the sequence, hand the text that
/// the token brought to [`StopMatcher::text`]. When the sequence ends for any other reason than a stop
/// string, call [`StopMatcher::finish`] for the text that is still held.
#[derive(Clone, Debug)]
pub struct StopMatcher {
    ends: Arc<Ends>,
    /// Tokens so far.
    n_tokens: u32,
    /// Where the automaton stands after the last byte.
    node: u32,
    /// Text that is not released yet.
    held: String,
    /// Bytes of text released so far.
    n_released: usize,
}

/// What does not change while a sequence grows; its forks share it.
#[derive(Debug)]
struct Ends {
    params: StopParams,
    /// Ids that end the sequence as EOS: none where `ignore_eos` is set.
    eos: Vec<TokenId>,
    min_tokens: u32,
    automaton: Automaton,
}

impl StopMatcher {
    /// `eos`: the model's EOS ids. `vocab_size` bounds the stop ids.
    pub fn new(
        stop: &StopParams,
        sampling: &SamplingParams,
        eos: &[TokenId],
        vocab_size: usize,
    ) -> Result<StopMatcher, ParamError> {
        stop.validate(vocab_size)?;
        let eos = if sampling.ignore_eos == IgnoreEos::No { eos.to_vec() } else { Vec::new() };
        let (params, automaton) = (stop.clone(), Automaton::new(&stop.stop));
        Ok(StopMatcher {
            ends: Arc::new(Ends { params, eos, min_tokens: sampling.min_tokens, automaton }),
            n_tokens: 0,
            node: Automaton::ROOT,
            held: String::new(),
            n_released: 0,
        })
    }

    /// Becomes a copy of `other`, in the memory that is there.
    pub fn copy_from(&mut self, other: &Self) {
        let Self { ends, n_tokens, node, held, n_released } = other;
        self.ends.clone_from(ends);
        self.held.clone_from(held);
        (self.n_tokens, self.node, self.n_released) = (*n_tokens, *node, *n_released);
    }

    /// Counts a generated token; the reason, if the token itself ends the sequence. The text of such a token
    /// is no part of the output, except that of a stop id under `include_stop`.
    ///
    /// `min_tokens` is kept by the sampler, which masks these ids: an id that comes earlier nevertheless does
    /// not end the sequence.
    pub fn token(&mut self, id: TokenId) -> Option<FinishReason> {
        self.n_tokens += 1;
        if self.n_tokens <= self.ends.min_tokens {
            None
        } else if self.ends.eos.contains(&id) {
            Some(FinishReason::Eos { id })
        } else if self.ends.params.stop_token_ids.contains(&id) {
            Some(FinishReason::StopId { id })
        } else {
            None
        }
    }

    /// Takes the text that the last token brought (it may be empty), appends to `out` what is released, and
    /// gives the reason if a stop string is complete: of several the one that ends first, then the longest,
    /// then the first of the request. What follows the stop string is dropped.
    ///
    /// Stop strings are searched only in text that tokens beyond `min_tokens` brought.
    pub fn text(&mut self, text: &str, out: &mut String) -> Option<FinishReason> {
        self.held.push_str(text);
        if self.n_tokens <= self.ends.min_tokens {
            self.release(self.held.len(), out);
            return None;
        }
        let first_new = self.held.len() - text.len();
        for (i, byte) in text.bytes().enumerate() {
            self.node = self.ends.automaton.next(self.node, byte);
            if let Some(index) = self.ends.automaton.longest_match(self.node) {
                return Some(self.stopped(index, first_new + i + 1, out));
            }
        }
        // The part that stays begins with a stop string's first byte, so the cut lies between characters.
        self.release(self.held.len() - self.ends.automaton.depth(self.node), out);
        None
    }

    /// Appends the text that is still held to `out`: nothing more is coming that could make a stop string of
    /// it.
    pub fn finish(&mut self, out: &mut String) {
        self.release(self.held.len(), out);
        self.node = Automaton::ROOT;
    }

    /// How many token ids end the sequence.
    pub fn n_ending_ids(&self) -> usize {
        let stop_ids = &self.ends.params.stop_token_ids;
        self.ends.eos.len() + stop_ids.iter().filter(|id| !self.ends.eos.contains(id)).count()
    }

    /// Whether a stop id's own text is part of the output.
    pub fn includes_stop(&self) -> bool {
        self.ends.params.include_stop
    }

    /// Stop string `index` ends at byte `end` of the held text.
    fn stopped(&mut self, index: usize, end: usize, out: &mut String) -> FinishReason {
        let start = end - self.ends.params.stop[index].len();
        let at = self.n_released + start;
        self.release(if self.ends.params.include_stop { end } else { start }, out);
        self.held.clear();
        FinishReason::StopString { index, text: self.ends.params.stop[index].clone(), at }
    }

    fn release(&mut self, len: usize, out: &mut String) {
        out.push_str(&self.held[..len]);
        self.held.drain(..len);
        self.n_released += len;
    }
}
