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
    /// Every token is in play (masked ones with -inf): the position is the id.
    by_position: bool,
    /// p / p_max of each; only meaningful while `weighed`.
    p: Vec<f32>,
    weighed: bool,
    // Scratch:
    keys: Vec<f32>,
    kept: Vec<u32>,
    pairs: Vec<Pair>,
    numbers: Vec<u64>,
}

impl Candidates {
    /// Memory for `vocab_size` tokens; the buffer grows if it meets a larger vocabulary.
    pub fn new(vocab_size: usize, isa: Isa) -> Self {
        Candidates {
            isa,
            logits: Vec::with_capacity(vocab_size),
            ids: Vec::with_capacity(vocab_size),
            by_position: true,
            p: Vec::with_capacity(vocab_size),
            weighed: false,
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
        self.weighed = false;
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
            self.weighed = false;
        }
    }

    pub(super) fn mask(&mut self, id: TokenId) {
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
    }

    /// Divides every logit.
    pub(super) fn divide(&mut self, by: f32) {
        self.logits.iter_mut().for_each(|l| *l /= by);
        self.weighed = false;
    }

    /// The most likely token, ties to the lowest id; none if all are masked.
    pub(super) fn argmax(&self) -> Option<TokenId> {
        let max = max(&self.logits);
        if max == f32::NEG_INFINITY {
            return None;
        }
        self.logits.iter().position(|&l| l == max).map(|i| self.id(i))
    }

    /// The sum of all masses; 0 if nothing is in play.
    pub(super) fn total_mass(&mut self) -> u64 {
        self.weigh();
        mass::sum(self.isa, &self.p)
    }

    /// Keeps the tokens that have at least this mass, and in any case the most likely one.
    pub(super) fn keep_mass_from(&mut self, least: u64) {
        self.weigh();
        let least = least.min(1 << mass::MASS_BITS);
        // The smallest f32 with this mass: below 2^40 an f64 is exact.
        let exact = least as f64 / (1u64 << mass::MASS_BITS) as f64;
        let p = exact as f32;
        let cut = if f64::from(p) < exact { p.next_up() } else { p };
        select::list(&self.p, cut, &mut self.kept, |_| true);
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
        if k < self.len() {
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
        let total = self.total_mass();
        if total == 0 {
            return;
        }
        let target = target.clamp(1, total);
        let (max, centre) = (max(&self.logits), centre as f32);
        self.keys.clear();
        self.keys.extend(self.logits.iter().map(|l| -((l - max) - centre).abs()));
        let cut = select::cut(self.isa, &self.keys, Some(&self.p), target, &mut self.pairs);
        let mut ties = cut.ties(target);
        let (keys, p) = (&self.keys, &self.p);
        select::list(keys, cut.key, &mut self.kept, |i| keys[i] > cut.key || ties.take(p[i]));
        self.keep_listed();
        // The most likely token may be gone.
        self.weighed = false;
    }

    /// Of the tokens that have at least this mass, keeps only the least likely (of equal ones the highest id); nothing
    /// happens if they are less than two.
    pub(super) fn drop_all_but_last_from(&mut self, least: u64) {
        self.weigh();
        let has_mass = |&(_, p): &(usize, &f32)| mass::of(*p) >= least;
        let mut last: Option<(usize, f32)> = None;
        let mut n = 0;
        for (i, &p) in self.p.iter().enumerate().filter(has_mass) {
            n += 1;
            if last.is_none_or(|(j, _)| self.logits[i] <= self.logits[j]) {
                last = Some((i, p));
            }
        }
        let Some((last, _)) = last.filter(|_| n > 1) else { return };
        let p = &self.p;
        select::list(&self.p, 0.0, &mut self.kept, |i| i == last || mass::of(p[i]) < least);
        self.keep_listed();
        self.weighed = false;
    }

    /// The token at which the running sum of masses, most likely first (equal ones by id), exceeds `share`, a number
    /// below the sum of all, and its mass; none if nothing is left.
    pub(super) fn at_share(&mut self, share: u64) -> Option<(TokenId, u64)> {
        if self.total_mass() == 0 {
            return None;
        }
        let target = share + 1;
        let cut = select::cut(self.isa, &self.logits, Some(&self.p), target, &mut self.pairs);
        let mut sum = cut.above;
        let at_cut = (0..self.logits.len()).filter(|&i| self.logits[i] == cut.key);
        let is_reached = |&i: &usize| {
            sum += mass::of(self.p[i]);
            sum >= target
        };
        at_cut.into_iter().find(is_reached).map(|i| (self.id(i), mass::of(self.p[i])))
    }

    /// The mean of `l - l_max` over the distribution, and ln(sum of e^(l - l_max)): the entropy in nats is the second
    /// less the first.
    pub(super) fn moments(&mut self) -> Moments {
        let z = self.total_mass() as f64 / (1u64 << mass::MASS_BITS) as f64;
        let max = max(&self.logits);
        let sum = sums::over(&self.logits, &self.p, |l, p| p * (l - max));
        Moments { mean: sum / z, log_sum: libm::log(z) }
    }

    /// The largest logit and the standard deviation of all, as of a whole population.
    pub(super) fn max_and_sigma(&mut self) -> (f32, f64) {
        let n = self.len() as f64;
        let mean = (sums::over(&self.logits, &self.logits, |l, _| l) / n) as f32;
        let squares = sums::over(&self.logits, &self.logits, |l, _| (l - mean) * (l - mean));
        (max(&self.logits), libm::sqrt(squares / n))
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
        let max = max(&self.logits).max(f32::MIN);
        let total = mass::weigh(self.isa, &self.logits, max, &mut self.keys) as f64;
        let this = &*self;
        let p = move |i: usize| mass::of(this.keys[i]) as f64 / total;
        let candidate = move |i| trace::Candidate { id: this.id(i), logit: this.logits[i], p: p(i) };
        (0..this.logits.len()).filter(|&i| this.logits[i] > f32::NEG_INFINITY).map(candidate)
    }

    fn id(&self, position: usize) -> TokenId {
        TokenId(if self.by_position { position as u32 } else { self.ids[position] })
    }

    /// Computes p / p_max unless it is known. A filter that keeps the most likely token leaves it valid.
    fn weigh(&mut self) {
        if self.weighed {
            return;
        }
        self.drop_masked();
        self.p.resize(self.logits.len(), 0.0);
        mass::weigh(self.isa, &self.logits, max(&self.logits), &mut self.p);
        self.weighed = true;
    }

    fn drop_masked(&mut self) {
        let n_in_play: usize = self.logits.iter().map(|&l| usize::from(l > f32::NEG_INFINITY)).sum();
        if n_in_play < self.logits.len() {
            self.keep_logits_from(f32::MIN);
        }
    }

    /// Drops what is not in `kept`.
    fn keep_listed(&mut self) {
        let n = self.kept.len();
        if n == self.logits.len() {
            return;
        }
        if self.by_position {
            std::mem::swap(&mut self.ids, &mut self.kept);
            gather(&mut self.logits, &self.ids);
            if self.weighed {
                gather(&mut self.p, &self.ids);
            }
            self.by_position = false;
            return;
        }
        for (to, &from) in self.kept.iter().enumerate() {
            self.ids[to] = self.ids[from as usize];
        }
        self.ids.truncate(n);
        gather(&mut self.logits, &self.kept);
        if self.weighed {
            gather(&mut self.p, &self.kept);
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

/// Moves the listed elements to the front and drops the others.
fn gather(x: &mut Vec<f32>, kept: &[u32]) {
    for (to, &from) in kept.iter().enumerate() {
        x[to] = x[from as usize];
    }
    x.truncate(kept.len());
}

/// -inf if there is nothing. Sixteen maxima, so that one comparison need not wait for the last.
fn max(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let mut max = [f32::NEG_INFINITY; 16];
    let (chunks, tail) = x.as_chunks::<16>();
    for chunk in chunks {
        for (max, &x) in max.iter_mut().zip(chunk) {
            *max = larger(x, *max);
        }
    }
    max.into_iter().chain(tail.iter().copied()).fold(f32::NEG_INFINITY, larger)
}
