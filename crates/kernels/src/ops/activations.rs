//! Rows in the forms in which matrices read them: f32, int8 records, bf16.

use super::Compute;
use crate::Cpu;
use crate::buffer::{AllocError, Buffer, Rows, Shared};
use crate::matrix::Matrix;
use crate::quant::{Format, Record};
use crate::simd::{self, Kernel, Simd};

/// Which forms the matrices that read a row want, besides f32.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Kinds {
    pub int8: bool,
    pub bf16: bool,
}

impl Kinds {
    pub fn of(format: Format, compute: Compute) -> Kinds {
        if compute == Compute::F32 {
            return Kinds::default();
        }
        match format {
            Format::F32 | Format::F16 => Kinds::default(),
            Format::BF16 => Kinds { bf16: true, int8: false },
            _ => Kinds { int8: true, bf16: false },
        }
    }

    /// What is wanted when all of `matrices` read the same rows.
    pub fn of_all<'a>(matrices: impl IntoIterator<Item = &'a Matrix>, compute: Compute) -> Kinds {
        matrices.into_iter().map(|m| Kinds::of(m.format(), compute)).fold(Kinds::default(), Kinds::or)
    }

    /// What either wants.
    pub fn or(self, other: Kinds) -> Kinds {
        Kinds { int8: self.int8 || other.int8, bf16: self.bf16 || other.bf16 }
    }
}

/// Room for the forms of up to `max_rows` rows of at most `max_width`; made once, used for every operation.
pub struct Activations {
    records: Buffer<Record>,
    bf16: Buffer<u16>,
    max_rows: usize,
    max_width: usize,
}

/// Rows and the forms of them that were asked for.
#[derive(Clone, Copy)]
pub struct Prepared<'a> {
    pub(crate) rows: &'a Rows,
    /// `[n_rows, width / 256 rounded up]`, if int8 was asked for.
    pub(crate) records: Option<&'a [Record]>,
    /// `[n_rows, stride]`, if bf16 was asked for.
    pub(crate) bf16: Option<&'a [u16]>,
}

impl Activations {
    /// Room for the forms in `kinds` only.
    pub fn new(max_rows: usize, max_width: usize, kinds: Kinds) -> Result<Self, AllocError> {
        let room = |wanted: bool, per_row: usize| {
            if wanted { max_rows.checked_mul(per_row).ok_or(AllocError { bytes: usize::MAX }) } else { Ok(0) }
        };
        Ok(Self {
            records: Buffer::zeroed(room(kinds.int8, max_width.div_ceil(Record::LEN))?)?,
            bf16: Buffer::zeroed(room(kinds.bf16, max_width.next_multiple_of(simd::LANES))?)?,
            max_rows,
            max_width,
        })
    }

    /// Bytes that `new` takes; `usize::MAX` where that is more than can be counted.
    pub fn bytes(max_rows: usize, max_width: usize, kinds: Kinds) -> usize {
        let records = if kinds.int8 { max_width.div_ceil(Record::LEN) * size_of::<Record>() } else { 0 };
        let bf16 = if kinds.bf16 { max_width.next_multiple_of(simd::LANES) * size_of::<u16>() } else { 0 };
        max_rows.saturating_mul(records.saturating_add(bf16))
    }

    /// Makes the forms of `rows` that `kinds` names.
    pub fn prepare<'a>(&'a mut self, cpu: &Cpu, rows: &'a Rows, kinds: Kinds) -> Prepared<'a> {
        if kinds != Kinds::default() {
            let forms = self.forms(rows, kinds);
            cpu.pool.for_each(rows.n_rows(), &|i| {
                // SAFETY: each item makes the forms of its own row.
                unsafe { forms.make(cpu, i, rows.padded_row(i)) };
            });
        }
        self.prepared(rows, kinds)
    }

    /// Makes `rows`, each with `make`, which gets its number and the padded row; then at once, while the row is at
    /// hand, its forms.
    pub(super) fn make<'a>(
        &'a mut self,
        cpu: &Cpu,
        rows: &'a mut Rows,
        kinds: Kinds,
        make: &(dyn Fn(usize, &mut [f32]) + Sync),
    ) -> Prepared<'a> {
        let forms = self.forms(rows, kinds);
        let n_rows = rows.n_rows();
        let shared = rows.shared();
        cpu.pool.for_each(n_rows, &|i| {
            // SAFETY: each item takes its own row and the forms of that row.
            unsafe {
                let row = shared.row(i);
                make(i, row);
                forms.make(cpu, i, row);
            }
        });
        self.prepared(rows, kinds)
    }

    fn forms(&mut self, rows: &Rows, kinds: Kinds) -> Forms<'_> {
        assert!(rows.n_rows() <= self.max_rows && rows.width() <= self.max_width);
        Forms {
            kinds,
            width: rows.width(),
            records: Shared::new(&mut self.records),
            bf16: Shared::new(&mut self.bf16),
        }
    }

    fn prepared<'a>(&'a self, rows: &'a Rows, kinds: Kinds) -> Prepared<'a> {
        let n_records = rows.width().div_ceil(Record::LEN);
        Prepared {
            rows,
            records: kinds.int8.then(|| &self.records[..rows.n_rows() * n_records]),
            bf16: kinds.bf16.then(|| &self.bf16[..rows.n_rows() * rows.stride()]),
        }
    }
}

/// Where the forms of rows go.
struct Forms<'a> {
    kinds: Kinds,
    width: usize,
    records: Shared<'a, Record>,
    bf16: Shared<'a, u16>,
}

impl Forms<'_> {
    /// Those of row i, which is padded.
    ///
    /// # Safety
    /// One call at a time for a row.
    unsafe fn make(&self, cpu: &Cpu, i: usize, row: &[f32]) {
        let n_records = self.width.div_ceil(Record::LEN);
        let stride = row.len();
        // SAFETY: row i's part, which nobody else has, by the caller's promise.
        let (records, bf16) = unsafe {
            (
                if self.kinds.int8 { self.records.part(i * n_records, n_records) } else { &mut [] },
                if self.kinds.bf16 { self.bf16.part(i * stride, stride) } else { &mut [] },
            )
        };
        simd::run_f32(cpu.isa, PrepareRow { row, width: self.width, records, bf16 });
    }
}

struct PrepareRow<'a> {
    row: &'a [f32],
    width: usize,
    records: &'a mut [Record],
    bf16: &'a mut [u16],
}

impl Kernel for PrepareRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (record, x) in self.records.iter_mut().zip(self.row[..self.width].chunks(Record::LEN)) {
            record.quantize(s, x);
        }
        for (y, &x) in self.bf16.iter_mut().zip(self.row) {
            *y = round_to_bf16(x);
        }
    }
}

/// To the nearest bf16, ties to even; subnormals become 0 of the same sign (as the bf16 dot product instructions read
/// them), NaN stays NaN.
#[inline(always)]
fn round_to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    let kept = if magnitude < 0x0080_0000 { bits & 0x8000_0000 } else { rounded };
    // The part of a NaN that is kept might be that of an infinity.
    let kept = if magnitude > 0x7f80_0000 { bits | 0x0040_0000 } else { kept };
    (kept >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounding_is_to_nearest_even() {
        for (x, bits) in [(1.0, 0x3f80), (1.003_906_3, 0x3f80), (1.011_718_8, 0x3f82), (f32::MAX, 0x7f80)] {
            assert_eq!(round_to_bf16(x), bits, "{x}");
        }
        assert_eq!(round_to_bf16(-1e-40), 0x8000);
        for nan in [f32::NAN, f32::from_bits(0x7f80_0001), f32::from_bits(0xffff_ffff)] {
            assert!(half::bf16::from_bits(round_to_bf16(nan)).is_nan());
        }
        assert_eq!(round_to_bf16(f32::INFINITY), 0x7f80);
    }
}
