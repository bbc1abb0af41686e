//! Partial selection: where a ranking by key reaches a mass, found without a sort.

use limpid_kernels::isa::Isa;
use limpid_kernels::ops::mass;

use super::sums;

/// A key and the p of its token.
pub(super) type Pair = (f32, f32);

/// Where a ranking (larger keys first, equal ones in the order given) reaches its target.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Cut {
    /// The key of the last one that is needed.
    pub(super) key: f32,
    /// The mass of all with larger keys.
    pub(super) above: u64,
}

impl Cut {
    /// Tells which of the tokens with the key itself are needed.
    pub(super) fn ties(self, target: u64) -> Ties {
        Ties { sum: self.above, target }
    }
}

/// See [`Cut::ties`].
#[derive(Debug)]
pub(super) struct Ties {
    sum: u64,
    target: u64,
}

impl Ties {
    /// Whether the next one, in the order given, is needed.
    pub(super) fn take(&mut self, p: f32) -> bool {
        let is_needed = self.sum < self.target;
        self.sum += mass::of(p);
        is_needed
    }
}

/// Finds where the mass reaches `target`, at least 1 and at most the mass of all. Without `p` each has the mass 1.
///
/// First the range of keys that holds the cut is narrowed, a pass of vector operations for each guess: steps of
/// doubling length down from the maximum (nearly always nearly all mass is close to it), then halves. What is left in
/// the range is copied out, and a quickselect on the running sum finds the cut.
pub(super) fn cut(isa: Isa, keys: &[f32], p: Option<&[f32]>, target: u64, pairs: &mut Vec<Pair>) -> Cut {
    const FIRST_STEP: f32 = 8.0;
    const FEW: usize = 2048;
    const MOST_PASSES: usize = 24;
    let max = sums::max(keys);
    let mut step = FIRST_STEP;
    // Keys from `low` on reach the target, those from `high` on (with the mass `above`) do not.
    let (mut low, mut high, mut above) = (f32::NEG_INFINITY, f32::INFINITY, 0);
    let (mut n_low, mut n_high) = (keys.len(), 0);
    for _ in 0..MOST_PASSES {
        if n_low - n_high <= FEW {
            break;
        }
        let guess = if low == f32::NEG_INFINITY { max - step } else { low + (high.min(max) - low) / 2.0 };
        if guess <= low || guess >= high {
            break;
        }
        let n = keys.iter().map(|&key| u32::from(key >= guess)).sum::<u32>() as usize;
        let sum = p.map_or(n as u64, |p| mass::sum_from(isa, keys, p, guess));
        if sum >= target {
            // Where keys are alike, what lies between the least of them and the guess is not worth halving.
            low = if n == keys.len() { sums::min(keys) } else { guess };
            n_low = n;
            if low == max {
                return Cut { key: max, above: 0 };
            }
        } else {
            (high, n_high, above) = (guess, n, sum);
            step *= 2.0;
        }
    }
    pairs.clear();
    each_where(keys, |key| (key >= low) & (key < high), |i| pairs.push((keys[i], p.map_or(1.0, |p| p[i]))));
    let mass = |pair: &Pair| if p.is_some() { mass::of(pair.1) } else { 1 };
    let key = key_at(pairs, target - above, mass);
    Cut { key, above: above + pairs.iter().filter(|pair| pair.0 > key).map(mass).sum::<u64>() }
}

/// Lists the positions whose key is `cut` or larger and which `is_kept`, in order.
pub(super) fn list(keys: &[f32], cut: f32, kept: &mut Vec<u32>, mut is_kept: impl FnMut(usize) -> bool) {
    kept.clear();
    each_where(
        keys,
        |key| key >= cut,
        |i| {
            if is_kept(i) {
                kept.push(i as u32);
            }
        },
    );
}

/// Calls `f` with the position of each key that is wanted, in order. Where they are few, whole chunks without any are
/// passed over with a few vector operations.
pub(super) fn each_where(keys: &[f32], is_wanted: impl Fn(f32) -> bool, mut f: impl FnMut(usize)) {
    const CHUNK: usize = 32;
    for (chunk, start) in keys.chunks(CHUNK).zip((0..).step_by(CHUNK)) {
        if chunk.iter().fold(false, |any, &key| any | is_wanted(key)) {
            for (i, &key) in chunk.iter().enumerate() {
                if is_wanted(key) {
                    f(start + i);
                }
            }
        }
    }
}

/// The key at which the running sum of masses, larger keys first, reaches `target`; that of the last one if it does
/// not.
///
/// A quickselect: the side of a median that cannot hold the place is never looked at again, so the work is linear.
fn key_at(pairs: &mut [Pair], target: u64, mass: impl Fn(&Pair) -> u64) -> f32 {
    const SORT_LEN: usize = 32;
    let larger_first = |a: &Pair, b: &Pair| b.0.total_cmp(&a.0);
    let (mut start, mut end, mut sum) = (0, pairs.len(), 0);
    while end - start > SORT_LEN {
        let middle = start + (end - start) / 2;
        pairs[start..end].select_nth_unstable_by(middle - start, larger_first);
        let upper: u64 = pairs[start..middle].iter().map(&mass).sum();
        if sum + upper >= target {
            end = middle;
        } else {
            sum += upper;
            start = middle;
        }
    }
    pairs[start..end].sort_unstable_by(larger_first);
    for pair in &pairs[start..end] {
        sum += mass(pair);
        if sum >= target {
            return pair.0;
        }
    }
    pairs[start..end].last().map_or(f32::NEG_INFINITY, |pair| pair.0)
}
