//! The tokens that are still in play: the working memory of the chain.

use std::cmp::Ordering;

use super::weight::weight;
use crate::{TokenId, trace};

#[derive(Clone, Copy, Debug)]
struct Candidate {
    logit: f32,
    id: u32,
    /// floor(p / p_max * 2^40); only meaningful while `Candidates::weighed` holds.
    weight: u64,
}

/// A logit that has no softmax: NaN or +inf. (-inf is a masked token.)
#[derive(Clone, Copy, Debug)]
pub(super) struct NotFinite {
    pub(super) id: TokenId,
    pub(super) value: f32,
}

/// Most likely first: a larger logit, then the lower id. (Larger logit and larger probability are the same thing, and logits
/// do not collide where an exponential rounds.)
fn rank(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

/// The candidates of one choice; one buffer serves any number of sequences, one after the other.
///
/// It begins with every token in order of id, so that masks and penalties can reach a token directly. The first filter drops
/// what is masked (logit -inf) and gives up that order. No filter sorts: sets of most likely tokens are found by partial
/// selection, which is exact because weights are integers whose sums do not depend on the order.
#[derive(Debug)]
pub struct Candidates {
    items: Vec<Candidate>,
    /// items\[i\].id == i
    by_id: bool,
    weighed: bool,
}

impl Candidates {
    /// Memory for `vocab_size` tokens; the buffer grows if it meets a larger vocabulary.
    pub fn new(vocab_size: usize) -> Self {
        Candidates { items: Vec::with_capacity(vocab_size), by_id: true, weighed: false }
    }

    /// Bytes held, for the memory plan.
    pub fn bytes(&self) -> usize {
        self.items.capacity() * size_of::<Candidate>()
    }

    /// Starts over with one logit a token. The error is the first token whose logit is NaN or +inf.
    pub(super) fn fill(&mut self, logits: &[f32]) -> Result<(), NotFinite> {
        self.items.clear();
        // -0 becomes +0: they are equal, but `total_cmp` would rank them.
        self.items.extend((0..).zip(logits).map(|(id, &logit)| Candidate { logit: logit + 0.0, id, weight: 0 }));
        self.by_id = true;
        self.weighed = false;
        self.check()
    }

    /// Refuses the first token whose logit is NaN or +inf: neither has a softmax.
    pub(super) fn check(&self) -> Result<(), NotFinite> {
        match self.items.iter().find(|c| c.logit.is_nan() || c.logit == f32::INFINITY) {
            Some(c) => Err(NotFinite { id: TokenId(c.id), value: c.logit }),
            None => Ok(()),
        }
    }

    /// Rewrites one token's logit, before any filter. A token beyond the vocabulary is none that could be chosen.
    pub(super) fn edit(&mut self, id: TokenId, f: impl FnOnce(f32) -> f32) {
        debug_assert!(self.by_id, "masks and penalties stand before the filters");
        if let Some(c) = self.items.get_mut(id.0 as usize) {
            c.logit = f(c.logit);
            self.weighed = false;
        }
    }

    /// Rewrites every logit.
    pub(super) fn edit_all(&mut self, f: impl Fn(f32) -> f32) {
        for c in &mut self.items {
            c.logit = f(c.logit);
        }
        self.weighed = false;
    }

    /// The most likely token, ties to the lowest id; none if all are masked.
    pub(super) fn argmax(&self) -> Option<TokenId> {
        let best = self.items.iter().min_by(|a, b| rank(a, b))?;
        (best.logit > f32::NEG_INFINITY).then_some(TokenId(best.id))
    }

    /// The sum of all weights.
    pub(super) fn total_weight(&mut self) -> u64 {
        self.weigh();
        self.items.iter().map(|c| c.weight).sum()
    }

    /// Keeps the tokens that weigh at least `floor`.
    pub(super) fn keep_weight_from(&mut self, floor: u64) {
        self.weigh();
        self.items.retain(|c| c.weight >= floor);
    }

    /// Keeps the `k` largest logits and whatever equals the last of them; k > 0.
    pub(super) fn keep_largest(&mut self, k: usize) {
        self.drop_masked();
        if k >= self.items.len() {
            return;
        }
        let (_, last, _) = self.items.select_nth_unstable_by(k - 1, rank);
        let last = last.logit;
        self.items.retain(|c| c.logit >= last);
    }

    /// Keeps the shortest run of most likely tokens whose weights sum to `target` or more; at least one, and all if the
    /// target is out of reach.
    pub(super) fn keep_weight_sum(&mut self, target: u64) {
        let n = self.shortest_prefix(target);
        self.items.truncate(n);
    }

    /// The token at which the running sum of weights, most likely first, reaches `target` > 0; none if nothing is left.
    pub(super) fn at_weight_sum(&mut self, target: u64) -> Option<TokenId> {
        let n = self.shortest_prefix(target);
        Some(TokenId(self.items.get(n.checked_sub(1)?)?.id))
    }

    /// Moves the shortest run of most likely tokens that weighs `target` or more to the front, the least likely of them at its
    /// end, and gives its length.
    ///
    /// A quickselect on the running sum: the side of the median that cannot hold the end of the run is never looked at again,
    /// so the work is linear.
    fn shortest_prefix(&mut self, target: u64) -> usize {
        const SORT_LEN: usize = 32;
        self.weigh();
        let (mut start, mut end, mut sum) = (0, self.items.len(), 0);
        while end - start > SORT_LEN {
            let middle = (end - start) / 2;
            let range = &mut self.items[start..end];
            range.select_nth_unstable_by(middle, rank);
            let upper: u64 = range[..middle].iter().map(|c| c.weight).sum();
            if sum + upper >= target {
                end = start + middle;
            } else {
                sum += upper;
                start += middle;
            }
        }
        self.items[start..end].sort_unstable_by(rank);
        for i in start..end {
            sum += self.items[i].weight;
            if sum >= target {
                return i + 1;
            }
        }
        end
    }

    /// The tokens in play with their probabilities, in no particular order.
    pub(super) fn iter(&mut self) -> impl Iterator<Item = trace::Candidate> {
        let total = self.total_weight() as f64;
        self.items.iter().map(move |c| trace::Candidate {
            id: TokenId(c.id),
            logit: c.logit,
            p: c.weight as f64 / total,
        })
    }

    /// Computes the weights unless they are known. A filter that keeps the most likely token leaves them valid.
    fn weigh(&mut self) {
        if self.weighed {
            return;
        }
        self.drop_masked();
        let max = self.items.iter().fold(f32::NEG_INFINITY, |max, c| if c.logit > max { c.logit } else { max });
        for c in &mut self.items {
            c.weight = weight(c.logit - max);
        }
        self.weighed = true;
    }

    fn drop_masked(&mut self) {
        if self.by_id {
            self.items.retain(|c| c.logit > f32::NEG_INFINITY);
            self.by_id = false;
        }
    }
}
