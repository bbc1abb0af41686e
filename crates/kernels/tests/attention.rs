//! `attention` against its two oracles: the portable path, bit for bit, whatever the threads, the chunks and the rest
//! of the batch; and the plain formula in f64 within a bound that is derived.

mod support;

use limpid_kernels::buffer::Rows;
use limpid_kernels::isa::Isa;
use limpid_kernels::ops::{
    AttentionParams, AttentionRow, AttentionScratch, KvFormat, KvShape, KvSlot, KvStorage, PAGE_LEN,
    attention, kv_write, vocab,
};
use limpid_kernels::{Cpu, reference};
use support::Random;

const U: f64 = 1.0 / (1 << 24) as f64;
const LAYER: usize = 1;

fn rows_of(x: &[Vec<f32>], width: usize) -> Rows {
    let mut rows = Rows::new(x.len(), width).expect("memory");
    rows.set_n_rows(x.len());
    for (i, x) in x.iter().enumerate() {
        rows.row_mut(i).copy_from_slice(x);
    }
    rows
}

/// A layer with some sequences: a query, a key and a value for each position of each.
struct Case {
    shape: KvShape,
    group: usize,
    window: Option<u32>,
    sequences: Vec<Sequence>,
}

struct Sequence {
    queries: Vec<Vec<f32>>,
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
    pages: Vec<u32>,
}

impl Case {
    /// Sequences of these lengths, whose pages are not in order.
    fn new(head_dim: usize, group: usize, format: KvFormat, window: Option<u32>, lens: &[usize]) -> Case {
        let mut random = Random(head_dim as u64 * 100 + group as u64);
        let shape = KvShape { n_layers: 2, n_kv_heads: 2, head_dim, format };
        let kv_width = shape.n_kv_heads * head_dim;
        let n_pages: usize = lens.iter().map(|len| len.div_ceil(PAGE_LEN)).sum();
        // From the last to the first, the last one (number n_pages) unused.
        let mut pages = (0..n_pages as u32).rev();
        let sequences = lens.iter().map(|&len| Sequence {
            queries: (0..len).map(|_| random.floats(kv_width * group, 3.0)).collect(),
            keys: (0..len).map(|_| random.floats(kv_width, 2.0)).collect(),
            values: (0..len).map(|_| random.floats(kv_width, 1.0)).collect(),
            pages: pages.by_ref().take(len.div_ceil(PAGE_LEN)).collect(),
        });
        Case { shape, group, window, sequences: sequences.collect() }
    }

    fn params(&self) -> AttentionParams {
        AttentionParams {
            n_heads: self.shape.n_kv_heads * self.group,
            scale: 1.0 / (self.shape.head_dim as f32).sqrt(),
            window: self.window,
        }
    }

    fn query(&self, sequence: usize, position: usize, head: usize) -> &[f32] {
        let head_dim = self.shape.head_dim;
        &self.sequences[sequence].queries[position][head * head_dim..][..head_dim]
    }

    /// The positions that `position` sees.
    fn visible(&self, position: usize) -> std::ops::Range<usize> {
        let window = self.window.map_or(usize::MAX, |window| window as usize);
        (position + 1).saturating_sub(window)..position + 1
    }

    /// Storage in which every slot of every page is NaN, but for the keys and values that `wanted(sequence, position)`.
    fn storage(&self, wanted: impl Fn(usize, usize) -> bool) -> KvStorage {
        let cpu = Cpu::new(Isa::detect(), 1);
        let width = self.shape.n_kv_heads * self.shape.head_dim;
        let n_pages = self.sequences.iter().map(|sequence| sequence.pages.len()).sum::<usize>() + 1;
        let mut kv = KvStorage::new(self.shape, n_pages).expect("memory");
        let nan = rows_of(&vec![vec![f32::NAN; width]; PAGE_LEN], width);
        for (page, layer) in (0..n_pages as u32).flat_map(|page| [(page, 0), (page, 1)]) {
            let slots: Vec<KvSlot> = (0..PAGE_LEN as u32).map(|offset| KvSlot { page, offset }).collect();
            kv_write(&cpu, &mut kv, layer, &slots, &nan, &nan);
        }
        for (i, sequence) in self.sequences.iter().enumerate() {
            let positions: Vec<usize> =
                (0..sequence.keys.len()).filter(|&position| wanted(i, position)).collect();
            let slot = |&position: &usize| KvSlot {
                page: sequence.pages[position / PAGE_LEN],
                offset: (position % PAGE_LEN) as u32,
            };
            let slots: Vec<KvSlot> = positions.iter().map(slot).collect();
            let pick =
                |x: &[Vec<f32>]| rows_of(&positions.iter().map(|&p| x[p].clone()).collect::<Vec<_>>(), width);
            kv_write(&cpu, &mut kv, LAYER, &slots, &pick(&sequence.keys), &pick(&sequence.values));
        }
        kv
    }

    /// The keys and values that a position of the first sequence sees, as they are stored.
    fn stored(&self, kv: &KvStorage, kv_head: usize, position: usize) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
        let head_dim = self.shape.head_dim;
        let read = |position: usize| {
            let (mut key, mut value) = (vec![0.0; head_dim], vec![0.0; head_dim]);
            let page = self.sequences[0].pages[position / PAGE_LEN];
            let slot = KvSlot { page, offset: (position % PAGE_LEN) as u32 };
            kv.read(LAYER, kv_head, slot, &mut key, &mut value);
            (key, value)
        };
        self.visible(position).map(read).unzip()
    }

    /// Outputs of a batch of (sequence, position). Page table entries of pages that no row sees are made invalid.
    fn attend(
        &self,
        cpu: &Cpu,
        kv: &KvStorage,
        batch: &[(usize, usize)],
        max_context: usize,
    ) -> Vec<Vec<f32>> {
        let width = self.shape.n_kv_heads * self.group * self.shape.head_dim;
        let queries: Vec<Vec<f32>> = batch
            .iter()
            .map(|&(sequence, position)| self.sequences[sequence].queries[position].clone())
            .collect();
        let mut tables = vec![7];
        let mut starts = Vec::new();
        for (i, sequence) in self.sequences.iter().enumerate() {
            starts.push(tables.len() as u32);
            let of_sequence = || batch.iter().filter(move |row| row.0 == i).map(|row| self.visible(row.1));
            let first = of_sequence().map(|keys| keys.start).min().unwrap_or(0) / PAGE_LEN;
            let end = of_sequence().map(|keys| keys.end).max().unwrap_or(0).div_ceil(PAGE_LEN);
            let seen = |page: usize| first <= page && page < end;
            tables.extend(
                sequence.pages.iter().enumerate().map(|(p, &id)| if seen(p) { id } else { u32::MAX }),
            );
        }
        starts.push(tables.len() as u32);
        let rows: Vec<AttentionRow> = batch
            .iter()
            .map(|&(sequence, position)| AttentionRow {
                position: position as u32,
                table: starts[sequence]..starts[sequence + 1],
            })
            .collect();
        let params = self.params();
        let mut scratch = AttentionScratch::new(
            cpu.pool.n_threads(),
            batch.len(),
            params.n_heads,
            &self.shape,
            max_context,
        )
        .expect("memory");
        let mut out = Rows::new(batch.len(), width).expect("memory");
        let q = rows_of(&queries, width);
        attention(cpu, kv, LAYER, &q, &rows, &tables, params, &mut scratch, &mut out);
        (0..batch.len())
            .map(|i| {
                assert!(out.padded_row(i)[width..].iter().all(|&x| x == 0.0), "the padding");
                out.row(i).to_vec()
            })
            .collect()
    }
}

/// Every instruction set with 1, 2 and 3 threads.
fn cpus() -> impl Iterator<Item = Cpu> {
    Isa::available().flat_map(|isa| [1, 2, 3].map(|n_threads| Cpu::new(isa, n_threads)))
}

fn assert_same(found: &[Vec<f32>], expected: &[Vec<f32>], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        for (j, (&found, &expected)) in found.iter().zip(expected).enumerate() {
            let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
            assert!(same, "{what}: row {i}, column {j}: {found} is not {expected}");
        }
    }
}

/// Asserts that `out` is attention of the last position of the first sequence, by the formula in f64.
///
/// With n keys on p pages in s segments, scores in a range of r: a score is off by its own sum's roundings,
/// d = (head_dim + 1) u * scale * sum |q k|. A weight e^(score - max) has a relative error of d, and u r for the
/// rounding of the difference, and 2u for the exponential (1 ulp); the factors that shrink it later cost another u r
/// in all for their differences, and 3u for each page and segment. That e counts for the numerator and for the
/// denominator. The numerator rounds once a key and segment, relative to the sum of weight * |v|; the denominator
/// once each 16 keys, 4 times between lanes and once a segment; the quotient once.
///
/// In q8_0 that is the distance from attention of the quantized query: a score rounds once a block and record, and once
/// more for each element of the query, which is an f32 here; and weights round when they are multiplied by the scales
/// of the values.
fn assert_formula(case: &Case, kv: &KvStorage, out: &[f32]) {
    let KvShape { n_kv_heads, head_dim, format, .. } = case.shape;
    let scale = case.params().scale;
    let is_q8_0 = format == KvFormat::Q8_0;
    let n_roundings = if is_q8_0 { head_dim.div_ceil(32) + head_dim.div_ceil(256) + 1 } else { head_dim };
    let sequence = &case.sequences[0];
    let position = sequence.keys.len() - 1;
    for kv_head in 0..n_kv_heads {
        let (keys, values) = case.stored(kv, kv_head, position);
        for head in kv_head * case.group..(kv_head + 1) * case.group {
            let columns = head * head_dim..(head + 1) * head_dim;
            let q = case.query(0, position, head);
            let q = &if is_q8_0 {
                Quantized::records(q).iter().flat_map(Quantized::floats).collect()
            } else {
                q.to_vec()
            };
            let truth = reference::attention::attention(q, &keys, &values, scale);
            let weights = reference::attention::weights(q, &keys, scale);
            let scores = reference::attention::scores(q, &keys, scale);
            let (low, high) = scores.iter().fold((f64::MAX, f64::MIN), |(l, h), &s| (l.min(s), h.max(s)));
            let size = |key: &Vec<f32>| q.iter().zip(key).map(|(q, k)| f64::from((q * k).abs())).sum::<f64>();
            let largest = keys.iter().map(size).fold(0.0, f64::max);
            let d = (n_roundings as f64 + 1.0) * U * f64::from(scale) * largest;
            let n = keys.len() as f64;
            let (pages, segments) = (n / 64.0 + 2.0, n / 1024.0 + 2.0);
            let e = d + (2.0 * (high - low) + 2.0 + 3.0 * (pages + segments)) * U;
            let scaling = if is_q8_0 { 1.0 } else { 0.0 };
            let relative = 2.0 * e + (n + n / 16.0 + 2.0 * segments + 5.0 + scaling) * U;
            for (i, (&found, &truth)) in out[columns].iter().zip(&truth).enumerate() {
                let size: f64 = weights.iter().zip(&values).map(|(w, v)| w * f64::from(v[i].abs())).sum();
                let error = (f64::from(found) - truth).abs();
                assert!(error <= 1.01 * relative * size, "head {head}, element {i}: {found} is not {truth}");
            }
        }
    }
}

/// Integers with a scale.
struct Quantized {
    q: Vec<f32>,
    scale: f32,
}

impl Quantized {
    /// x = scale * q, the scale rounded by `round`.
    fn new(x: &[f32], round: impl Fn(f32) -> f32) -> Quantized {
        let amax = x.iter().fold(0.0f32, |amax, x| amax.max(x.abs()));
        let q = x.iter().map(|x| (x * (127.0 / amax)).round_ties_even()).collect();
        Quantized { q, scale: round(amax / 127.0) }
    }

    /// A query.
    fn records(x: &[f32]) -> Vec<Quantized> {
        x.chunks(256).map(|x| Quantized::new(x, |scale| scale)).collect()
    }

    /// A key or a value.
    fn blocks(x: &[f32]) -> Vec<Quantized> {
        x.chunks(32).map(|x| Quantized::new(x, |scale| half::f16::from_f32(scale).to_f32())).collect()
    }

    fn floats(&self) -> impl Iterator<Item = f32> {
        self.q.iter().map(|q| q * self.scale)
    }
}

/// The product of a query and a key, which is quantized for q8_0 pages and as it is stored for the others.
fn product(format: KvFormat, q: &[f32], key: &[f32]) -> f32 {
    if format != KvFormat::Q8_0 {
        return q.iter().zip(key).fold(0.0f32, |sum, (q, k)| q.mul_add(*k, sum));
    }
    let blocks = Quantized::blocks(key);
    let record = |y: f32, (record, blocks): (&Quantized, &[Quantized])| {
        let u = record.q.chunks(32).zip(blocks).fold(0.0f32, |u, (a, block)| {
            let sum: f32 = a.iter().zip(&block.q).map(|(a, q)| a * q).sum();
            sum.mul_add(block.scale, u)
        });
        u.mul_add(record.scale, y)
    };
    Quantized::records(q).iter().zip(blocks.chunks(8)).fold(0.0, record)
}

/// Adds weight times value.
fn add_value(format: KvFormat, weight: f32, value: &[f32], acc: &mut [f32]) {
    if format != KvFormat::Q8_0 {
        acc.iter_mut().zip(value).for_each(|(acc, &v)| *acc = weight.mul_add(v, *acc));
        return;
    }
    for (block, acc) in Quantized::blocks(value).iter().zip(acc.chunks_mut(32)) {
        let weight = weight * block.scale;
        acc.iter_mut().zip(&block.q).for_each(|(acc, &q)| *acc = weight.mul_add(q, *acc));
    }
}

/// One head's output in plain f32, in the order that the operation's file defines: of the keys and values of positions
/// from `first` on, as they are stored or, for q8_0 pages, as they were before.
fn by_definition(
    format: KvFormat,
    q: &[f32],
    keys: &[Vec<f32>],
    values: &[Vec<f32>],
    first: usize,
    scale: f32,
) -> Vec<f32> {
    let cpu = Cpu::new(Isa::Portable, 1);
    let exp = |x: f32| {
        let mut out = [0.0];
        vocab::exp_sub(&cpu, &[x], 0.0, &mut out);
        out[0]
    };
    let end = first + keys.len();
    let positions = |start: usize, len: usize| start.max(first)..(start + len).min(end);
    let (mut max, mut sum, mut out) = (f32::NEG_INFINITY, 0.0f32, vec![0.0f32; q.len()]);
    for segment in (first / 1024 * 1024..end).step_by(1024) {
        let (mut m, mut lanes, mut acc) = (f32::NEG_INFINITY, [0.0f32; 16], vec![0.0f32; q.len()]);
        for page in (segment..segment + 1024).step_by(64).filter(|&page| !positions(page, 64).is_empty()) {
            let score = |j: usize| product(format, q, &keys[j - first]) * scale;
            let scores: Vec<f32> = positions(page, 64).map(score).collect();
            let new_max = scores.iter().copied().fold(m, f32::max);
            let shrink = exp(m - new_max);
            m = new_max;
            lanes.iter_mut().for_each(|lane| *lane *= shrink);
            acc.iter_mut().for_each(|acc| *acc *= shrink);
            for (j, score) in positions(page, 64).zip(scores) {
                let weight = exp(score - m);
                lanes[j % 16] += weight;
                add_value(format, weight, &values[j - first], &mut acc);
            }
        }
        for half in [8, 4, 2, 1] {
            (0..half).for_each(|i| lanes[i] += lanes[i + half]);
        }
        let new_max = f32::max(max, m);
        let (old, new) = (exp(max - new_max), exp(m - new_max));
        max = new_max;
        sum = lanes[0].mul_add(new, sum * old);
        out.iter_mut().zip(acc).for_each(|(out, acc)| *out = acc.mul_add(new, *out * old));
    }
    out.into_iter().map(|out| out / sum).collect()
}

#[test]
fn the_order_is_the_one_defined() {
    for (format, head_dim, n_keys, window) in [
        (KvFormat::F16, 8, 5, None),
        (KvFormat::F16, 24, 100, None),
        (KvFormat::F16, 16, 2100, None),
        (KvFormat::F16, 64, 1100, Some(90)),
        (KvFormat::F16, 16, 2100, Some(1100)),
        (KvFormat::Q8_0, 8, 5, None),
        (KvFormat::Q8_0, 80, 100, None),
        (KvFormat::Q8_0, 300, 70, None),
        (KvFormat::Q8_0, 16, 2100, Some(1100)),
    ] {
        let case = Case::new(head_dim, 3, format, window, &[n_keys]);
        let kv = case.storage(|_, _| true);
        let position = n_keys - 1;
        let found = case.attend(&Cpu::new(Isa::detect(), 1), &kv, &[(0, position)], 4096).remove(0);
        for (head, found) in found.chunks_exact(head_dim).enumerate() {
            let (mut keys, mut values) = case.stored(&kv, head / 3, position);
            if format == KvFormat::Q8_0 {
                let columns = head / 3 * head_dim..(head / 3 + 1) * head_dim;
                let pick =
                    |x: &[Vec<f32>]| case.visible(position).map(|p| x[p][columns.clone()].to_vec()).collect();
                (keys, values) = (pick(&case.sequences[0].keys), pick(&case.sequences[0].values));
            }
            let q = case.query(0, position, head);
            let first = case.visible(position).start;
            let expected = by_definition(format, q, &keys, &values, first, case.params().scale);
            assert_eq!(found, expected, "{format:?}, {n_keys} keys of {head_dim}");
        }
    }
}

/// The last position of contexts around the ends of tiles, pages and segments.
fn contexts_are_the_formula(head_dim: usize, group: usize) {
    for (format, n_keys) in [1, 15, 16, 17, 64, 65, 1023, 1024, 1025, 2100]
        .iter()
        .flat_map(|&n_keys| KvFormat::ALL.map(|format| (format, n_keys)))
    {
        let case = Case::new(head_dim, group, format, None, &[n_keys]);
        let kv = case.storage(|_, _| true);
        let row = [(0, n_keys - 1)];
        let expected = case.attend(&Cpu::new(Isa::Portable, 1), &kv, &row, n_keys);
        assert_formula(&case, &kv, &expected[0]);
        for cpu in cpus() {
            // With and without room to split a row into its segments.
            for max_context in [1, 4096] {
                let found = case.attend(&cpu, &kv, &row, max_context);
                let threads = cpu.pool.n_threads();
                let what = format!("{}, {threads} threads, {format:?}, {n_keys} keys", cpu.isa);
                assert_same(&found, &expected, &what);
            }
        }
    }
}

#[test]
fn head_dim_8() {
    contexts_are_the_formula(8, 4);
}

#[test]
fn head_dim_64() {
    contexts_are_the_formula(64, 4);
    contexts_are_the_formula(64, 1);
}

#[test]
fn head_dim_80() {
    contexts_are_the_formula(80, 1);
    contexts_are_the_formula(80, 3);
}

#[test]
fn head_dim_96() {
    contexts_are_the_formula(96, 3);
}

#[test]
fn head_dim_128() {
    contexts_are_the_formula(128, 8);
}

#[test]
fn head_dim_256() {
    contexts_are_the_formula(256, 2);
}

/// More than one record of a query.
#[test]
fn head_dim_300() {
    contexts_are_the_formula(300, 1);
}

#[test]
fn head_dim_no_multiple_of_16() {
    contexts_are_the_formula(24, 2);
    contexts_are_the_formula(1, 5);
}

#[test]
fn windows_are_the_formula() {
    for window in [1, 16, 17, 63, 64, 65, 100, 1024, 1500] {
        for (format, n_keys) in [1, 17, 64, 130, 1100, 2100]
            .iter()
            .flat_map(|&n_keys| [(KvFormat::F16, n_keys), (KvFormat::Q8_0, n_keys)])
        {
            let case = Case::new(24, 3, format, Some(window), &[n_keys]);
            let kv = case.storage(|_, _| true);
            let row = [(0, n_keys - 1)];
            let expected = case.attend(&Cpu::new(Isa::Portable, 1), &kv, &row, n_keys);
            assert_formula(&case, &kv, &expected[0]);
            for cpu in cpus() {
                assert_same(
                    &case.attend(&cpu, &kv, &row, 4096),
                    &expected,
                    &format!("window {window} of {n_keys}"),
                );
            }
        }
    }
}

/// Two sequences of some positions, each of which alone gives the bits that it gives in any batch: `sizes` are those of
/// the chunks, cut from the two sequences in turn.
fn chunks_change_nothing(case: &Case, from: [usize; 2], sizes: &[usize]) {
    let kv = case.storage(|_, _| true);
    let lens = [0, 1].map(|i| case.sequences[i].keys.len());
    let alone: Vec<Vec<Vec<f32>>> = (0..2)
        .map(|i| {
            let cpu = Cpu::new(Isa::detect(), 1);
            (from[i]..lens[i]).map(|p| case.attend(&cpu, &kv, &[(i, p)], 1).remove(0)).collect()
        })
        .collect();
    for cpu in cpus() {
        for &size in sizes {
            let mut next = from;
            while next != lens {
                let chunk = |i: usize| (next[i]..(next[i] + size).min(lens[i])).map(move |p| (i, p));
                let batch: Vec<(usize, usize)> = chunk(0).chain(chunk(1)).collect();
                let expected: Vec<Vec<f32>> =
                    batch.iter().map(|&(i, p)| alone[i][p - from[i]].clone()).collect();
                let what = format!("{}, {} threads, chunks of {size}", cpu.isa, cpu.pool.n_threads());
                assert_same(&case.attend(&cpu, &kv, &batch, 4096), &expected, &what);
                next = [0, 1].map(|i| (next[i] + size).min(lens[i]));
            }
        }
    }
}

#[test]
fn chunks_of_a_prompt_change_nothing() {
    for (head_dim, group, window) in [
        (64, 4, None),
        (80, 1, None),
        (24, 3, Some(40)),
        (8, 8, Some(1)),
        (16, 7, Some(64)),
        // More heads than a unit holds.
        (8, 50, None),
    ] {
        for format in [KvFormat::F16, KvFormat::Q8_0] {
            let case = Case::new(head_dim, group, format, window, &[150, 70]);
            chunks_change_nothing(&case, [0, 0], &[1, 7, 64, 150]);
        }
    }
}

#[test]
fn chunks_at_depth_change_nothing() {
    // Rows that begin in different segments are among them: at 2087 with a window of 40, at 2083 with one of 1,060.
    for window in [None, Some(40), Some(1060)] {
        for format in [KvFormat::F32, KvFormat::Q8_0] {
            let case = Case::new(16, 2, format, window, &[2100, 1030]);
            chunks_change_nothing(&case, [2070, 1020], &[1, 3, 30]);
        }
    }
}

/// What lies in slots that a row does not see, here NaN, and which pages are in its table before its window.
#[test]
fn what_is_not_seen_is_not_read() {
    for (window, len) in [(None, 200), (Some(20), 200), (Some(70), 200), (Some(1000), 1300)] {
        for (format, head_dim, group) in [
            (KvFormat::F16, 8, 1),
            (KvFormat::F16, 64, 4),
            (KvFormat::F16, 24, 3),
            (KvFormat::Q8_0, 64, 4),
            (KvFormat::Q8_0, 40, 1),
        ] {
            let case = Case::new(head_dim, group, format, window, &[len, 10]);
            let all = case.storage(|_, _| true);
            for position in [0, 15, 16, 40, 63, 64, 100, len - 2] {
                let visible = case.visible(position);
                let only = case.storage(|sequence, position| sequence == 0 && visible.contains(&position));
                for cpu in cpus() {
                    let batch = [(0, position)];
                    let found = case.attend(&cpu, &only, &batch, 4096);
                    assert!(found[0].iter().all(|x| x.is_finite()), "{}: position {position}", cpu.isa);
                    let expected = case.attend(&cpu, &all, &batch, 4096);
                    assert_same(&found, &expected, &format!("{}: position {position}, {window:?}", cpu.isa));
                }
            }
        }
    }
}

#[test]
fn a_key_that_is_not_a_number_is_not_hidden() {
    for format in KvFormat::ALL {
        let mut case = Case::new(16, 2, format, None, &[80]);
        case.sequences[0].keys[70][3] = f32::NAN;
        let kv = case.storage(|_, _| true);
        for cpu in cpus() {
            // Kv head 0, so heads 0 and 1: columns 0..32. Rows before it and the other heads are as they were.
            let out = case.attend(&cpu, &kv, &[(0, 69), (0, 70), (0, 79)], 80);
            assert!(out[0].iter().all(|x| x.is_finite()));
            for row in &out[1..] {
                assert!(row[..32].iter().all(|x| x.is_nan()) && row[32..].iter().all(|x| x.is_finite()));
            }
        }
    }
}

/// A value spoils what is summed with it: its own element, or the block of 32 that shares its scale. A query spoils its
/// own head.
#[test]
fn values_and_queries_that_are_not_numbers_are_not_hidden() {
    for not_finite in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for (format, spoilt) in [(KvFormat::F16, 35..36), (KvFormat::F32, 35..36), (KvFormat::Q8_0, 32..64)] {
            let mut case = Case::new(80, 2, format, None, &[80]);
            case.sequences[0].values[70][35] = not_finite;
            case.sequences[0].queries[10][80 + 7] = not_finite;
            let kv = case.storage(|_, _| true);
            let all = |columns: &[f32], is: fn(f32) -> bool| columns.iter().all(|&x| is(x));
            for cpu in cpus() {
                let out = case.attend(&cpu, &kv, &[(0, 10), (0, 69), (0, 79)], 80);
                assert!(all(&out[0][..80], f32::is_finite) && all(&out[0][160..], f32::is_finite));
                assert!(all(&out[0][80..160], f32::is_nan), "{format:?}, {}: {not_finite}", cpu.isa);
                assert!(all(&out[1], f32::is_finite));
                for (i, &x) in out[2].iter().enumerate() {
                    assert_eq!(x.is_finite(), i >= 160 || !spoilt.contains(&(i % 80)), "{format:?}: {i}");
                }
            }
        }
    }
}

/// Keys, values and queries of zeros, of subnormals and of all magnitudes between, beside usual ones.
#[test]
fn extreme_magnitudes_are_the_same_everywhere() {
    for format in KvFormat::ALL {
        let mut case = Case::new(64, 3, format, None, &[130]);
        let Sequence { queries, keys, values, .. } = &mut case.sequences[0];
        for (i, row) in queries.iter_mut().chain(keys).chain(values).enumerate() {
            let factor = [1.0, 0.0, 1e-44, 1e-39, 1e-30, 2e-8, 6e-6, 1e3, 3e4][i % 9];
            row.iter_mut().skip(i % 3 * 32).for_each(|x| *x *= factor);
        }
        let kv = case.storage(|_, _| true);
        let batch: Vec<(usize, usize)> = (0..130).map(|position| (0, position)).collect();
        let expected = case.attend(&Cpu::new(Isa::Portable, 1), &kv, &batch, 130);
        for cpu in cpus() {
            assert_same(&case.attend(&cpu, &kv, &batch, 130), &expected, &format!("{format:?}, {}", cpu.isa));
        }
    }
}

/// Scores that lie thousands apart, also the largest first and the largest last.
#[test]
fn large_scores_neither_overflow_nor_vanish() {
    for (format, largest) in [0, 30, 1500].iter().flat_map(|&i| KvFormat::ALL.map(|format| (format, i))) {
        let mut case = Case::new(16, 2, format, None, &[1501]);
        let Sequence { queries, keys, .. } = &mut case.sequences[0];
        queries[1500].fill(1000.0);
        for key in keys.iter_mut() {
            key.fill(-10.0);
        }
        keys[largest].fill(10.0);
        let kv = case.storage(|_, _| true);
        for cpu in cpus() {
            let out = case.attend(&cpu, &kv, &[(0, 1500)], 4096).remove(0);
            for (head, out) in out.chunks_exact(16).enumerate() {
                let (_, values) = case.stored(&kv, head / 2, 1500);
                assert_eq!(out, values[largest], "{format:?}");
            }
        }
    }
}
