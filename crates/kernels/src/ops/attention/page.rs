//! The arithmetic of attention: a few queries over the visible keys of one page.

use super::unit::{State, record_len};
use crate::ops::kv::{Element, PAGE_LEN};
use crate::simd::{LANES, Simd, math};
use std::ops::Range;

/// Queries that share a key while it is in a register: 6 by 16 lanes and the key take 15 of AVX2's 16 registers.
pub(super) const QUERIES_AT_ONCE: usize = 6;

/// Floats of workspace for scores.
pub(super) const SCORES_LEN: usize = QUERIES_AT_ONCE * PAGE_LEN;

/// One kv head of a page.
pub(super) struct Page<'a, E> {
    /// `[4][head_dim][16]`.
    pub(super) keys: &'a [E],
    /// `[64][head_dim]`, and at least 16 elements behind.
    pub(super) values: &'a [E],
    pub(super) head_dim: usize,
    pub(super) scale: f32,
}

/// One to six queries over the `visible` keys of a page, which are some. `records` holds a state for each query.
#[inline(always)]
pub(super) fn attend<S: Simd, E: Element>(
    s: S,
    page: &Page<'_, E>,
    queries: &[&[f32]],
    visible: Range<usize>,
    records: &mut [f32],
    scores: &mut [f32],
) {
    let (scores, _) = scores.as_chunks_mut::<PAGE_LEN>();
    // Few queries take several vectors of keys or values at once: a chain of dependent sums must not be waited for.
    match *queries {
        [a] => step::<S, E, 1, 4>(s, page, [a], visible, records, scores),
        [a, b] => step::<S, E, 2, 2>(s, page, [a, b], visible, records, scores),
        [a, b, c] => step::<S, E, 3, 2>(s, page, [a, b, c], visible, records, scores),
        [a, b, c, d] => step::<S, E, 4, 1>(s, page, [a, b, c, d], visible, records, scores),
        [a, b, c, d, e] => step::<S, E, 5, 1>(s, page, [a, b, c, d, e], visible, records, scores),
        [a, b, c, d, e, f] => step::<S, E, 6, 1>(s, page, [a, b, c, d, e, f], visible, records, scores),
        _ => unreachable!("one to six queries"),
    }
}

#[inline(always)]
fn step<S: Simd, E: Element, const Q: usize, const C: usize>(
    s: S,
    page: &Page<'_, E>,
    queries: [&[f32]; Q],
    visible: Range<usize>,
    records: &mut [f32],
    scores: &mut [[f32; PAGE_LEN]],
) {
    score::<S, E, Q, C>(s, page, queries, visible.clone(), scores);
    let record = record_len(page.head_dim);
    let mut shrink = [0.0; Q];
    for q in 0..Q {
        shrink[q] = soften(s, State::of(&mut records[q * record..][..record]), &visible, &mut scores[q]);
    }
    let mut weights = [[].as_slice(); Q];
    for q in 0..Q {
        weights[q] = &scores[q][visible.clone()];
    }
    let values = &page.values[visible.start * page.head_dim..];
    let n_vectors = page.head_dim.div_ceil(LANES);
    let mut i = 0;
    while i + C <= n_vectors {
        add_values::<S, E, Q, C>(s, page.head_dim, &values[i * LANES..], weights, shrink, i, records);
        i += C;
    }
    while i < n_vectors {
        add_values::<S, E, Q, 1>(s, page.head_dim, &values[i * LANES..], weights, shrink, i, records);
        i += 1;
    }
}

/// Scores of the page's tiles of 16 keys that have visible ones; -infinity for keys that are not.
#[inline(always)]
fn score<S: Simd, E: Element, const Q: usize, const C: usize>(
    s: S,
    page: &Page<'_, E>,
    queries: [&[f32]; Q],
    visible: Range<usize>,
    scores: &mut [[f32; PAGE_LEN]],
) {
    let tiles = tiles(&visible);
    let mut tile = tiles.start;
    while tile + C <= tiles.end {
        score_tiles::<S, E, Q, C>(s, page, queries, tile, &visible, scores);
        tile += C;
    }
    while tile < tiles.end {
        score_tiles::<S, E, Q, 1>(s, page, queries, tile, &visible, scores);
        tile += 1;
    }
}

/// The tiles of 16 keys that have visible ones.
fn tiles(visible: &Range<usize>) -> Range<usize> {
    visible.start / LANES..visible.end.div_ceil(LANES)
}

#[inline(always)]
fn score_tiles<S: Simd, E: Element, const Q: usize, const C: usize>(
    s: S,
    page: &Page<'_, E>,
    queries: [&[f32]; Q],
    tile: usize,
    visible: &Range<usize>,
    scores: &mut [[f32; PAGE_LEN]],
) {
    let mut acc = [[s.splat(0.0); C]; Q];
    let tile_len = LANES * page.head_dim;
    multiply_add(s, queries, &page.keys[tile * tile_len..], LANES, tile_len, &mut acc);
    let scale = s.splat(page.scale);
    for c in 0..C {
        let start = (tile + c) * LANES;
        let whole = visible.start <= start && start + LANES <= visible.end;
        for q in 0..Q {
            let score = s.mul(acc[q][c], scale);
            let score = if whole { score } else { hide(s, score, start, visible) };
            let (tiles, _) = scores[q].as_chunks_mut::<LANES>();
            s.store(score, &mut tiles[tile + c]);
        }
    }
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

/// Turns a query's scores of a page into weights e^(score - max) and updates its maximum and sums. Returns what the sum
/// of values must be multiplied by.
#[inline(always)]
fn soften<S: Simd>(s: S, state: State<'_>, visible: &Range<usize>, scores: &mut [f32; PAGE_LEN]) -> f32 {
    let (tiles_of_page, _) = scores.as_chunks_mut::<LANES>();
    let tiles = &mut tiles_of_page[tiles(visible)];
    let mut max = s.splat(*state.max);
    for tile in &*tiles {
        max = s.max(s.load(tile), max);
    }
    let new_max = s.max_lane(max);
    let mut shrink = [0.0; LANES];
    let old_max = s.splat(*state.max);
    *state.max = new_max;
    let max = s.splat(new_max);
    let factor = math::exp(s, s.sub(old_max, max));
    s.store(factor, &mut shrink);
    let mut lanes = s.mul(s.load(state.lanes), factor);
    for tile in tiles {
        let weight = math::exp(s, s.sub(s.load(tile), max));
        s.store(weight, tile);
        lanes = s.add(lanes, weight);
    }
    s.store(lanes, state.lanes);
    shrink[0]
}

/// `acc[i..i + C] = acc * shrink + weights * values` for vectors of the head's elements.
#[inline(always)]
fn add_values<S: Simd, E: Element, const Q: usize, const C: usize>(
    s: S,
    head_dim: usize,
    values: &[E],
    weights: [&[f32]; Q],
    shrink: [f32; Q],
    i: usize,
    records: &mut [f32],
) {
    let record = record_len(head_dim);
    let mut acc = [[s.splat(0.0); C]; Q];
    for q in 0..Q {
        let (from, _) = records[q * record..].as_chunks::<LANES>();
        for c in 0..C {
            acc[q][c] = s.mul(s.load(&from[i + c]), s.splat(shrink[q]));
        }
    }
    multiply_add(s, weights, values, head_dim, LANES, &mut acc);
    for q in 0..Q {
        let (to, _) = records[q * record..].as_chunks_mut::<LANES>();
        for c in 0..C {
            s.store(acc[q][c], &mut to[i + c]);
        }
    }
}

/// `acc[q][c] += sum over k in order of x[q][k] * y[k][c]`, where `y[k][c]` is the vector at `k * stride + c * column`.
#[inline(always)]
fn multiply_add<S: Simd, E: Element, const Q: usize, const C: usize>(
    s: S,
    x: [&[f32]; Q],
    y: &[E],
    stride: usize,
    column: usize,
    acc: &mut [[S::F; C]; Q],
) {
    let n = x[0].len();
    let x = x.map(|x| &x[..n]);
    assert!(n > 0 && (n - 1) * stride + (C - 1) * column + LANES <= y.len());
    let mut row = y.as_ptr();
    let mut sums = *acc;
    for k in 0..n {
        let mut vectors = [s.splat(0.0); C];
        for c in 0..C {
            // SAFETY: k < n, c < C, so that all 16 elements lie inside `y`, by the assertion.
            let vector = unsafe { &*row.wrapping_add(c * column).cast::<[E; LANES]>() };
            vectors[c] = E::load(s, vector);
        }
        for q in 0..Q {
            let x = s.splat(x[q][k]);
            for c in 0..C {
                sums[q][c] = s.fma(x, vectors[c], sums[q][c]);
            }
        }
        row = row.wrapping_add(stride);
    }
    *acc = sums;
}
