//! F32, F16 and BF16: a panel is two columns of 16 rows.

use super::{FloatPanel, Panel};
use crate::buffer::Plain;
use crate::simd::{LANES, Simd};
use half::{bf16, f16};

/// `[column][row]`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct F32Pair([[f32; LANES]; 2]);

/// `[column][row]`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct F16Pair([[u16; LANES]; 2]);

/// `[row][column]`: the pairs lie together, as the bf16 dot product instructions want them.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Bf16Pair([u16; 2 * LANES]);

// SAFETY: plain numbers.
unsafe impl Plain for F32Pair {}
// SAFETY: plain numbers.
unsafe impl Plain for F16Pair {}
// SAFETY: plain numbers.
unsafe impl Plain for Bf16Pair {}

/// Number `i` of a row of little-endian numbers of N bytes; zero past its end.
fn number<const N: usize>(row: &[u8], i: usize) -> [u8; N] {
    row.get(i * N..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

impl Panel for F32Pair {
    const LEN: usize = 2;
    const ROW_BYTES: usize = 8;

    fn pack(&mut self, rows: [&[u8]; LANES]) {
        for (r, row) in rows.iter().enumerate() {
            self.0[0][r] = f32::from_le_bytes(number(row, 0));
            self.0[1][r] = f32::from_le_bytes(number(row, 1));
        }
    }

    fn unpack(&self, out: &mut [[f32; LANES]]) {
        out.copy_from_slice(&self.0);
    }
}

impl FloatPanel for F32Pair {
    #[inline(always)]
    fn pair<S: Simd>(&self, s: S) -> (S::F, S::F) {
        (s.load(&self.0[0]), s.load(&self.0[1]))
    }
}

impl Panel for F16Pair {
    const LEN: usize = 2;
    const ROW_BYTES: usize = 4;

    fn pack(&mut self, rows: [&[u8]; LANES]) {
        for (r, row) in rows.iter().enumerate() {
            self.0[0][r] = u16::from_le_bytes(number(row, 0));
            self.0[1][r] = u16::from_le_bytes(number(row, 1));
        }
    }

    fn unpack(&self, out: &mut [[f32; LANES]]) {
        out.copy_from_slice(&self.0.map(|column| column.map(|bits| f16::from_bits(bits).to_f32())));
    }
}

impl FloatPanel for F16Pair {
    #[inline(always)]
    fn pair<S: Simd>(&self, s: S) -> (S::F, S::F) {
        (s.load_f16(&self.0[0]), s.load_f16(&self.0[1]))
    }
}

impl Panel for Bf16Pair {
    const LEN: usize = 2;
    const ROW_BYTES: usize = 4;

    fn pack(&mut self, rows: [&[u8]; LANES]) {
        for (r, row) in rows.iter().enumerate() {
            self.0[2 * r] = u16::from_le_bytes(number(row, 0));
            self.0[2 * r + 1] = u16::from_le_bytes(number(row, 1));
        }
    }

    fn unpack(&self, out: &mut [[f32; LANES]]) {
        for (r, pair) in self.0.as_chunks::<2>().0.iter().enumerate() {
            [out[0][r], out[1][r]] = pair.map(|bits| bf16::from_bits(bits).to_f32());
        }
    }
}

impl FloatPanel for Bf16Pair {
    #[inline(always)]
    fn pair<S: Simd>(&self, s: S) -> (S::F, S::F) {
        s.load_bf16_pairs(&self.0)
    }
}
