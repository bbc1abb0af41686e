//! The arithmetic of attention: a few queries over the visible keys of one page.

use super::format::PageFormat;
use super::unit::{State, record_len};
use crate::ops::kv::{Element, PAGE_LEN};
use crate::simd::{LANES, Simd, math};
use std::ops::Range;

/// Queries that share a key while it is in a register, at most: 6 by 16 lanes, a vector of keys and a number of a query
/// take 15 of AVX2's 16 registers.
pub(super) const MAX_QUERIES: usize = 6;

/// The same on one instruction set.
pub(super) const fn queries_at_once<S: Simd>() -> usize {
    if S::REGISTERS >= 8 { MAX_QUERIES } else { 1 }
}

/// Floats of workspace for scores.
pub(super) const SCORES_LEN: usize = MAX_QUERIES * PAGE_LEN;

/// One kv head of a page.
pub(super) struct Page<'a, P: PageFormat + ?Sized> {
    pub(super) keys: &'a [P::Key],
    /// And what lies behind them, where attention may read without looking: see `KvStorage::head`.
    pub(super) values: &'a [P::Value],
    /// The keys of the page that comes next; these same ones if there is none.
    pub(super) next_keys: &'a [P::Key],
    pub(super) head_dim: usize,
    pub(super) scale: f32,
}

/// Up to [`queries_at_once`] queries over the `visible` keys of a page, which are some. `records` holds a state for
/// each.
#[inline(always)]
pub(super) fn attend<S: Simd, P: PageFormat>(
    s: S,
    page: &Page<'_, P>,
    queries: &[&[P::Query]],
    visible: Range<usize>,
    records: &mut [f32],
    scores: &mut [f32],
) {
    let scores = &mut scores.as_chunks_mut::<PAGE_LEN>().0[..queries.len()];
    tiled(s, queries.len(), Score { page, queries, visible: &visible, scores });
    let mut shrink = [0.0; LANES];
    soften(s, &visible, scores, records, record_len(page.head_dim), &mut shrink);
    let sums = Sums { records, record: record_len(page.head_dim), shrink: &shrink };
    tiled(s, queries.len(), AddValues { page, weights: scores, visible, sums });
}

/// A step whose inner loop is compiled for a number of queries Q and of vectors C (of keys, or of values).
trait Tiled {
    fn run<S: Simd, const Q: usize, const C: usize>(self, s: S);
}

/// Runs `step` with tiles that fit the registers. Few queries take several vectors at once: the sums of a tile must be
/// enough to hide the latency of an addition, which takes eight of AVX2's half vectors.
#[inline(always)]
fn tiled<S: Simd>(s: S, n_queries: usize, step: impl Tiled) {
    if S::REGISTERS < 8 {
        return step.run::<S, 1, 1>(s);
    }
    if S::REGISTERS < 32 {
        return match n_queries {
            1 => step.run::<S, 1, 4>(s),
            2 => step.run::<S, 2, 2>(s),
            3 => step.run::<S, 3, 2>(s),
            4 => step.run::<S, 4, 1>(s),
            5 => step.run::<S, 5, 1>(s),
            _ => step.run::<S, 6, 1>(s),
        };
    }
    match n_queries {
        1 => step.run::<S, 1, 4>(s),
        2 => step.run::<S, 2, 4>(s),
        3 => step.run::<S, 3, 4>(s),
        4 => step.run::<S, 4, 2>(s),
        5 => step.run::<S, 5, 2>(s),
        _ => step.run::<S, 6, 2>(s),
    }
}

/// Scores of the page's tiles of 16 keys that have visible ones; -infinity for keys that are not.
struct Score<'a, P: PageFormat> {
    page: &'a Page<'a, P>,
    queries: &'a [&'a [P::Query]],
    visible: &'a Range<usize>,
    /// One row a query.
    scores: &'a mut [[f32; PAGE_LEN]],
}

impl<P: PageFormat> Tiled for Score<'_, P> {
    #[inline(always)]
    fn run<S: Simd, const Q: usize, const C: usize>(mut self, s: S) {
        let tiles = tiles(self.visible);
        let mut tile = tiles.start;
        while tile + C <= tiles.end {
            self.tiles::<S, Q, C>(s, tile);
            tile += C;
        }
        while C > 1 && tile < tiles.end {
            self.tiles::<S, Q, 1>(s, tile);
            tile += 1;
        }
    }
}

impl<P: PageFormat> Score<'_, P> {
    /// Tiles `tile..tile + C`. While the keys are used, the values are fetched, and while those are used, the keys of
    /// the next page (q8_0: all of it is fetched a page ahead): the processor's own prefetching starts anew with each
    /// page, which would cost half of the bandwidth.
    #[inline(always)]
    fn tiles<S: Simd, const Q: usize, const C: usize>(&mut self, s: S, tile: usize) {
        let Self { page, queries, visible, scores } = self;
        let queries: &[&[P::Query]; Q] = queries.as_array().expect("Q queries");
        let products: [[S::F; C]; Q] = P::products(s, page, *queries, tile);
        let scale = s.splat(page.scale);
        for c in 0..C {
            let start = (tile + c) * LANES;
            let whole = visible.start <= start && start + LANES <= visible.end;
            for q in 0..Q {
                let score = s.mul(products[q][c], scale);
                let score = if whole { score } else { hide(s, score, start, visible) };
                s.store(score, &mut scores[q].as_chunks_mut().0[tile + c]);
            }
        }
    }
}

/// The tiles of 16 keys that have visible ones.
pub(super) fn tiles(visible: &Range<usize>) -> Range<usize> {
    visible.start / LANES..visible.end.div_ceil(LANES)
}

/// -infinity in the lanes of keys that are not visible; lane 0 is key `start`.
#[inline(always)]
fn hide<S: Simd>(s: S, score: S::F, start: usize, visible: &Range<usize>) -> S::F {
    const LANE: [f32; LANES] = [0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.];
    let lane = s.load(&LANE);
    let hidden = s.splat(f32::NEG_INFINITY);
    let end = s.splat(visible.end as f32 - start as f32);
    let before = s.splat(visible.start as f32 - start as f32);
    let score = s.select_gt(before, lane, hidden, score);
    s.select_gt(end, lane, score, hidden)
}

/// Turns the scores of a page into weights e^(score - max) and updates the maximum and the sums of each query. Gives,
/// in a lane a query, what its sum of values must be multiplied by.
#[inline(always)]
fn soften<S: Simd>(
    s: S,
    visible: &Range<usize>,
    scores: &mut [[f32; PAGE_LEN]],
    records: &mut [f32],
    record: usize,
    shrink: &mut [f32; LANES],
) {
    let tiles = tiles(visible);
    let mut maxima = [0.0; MAX_QUERIES];
    for (q, scores) in scores.iter().enumerate() {
        let state = State::of(&mut records[q * record..][..record]);
        let mut max = s.splat(*state.max);
        for tile in &scores.as_chunks().0[tiles.clone()] {
            max = s.max(s.load(tile), max);
        }
        maxima[q] = s.max_lane(max);
        shrink[q] = *state.max - maxima[q];
        *state.max = maxima[q];
    }
    s.store(math::exp_of_negative(s, s.load(shrink)), shrink);
    for (q, scores) in scores.iter_mut().enumerate() {
        let state = State::of(&mut records[q * record..][..record]);
        let mut lanes = s.mul(s.load(state.lanes), s.splat(shrink[q]));
        for tile in &mut scores.as_chunks_mut().0[tiles.clone()] {
            let weight = math::exp_of_negative(s, s.sub(s.load(tile), s.splat(maxima[q])));
            s.store(weight, tile);
            lanes = s.add(lanes, weight);
        }
        s.store(lanes, state.lanes);
    }
}

/// `acc = acc * shrink + weights * values`.
pub(super) struct AddValues<'a, P: PageFormat + ?Sized> {
    pub(super) page: &'a Page<'a, P>,
    /// One row a query.
    pub(super) weights: &'a [[f32; PAGE_LEN]],
    pub(super) visible: Range<usize>,
    pub(super) sums: Sums<'a>,
}

/// The states of some queries, and what their `acc` is multiplied by before something is added.
pub(super) struct Sums<'a> {
    records: &'a mut [f32],
    /// Floats of one.
    record: usize,
    /// A lane a query.
    shrink: &'a [f32; LANES],
}

impl<P: PageFormat> Tiled for AddValues<'_, P> {
    #[inline(always)]
    fn run<S: Simd, const Q: usize, const C: usize>(self, s: S) {
        P::add_values::<S, Q, C>(s, self);
    }
}

/// Vectors `i..i + C` of the head's elements: `acc * shrink`, plus `weights` times values, of which the first vector
/// lies at the start of `values` and the next key's `width` further.
#[inline(always)]
pub(super) fn add_vectors<S: Simd, V: Vector, const Q: usize, const C: usize>(
    s: S,
    sums: &mut Sums<'_>,
    i: usize,
    weights: [&[f32]; Q],
    values: &[V],
    width: usize,
    ahead: *const V,
) {
    let Sums { records, record, shrink } = sums;
    let mut acc = [[s.splat(0.0); C]; Q];
    for q in 0..Q {
        let (from, _) = records[q * *record..].as_chunks();
        for c in 0..C {
            acc[q][c] = s.mul(s.load(&from[i + c]), s.splat(shrink[q]));
        }
    }
    multiply_add(s, weights, values, width, LANES * PAGE_LEN, &mut acc, ahead);
    for q in 0..Q {
        let (to, _) = records[q * *record..].as_chunks_mut();
        for c in 0..C {
            s.store(acc[q][c], &mut to[i + c]);
        }
    }
}

/// Numbers of which sixteen are read as f32.
pub(super) trait Vector: Copy {
    fn vector<S: Simd>(s: S, from: &[Self; LANES]) -> S::F;
}

impl<E: Element> Vector for E {
    #[inline(always)]
    fn vector<S: Simd>(s: S, from: &[Self; LANES]) -> S::F {
        E::load(s, from)
    }
}

impl Vector for i8 {
    #[inline(always)]
    fn vector<S: Simd>(s: S, from: &[Self; LANES]) -> S::F {
        s.to_f32(s.load_i8(from))
    }
}

/// `acc[q][c] += sum over k in order of x[q][k] * y[k][c]`, where `y[k][c]` is the vector at `k * stride + c * column`.
/// What lies at the same distances from `ahead` is prefetched.
#[inline(always)]
pub(super) fn multiply_add<S: Simd, V: Vector, const Q: usize, const C: usize>(
    s: S,
    x: [&[f32]; Q],
    y: &[V],
    stride: usize,
    column: usize,
    acc: &mut [[S::F; C]; Q],
    ahead: *const V,
) {
    let n = x[0].len();
    let x = x.map(|x| &x[..n]);
    assert!(n > 0 && (n - 1) * stride + (C - 1) * column + LANES <= y.len());
    let mut row = y.as_ptr();
    let mut ahead = ahead;
    let mut sums = *acc;
    for k in 0..n {
        let mut vectors = [s.splat(0.0); C];
        for c in 0..C {
            // SAFETY: k < n, c < C, so that all 16 elements lie inside `y`, by the assertion.
            let vector = unsafe { &*row.wrapping_add(c * column).cast::<[V; LANES]>() };
            vectors[c] = V::vector(s, vector);
            s.prefetch(ahead.wrapping_add(c * column));
        }
        for q in 0..Q {
            // SAFETY: k < n, the length of each.
            let x = s.splat(unsafe { *x[q].get_unchecked(k) });
            for c in 0..C {
                sums[q][c] = s.fma(x, vectors[c], sums[q][c]);
            }
        }
        row = row.wrapping_add(stride);
        ahead = ahead.wrapping_add(stride);
    }
    *acc = sums;
}
