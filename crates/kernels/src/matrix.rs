//! A weight matrix as it lies in memory: repacked at load into panels of 16 rows.

use crate::Cpu;
use crate::buffer::{AllocError, Buffer, Shared};
use crate::quant::floats::{Bf16Pair, F16Pair, F32Pair};
use crate::quant::q4_0::Q4_0Panel;
use crate::quant::q4_1::Q4_1Panel;
use crate::quant::q4_k::Q4KPanel;
use crate::quant::q5_0::Q5_0Panel;
use crate::quant::q5_1::Q5_1Panel;
use crate::quant::q5_k::Q5KPanel;
use crate::quant::q6_k::Q6KPanel;
use crate::quant::q8_0::Q8_0Panel;
use crate::quant::{Format, Panel};
use crate::simd::LANES;

/// Weights `[rows, cols]`. Rows beyond the last are zeros, up to a multiple of 16.
pub struct Matrix {
    rows: usize,
    cols: usize,
    format: Format,
    panels: Panels,
}

/// Panels of one format, `[rows / 16, cols / LEN]`, both rounded up.
#[allow(non_camel_case_types, reason = "the field's spelling")]
pub(crate) enum Panels {
    F32(Buffer<F32Pair>),
    F16(Buffer<F16Pair>),
    BF16(Buffer<Bf16Pair>),
    Q4_0(Buffer<Q4_0Panel>),
    Q4_1(Buffer<Q4_1Panel>),
    Q5_0(Buffer<Q5_0Panel>),
    Q5_1(Buffer<Q5_1Panel>),
    Q8_0(Buffer<Q8_0Panel>),
    Q4_K(Buffer<Q4KPanel>),
    Q5_K(Buffer<Q5KPanel>),
    Q6_K(Buffer<Q6KPanel>),
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MatrixError {
    #[error("a row of {cols} weights is no whole number of {format} blocks of {}", format.block_len())]
    PartialBlock { cols: usize, format: Format },
    #[error("a {rows} x {cols} matrix in {format} takes {expected} bytes, not {found}")]
    WrongLength { rows: usize, cols: usize, format: Format, expected: usize, found: usize },
    #[error(transparent)]
    Alloc(#[from] AllocError),
}

impl Matrix {
    /// All weights 0, to be packed.
    pub fn zeroed(rows: usize, cols: usize, format: Format) -> Result<Self, MatrixError> {
        fn of<P: Panel>(rows: usize, cols: usize) -> Result<Buffer<P>, AllocError> {
            let len = rows.div_ceil(LANES).checked_mul(cols.div_ceil(P::LEN));
            Buffer::zeroed(len.ok_or(AllocError { bytes: usize::MAX })?)
        }
        if format.row_bytes(cols).is_none() {
            return Err(MatrixError::PartialBlock { cols, format });
        }
        let panels = match format {
            Format::F32 => Panels::F32(of(rows, cols)?),
            Format::F16 => Panels::F16(of(rows, cols)?),
            Format::BF16 => Panels::BF16(of(rows, cols)?),
            Format::Q4_0 => Panels::Q4_0(of(rows, cols)?),
            Format::Q4_1 => Panels::Q4_1(of(rows, cols)?),
            Format::Q5_0 => Panels::Q5_0(of(rows, cols)?),
            Format::Q5_1 => Panels::Q5_1(of(rows, cols)?),
            Format::Q8_0 => Panels::Q8_0(of(rows, cols)?),
            Format::Q4_K => Panels::Q4_K(of(rows, cols)?),
            Format::Q5_K => Panels::Q5_K(of(rows, cols)?),
            Format::Q6_K => Panels::Q6_K(of(rows, cols)?),
        };
        Ok(Self { rows, cols, format, panels })
    }

    /// Repacks the rows of a matrix as they lie in a file.
    pub fn pack(
        cpu: &Cpu,
        rows: usize,
        cols: usize,
        format: Format,
        src: &[u8],
    ) -> Result<Self, MatrixError> {
        let mut matrix = Self::zeroed(rows, cols, format)?;
        let expected = matrix.row_bytes().saturating_mul(rows);
        if src.len() != expected {
            return Err(MatrixError::WrongLength { rows, cols, format, expected, found: src.len() });
        }
        matrix.pack_rows(cpu, 0, src);
        Ok(matrix)
    }

    /// Repacks the rows from `first` on, which must be a multiple of 16 and not packed yet. `src` holds whole rows, 16
    /// or a multiple of it unless they are the last ones.
    pub fn pack_rows(&mut self, cpu: &Cpu, first: usize, src: &[u8]) {
        let row_bytes = self.row_bytes();
        assert!(first.is_multiple_of(LANES) && src.len().is_multiple_of(row_bytes.max(1)));
        assert!(first + src.len() / row_bytes.max(1) <= self.rows, "more rows than the matrix has");
        let slice = Slice { cpu, row_bytes, first_panel: first / LANES, src };
        match &mut self.panels {
            Panels::F32(panels) => slice.pack(panels),
            Panels::F16(panels) => slice.pack(panels),
            Panels::BF16(panels) => slice.pack(panels),
            Panels::Q4_0(panels) => slice.pack(panels),
            Panels::Q4_1(panels) => slice.pack(panels),
            Panels::Q5_0(panels) => slice.pack(panels),
            Panels::Q5_1(panels) => slice.pack(panels),
            Panels::Q8_0(panels) => slice.pack(panels),
            Panels::Q4_K(panels) => slice.pack(panels),
            Panels::Q5_K(panels) => slice.pack(panels),
            Panels::Q6_K(panels) => slice.pack(panels),
        }
    }

    /// Bytes of a row in a file.
    fn row_bytes(&self) -> usize {
        self.format.row_bytes(self.cols).expect("checked by `zeroed`")
    }

    /// Bytes that a matrix takes once packed.
    pub fn packed_bytes(rows: usize, cols: usize, format: Format) -> usize {
        fn of<P: Panel>(rows: usize, cols: usize) -> usize {
            rows.div_ceil(LANES).saturating_mul(cols.div_ceil(P::LEN)).saturating_mul(size_of::<P>())
        }
        match format {
            Format::F32 => of::<F32Pair>(rows, cols),
            Format::F16 => of::<F16Pair>(rows, cols),
            Format::BF16 => of::<Bf16Pair>(rows, cols),
            Format::Q4_0 => of::<Q4_0Panel>(rows, cols),
            Format::Q4_1 => of::<Q4_1Panel>(rows, cols),
            Format::Q5_0 => of::<Q5_0Panel>(rows, cols),
            Format::Q5_1 => of::<Q5_1Panel>(rows, cols),
            Format::Q8_0 => of::<Q8_0Panel>(rows, cols),
            Format::Q4_K => of::<Q4KPanel>(rows, cols),
            Format::Q5_K => of::<Q5KPanel>(rows, cols),
            Format::Q6_K => of::<Q6KPanel>(rows, cols),
        }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn cols(&self) -> usize {
        self.cols
    }

    pub fn format(&self) -> Format {
        self.format
    }

    pub fn bytes(&self) -> usize {
        Self::packed_bytes(self.rows, self.cols, self.format)
    }

    pub(crate) fn panels(&self) -> &Panels {
        &self.panels
    }
}

/// Some rows as they lie in a file.
struct Slice<'a> {
    cpu: &'a Cpu,
    row_bytes: usize,
    first_panel: usize,
    src: &'a [u8],
}

/// Bytes of rows that a thread takes at a time.
const BYTES_PER_ITEM: usize = 512 << 10;

impl Slice<'_> {
    fn pack<P: Panel>(&self, panels: &mut Buffer<P>) {
        let &Slice { cpu, row_bytes, first_panel, src } = self;
        let per_panel = LANES * row_bytes;
        if per_panel == 0 {
            return;
        }
        let n_blocks = row_bytes.div_ceil(P::ROW_BYTES);
        let per_item = (BYTES_PER_ITEM / per_panel).max(1);
        let n_panels = src.len().div_ceil(per_panel);
        let shared = Shared::new(panels);
        cpu.pool.for_each(n_panels.div_ceil(per_item), &|item| {
            let range = item * per_item..n_panels.min((item + 1) * per_item);
            let (start, len) = ((first_panel + range.start) * n_blocks, range.len() * n_blocks);
            // SAFETY: these panels are written by this item only.
            let panels = unsafe { shared.part(start, len) };
            for (panels, src) in
                panels.chunks_mut(n_blocks).zip(src[range.start * per_panel..].chunks(per_panel))
            {
                let row = |r| src.get(r * row_bytes..(r + 1) * row_bytes).unwrap_or(&[]);
                P::pack_rows(panels, std::array::from_fn(row));
            }
        });
    }
}
