//! The tokens that are still in play: the working memory of the chain.

use limpid_kernels::isa::Isa;
use limpid_kernels::ops::mass;

use super::select::{self, Pair};
use super::sums;
use crate::{TokenId, trace};

/// The largest logit of a working model. The smallest repetition penalty and temperature divide by 1e-8 in
/// all, which may not overflow.
const MAX_LOGIT: f32 = 1e30;

/// The candidates of one choice; one buffer serves any number of sequences, one after the other.
///
/// They stay in order of id. A filter finds the value that the last survivor has and drops what is below in one
/// pass; no filter sorts. Sets of most likely tokens are found by partial selection (`select.rs`), which is exact
/// because masses are integers whose sums do not depend on the order. -0 and 0 are equal logits everywhere.
#[derive(Debug)]
pub struct Candidates {
    isa: Isa,
    logits: Vec<f32>,
    /// Whose logits they are; not used while `by_position`.
    ids: Vec<u32>,
    /// No token was dropped: the position is the id.
    by_position: bool,
    /// Some may be masked: in the list, with the logit -inf.
    may_be_masked: bool,
    /// p / p_max of each; only meaningful while `weighed`.
    p: Vec<f32>,
    weighed: Option<Weighed>,
    // Scratch:
    keys: Vec<f32>,
    kept: Vec<u32>,
    pairs: Vec<Pair>,
    numbers: Vec<u64>,
}

/// What is known about `p`.
#[derive(Clone, Copy, Debug)]
struct Weighed {
    max_logit: f32,
    /// The sum of all masses.
    total: u64,
}

impl Candidates {
    /// Memory for `vocab_size` tokens; the buffer grows if it meets a larger vocabulary.
    pub fn new(vocab_size: usize, isa: Isa) -> Self {
        Candidates {
            isa,
            logits: Vec::with_capacity(vocab_size),
            ids: Vec::with_capacity(vocab_size),
            by_position: true,
            may_be_masked: false,
            p: Vec::with_capacity(vocab_size),
            weighed: None,
            keys: Vec::with_capacity(vocab_size),
            kept: Vec::with_capacity(vocab_size),
            pairs: Vec::with_capacity(vocab_size),
            numbers: Vec::new(),
        }
    }

    /// Bytes that `new` takes.
    pub fn bytes_for(vocab_size: usize) -> usize {
        const PER_TOKEN: usize = 3 * size_of::<f32>() + 2 * size_of::<u32>() + size_of::<Pair>();
        vocab_size.saturating_mul(PER_TOKEN)
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let floats = self.logits.capacity() + self.p.capacity() + self.keys.capacity();
        let indices = self.ids.capacity() + self.kept.capacity();
        4 * (floats + indices) + self.pairs.capacity() * size_of::<Pair>()
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
        self.logits.clear();
        self.logits.extend_from_slice(logits);
        self.by_position = true;
        self.may_be_masked = true;
        self.weighed = None;
        Ok(())
    }

    /// The tokens in play with their logits, by ascending id.
    pub fn in_play(&self) -> impl Iterator<Item = (TokenId, f32)> {
        let in_play = (0..self.logits.len()).filter(|&i| self.logits[i] > f32::NEG_INFINITY);
        in_play.map(|i| (self.id(i), self.logits[i]))
    }

    /// How many are in play.
    pub(super) fn len(&mut self) -> usize {
        self.drop_masked();
        self.logits.len()
    }

    /// Rewrites one token's logit, if it is in play.
    pub(super) fn edit(&mut self, id: TokenId, f: impl FnOnce(f32) -> f32) {
        let position = match self.by_position {
            true => Some(id.0 as usize),
            false => self.ids.binary_search(&id.0).ok(),
        };
        if let Some(logit) = position.and_then(|i| self.logits.get_mut(i)) {
            *logit = f(*logit);
            self.weighed = None;
        }
    }

    /// Masks one token; before any filter.
    pub(super) fn mask(&mut self, id: TokenId) {
        debug_assert!(self.by_position, "masks stand before the filters");
        self.edit(id, |_| f32::NEG_INFINITY);
    }

    /// Masks all but these, which are in ascending order; before any filter.
    pub(super) fn mask_all_but(&mut self, allowed: &[TokenId]) {
        debug_assert!(self.by_position, "masks stand before the filters");
        let len = self.logits.len();
        let mut start = 0;
        for end in allowed.iter().map(|id| id.0 as usize).chain([len]) {
            self.logits[start..end.max(start).min(len)].fill(f32::NEG_INFINITY);
            start = (end + 1).min(len);
        }
        self.weighed = None;
    }

    /// Divides every logit. One that is hugely negative may become -inf: it is masked then.
    pub(super) fn divide(&mut self, by: f32) {
        self.logits.iter_mut().for_each(|l| *l /= by);
        self.may_be_masked = true;
        self.weighed = None;
    }

    /// The most likely token, ties to the lowest id; none if all are masked.
    pub(super) fn argmax(&self) -> Option<TokenId> {
        let max = sums::max(&self.logits);
        if max == f32::NEG_INFINITY {
            return None;
        }
        self.logits.iter().position(|&l| l == max).map(|i| self.id(i))
    }

    /// The sum of all masses; 0 if nothing is in play.
    pub(super) fn total_mass(&mut self) -> u64 {
        self.weigh().total
    }

    /// Keeps the tokens that have at least this mass, and in any case the most likely one.
    pub(super) fn keep_mass_from(&mut self, least: u64) {
        self.weigh();
        select::list(&self.p, p_of(least), &mut self.kept, |_| true);
        self.keep_listed();
    }

    /// Keeps the tokens that are at least so likely, and in any case the most likely one.
    pub(super) fn keep_p_from(&mut self, least: f64) {
        let total = self.total_mass() as f64;
        self.keep_mass_from((least * total).ceil() as u64);
    }

    /// Keeps the logits that are at least this.
    pub(super) fn keep_logits_from(&mut self, least: f32) {
        select::list(&self.logits, least, &mut self.kept, |_| true);
        self.keep_listed();
    }

    /// Keeps the `k` largest logits and whatever equals the last of them; k > 0.
    pub(super) fn keep_largest(&mut self, k: usize) {
        if k < self.logits.len() {
            let cut = select::cut(self.isa, &self.logits, None, k as u64, &mut self.pairs);
            self.keep_logits_from(cut.key);
        }
    }

    /// Keeps the shortest run of most likely tokens (equal ones by id) whose masses sum to `target` or more; at least
    /// one, and all if the target is out of reach.
    pub(super) fn keep_mass_sum(&mut self, target: u64) {
        let total = self.total_mass();
        if total == 0 {
            return;
        }
        let target = target.clamp(1, total);
        let cut = select::cut(self.isa, &self.logits, Some(&self.p), target, &mut self.pairs);
        let mut ties = cut.ties(target);
        let (logits, p) = (&self.logits, &self.p);
        select::list(logits, cut.key, &mut self.kept, |i| logits[i] > cut.key || ties.take(p[i]));
        self.keep_listed();
    }

    /// Keeps the shortest run of tokens whose `l - l_max` is closest to `centre` (equally close ones by id) and whose
    /// masses sum to `target` or more; at least one.
    pub(super) fn keep_closest(&mut self, centre: f64, target: u64) {
        let Weighed { max_logit: max, total } = self.weigh();
        if total == 0 {
            return;
        }
        let (target, centre) = (target.clamp(1, total), centre as f32);
        self.keys.clear();
        self.keys.extend(self.logits.iter().map(|l| -((l - max) - centre).abs()));
        let cut = select::cut(self.isa, &self.keys, Some(&self.p), target, &mut self.pairs);
        let mut ties = cut.ties(target);
        let (keys, p) = (&self.keys, &self.p);
        select::list(keys, cut.key, &mut self.kept, |i| keys[i] > cut.key || ties.take(p[i]));
        self.keep_listed();
        // The most likely token may be gone.
        self.weighed = None;
    }

    /// Of the tokens that have at least this mass, masks all but the least likely (of equal ones the highest id);
    /// nothing happens if they are less than two.
    pub(super) fn mask_all_but_last_from(&mut self, least: u64) {
        if least > 1 << mass::MASS_BITS {
            return;
        }
        self.weigh();
        // A mass of 0 is what a masked token has, too.
        let logits = &self.logits;
        select::list(&self.p, p_of(least), &mut self.kept, |i| logits[i] > f32::NEG_INFINITY);
        let logit = |&i: &u32| self.logits[i as usize];
        let lower = |a: u32, b: u32| if logit(&b) <= logit(&a) { b } else { a };
        let Some(last) = self.kept.iter().copied().reduce(lower) else { return };
        for &i in self.kept.iter().filter(|&&i| i != last) {
            self.logits[i as usize] = f32::NEG_INFINITY;
        }
        self.may_be_masked = true;
        self.weighed = None;
    }

    /// The token at which the running sum of masses, most likely first (equal ones by id), exceeds `share`, a number
    /// below the sum of all, and its mass; none if nothing is left.
    pub(super) fn at_share(&mut self, share: u64) -> Option<(TokenId, u64)> {
        if self.total_mass() == 0 {
            return None;
        }
        let target = share + 1;
        let cut = select::cut(self.isa, &self.logits, Some(&self.p), target, &mut self.pairs);
        let (mut sum, mut chosen) = (cut.above, None);
        select::each_where(
            &self.logits,
            |logit| logit == cut.key,
            |i| {
                if sum < target {
                    sum += mass::of(self.p[i]);
                    chosen = Some(i);
                }
            },
        );
        chosen.map(|i| (self.id(i), mass::of(self.p[i])))
    }

    /// The mean of `l - l_max` over the distribution, and ln(sum of e^(l - l_max)): the entropy in nats is the second
    /// less the first.
    pub(super) fn moments(&mut self) -> Moments {
        self.drop_masked();
        let Weighed { max_logit: max, total } = self.weigh();
        let z = total as f64 / (1u64 << mass::MASS_BITS) as f64;
        let sum = sums::over(&self.logits, &self.p, |l, p| p * (l - max));
        Moments { mean: sum / z, log_sum: libm::log(z) }
    }

    /// The largest logit and the standard deviation of all, as of a whole population.
    pub(super) fn max_and_sigma(&mut self) -> (f32, f64) {
        let n = self.len() as f64;
        let mean = (sums::over(&self.logits, &self.logits, |l, _| l) / n) as f32;
        let squares = sums::over(&self.logits, &self.logits, |l, _| (l - mean) * (l - mean));
        (sums::max(&self.logits), libm::sqrt(squares / n))
    }

    /// Calls `f` with scratch memory: an empty list with room for `capacity` numbers.
    pub(super) fn with_scratch(&mut self, capacity: usize, f: impl FnOnce(&mut Self, &mut Vec<u64>)) {
        let mut numbers = std::mem::take(&mut self.numbers);
        numbers.clear();
        numbers.reserve(capacity);
        f(self, &mut numbers);
        self.numbers = numbers;
    }

    /// The tokens in play with their probabilities, by ascending id. Changes nothing that a later stage reads, so that
    /// looking cannot matter.
    pub(super) fn iter(&mut self) -> impl Iterator<Item = trace::Candidate> + '_ {
        self.keys.resize(self.logits.len(), 0.0);
        let max = sums::max(&self.logits).max(f32::MIN);
        let total = mass::weigh(self.isa, &self.logits, max, &mut self.keys) as f64;
        let this = &*self;
        let p = move |i: usize| mass::of(this.keys[i]) as f64 / total;
        let candidate = move |i| trace::Candidate { id: this.id(i), logit: this.logits[i], p: p(i) };
        (0..this.logits.len()).filter(|&i| this.logits[i] > f32::NEG_INFINITY).map(candidate)
    }

    fn id(&self, position: usize) -> TokenId {
        TokenId(if self.by_position { position as u32 } else { self.ids[position] })
    }

    /// Computes p / p_max unless it is known. (A masked token has the mass 0.) A filter that keeps the most likely
    /// token leaves it valid.
    fn weigh(&mut self) -> Weighed {
        if let Some(weighed) = self.weighed {
            return weighed;
        }
        let max_logit = sums::max(&self.logits).max(f32::MIN);
        self.p.resize(self.logits.len(), 0.0);
        let total = mass::weigh(self.isa, &self.logits, max_logit, &mut self.p);
        *self.weighed.insert(Weighed { max_logit, total })
    }

    fn drop_masked(&mut self) {
        if self.may_be_masked {
            self.may_be_masked = false;
            let n: usize = self.logits.iter().map(|&l| usize::from(l > f32::NEG_INFINITY)).sum();
            if n < self.logits.len() {
                self.keep_logits_from(f32::MIN);
            }
        }
    }

    /// Drops what is not in `kept`.
    fn keep_listed(&mut self) {
        let n = self.kept.len();
        if n == self.logits.len() {
            return;
        }
        gather(&mut self.logits, &self.kept);
        if let Some(weighed) = &mut self.weighed {
            gather(&mut self.p, &self.kept);
            weighed.total = mass::sum(self.isa, &self.p);
        }
        if self.by_position {
            std::mem::swap(&mut self.ids, &mut self.kept);
            self.by_position = false;
        } else {
            for (to, &from) in self.kept.iter().enumerate() {
                self.ids[to] = self.ids[from as usize];
            }
            self.ids.truncate(n);
        }
    }
}

/// See [`Candidates::moments`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    pub(super) mean: f64,
    pub(super) log_sum: f64,
}

impl Moments {
    /// In nats.
    pub(super) fn entropy(self) -> f64 {
        self.log_sum - self.mean
    }
}

/// The smallest p that has this mass, or 1 if none has.
fn p_of(mass: u64) -> f32 {
    // Up to 2^40 an f64 is exact.
    let exact = mass.min(1 << mass::MASS_BITS) as f64 / (1u64 << mass::MASS_BITS) as f64;
    let p = exact as f32;
    if f64::from(p) < exact { p.next_up() } else { p }
}

/// Moves the listed elements to the front and drops the others.
fn gather(x: &mut Vec<f32>, kept: &[u32]) {
    for (to, &from) in kept.iter().enumerate() {
        x[to] = x[from as usize];
    }
    x.truncate(kept.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_p_of_a_mass_has_it_and_the_one_below_has_not() {
        let full = 1u64 << mass::MASS_BITS;
        for m in [1, 3, (1 << 24) + 1, (1 << 30) + 1, (1 << 31) + 129, full / 3, full - 1, full] {
            let p = p_of(m);
            assert!(mass::of(p) >= m && mass::of(p.next_down()) < m, "{m}: {p}");
        }
        assert_eq!(p_of(full + 1), 1.0);
    }
}
