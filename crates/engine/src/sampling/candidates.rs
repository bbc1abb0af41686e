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

/// The largest logit of a working model. The smallest repetition penalty and temperature divide by 1e-8 in
/// all, which may not overflow.
const MAX_LOGIT: f32 = 1e30;

/// Most likely first: a larger logit, then the lower id. (Larger logit and larger probability are the same
/// thing, and logits do not collide where an exponential rounds.)
fn rank(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

/// -0 and 0 are equal logits, which `total_cmp` would rank.
fn positive_zero(logit: f32) -> f32 {
    logit + 0.0
}

/// The candidates of one choice; one buffer serves any number of sequences, one after the other.
///
/// It begins with every token in order of id, so that masks and penalties can reach a token directly. The
/// first filter drops what is masked (logit -inf) and gives up that order. No filter sorts: sets of most
/// likely tokens are found by partial selection, which is exact because weights are integers whose sums do
/// not depend on the order.
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

    /// Bytes that `new` takes.
    pub fn bytes_for(vocab_size: usize) -> usize {
        vocab_size.saturating_mul(size_of::<Candidate>())
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.items.capacity() * size_of::<Candidate>()
    }

    /// The tokens in play with their logits, in no particular order.
    pub fn in_play(&self) -> impl Iterator<Item = (TokenId, f32)> {
        let in_play = self.items.iter().filter(|c| c.logit > f32::NEG_INFINITY);
        in_play.map(|c| (TokenId(c.id), c.logit))
    }

    /// Starts over with one logit a token. The error is the first token whose logit is NaN, +inf, or too
    /// large to work with.
    pub(super) fn fill(&mut self, logits: &[f32]) -> Result<(), TokenId> {
        let is_bad = |l: f32| l.is_nan() || l > MAX_LOGIT;
        // Not `any`: without its early exit this is a few vector operations.
        if logits.iter().fold(false, |bad, &l| bad | is_bad(l)) {
            let id = (0..).zip(logits).find(|&(_, &l)| is_bad(l)).map_or(0, |(id, _)| id);
            return Err(TokenId(id));
        }
        self.items.clear();
        let candidate = |(id, &logit)| Candidate { logit: positive_zero(logit), id, weight: 0 };
        self.items.extend((0..).zip(logits).map(candidate));
        self.by_id = true;
        self.weighed = false;
        Ok(())
    }

    /// Rewrites one token's logit, before any filter. A token beyond the vocabulary is none that could be
    /// chosen.
    pub(super) fn edit(&mut self, id: TokenId, f: impl FnOnce(f32) -> f32) {
        debug_assert!(self.by_id, "masks and penalties stand before the filters");
        if let Some(c) = self.items.get_mut(id.0 as usize) {
            c.logit = positive_zero(f(c.logit));
        }
    }

    /// Rewrites every logit.
    pub(super) fn edit_all(&mut self, f: impl Fn(f32) -> f32) {
        for c in &mut self.items {
            c.logit = positive_zero(f(c.logit));
        }
        self.weighed = false;
    }

    /// The most likely token, ties to the lowest id; none if all are masked. Before any filter.
    pub(super) fn argmax(&self) -> Option<TokenId> {
        debug_assert!(self.by_id, "the first of equal logits must be the one with the lowest id");
        let mut best = Candidate { logit: f32::NEG_INFINITY, id: 0, weight: 0 };
        for c in &self.items {
            if c.logit > best.logit {
                best = *c;
            }
        }
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

    /// Keeps the shortest run of most likely tokens whose weights sum to `target` or more; at least one, and
    /// all if the target is out of reach.
    pub(super) fn keep_weight_sum(&mut self, target: u64) {
        let n = self.shortest_prefix(target);
        self.items.truncate(n);
    }

    /// The token at which the running sum of weights, most likely first, exceeds `share`, a number below the
    /// sum of all; none if nothing is left.
    pub(super) fn at_share(&mut self, share: u64) -> Option<TokenId> {
        let n = self.shortest_prefix(share + 1);
        Some(TokenId(self.items.get(n.checked_sub(1)?)?.id))
    }

    /// Moves the shortest run of most likely tokens that weighs `target` or more to the front, the least
    /// likely of them at its end, and gives its length.
    ///
    /// A quickselect on the running sum: the side of a cut that cannot hold the end of the run is never
    /// looked at again, so the work is linear. The first cut is a guess that costs one plain pass: nearly
    /// always nearly all weight is close to the top. The others are medians.
    fn shortest_prefix(&mut self, target: u64) -> usize {
        const CLOSE: f32 = 8.0;
        const SORT_LEN: usize = 32;
        self.weigh();
        let (mut start, mut end, mut sum) = (0, self.items.len(), 0);
        let mut middle = self.partition(self.max_logit() - CLOSE);
        loop {
            let upper: u64 = self.items[start..middle].iter().map(|c| c.weight).sum();
            if sum + upper >= target {
                end = middle;
            } else {
                sum += upper;
                start = middle;
            }
            if end - start <= SORT_LEN {
                break;
            }
            middle = start + (end - start) / 2;
            self.items[start..end].select_nth_unstable_by(middle - start, rank);
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

    /// Moves the logits from `cut` on to the front and gives their number.
    fn partition(&mut self, cut: f32) -> usize {
        let mut n = 0;
        for i in 0..self.items.len() {
            if self.items[i].logit >= cut {
                self.items.swap(i, n);
                n += 1;
            }
        }
        n
    }

    /// The tokens in play with their probabilities, in no particular order. Changes nothing, so that looking
    /// cannot matter.
    pub(super) fn iter(&self) -> impl Iterator<Item = trace::Candidate> {
        let max = self.max_logit();
        let in_play = || self.items.iter().filter(|c| c.logit > f32::NEG_INFINITY);
        let total = in_play().map(|c| weight(c.logit - max)).sum::<u64>() as f64;
        in_play().map(move |c| trace::Candidate {
            id: TokenId(c.id),
            logit: c.logit,
            p: weight(c.logit - max) as f64 / total,
        })
    }

    /// Computes the weights unless they are known. A filter that keeps the most likely token leaves them
    /// valid.
    fn weigh(&mut self) {
        if self.weighed {
            return;
        }
        self.drop_masked();
        let max = self.max_logit();
        for c in &mut self.items {
            c.weight = weight(c.logit - max);
        }
        self.weighed = true;
    }

    /// Eight maxima, so that one comparison need not wait for the last.
    fn max_logit(&self) -> f32 {
        let larger = |a: f32, b: f32| if a > b { a } else { b };
        let mut max = [f32::NEG_INFINITY; 8];
        for chunk in self.items.chunks(max.len()) {
            for (max, c) in max.iter_mut().zip(chunk) {
                *max = larger(c.logit, *max);
            }
        }
        max.into_iter().fold(f32::NEG_INFINITY, larger)
    }

    fn drop_masked(&mut self) {
        if self.by_id {
            self.items.retain(|c| c.logit > f32::NEG_INFINITY);
            self.by_id = false;
        }
    }
}
