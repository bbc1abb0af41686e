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
    /// Repacks the rows of a matrix as they lie in a file.
    pub fn pack(
        cpu: &Cpu,
        rows: usize,
        cols: usize,
        format: Format,
        src: &[u8],
    ) -> Result<Self, MatrixError> {
        let row_bytes = format.row_bytes(cols).ok_or(MatrixError::PartialBlock { cols, format })?;
        let expected = row_bytes.saturating_mul(rows);
        if src.len() != expected {
            return Err(MatrixError::WrongLength { rows, cols, format, expected, found: src.len() });
        }
        let panels = match format {
            Format::F32 => Panels::F32(pack_panels(cpu, rows, cols, row_bytes, src)?),
            Format::F16 => Panels::F16(pack_panels(cpu, rows, cols, row_bytes, src)?),
            Format::BF16 => Panels::BF16(pack_panels(cpu, rows, cols, row_bytes, src)?),
            Format::Q4_0 => Panels::Q4_0(pack_panels(cpu, rows, cols, row_bytes, src)?),
            Format::Q4_1 => Panels::Q4_1(pack_panels(cpu, rows, cols, row_bytes, src)?),
            Format::Q5_0 => Panels::Q5_0(pack_panels(cpu, rows, cols, row_bytes, src)?),
            Format::Q5_1 => Panels::Q5_1(pack_panels(cpu, rows, cols, row_bytes, src)?),
            Format::Q8_0 => Panels::Q8_0(pack_panels(cpu, rows, cols, row_bytes, src)?),
            Format::Q4_K => Panels::Q4_K(pack_panels(cpu, rows, cols, row_bytes, src)?),
            Format::Q5_K => Panels::Q5_K(pack_panels(cpu, rows, cols, row_bytes, src)?),
            Format::Q6_K => Panels::Q6_K(pack_panels(cpu, rows, cols, row_bytes, src)?),
        };
        Ok(Self { rows, cols, format, panels })
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

fn pack_panels<P: Panel>(
    cpu: &Cpu,
    rows: usize,
    cols: usize,
    row_bytes: usize,
    src: &[u8],
) -> Result<Buffer<P>, AllocError> {
    /// A block of a row that is not there; all formats read zeros as weights of 0.
    const ZEROS: [u8; 256] = [0; 256];
    let n_blocks = cols.div_ceil(P::LEN);
    let n_panels = rows.div_ceil(LANES);
    let len = n_panels.checked_mul(n_blocks).ok_or(AllocError { bytes: usize::MAX })?;
    let mut buffer = Buffer::zeroed(len)?;
    let shared = Shared::new(&mut buffer);
    cpu.pool.for_each(n_panels, &|p| {
        // SAFETY: panel p is written by this item only.
        let panels: &mut [P] = unsafe { shared.part(p * n_blocks, n_blocks) };
        for (b, panel) in panels.iter_mut().enumerate() {
            panel.pack(std::array::from_fn(|r| {
                let row = p * LANES + r;
                if row >= rows {
                    return &ZEROS[..P::ROW_BYTES];
                }
                let start = b * P::ROW_BYTES;
                let end = row_bytes.min(start + P::ROW_BYTES);
                &src[row * row_bytes..][start..end]
            }));
        }
    });
    Ok(buffer)
}
