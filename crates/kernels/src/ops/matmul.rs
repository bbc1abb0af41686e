//! out[t][r] = sum over k of w[r][k] * x[t][k].
//!
//! The order of the sums: a lane owns its output row and adds in the order of k.
//! - Integer formats (fast mode): one f32 chain, a step for each record of 256 activations; what a step adds stands in
//!   `quant/<format>` at `dot`.
//! - f32: two chains, of even and of odd k, added once at the end. So do all formats in f32 mode.
//! - bf16 with rounded activations (fast mode): two chains, of even and of odd pairs of k; a pair adds its second
//!   product first, as the dot product instruction does.
//!
//! Tiles (how many tokens share an unpacked weight) change nothing in any of these orders.

use super::{Compute, Prepared};
use crate::Cpu;
use crate::buffer::{Rows, SharedRows};
use crate::isa::Isa;
use crate::matrix::{Matrix, Panels};
use crate::quant::floats::Bf16Pair;
use crate::quant::{FloatPanel, Format, IntPanel, Panel, Record, prefetch_ahead};
use crate::simd::{self, Kernel, LANES, Simd};
use std::ops::Range;

/// Ranges of panels a thread gets on average: enough that a slow thread holds the others up only briefly.
const RANGES_PER_THREAD: usize = 8;

/// `x` must hold the forms that `w` wants in this mode ([`super::Kinds::of`]). Sets `out`'s number of rows.
pub fn matmul(cpu: &Cpu, w: &Matrix, compute: Compute, x: &Prepared<'_>, out: &mut Rows) {
    matmuls(cpu, compute, x, [(w, out)]);
}

/// The products of several matrices with the same rows, in one pass: as [`matmul`] for each.
pub fn matmuls<const N: usize>(
    cpu: &Cpu,
    compute: Compute,
    x: &Prepared<'_>,
    products: [(&Matrix, &mut Rows); N],
) {
    let n_panels: usize = products.iter().map(|(w, _)| w.rows().div_ceil(LANES)).sum();
    // Whole pairs of panels, for the tiles of two.
    let range_len = n_panels.div_ceil(cpu.pool.n_threads() * RANGES_PER_THREAD).next_multiple_of(2);
    let jobs = products.map(|(w, out)| Job::new(w, compute, *x, out, range_len));
    let n_ranges = jobs.iter().map(Job::n_ranges).sum();
    cpu.pool.for_each(n_ranges, &|mut i| {
        for job in &jobs {
            if i < job.n_ranges() {
                return job.run(cpu, i);
            }
            i -= job.n_ranges();
        }
    });
}

/// One matmul: what its threads share.
struct Job<'a> {
    w: &'a Matrix,
    n_panels: usize,
    range_len: usize,
    compute: Compute,
    x: Prepared<'a>,
    out: SharedRows<'a>,
}

impl<'a> Job<'a> {
    fn new(w: &'a Matrix, compute: Compute, x: Prepared<'a>, out: &'a mut Rows, range_len: usize) -> Self {
        assert_eq!(w.cols(), x.rows.width(), "the matrix is for rows of another width");
        assert_eq!(w.rows(), out.width(), "the result has another width");
        out.set_n_rows(x.rows.n_rows());
        Self { w, n_panels: w.rows().div_ceil(LANES), range_len, compute, x, out: out.shared() }
    }

    /// Ranges of panels that threads claim.
    fn n_ranges(&self) -> usize {
        self.n_panels.div_ceil(self.range_len)
    }

    /// All tokens with the panels of range i.
    fn run(&self, cpu: &Cpu, i: usize) {
        let isa = cpu.isa;
        let range = i * self.range_len..self.n_panels.min((i + 1) * self.range_len);
        match self.w.panels() {
            Panels::F32(panels) => self.floats(isa, panels, range),
            Panels::F16(panels) => self.floats(isa, panels, range),
            Panels::BF16(panels) if self.compute == Compute::Fast => self.bf16(isa, panels, range),
            Panels::BF16(panels) => self.floats(isa, panels, range),
            Panels::Q4_0(panels) => self.quantized(cpu, panels, range),
            Panels::Q4_1(panels) => self.quantized(cpu, panels, range),
            Panels::Q5_0(panels) => self.quantized(cpu, panels, range),
            Panels::Q5_1(panels) => self.quantized(cpu, panels, range),
            Panels::Q8_0(panels) => self.quantized(cpu, panels, range),
            Panels::Q4_K(panels) => self.quantized(cpu, panels, range),
            Panels::Q5_K(panels) => self.quantized(cpu, panels, range),
            Panels::Q6_K(panels) => self.quantized(cpu, panels, range),
        }
    }

    fn quantized<P: IntPanel>(&self, cpu: &Cpu, panels: &[P], range: Range<usize>) {
        match self.compute {
            Compute::Fast => {
                let records = self.x.records.expect("int8 activations were not prepared");
                let isa = cpu.isa_for(self.x.rows.n_rows());
                simd::run(isa, self.over(&IntTiles { job: self, panels, records }, range));
            }
            Compute::F32 => simd::run_f32(cpu.isa, self.over(&UnpackedTiles { job: self, panels }, range)),
        }
    }

    fn floats<P: FloatPanel>(&self, isa: Isa, panels: &[P], range: Range<usize>) {
        simd::run_f32(isa, self.over(&FloatTiles { job: self, panels }, range));
    }

    fn bf16(&self, isa: Isa, panels: &[Bf16Pair], range: Range<usize>) {
        let x = self.x.bf16.expect("bf16 activations were not prepared");
        simd::run_bf16(isa, self.over(&Bf16Tiles { job: self, panels, x }, range));
    }

    fn over<'k, K: Tiles>(&self, tiles: &'k K, range: Range<usize>) -> PanelRange<'k, K> {
        PanelRange { tiles, n_tokens: self.x.rows.n_rows(), range }
    }

    /// Where the values of T tokens for the rows of R panels from p on go.
    #[inline(always)]
    fn store<S: Simd, const R: usize, const T: usize>(
        &self,
        s: S,
        p: usize,
        first: usize,
        values: [[S::F; T]; R],
    ) {
        for r in 0..R {
            for t in 0..T {
                // SAFETY: a panel belongs to one range, a range to one thread.
                let to = unsafe { self.out.part(first + t, (p + r) * LANES, LANES) };
                s.store(values[r][t], to.first_chunk_mut().expect("a part of 16"));
            }
        }
    }
}

/// How one tile is computed: R panels of 16 rows from panel `p` times `T` tokens from `first`.
trait Tiles {
    /// Works in the integer cores, which hold fewer or more tokens in registers than the f32 core.
    const INTEGER: bool;
    /// Whether panels go in pairs where there are many tokens.
    const PAIRS: bool = true;
    fn tile<S: Simd, const R: usize, const T: usize>(&self, s: S, p: usize, first: usize);
}

/// Tokens of a tile of two panels: 2 * 6 sums, twice, and what they are made of take 32 registers.
const PAIR_TILE: usize = 6;

/// From this number of tokens on, panels go in pairs. With few, their weights come from memory, in one stream.
const PAIR_FROM: usize = 24;

/// All tokens with each panel (or pair of panels) of a range: a panel is read once and stays in the cache.
struct PanelRange<'a, K> {
    tiles: &'a K,
    n_tokens: usize,
    range: Range<usize>,
}

impl<K: Tiles> Kernel for PanelRange<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut p = self.range.start;
        if const { S::PAIRS && K::PAIRS } && self.n_tokens >= PAIR_FROM {
            while p + 2 <= self.range.end {
                let first = self.tiles_of::<S, 2, PAIR_TILE>(s, p, 0);
                self.panel(s, p, first);
                self.panel(s, p + 1, first);
                p += 2;
            }
        }
        for p in p..self.range.end {
            self.panel(s, p, 0);
        }
    }
}

/// Tokens in the largest tile: 8, 4, 2 or 1.
const fn max_tokens<S: Simd, K: Tiles>() -> usize {
    if K::INTEGER { S::INT_TILE } else { S::F32_TILE }
}

impl<K: Tiles> PanelRange<'_, K> {
    /// One panel with the tokens from `first` on.
    #[inline(always)]
    fn panel<S: Simd>(&self, s: S, p: usize, mut first: usize) {
        // The conditions are constants, so that tiles that an instruction set does not use are not compiled.
        if const { max_tokens::<S, K>() >= 8 } {
            first = self.tiles_of::<S, 1, 8>(s, p, first);
        }
        if const { max_tokens::<S, K>() >= 4 } {
            first = self.tiles_of::<S, 1, 4>(s, p, first);
        }
        if const { max_tokens::<S, K>() >= 2 } {
            first = self.tiles_of::<S, 1, 2>(s, p, first);
        }
        self.tiles_of::<S, 1, 1>(s, p, first);
    }

    /// As many tiles of T tokens as fit; gives the first token that is left.
    #[inline(always)]
    fn tiles_of<S: Simd, const R: usize, const T: usize>(&self, s: S, p: usize, mut first: usize) -> usize {
        while first + T <= self.n_tokens {
            self.tiles.tile::<S, R, T>(s, p, first);
            first += T;
        }
        first
    }
}

/// Integer formats in fast mode.
struct IntTiles<'a, P> {
    job: &'a Job<'a>,
    panels: &'a [P],
    records: &'a [Record],
}

impl<P: IntPanel> Tiles for IntTiles<'_, P> {
    const INTEGER: bool = true;
    const PAIRS: bool = P::PAIRS_PAY;

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const T: usize>(&self, s: S, p: usize, first: usize) {
        let width = self.job.x.rows.width();
        let (n_blocks, n_records) = (width.div_ceil(P::LEN), width.div_ceil(Record::LEN));
        let x: [&[Record]; T] =
            std::array::from_fn(|t| &self.records[(first + t) * n_records..][..n_records]);
        let panels: [&[P]; R] = std::array::from_fn(|r| &self.panels[(p + r) * n_blocks..][..n_blocks]);
        let mut y = [[s.splat(0.0); T]; R];
        let per_record = const { Record::LEN / P::LEN };
        for i in 0..n_records {
            let blocks = i * per_record..n_blocks.min((i + 1) * per_record);
            P::dot(s, panels.map(|panel| &panel[blocks.clone()]), x.map(|x| &x[i]), &mut y);
        }
        self.job.store(s, p, first, y);
    }
}

/// Float formats with f32 activations.
struct FloatTiles<'a, P> {
    job: &'a Job<'a>,
    panels: &'a [P],
}

impl<P: FloatPanel> Tiles for FloatTiles<'_, P> {
    const INTEGER: bool = false;

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const T: usize>(&self, s: S, p: usize, first: usize) {
        let rows = self.job.x.rows;
        let n_pairs = rows.width().div_ceil(2);
        // The padding behind an odd width is 0, as is the weight there.
        let x: [&[[f32; 2]]; T] =
            std::array::from_fn(|t| &rows.padded_row(first + t).as_chunks().0[..n_pairs]);
        let panels: [&[P]; R] = std::array::from_fn(|r| &self.panels[(p + r) * n_pairs..][..n_pairs]);
        let mut chains = [[[s.splat(0.0); T]; R]; 2];
        for i in 0..n_pairs {
            prefetch_ahead(s, R, &panels[0][i]);
            let mut pairs = [panels[0][i].pair(s); R];
            for r in 1..R {
                pairs[r] = panels[r][i].pair(s);
            }
            for t in 0..T {
                let (a, b) = (s.splat(x[t][i][0]), s.splat(x[t][i][1]));
                for r in 0..R {
                    let (even, odd) = pairs[r];
                    chains[0][r][t] = s.fma(even, a, chains[0][r][t]);
                    chains[1][r][t] = s.fma(odd, b, chains[1][r][t]);
                }
            }
        }
        self.job.store(s, p, first, add_chains(s, chains));
    }
}

/// bf16 weights with activations rounded to bf16.
struct Bf16Tiles<'a> {
    job: &'a Job<'a>,
    panels: &'a [Bf16Pair],
    x: &'a [u16],
}

impl Tiles for Bf16Tiles<'_> {
    const INTEGER: bool = false;

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const T: usize>(&self, s: S, p: usize, first: usize) {
        let rows = self.job.x.rows;
        let (n_pairs, stride) = (rows.width().div_ceil(2), rows.stride());
        let x: [&[[u16; 2]]; T] =
            std::array::from_fn(|t| &self.x[(first + t) * stride..][..stride].as_chunks().0[..n_pairs]);
        let panels: [&[Bf16Pair]; R] = std::array::from_fn(|r| &self.panels[(p + r) * n_pairs..][..n_pairs]);
        let mut chains = [[[s.splat(0.0); T]; R]; 2];
        for i in (0..n_pairs - n_pairs % 2).step_by(2) {
            add_pair(s, panels, x, i, &mut chains[0]);
            add_pair(s, panels, x, i + 1, &mut chains[1]);
        }
        if n_pairs % 2 == 1 {
            add_pair(s, panels, x, n_pairs - 1, &mut chains[0]);
        }
        self.job.store(s, p, first, add_chains(s, chains));
    }
}

/// Adds the two products of pair i of each row.
#[inline(always)]
fn add_pair<S: Simd, const R: usize, const T: usize>(
    s: S,
    panels: [&[Bf16Pair]; R],
    x: [&[[u16; 2]]; T],
    i: usize,
    chains: &mut [[S::F; T]; R],
) {
    prefetch_ahead(s, R, &panels[0][i]);
    let mut w = [panels[0][i].bf16(s); R];
    for r in 1..R {
        w[r] = panels[r][i].bf16(s);
    }
    for t in 0..T {
        for r in 0..R {
            chains[r][t] = s.dot_bf16(chains[r][t], w[r], &x[t][i]);
        }
    }
}

/// Quantized weights in f32 mode: a block is unpacked once for a tile and multiplied as floats are.
struct UnpackedTiles<'a, P> {
    job: &'a Job<'a>,
    panels: &'a [P],
}

impl<P: Panel> Tiles for UnpackedTiles<'_, P> {
    const INTEGER: bool = false;

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const T: usize>(&self, s: S, p: usize, first: usize) {
        let rows = self.job.x.rows;
        let n_blocks = rows.width() / P::LEN;
        let x: [&[f32]; T] = std::array::from_fn(|t| rows.row(first + t));
        let mut weights = [[0.0; LANES]; Format::MAX_BLOCK_LEN];
        let mut chains = [[[s.splat(0.0); T]; R]; 2];
        for r in 0..R {
            for (b, block) in self.panels[(p + r) * n_blocks..][..n_blocks].iter().enumerate() {
                block.unpack(&mut weights[..P::LEN]);
                for (k, w) in weights[..P::LEN].iter().enumerate() {
                    let w = s.load(w);
                    for t in 0..T {
                        let x = s.splat(x[t][b * P::LEN + k]);
                        chains[k % 2][r][t] = s.fma(w, x, chains[k % 2][r][t]);
                    }
                }
            }
        }
        self.job.store(s, p, first, add_chains(s, chains));
    }
}

#[inline(always)]
fn add_chains<S: Simd, const R: usize, const T: usize>(
    s: S,
    [even, odd]: [[[S::F; T]; R]; 2],
) -> [[S::F; T]; R] {
    std::array::from_fn(|r| std::array::from_fn(|t| s.add(even[r][t], odd[r][t])))
}
