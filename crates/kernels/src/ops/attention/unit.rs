//! A unit of attention: some query heads of one kv head, in some rows of one sequence, over all the keys they see.

use super::page::{self, Page, QUERIES_AT_ONCE};
use super::{AttentionParams, AttentionRow, QUERIES_PER_UNIT, SEGMENT_LEN, padded};
use crate::buffer::{Rows, SharedRows};
use crate::ops::kv::{Element, KvShape, KvStorage, PAGE_LEN};
use crate::simd::{Kernel, LANES, Simd, math};
use std::ops::Range;

/// Everything that all units of an operation share.
pub(super) struct Job<'a, E> {
    elements: &'a [E],
    shape: KvShape,
    layer: usize,
    q: &'a Rows,
    rows: &'a [AttentionRow],
    tables: &'a [u32],
    params: AttentionParams,
    /// Query heads of a kv head.
    group: usize,
    heads_per_unit: usize,
}

impl<'a, E: Element> Job<'a, E> {
    pub(super) fn new(
        kv: &'a KvStorage,
        layer: usize,
        q: &'a Rows,
        rows: &'a [AttentionRow],
        tables: &'a [u32],
        params: AttentionParams,
    ) -> Self {
        let shape = *kv.shape();
        let group = params.n_heads / shape.n_kv_heads;
        let heads_per_unit = group.div_ceil(group.div_ceil(QUERIES_PER_UNIT));
        Self { elements: kv.elements(), shape, layer, q, rows, tables, params, group, heads_per_unit }
    }

    pub(super) fn rows_per_unit(&self) -> usize {
        QUERIES_PER_UNIT / self.heads_per_unit
    }

    pub(super) fn units_per_tile(&self) -> usize {
        self.shape.n_kv_heads * self.group.div_ceil(self.heads_per_unit)
    }

    /// Unit i of a tile, which is a run of rows of one sequence.
    pub(super) fn unit(&self, rows: &Range<usize>, i: usize) -> Unit<'_, E> {
        let units_per_group = self.group.div_ceil(self.heads_per_unit);
        let (kv_head, part) = (i / units_per_group, i % units_per_group);
        let first = kv_head * self.group + part * self.heads_per_unit;
        let end = (first + self.heads_per_unit).min((kv_head + 1) * self.group);
        Unit { job: self, rows: rows.clone(), kv_head, heads: first..end }
    }

    /// The keys that row i sees.
    fn visible(&self, i: usize) -> Range<usize> {
        let end = self.rows[i].position as usize + 1;
        end.saturating_sub(self.params.window.map_or(usize::MAX, |window| window as usize))..end
    }
}

/// The part of `keys` that lies in the `i`-th range of `len` positions, counted from its start. May be empty.
fn within(keys: &Range<usize>, i: usize, len: usize) -> Range<usize> {
    let clip = |position: usize| position.clamp(i * len, (i + 1) * len) - i * len;
    clip(keys.start)..clip(keys.end)
}

pub(super) struct Unit<'a, E> {
    job: &'a Job<'a, E>,
    rows: Range<usize>,
    kv_head: usize,
    heads: Range<usize>,
}

impl<E: Element> Unit<'_, E> {
    /// All segments in which a row of the unit sees a key.
    pub(super) fn segments(&self) -> Range<usize> {
        let keys = self.keys();
        keys.start / SEGMENT_LEN..keys.end.div_ceil(SEGMENT_LEN)
    }

    /// From the first to the last key that a row of the unit sees.
    fn keys(&self) -> Range<usize> {
        let visible = || self.rows.clone().map(|row| self.job.visible(row));
        let start = visible().map(|keys| keys.start).min().unwrap_or(0);
        start..visible().map(|keys| keys.end).max().unwrap_or(0)
    }

    fn n_queries(&self) -> usize {
        self.rows.len() * self.heads.len()
    }

    /// Row of the batch and head of query i: row by row.
    fn place(&self, i: usize) -> (usize, usize) {
        (self.rows.start + i / self.heads.len(), self.heads.start + i % self.heads.len())
    }

    fn query(&self, i: usize) -> &[f32] {
        let (row, head) = self.place(i);
        let head_dim = self.job.shape.head_dim;
        &self.job.q.row(row)[head * head_dim..][..head_dim]
    }

    /// Whether query i sees a key of the segment.
    fn sees(&self, i: usize, segment: usize) -> bool {
        !within(&self.job.visible(self.place(i).0), segment, SEGMENT_LEN).is_empty()
    }

    /// Page number `i` of the sequence, which some row sees.
    fn page(&self, i: usize) -> Page<'_, E> {
        let KvShape { head_dim, .. } = self.job.shape;
        let table = &self.job.rows[self.rows.start].table;
        let page = self.job.tables[table.start as usize..table.end as usize][i];
        let head = &self.job.elements[self.job.shape.head_start(page, self.job.layer, self.kv_head)..];
        let (keys, values) = head.split_at(PAGE_LEN * head_dim);
        Page { keys, values, head_dim, scale: self.job.params.scale }
    }
}

/// Floats of a query's state: see [`State`].
pub(super) const fn record_len(head_dim: usize) -> usize {
    padded(head_dim) + 2 * LANES
}

/// What a query knows after some keys: lies in memory as `[acc: padded head_dim][lanes: 16][max, sum, 14 unused]`.
pub(super) struct State<'a> {
    /// Sum of p * v.
    pub(super) acc: &'a mut [f32],
    /// Sums of p over the keys of a lane.
    pub(super) lanes: &'a mut [f32; LANES],
    pub(super) max: &'a mut f32,
    /// Sum of p, made of `lanes` at the end of a segment.
    sum: &'a mut f32,
}

impl<'a> State<'a> {
    pub(super) fn of(record: &'a mut [f32]) -> Self {
        let (rest, [max, sum, ..]) =
            record.split_last_chunk_mut::<LANES>().expect("as long as `record_len` says");
        let (acc, lanes) = rest.split_last_chunk_mut().expect("as long as `record_len` says");
        Self { acc, lanes, max, sum }
    }
}

/// Sets records to the state before the first key.
fn reset(records: &mut [f32], record: usize) {
    records.fill(0.0);
    for record in records.chunks_exact_mut(record) {
        *State::of(record).max = f32::NEG_INFINITY;
    }
}

/// The states of all queries of the unit over the keys of one segment. `records` holds one a query.
#[inline(always)]
fn attend_segment<S: Simd, E: Element>(
    s: S,
    unit: &Unit<'_, E>,
    segment: usize,
    records: &mut [f32],
    scores: &mut [f32],
) {
    let record = record_len(unit.job.shape.head_dim);
    reset(records, record);
    let in_segment = within(&unit.keys(), segment, SEGMENT_LEN);
    let first = segment * SEGMENT_LEN;
    for i_page in (first + in_segment.start) / PAGE_LEN..(first + in_segment.end).div_ceil(PAGE_LEN) {
        let mut start = unit.rows.start;
        while start < unit.rows.end {
            // Rows that see the same keys of the page go together: all of them, except at the ends.
            let visible = within(&unit.job.visible(start), i_page, PAGE_LEN);
            let same = |&row: &usize| within(&unit.job.visible(row), i_page, PAGE_LEN) == visible;
            let end = start + (start..unit.rows.end).take_while(same).count();
            if !visible.is_empty() {
                let n_heads = unit.heads.len();
                let queries = (start - unit.rows.start) * n_heads..(end - unit.rows.start) * n_heads;
                attend_page(s, unit, &unit.page(i_page), queries, visible, records, scores);
            }
            start = end;
        }
    }
    for record in records.chunks_exact_mut(record) {
        let state = State::of(record);
        *state.sum = s.sum(s.load(state.lanes));
    }
}

/// Some queries over the visible keys of one page, a few at a time.
#[inline(always)]
fn attend_page<S: Simd, E: Element>(
    s: S,
    unit: &Unit<'_, E>,
    page: &Page<'_, E>,
    queries: Range<usize>,
    visible: Range<usize>,
    records: &mut [f32],
    scores: &mut [f32],
) {
    let record = record_len(page.head_dim);
    let mut i = queries.start;
    while i < queries.end {
        // As equal as can be: 8 queries are 4 and 4, not 6 and 2.
        let left = queries.end - i;
        let n = left.div_ceil(left.div_ceil(QUERIES_AT_ONCE));
        let mut q = [[].as_slice(); QUERIES_AT_ONCE];
        for (j, q) in q[..n].iter_mut().enumerate() {
            *q = unit.query(i + j);
        }
        let records = &mut records[i * record..(i + n) * record];
        page::attend(s, page, &q[..n], visible.clone(), records, scores);
        i += n;
    }
}

/// Merges the state of a segment into that of the segments before it.
#[inline(always)]
fn merge<S: Simd>(s: S, all: State<'_>, segment: State<'_>) {
    let max = if *segment.max > *all.max { *segment.max } else { *all.max };
    let [old, new] = [*all.max - max, *segment.max - max].map(|x| exp(s, x));
    *all.max = max;
    *all.sum = segment.sum.mul_add(new, *all.sum * old);
    let (old, new) = (s.splat(old), s.splat(new));
    let (all, _) = all.acc.as_chunks_mut::<LANES>();
    let (segment, _) = segment.acc.as_chunks::<LANES>();
    for (all, segment) in all.iter_mut().zip(segment) {
        s.store(s.fma(s.load(segment), new, s.mul(s.load(all), old)), all);
    }
}

#[inline(always)]
fn exp<S: Simd>(s: S, x: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    s.store(math::exp(s, s.splat(x)), &mut lanes);
    lanes[0]
}

/// Writes the outputs of a unit, whose queries have seen all their keys.
#[inline(always)]
fn finish<S: Simd, E: Element>(s: S, unit: &Unit<'_, E>, records: &mut [f32], out: SharedRows<'_>) {
    let head_dim = unit.job.shape.head_dim;
    for (i, record) in records.chunks_exact_mut(record_len(head_dim)).enumerate() {
        let state = State::of(record);
        let sum = s.splat(*state.sum);
        let (row, head) = unit.place(i);
        // SAFETY: each unit takes its own heads of its own rows, one after the other.
        let out = unsafe { out.part(row, head * head_dim, head_dim) };
        let (acc, _) = state.acc.as_chunks::<LANES>();
        for (out, acc) in out.chunks_mut(LANES).zip(acc) {
            let y = s.div(s.load(acc), sum);
            match out.as_mut_array() {
                Some(out) => s.store(y, out),
                None => s.store_partial(y, out),
            }
        }
    }
}

/// The states of a segment, those of all segments so far, and the scores of a page.
fn workspace(work: &mut [f32], n_queries: usize, head_dim: usize) -> [&mut [f32]; 3] {
    let (segment, work) = work.split_at_mut(QUERIES_PER_UNIT * record_len(head_dim));
    let (all, scores) = work.split_at_mut(QUERIES_PER_UNIT * record_len(head_dim));
    let len = n_queries * record_len(head_dim);
    [&mut segment[..len], &mut all[..len], scores]
}

/// A unit from the first key to the outputs.
pub(super) struct WholeUnit<'a, E> {
    pub(super) unit: Unit<'a, E>,
    pub(super) work: &'a mut [f32],
    pub(super) out: SharedRows<'a>,
}

impl<E: Element> Kernel for WholeUnit<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { unit, work, out } = self;
        let record = record_len(unit.job.shape.head_dim);
        let [segment, all, scores] = workspace(work, unit.n_queries(), unit.job.shape.head_dim);
        reset(all, record);
        for i_segment in unit.segments() {
            attend_segment(s, &unit, i_segment, segment, scores);
            let states = all.chunks_exact_mut(record).zip(segment.chunks_exact_mut(record));
            for (i, (all, segment)) in states.enumerate() {
                if unit.sees(i, i_segment) {
                    merge(s, State::of(all), State::of(segment));
                }
            }
        }
        finish(s, &unit, all, out);
    }
}

/// One segment of a unit, whose states are kept for [`FinishUnit`].
pub(super) struct SegmentOfUnit<'a, E> {
    pub(super) unit: Unit<'a, E>,
    /// Counted from the unit's first.
    pub(super) i_segment: usize,
    /// Most segments of any unit.
    pub(super) n_segments: usize,
    pub(super) work: &'a mut [f32],
    pub(super) states: SharedRows<'a>,
}

/// Where the state of query i after a segment is kept, `i_segment` counted from the unit's first.
fn kept<E: Element>(unit: &Unit<'_, E>, i: usize, i_segment: usize, n_segments: usize) -> usize {
    let (row, head) = unit.place(i);
    (row * unit.job.params.n_heads + head) * n_segments + i_segment
}

impl<E: Element> Kernel for SegmentOfUnit<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { unit, i_segment, n_segments, work, states } = self;
        let record = record_len(unit.job.shape.head_dim);
        let [segment, _, scores] = workspace(work, unit.n_queries(), unit.job.shape.head_dim);
        attend_segment(s, &unit, unit.segments().start + i_segment, segment, scores);
        for (i, segment) in segment.chunks_exact(record).enumerate() {
            // SAFETY: each pair of query and segment has its own row.
            unsafe { states.row(kept(&unit, i, i_segment, n_segments)) }.copy_from_slice(segment);
        }
    }
}

/// Merges the segments of a unit in order and writes its outputs.
pub(super) struct FinishUnit<'a, E> {
    pub(super) unit: Unit<'a, E>,
    pub(super) n_segments: usize,
    pub(super) work: &'a mut [f32],
    pub(super) states: SharedRows<'a>,
    pub(super) out: SharedRows<'a>,
}

impl<E: Element> Kernel for FinishUnit<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { unit, n_segments, work, states, out } = self;
        let record = record_len(unit.job.shape.head_dim);
        let [_, all, _] = workspace(work, unit.n_queries(), unit.job.shape.head_dim);
        reset(all, record);
        for (i, all) in all.chunks_exact_mut(record).enumerate() {
            for (i_segment, segment) in unit.segments().enumerate() {
                if unit.sees(i, segment) {
                    // SAFETY: each query has its own rows.
                    let segment = unsafe { states.row(kept(&unit, i, i_segment, n_segments)) };
                    merge(s, State::of(all), State::of(segment));
                }
            }
        }
        finish(s, &unit, all, out);
    }
}
