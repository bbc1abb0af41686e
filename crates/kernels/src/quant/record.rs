//! Activations as the integer formats read them.

use crate::buffer::Plain;
use crate::simd::{LANES, Simd};

/// Up to 256 neighbouring activations of one row: x = scale * q, |q| <= 127. One record serves all integer formats.
///
/// scale = amax / 127 and q = round-to-even(x * (127 / amax)), with amax the largest magnitude. Not finite: scale is
/// NaN and q 0. Below 2^-110 (where 127 / amax would overflow): both are 0.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Record {
    pub(crate) q: [i8; Record::LEN],
    /// Sums of q over each 16, at most 16 * 127 in size, and over each 32, in pairs as the cores read them.
    pub(crate) sums_16: [[i16; 2]; Record::LEN / 32],
    pub(crate) sums_32: [[i16; 2]; Record::LEN / 64],
    pub(crate) scale: f32,
}

// SAFETY: plain numbers.
unsafe impl Plain for Record {}

impl Record {
    pub(crate) const LEN: usize = 256;

    /// Activations 32 b .. 32 b + 32.
    #[inline(always)]
    pub(crate) fn q_32(&self, b: usize) -> &[i8; 32] {
        self.q[32 * b..].first_chunk().expect("a record has 8 times 32")
    }

    /// Their sum.
    #[inline(always)]
    pub(crate) fn sum_32(&self, b: usize) -> i32 {
        i32::from(self.sums_32[b / 2][b % 2])
    }

    /// From up to 256 activations; those that are missing count as 0.
    #[inline(always)]
    pub(crate) fn quantize<S: Simd>(&mut self, s: S, x: &[f32]) {
        const SMALLEST: u32 = (127 - 110) << 23; // the bits of 2^-110
        let amax = amax_bits(x);
        *self = Record {
            q: [0; Record::LEN],
            sums_16: [[0; 2]; Record::LEN / 32],
            sums_32: [[0; 2]; Record::LEN / 64],
            scale: 0.0,
        };
        if amax >= INFINITY_BITS {
            self.scale = f32::NAN;
            return;
        }
        if amax < SMALLEST {
            return;
        }
        let amax = f32::from_bits(amax);
        self.scale = amax / 127.0;
        let (q, _) = self.q.as_chunks_mut::<LANES>();
        round_products(s, x, 127.0 / amax, q);
        for (sum, q) in self.sums_16.as_flattened_mut().iter_mut().zip(q.iter()) {
            *sum = q.iter().map(|&q| i16::from(q)).sum();
        }
        for (sum, [a, b]) in self.sums_32.as_flattened_mut().iter_mut().zip(self.sums_16) {
            *sum = a + b;
        }
    }
}

/// The bits of infinity: those of NaN are above, all others below.
pub(super) const INFINITY_BITS: u32 = 255 << 23;

/// The bits of the largest magnitude; 0 of none.
#[inline(always)]
pub(super) fn amax_bits(x: &[f32]) -> u32 {
    x.iter().map(|x| x.to_bits() & 0x7fff_ffff).max().unwrap_or(0)
}

/// q = round-to-even(x * factor), which must be in the range of i8. What `x` is too short for stays, up to the end of a
/// vector it becomes 0.
#[inline(always)]
pub(super) fn round_products<S: Simd>(s: S, x: &[f32], factor: f32, q: &mut [[i8; LANES]]) {
    let factor = s.splat(factor);
    for (q, x) in q.iter_mut().zip(x.chunks(LANES)) {
        s.store_i8(s.round_to_i32(s.mul(s.load_up_to(x), factor)), q);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::simd::{self, Kernel};

    struct Quantize<'a>(&'a [f32]);

    impl Kernel for Quantize<'_> {
        type Output = Record;

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Record {
            let mut record = Record { q: [1; 256], sums_16: [[1; 2]; 8], sums_32: [[1; 2]; 4], scale: 1.0 };
            record.quantize(s, self.0);
            record
        }
    }

    /// The same on all instruction sets, and what the formula says.
    fn record_of(x: &[f32]) -> Record {
        let record = simd::run(Isa::Portable, Quantize(x));
        let amax = x.iter().fold(0.0_f32, |amax, x| amax.max(x.abs()));
        for isa in Isa::available() {
            let found = simd::run(isa, Quantize(x));
            assert_eq!(found.scale.to_bits(), record.scale.to_bits(), "{isa}");
            assert_eq!(
                (found.q, found.sums_16, found.sums_32),
                (record.q, record.sums_16, record.sums_32),
                "{isa}"
            );
        }
        if record.scale > 0.0 {
            let q = |x: &f32| (x * (127.0 / amax)).round_ties_even() as i8;
            assert!(x.iter().map(q).eq(record.q[..x.len()].iter().copied()));
        }
        record
    }

    #[test]
    fn halves_go_to_the_even_neighbour() {
        let x: Vec<f32> = (0..250).map(|i| i as f32 / 2.0 - 62.0).chain([127.0]).collect();
        for n_missing in 0..20 {
            record_of(&x[n_missing..]);
        }
    }

    #[test]
    fn quantized_activations_are_within_half_a_step() {
        let x: Vec<f32> = (0..200).map(|i| ((i * 37 % 101) as f32 - 50.0) / 7.0).collect();
        let record = record_of(&x);
        for (&q, x) in record.q.iter().zip(&x) {
            assert!((f32::from(q) * record.scale - x).abs() <= record.scale * 0.5001);
        }
        assert_eq!(record.q[200..], [0; 56]);
        let sum: i32 = (0..8).map(|b| record.sum_32(b)).sum();
        assert_eq!(sum, record.q.iter().map(|&q| i32::from(q)).sum());
    }

    #[test]
    fn extreme_activations() {
        assert!(record_of(&[1.0, f32::NAN]).scale.is_nan());
        assert!(record_of(&[1.0, f32::NEG_INFINITY]).scale.is_nan());
        assert_eq!(record_of(&[1.0, f32::NAN]).q, [0; 256]);
        assert_eq!(record_of(&[2f32.powi(-111); 3]).scale, 0.0);
        let tiny = record_of(&[2f32.powi(-110); 3]);
        assert!(tiny.scale > 0.0 && tiny.q[0] == 127);
        let huge = record_of(&[f32::MAX, -f32::MAX]);
        assert_eq!(huge.q[..2], [127, -127]);
    }
}
