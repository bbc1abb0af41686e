//! Attention of a batch's queries over paged keys and values: grouped query heads, causal, with an optional window.
//!
//! A row at position p sees the keys `max(0, p - window + 1)..=p`. What follows defines its output bit for bit; it
//! depends on the position, the window and head_dim, and on nothing else: not on the other rows, not on the threads.
//!
//! Keys are taken in order, in *pages* of 64 and *segments* of 1,024 absolute positions. Only visible keys count; what
//! lies in other slots is never used. All sums are f32, by fused multiply-add, from 0:
//!
//! ```text
//! score[j] = scale * (sum over d in order of q[d] * k[j][d])
//! segment:   m = -inf, lanes = [0; 16], acc = [0; head_dim];  for each page, j over its visible keys, in order:
//!            m' = max(m, all score[j])            r = e^(m - m')         p[j] = e^(score[j] - m')
//!            lanes = lanes * r, then lanes[j % 16] += p[j]
//!            acc   = acc * r,   then acc[d] = fma(p[j], v[j][d], acc[d])
//!            l = Simd::sum(lanes)
//! row:       M = -inf, L = 0, A = [0; head_dim];  for each segment in order:
//!            M' = max(M, m)    L = fma(l, e^(m - M'), L * e^(M - M'))    A = fma(acc, e^(m - M'), A * e^(M - M'))
//! out[d]   = A[d] / L
//! ```
//!
//! On q8_0 pages (`kv` says what they hold) the query is quantized, too: to a [`Record`] for each 256 of its elements,
//! as an activation is. Its product with a key is that of an activation with a row of a Q8_0 matrix, and a value's
//! scale goes to the weight:
//!
//! ```text
//! u        = 0;  for each block b of the record, in order:  u = fma(f32(sum of q's and k[j]'s integers), d[j][b], u)
//! y        = 0;  for each record of the query, in order:    y = fma(u, scale of the record, y)
//! score[j] = scale * y
//! acc[d]   = fma(p[j] * d[j][b], f32(integer of v[j][d]), acc[d])       b = d / 32
//! ```
//!
//! The running maximum is that of "FlashAttention" (Dao et al. 2022) and "Online normalizer calculation for softmax"
//! (Milakov and Gimelshein 2018).
//!
//! The work is cut into *units*: the query heads that share a kv head, in a few rows that follow each other in one
//! sequence. A unit walks over the pages and uses each key and value for all its queries while it is in the cache.
//! Where there are few units and many keys, each segment of a unit is an item of its own, and they are merged later.

mod format;
mod page;
mod unit;

use super::kv::{KvFormat, KvShape, KvStorage, PAGE_LEN, Q8_0};
use crate::Cpu;
use crate::buffer::{AllocError, Buffer, Rows};
use crate::quant::Record;
use crate::simd::LANES;
use format::{PageFormat, Queries, records_len};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use unit::{Job, Kept, record_len};

/// Keys of a segment: a whole number of pages.
const SEGMENT_LEN: usize = 1024;

/// Queries of a unit, at most: enough to make little of reading a page, few enough to stay in the cache beside it.
const QUERIES_PER_UNIT: usize = 48;

/// With fewer units than this a thread, segments become items, so that all threads have work until the end.
const UNITS_PER_THREAD: usize = 4;

/// Where a row of the batch stands and where its keys are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttentionRow {
    pub position: u32,
    /// The sequence's page table, as a part of the batch's `tables`: entry i holds the positions from `i * PAGE_LEN`
    /// on. Entries wholly before the row's window are not looked at. Rows of one sequence have the same range.
    pub table: Range<u32>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AttentionParams {
    /// A multiple of the storage's n_kv_heads: head h reads kv head `h / (n_heads / n_kv_heads)`.
    pub n_heads: usize,
    /// Usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// How many keys a row sees at most, itself included; at least 1.
    pub window: Option<u32>,
}

/// Workspace of [`attention`], for all layers of one shape.
pub struct AttentionScratch {
    /// One row a thread: the states of a unit's queries twice (this segment, all so far), then scores.
    workers: Rows,
    /// `[row of the batch][head][segment]`: the states of segments that are items of their own.
    segments: Rows,
    /// The rows of the batch that make a unit together.
    tiles: Vec<Range<usize>>,
    /// The queries as integers, where the format wants them so.
    records: Buffer<Record>,
}

impl AttentionScratch {
    /// For batches of up to `max_rows`, contexts of up to `max_context` positions and a pool of `n_threads`. Beyond
    /// either of the last two, attention works and uses fewer threads.
    pub fn new(
        n_threads: usize,
        max_rows: usize,
        n_heads: usize,
        shape: &KvShape,
        max_context: usize,
    ) -> Result<Self, AllocError> {
        let [workers, segments] = Self::sizes(n_threads, max_rows, n_heads, shape, max_context);
        let in_use = |(n_rows, width)| {
            let mut rows = Rows::new(n_rows, width)?;
            rows.set_n_rows(n_rows);
            Ok(rows)
        };
        let (workers, segments) = (in_use(workers)?, in_use(segments)?);
        let records = Self::n_records(max_rows, n_heads, shape);
        let records = Buffer::zeroed(records.ok_or(AllocError { bytes: usize::MAX })?)?;
        Ok(Self { workers, segments, tiles: Vec::with_capacity(max_rows), records })
    }

    /// Bytes that `new` takes; `usize::MAX` where that is more than can be counted.
    pub fn bytes_for(
        n_threads: usize,
        max_rows: usize,
        n_heads: usize,
        shape: &KvShape,
        max_context: usize,
    ) -> usize {
        let sizes = Self::sizes(n_threads, max_rows, n_heads, shape, max_context);
        let rows = sizes.iter().map(|&(n_rows, width)| Rows::bytes_for(n_rows, width));
        let records = Self::n_records(max_rows, n_heads, shape).unwrap_or(usize::MAX);
        let others = [(max_rows, size_of::<Range<usize>>()), (records, size_of::<Record>())];
        rows.chain(others.map(|(n, size)| n.saturating_mul(size))).fold(0, usize::saturating_add)
    }

    fn n_records(max_rows: usize, n_heads: usize, shape: &KvShape) -> Option<usize> {
        max_rows.checked_mul(n_heads)?.checked_mul(records_len(shape.format, shape.head_dim))
    }

    /// Rows and width of `workers` and of `segments`.
    fn sizes(
        n_threads: usize,
        max_rows: usize,
        n_heads: usize,
        shape: &KvShape,
        max_context: usize,
    ) -> [(usize, usize); 2] {
        let record = record_len(shape.head_dim);
        let n_segments = max_context.div_ceil(SEGMENT_LEN);
        let split_rows = (UNITS_PER_THREAD * n_threads).div_ceil(shape.n_kv_heads).min(max_rows);
        let is_split = n_threads > 1 && n_segments > 1;
        let n_split =
            if is_split { split_rows.saturating_mul(n_heads).saturating_mul(n_segments) } else { 0 };
        [(n_threads.max(1), 2 * QUERIES_PER_UNIT * record + page::SCORES_LEN), (n_split, record)]
    }
}

/// Attention of row i of `q`, `[n_rows, n_heads * head_dim]`, as `rows[i]` says, over the keys and values of one layer,
/// which include those of the rows themselves. `tables` are page ids. Writes `out`, of the same shape as `q`.
pub fn attention(
    cpu: &Cpu,
    kv: &KvStorage,
    layer: usize,
    q: &Rows,
    rows: &[AttentionRow],
    tables: &[u32],
    params: AttentionParams,
    scratch: &mut AttentionScratch,
    out: &mut Rows,
) {
    let KvShape { n_kv_heads, head_dim, format, .. } = *kv.shape();
    assert_eq!((q.n_rows(), q.width()), (rows.len(), params.n_heads * head_dim));
    assert_eq!(out.width(), q.width());
    assert!(params.n_heads.is_multiple_of(n_kv_heads) && params.window != Some(0));
    assert_eq!(scratch.workers.width(), 2 * QUERIES_PER_UNIT * record_len(head_dim) + page::SCORES_LEN);
    for row in rows {
        let n_pages = row.table.len();
        assert!((row.position as usize) < n_pages * PAGE_LEN, "position {} in {n_pages} pages", row.position);
    }
    out.set_n_rows(rows.len());
    match format {
        KvFormat::F16 => run::<u16>(cpu, kv, layer, q, rows, tables, params, scratch, out),
        KvFormat::F32 => run::<f32>(cpu, kv, layer, q, rows, tables, params, scratch, out),
        KvFormat::Q8_0 => run::<Q8_0>(cpu, kv, layer, q, rows, tables, params, scratch, out),
    }
}

fn run<P: PageFormat>(
    cpu: &Cpu,
    kv: &KvStorage,
    layer: usize,
    q: &Rows,
    rows: &[AttentionRow],
    tables: &[u32],
    params: AttentionParams,
    scratch: &mut AttentionScratch,
    out: &mut Rows,
) {
    let AttentionScratch { workers, segments, tiles, records } = scratch;
    let queries = Queries::new(cpu, q, P::FORMAT, kv.shape().head_dim, records);
    let job = Job::<P>::new(kv, layer, queries, rows, tables, params);
    // A short batch is cut finer, so that there is a unit for each thread.
    let enough_units = UNITS_PER_THREAD * cpu.pool.n_threads();
    let max_rows = (rows.len() * job.units_per_tile()).div_ceil(enough_units).clamp(1, job.rows_per_unit());
    find_tiles(rows, max_rows, tiles);
    let n_units = tiles.len() * job.units_per_tile();
    // Later rows see more keys: they come first, so that no thread is left with a long one at the end.
    let unit =
        |i: usize| job.unit(&tiles[tiles.len() - 1 - i / job.units_per_tile()], i % job.units_per_tile());
    let out = out.shared();
    let n_segments = (0..n_units).map(|i| unit(i).segments().len()).max().unwrap_or(0);
    let few_units = n_units < enough_units && cpu.pool.n_threads() > 1;
    if !few_units || n_segments < 2 || rows.len() * params.n_heads * n_segments > segments.n_rows() {
        for_each_with_workspace(cpu, n_units, workers, &|i, work| unit(i).run(cpu.isa, work, out));
        return;
    }
    let kept = Kept { states: segments.shared(), n_segments };
    for_each_with_workspace(cpu, n_units * n_segments, workers, &|i, work| {
        let (unit, i_segment) = (unit(i / n_segments), i % n_segments);
        if i_segment < unit.segments().len() {
            unit.run_segment(cpu.isa, i_segment, work, kept);
        }
    });
    for_each_with_workspace(cpu, n_units, workers, &|i, work| unit(i).run_kept(cpu.isa, work, kept, out));
}

/// Cuts the rows into runs of up to `max_rows` that belong to one sequence.
fn find_tiles(rows: &[AttentionRow], max_rows: usize, tiles: &mut Vec<Range<usize>>) {
    tiles.clear();
    for (i, row) in rows.iter().enumerate() {
        match tiles.last_mut() {
            Some(tile) if tile.len() < max_rows && rows[tile.start].table == row.table => tile.end = i + 1,
            _ => tiles.push(i..i + 1),
        }
    }
}

/// `ThreadPool::for_each` in which each thread has a row of `workers` of its own.
fn for_each_with_workspace(
    cpu: &Cpu,
    n_items: usize,
    workers: &mut Rows,
    f: &(dyn Fn(usize, &mut [f32]) + Sync),
) {
    let n_workers = cpu.pool.n_threads().min(workers.n_rows()).min(n_items);
    let workers = workers.shared();
    let next = AtomicUsize::new(0);
    cpu.pool.for_each(n_workers, &|worker| {
        // SAFETY: each item of the pool takes its own row.
        let work = unsafe { workers.row(worker) };
        loop {
            let item = next.fetch_add(1, Ordering::Relaxed);
            if item >= n_items {
                return;
            }
            f(item, work);
        }
    });
}

/// A head's elements in whole vectors.
const fn padded(head_dim: usize) -> usize {
    head_dim.next_multiple_of(LANES)
}
