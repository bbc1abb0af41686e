//! A unit of attention: some query heads of one kv head, in some rows of one sequence, over all the keys they see.

use super::format::{PageFormat, Queries};
use super::page::{self, MAX_QUERIES, Page, queries_at_once};
use super::{AttentionParams, AttentionRow, QUERIES_PER_UNIT, SEGMENT_LEN, padded};
use crate::buffer::SharedRows;
use crate::isa::Isa;
use crate::ops::kv::{KvShape, KvStorage, PAGE_LEN};
use crate::simd::{self, Kernel, LANES, Simd, math};
use std::marker::PhantomData;
use std::ops::Range;

/// Everything that all units of an operation share.
pub(super) struct Job<'a, P> {
    kv: &'a KvStorage,
    shape: KvShape,
    layer: usize,
    queries: Queries<'a>,
    rows: &'a [AttentionRow],
    tables: &'a [u32],
    params: AttentionParams,
    /// Query heads of a kv head.
    group: usize,
    heads_per_unit: usize,
    format: PhantomData<P>,
}

impl<'a, P: PageFormat> Job<'a, P> {
    pub(super) fn new(
        kv: &'a KvStorage,
        layer: usize,
        queries: Queries<'a>,
        rows: &'a [AttentionRow],
        tables: &'a [u32],
        params: AttentionParams,
    ) -> Self {
        let shape = *kv.shape();
        let group = params.n_heads / shape.n_kv_heads;
        let heads_per_unit = group.div_ceil(group.div_ceil(QUERIES_PER_UNIT));
        Self { kv, shape, layer, queries, rows, tables, params, group, heads_per_unit, format: PhantomData }
    }

    pub(super) fn rows_per_unit(&self) -> usize {
        QUERIES_PER_UNIT / self.heads_per_unit
    }

    pub(super) fn units_per_tile(&self) -> usize {
        self.shape.n_kv_heads * self.group.div_ceil(self.heads_per_unit)
    }

    /// Unit i of a tile, which is a run of rows of one sequence.
    pub(super) fn unit(&self, rows: &Range<usize>, i: usize) -> Unit<'_, P> {
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

pub(super) struct Unit<'a, P> {
    job: &'a Job<'a, P>,
    rows: Range<usize>,
    kv_head: usize,
    heads: Range<usize>,
}

impl<P: PageFormat> Unit<'_, P> {
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

    /// The pages of a segment in which a row of the unit sees a key.
    fn pages(&self, segment: usize) -> Range<usize> {
        const PAGES: usize = SEGMENT_LEN / PAGE_LEN;
        let keys = self.keys();
        let (first, end) = (keys.start / PAGE_LEN, keys.end.div_ceil(PAGE_LEN));
        first.max(segment * PAGES)..end.min((segment + 1) * PAGES)
    }

    fn n_queries(&self) -> usize {
        self.rows.len() * self.heads.len()
    }

    /// Row of the batch and head of query i: row by row.
    fn place(&self, i: usize) -> (usize, usize) {
        (self.rows.start + i / self.heads.len(), self.heads.start + i % self.heads.len())
    }

    fn query(&self, i: usize) -> &[P::Query] {
        let (row, head) = self.place(i);
        P::query(&self.job.queries, row, head)
    }

    /// Whether query i sees a key of the segment.
    fn sees(&self, i: usize, segment: usize) -> bool {
        !within(&self.job.visible(self.place(i).0), segment, SEGMENT_LEN).is_empty()
    }

    /// Page number `i` of the sequence, of which some row sees a key; `next` is the one to come.
    fn page(&self, i: usize, next: usize) -> Page<'_, P> {
        let (keys, values) = self.head(i);
        let (next_keys, _) = self.head(next);
        Page { keys, values, next_keys, head_dim: self.job.shape.head_dim, scale: self.job.params.scale }
    }

    /// The unit's keys in page number `i` of the sequence, and from its values on to the end of the storage.
    fn head(&self, i: usize) -> (&[P::Key], &[P::Value]) {
        let table = &self.job.rows[self.rows.start].table;
        let page = self.job.tables[table.start as usize..table.end as usize][i];
        self.job.kv.head::<P>(page, self.job.layer, self.kv_head)
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

fn each(records: &mut [f32], record: usize) -> std::slice::ChunksExactMut<'_, f32> {
    records.chunks_exact_mut(record)
}

/// Sets records to the state before the first key.
fn reset(records: &mut [f32], record: usize) {
    records.fill(0.0);
    for record in each(records, record) {
        *State::of(record).max = f32::NEG_INFINITY;
    }
}

/// Computes the states of all queries of a unit over the keys of one segment. `records` holds one a query.
struct AttendSegment<'a, P> {
    unit: &'a Unit<'a, P>,
    segment: usize,
    records: &'a mut [f32],
    scores: &'a mut [f32],
}

impl<P: PageFormat> Kernel for AttendSegment<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { unit, segment, records, scores } = self;
        let record = record_len(unit.job.shape.head_dim);
        reset(records, record);
        let pages = unit.pages(segment);
        for i_page in pages.clone() {
            let next = (i_page + 1).min(pages.end - 1);
            let mut start = unit.rows.start;
            while start < unit.rows.end {
                // Rows that see the same keys of the page go together: all of them, except at the ends.
                let visible = within(&unit.job.visible(start), i_page, PAGE_LEN);
                let same = |&row: &usize| within(&unit.job.visible(row), i_page, PAGE_LEN) == visible;
                let end = start + (start..unit.rows.end).take_while(same).count();
                if !visible.is_empty() {
                    let n_heads = unit.heads.len();
                    let queries = (start - unit.rows.start) * n_heads..(end - unit.rows.start) * n_heads;
                    attend_page(s, unit, &unit.page(i_page, next), queries, visible, records, scores);
                }
                start = end;
            }
        }
        for record in each(records, record) {
            let state = State::of(record);
            *state.sum = s.sum(s.load(state.lanes));
        }
    }
}

/// Some queries over the visible keys of one page, a few at a time.
#[inline(always)]
fn attend_page<S: Simd, P: PageFormat>(
    s: S,
    unit: &Unit<'_, P>,
    page: &Page<'_, P>,
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
        let n = left.div_ceil(left.div_ceil(queries_at_once::<S>()));
        let mut q = [[].as_slice(); MAX_QUERIES];
        for (j, q) in q[..n].iter_mut().enumerate() {
            *q = unit.query(i + j);
        }
        let records = &mut records[i * record..(i + n) * record];
        page::attend(s, page, &q[..n], visible.clone(), records, scores);
        i += n;
    }
}

/// Merges a query's state of a segment into that of the segments before it.
struct Merge<'a> {
    all: State<'a>,
    segment: State<'a>,
}

impl Kernel for Merge<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { all, segment } = self;
        let max = if *segment.max > *all.max { *segment.max } else { *all.max };
        let (old, new) = (exp(s, *all.max - max), exp(s, *segment.max - max));
        *all.max = max;
        *all.sum = segment.sum.mul_add(new, *all.sum * old);
        let (old, new) = (s.splat(old), s.splat(new));
        let (all, _) = all.acc.as_chunks_mut::<LANES>();
        let (segment, _) = segment.acc.as_chunks::<LANES>();
        for (all, segment) in all.iter_mut().zip(segment) {
            s.store(s.fma(s.load(segment), new, s.mul(s.load(all), old)), all);
        }
    }
}

#[inline(always)]
fn exp<S: Simd>(s: S, x: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    s.store(math::exp_of_negative(s, s.splat(x)), &mut lanes);
    lanes[0]
}

/// A query's output, `[head_dim]`, from its state after all segments.
struct Finish<'a> {
    state: State<'a>,
    out: &'a mut [f32],
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let sum = s.splat(*self.state.sum);
        let (acc, _) = self.state.acc.as_chunks::<LANES>();
        for (out, acc) in self.out.chunks_mut(LANES).zip(acc) {
            let y = s.div(s.load(acc), sum);
            match out.as_mut_array() {
                Some(out) => s.store(y, out),
                None => s.store_partial(y, out),
            }
        }
    }
}

/// The states of a segment, those of all segments so far, and the scores of a page.
fn workspace(work: &mut [f32], n_queries: usize, record: usize) -> [&mut [f32]; 3] {
    let (segment, work) = work.split_at_mut(QUERIES_PER_UNIT * record);
    let (all, scores) = work.split_at_mut(QUERIES_PER_UNIT * record);
    [&mut segment[..n_queries * record], &mut all[..n_queries * record], scores]
}

/// Where the states of segments are kept that are computed as items of their own: a row a query and segment.
#[derive(Clone, Copy)]
pub(super) struct Kept<'a> {
    pub(super) states: SharedRows<'a>,
    /// Most segments of any unit.
    pub(super) n_segments: usize,
}

impl<P: PageFormat> Unit<'_, P> {
    /// From the first key to the outputs.
    pub(super) fn run(&self, isa: Isa, work: &mut [f32], out: SharedRows<'_>) {
        let record = record_len(self.job.shape.head_dim);
        let [records, all, scores] = workspace(work, self.n_queries(), record);
        reset(all, record);
        for segment in self.segments() {
            P::run(isa, AttendSegment { unit: self, segment, records, scores });
            for (i, (all, segment_record)) in each(all, record).zip(each(records, record)).enumerate() {
                if self.sees(i, segment) {
                    simd::run_f32(isa, Merge { all: State::of(all), segment: State::of(segment_record) });
                }
            }
        }
        self.finish(isa, all, out);
    }

    /// One segment, counted from the unit's first; its states are kept for [`Unit::run_kept`].
    pub(super) fn run_segment(&self, isa: Isa, i_segment: usize, work: &mut [f32], kept: Kept<'_>) {
        let record = record_len(self.job.shape.head_dim);
        let [records, _, scores] = workspace(work, self.n_queries(), record);
        let segment = self.segments().start + i_segment;
        P::run(isa, AttendSegment { unit: self, segment, records, scores });
        for (i, record) in each(records, record).enumerate() {
            // SAFETY: each pair of query and segment has its own row.
            unsafe { kept.states.row(self.kept_row(i, i_segment, kept)) }.copy_from_slice(record);
        }
    }

    /// From the kept states of all segments to the outputs.
    pub(super) fn run_kept(&self, isa: Isa, work: &mut [f32], kept: Kept<'_>, out: SharedRows<'_>) {
        let record = record_len(self.job.shape.head_dim);
        let [_, all, _] = workspace(work, self.n_queries(), record);
        reset(all, record);
        for (i, all) in each(all, record).enumerate() {
            for (i_segment, segment) in self.segments().enumerate() {
                if self.sees(i, segment) {
                    // SAFETY: each query has its own rows.
                    let segment = unsafe { kept.states.row(self.kept_row(i, i_segment, kept)) };
                    simd::run_f32(isa, Merge { all: State::of(all), segment: State::of(segment) });
                }
            }
        }
        self.finish(isa, all, out);
    }

    fn kept_row(&self, i: usize, i_segment: usize, kept: Kept<'_>) -> usize {
        let (row, head) = self.place(i);
        (row * self.job.params.n_heads + head) * kept.n_segments + i_segment
    }

    fn finish(&self, isa: Isa, records: &mut [f32], out: SharedRows<'_>) {
        let head_dim = self.job.shape.head_dim;
        for (i, record) in each(records, record_len(head_dim)).enumerate() {
            let (row, head) = self.place(i);
            // SAFETY: each unit takes its own heads of its own rows, one after the other.
            let out = unsafe { out.part(row, head * head_dim, head_dim) };
            simd::run_f32(isa, Finish { state: State::of(record), out });
        }
    }
}
