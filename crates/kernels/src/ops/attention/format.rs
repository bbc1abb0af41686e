//! What differs between formats of pages: how queries meet keys, and how weights meet values.

use super::page::{AddValues, Page, add_vectors, multiply_add, tiles};
use crate::Cpu;
use crate::buffer::{Rows, Shared};
use crate::isa::Isa;
use crate::ops::kv::{Element, KvFormat, Layout, PAGE_LEN, Q8_0, Q8_0Values};
use crate::quant::Record;
use crate::quant::q8_0::{LEN, Q8_0Panel};
use crate::simd::{self, Kernel, LANES, Simd};

/// How the keys and values of a format are multiplied.
pub(super) trait PageFormat: Layout {
    /// What a query's head is made of where keys are multiplied by it.
    type Query: Copy + Sync;

    /// As `simd::run`, with what the format needs of an instruction set.
    fn run<K: Kernel>(isa: Isa, kernel: K) -> K::Output;

    fn query<'a>(queries: &Queries<'a>, row: usize, head: usize) -> &'a [Self::Query];

    /// Of each of Q queries with the keys of tiles `tile..tile + C`.
    fn products<S: Simd, const Q: usize, const C: usize>(
        s: S,
        page: &Page<'_, Self>,
        queries: [&[Self::Query]; Q],
        tile: usize,
    ) -> [[S::F; C]; Q];

    /// Adds weights times values for Q queries, C vectors at a time if they can be had.
    fn add_values<S: Simd, const Q: usize, const C: usize>(s: S, step: AddValues<'_, Self>);
}

/// The queries of a batch.
#[derive(Clone, Copy)]
pub(super) struct Queries<'a> {
    rows: &'a Rows,
    head_dim: usize,
    /// `[n_rows][n_heads][records_len]`, where keys are multiplied as integers.
    records: &'a [Record],
}

/// Records of a query's head.
pub(super) fn records_len(format: KvFormat, head_dim: usize) -> usize {
    match format {
        KvFormat::F16 | KvFormat::F32 => 0,
        KvFormat::Q8_0 => head_dim.div_ceil(Record::LEN),
    }
}

impl<'a> Queries<'a> {
    /// Quantizes the heads of `rows` into `records` if the format asks for it.
    pub(super) fn new(
        cpu: &Cpu,
        rows: &'a Rows,
        format: KvFormat,
        head_dim: usize,
        records: &'a mut [Record],
    ) -> Self {
        let of_row = rows.width() / head_dim * records_len(format, head_dim);
        if of_row > 0 {
            let records = Shared::new(records);
            cpu.pool.for_each(rows.n_rows(), &|i| {
                // SAFETY: each item takes the records of its own row.
                let records = unsafe { records.part(i * of_row, of_row) };
                simd::run_f32(cpu.isa, QuantizeHeads { row: rows.row(i), head_dim, records });
            });
        }
        Self { rows, head_dim, records }
    }
}

struct QuantizeHeads<'a> {
    row: &'a [f32],
    head_dim: usize,
    records: &'a mut [Record],
}

impl Kernel for QuantizeHeads<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let heads = self.records.chunks_exact_mut(self.head_dim.div_ceil(Record::LEN));
        for (records, head) in heads.zip(self.row.chunks(self.head_dim)) {
            for (record, x) in records.iter_mut().zip(head.chunks(Record::LEN)) {
                record.quantize(s, x);
            }
        }
    }
}

/// Plain numbers: f32 arithmetic.
impl<E: Element> PageFormat for E {
    type Query = f32;

    fn run<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
        simd::run_f32(isa, kernel)
    }

    fn query<'a>(queries: &Queries<'a>, row: usize, head: usize) -> &'a [f32] {
        &queries.rows.row(row)[head * queries.head_dim..][..queries.head_dim]
    }

    #[inline(always)]
    fn products<S: Simd, const Q: usize, const C: usize>(
        s: S,
        page: &Page<'_, E>,
        queries: [&[f32]; Q],
        tile: usize,
    ) -> [[S::F; C]; Q] {
        let mut acc = [[s.splat(0.0); C]; Q];
        let tile_len = LANES * page.head_dim;
        let ahead = page.values.as_ptr().wrapping_add(tile * tile_len);
        multiply_add(s, queries, &page.keys[tile * tile_len..], LANES, tile_len, &mut acc, ahead);
        acc
    }

    #[inline(always)]
    fn add_values<S: Simd, const Q: usize, const C: usize>(s: S, mut step: AddValues<'_, E>) {
        let head_dim = step.page.head_dim;
        let mut i = 0;
        while C > 1 && (i + C) * LANES <= head_dim {
            add_elements::<S, E, Q, C>(s, &mut step, i, LANES);
            i += C;
        }
        while i * LANES < head_dim {
            add_elements::<S, E, Q, 1>(s, &mut step, i, LANES.min(head_dim - i * LANES));
            i += 1;
        }
    }
}

/// Vectors `i..i + C`; values lie `width` apart.
#[inline(always)]
fn add_elements<S: Simd, E: Element, const Q: usize, const C: usize>(
    s: S,
    step: &mut AddValues<'_, E>,
    i: usize,
    width: usize,
) {
    let AddValues { page, weights, visible, .. } = step;
    let mut weights_of = [[].as_slice(); Q];
    for q in 0..Q {
        weights_of[q] = &weights[q][visible.start..visible.end];
    }
    let start = i * LANES * PAGE_LEN + visible.start * width;
    let ahead = page.next_keys.as_ptr().wrapping_add(start);
    let values = &page.values[start..];
    add_vectors::<S, E, Q, C>(s, &mut step.sums, i, weights_of, values, width, ahead);
}

/// Exact integer products with keys; values as f32.
impl PageFormat for Q8_0 {
    type Query = Record;

    fn run<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
        simd::run(isa, kernel)
    }

    fn query<'a>(queries: &Queries<'a>, row: usize, head: usize) -> &'a [Record] {
        let n_heads = queries.rows.width() / queries.head_dim;
        let len = queries.head_dim.div_ceil(Record::LEN);
        &queries.records[(row * n_heads + head) * len..][..len]
    }

    #[inline(always)]
    fn products<S: Simd, const Q: usize, const C: usize>(
        s: S,
        page: &Page<'_, Q8_0>,
        queries: [&[Record]; Q],
        tile: usize,
    ) -> [[S::F; C]; Q] {
        let mut products = [[s.splat(0.0); C]; Q];
        if const { S::PAIRS } {
            let of_tiles = dots::<S, Q, C>(s, page, queries, tile, true);
            for q in 0..Q {
                for c in 0..C {
                    products[q][c] = of_tiles[c][q];
                }
            }
            return products;
        }
        // Where the registers hold the sums of one tile of keys and few queries.
        for c in 0..C {
            let mut q = 0;
            while const { S::INT_TILE >= 2 } && q + 2 <= Q {
                let [two] = dots::<S, 2, 1>(s, page, [queries[q], queries[q + 1]], tile + c, q == 0);
                products[q][c] = two[0];
                products[q + 1][c] = two[1];
                q += 2;
            }
            while q < Q {
                let [one] = dots::<S, 1, 1>(s, page, [queries[q]], tile + c, q == 0);
                products[q][c] = one[0];
                q += 1;
            }
        }
        products
    }

    #[inline(always)]
    fn add_values<S: Simd, const Q: usize, const C: usize>(s: S, mut step: AddValues<'_, Q8_0>) {
        let n_vectors = step.page.head_dim.div_ceil(LANES);
        let mut weights = [[0.0; PAGE_LEN]; Q];
        for b in 0..n_vectors.div_ceil(2) {
            scale_weights(s, &step, b, &mut weights);
            if C > 1 && 2 * b + 2 <= n_vectors {
                add_block::<S, Q, 2>(s, &mut step, b, 0, &weights);
                continue;
            }
            for half in 0..2.min(n_vectors - 2 * b) {
                add_block::<S, Q, 1>(s, &mut step, b, half, &weights);
            }
        }
    }
}

/// Products of Q queries with the keys of C tiles.
#[inline(always)]
fn dots<S: Simd, const Q: usize, const C: usize>(
    s: S,
    page: &Page<'_, Q8_0>,
    queries: [&[Record]; Q],
    tile: usize,
    fetches_next: bool,
) -> [[S::F; Q]; C] {
    const BLOCKS: usize = Record::LEN / LEN;
    let n_blocks = page.head_dim.div_ceil(LEN);
    let tiles: [&[Q8_0Panel]; C] = std::array::from_fn(|c| &page.keys[(tile + c) * n_blocks..][..n_blocks]);
    // Twice as far as with plain numbers: keys are done with too soon for all values to have come meanwhile.
    let ahead = fetches_next.then_some(distance_to_next(page));
    let mut y = [[s.splat(0.0); Q]; C];
    for i in 0..queries[0].len() {
        let blocks = i * BLOCKS..n_blocks.min((i + 1) * BLOCKS);
        let panels = tiles.map(|tile| &tile[blocks.clone()]);
        Q8_0Panel::dot_ahead(s, panels, queries.map(|records| &records[i]), &mut y, ahead);
    }
    y
}

/// The weights of the visible keys times the scales of block b of their values.
#[inline(always)]
fn scale_weights<S: Simd, const Q: usize>(
    s: S,
    step: &AddValues<'_, Q8_0>,
    b: usize,
    scaled: &mut [[f32; PAGE_LEN]; Q],
) {
    let scales = step.page.values[b].d.as_chunks::<LANES>().0;
    let ahead = next(step, b).wrapping_add(std::mem::offset_of!(Q8_0Values, d));
    for tile in tiles(&step.visible) {
        let d = s.load_f16(&scales[tile]);
        s.prefetch(ahead.wrapping_add(tile * size_of_val(&scales[tile])));
        for q in 0..Q {
            let weights = step.weights[q].as_chunks::<LANES>().0;
            s.store(s.mul(s.load(&weights[tile]), d), &mut scaled[q].as_chunks_mut::<LANES>().0[tile]);
        }
    }
}

/// Bytes from a page's head to that of the next, modulo 2^64.
fn distance_to_next(page: &Page<'_, Q8_0>) -> usize {
    page.next_keys.as_ptr().addr().wrapping_sub(page.keys.as_ptr().addr())
}

/// Where block b of the values of the next page lies.
fn next(step: &AddValues<'_, Q8_0>, b: usize) -> *const i8 {
    (&raw const step.page.values[b]).cast::<i8>().wrapping_add(distance_to_next(step.page))
}

/// C vectors of block b, from `half` on.
#[inline(always)]
fn add_block<S: Simd, const Q: usize, const C: usize>(
    s: S,
    step: &mut AddValues<'_, Q8_0>,
    b: usize,
    half: usize,
    weights: &[[f32; PAGE_LEN]; Q],
) {
    let visible = step.visible.clone();
    let mut weights_of = [[].as_slice(); Q];
    for q in 0..Q {
        weights_of[q] = &weights[q][visible.start..visible.end];
    }
    let start = half * LANES * PAGE_LEN + visible.start * LANES;
    let values = &step.page.values[b].q.as_flattened().as_flattened()[start..];
    let ahead = next(step, b).wrapping_add(std::mem::offset_of!(Q8_0Values, q) + start);
    add_vectors::<S, i8, Q, C>(s, &mut step.sums, 2 * b + half, weights_of, values, LANES, ahead);
}
