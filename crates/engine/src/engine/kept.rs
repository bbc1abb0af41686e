//! What stays in the cache of a conversation between two of its requests.
//!
//! A conversation's next prompt begins with what was computed for the last one. Its sequence is kept when a request
//! ends; the next one shortens it to what both have in common and computes the rest. The bytes are those of a request
//! that begins with nothing, since chunks of a prompt decide no byte.
//!
//! Kept sequences hold pages that nobody runs on: whoever needs them gets them, the oldest first.

use super::request::ConversationId;
use crate::TokenId;
use crate::kv::{KvCache, SeqId};
use crate::scheduler::FreePages;

/// The sequence of one conversation, whose pages are set aside.
struct Kept {
    conversation: ConversationId,
    seq: SeqId,
    /// Those whose keys and values are in the cache.
    tokens: Vec<TokenId>,
    /// By layer group.
    n_pages: Vec<usize>,
}

/// See the module. In the order in which they were kept.
#[derive(Default)]
pub(super) struct KeptSequences(Vec<Kept>);

/// A sequence for a request to start from, and how many tokens of its prompt it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reused {
    pub(super) seq: SeqId,
    pub(super) n_tokens: usize,
}

impl KeptSequences {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Keeps a sequence whose claim on pages has been given back; what was kept of its conversation before goes.
    pub(super) fn keep(
        &mut self,
        conversation: ConversationId,
        seq: SeqId,
        tokens: Vec<TokenId>,
        kv: &mut KvCache,
        free: &mut FreePages,
    ) {
        self.forget(conversation, kv, free);
        let n_pages: Vec<_> =
            (0..kv.layout().groups.len()).map(|group| kv.n_held_pages(seq, group)).collect();
        assert!(free.reserve(&n_pages), "a sequence holds no more pages than it had a claim on");
        self.0.push(Kept { conversation, seq, tokens, n_pages });
    }

    /// Gives back what is kept of a conversation. Whether there was anything.
    pub(super) fn forget(
        &mut self,
        conversation: ConversationId,
        kv: &mut KvCache,
        free: &mut FreePages,
    ) -> bool {
        let Some(i) = self.position(conversation) else { return false };
        self.drop_at(i, kv, free);
        true
    }

    /// Sets pages aside for a request of a conversation, if need be those of what is kept of others. Where even those
    /// are too few, nothing changes.
    pub(super) fn reserve(
        &mut self,
        n_pages: &[usize],
        conversation: Option<ConversationId>,
        kv: &mut KvCache,
        free: &mut FreePages,
    ) -> bool {
        let could_fit = |(group, &n)| free.n_free(group) + self.n_pages(group) >= n;
        if !n_pages.iter().enumerate().all(could_fit) {
            return false;
        }
        // What it goes on from is part of its own claim.
        let own = conversation.and_then(|conversation| self.position(conversation));
        let own = own.map(|i| self.0.remove(i));
        own.iter().for_each(|own| free.give_back(&own.n_pages));
        while !free.reserve(n_pages) {
            self.drop_at(0, kv, free);
        }
        // Until `take`, which follows, its pages count twice over, and nobody looks.
        self.0.extend(own);
        true
    }

    /// The sequence that a request starts from whose pages are reserved: as much of what is kept of its conversation
    /// as `prompt` begins with. Its last token is computed again, whose logits are wanted; so are those of the whole
    /// prompt if it is scored.
    pub(super) fn take(
        &mut self,
        conversation: ConversationId,
        prompt: &[TokenId],
        scores_prompt: bool,
        max_len: usize,
        kv: &mut KvCache,
    ) -> Option<Reused> {
        let Kept { seq, tokens, .. } = self.0.remove(self.position(conversation)?);
        let in_common = tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let n_tokens = if scores_prompt { 0 } else { in_common.min(prompt.len() - 1) };
        let n_tokens = if kv.can_truncate(seq, n_tokens) { n_tokens } else { 0 };
        kv.truncate(seq, n_tokens);
        kv.prepare(seq, max_len);
        Some(Reused { seq, n_tokens })
    }

    /// The pages of a layer group that are set aside.
    pub(super) fn n_pages(&self, group: usize) -> usize {
        self.0.iter().map(|kept| kept.n_pages[group]).sum()
    }

    /// For tests: no sequence holds other pages than those that are set aside for it.
    pub(super) fn check(&self, kv: &KvCache) -> Result<(), String> {
        for Kept { conversation, seq, tokens, n_pages } in &self.0 {
            let held = (0..n_pages.len()).map(|group| kv.n_held_pages(*seq, group));
            if kv.len(*seq) != tokens.len() || !held.eq(n_pages.iter().copied()) {
                return Err(format!("what is kept of conversation {} has changed", conversation.0));
            }
        }
        Ok(())
    }

    fn position(&self, conversation: ConversationId) -> Option<usize> {
        self.0.iter().position(|kept| kept.conversation == conversation)
    }

    fn drop_at(&mut self, i: usize, kv: &mut KvCache, free: &mut FreePages) {
        let kept = self.0.remove(i);
        kv.release(kept.seq);
        free.give_back(&kept.n_pages);
    }
}
