//! A block of numbers that are quantized while the model runs: keys and values.

use super::LEN;
use crate::quant::record::{INFINITY_BITS, amax_bits, round_products};
use crate::simd::{LANES, Simd};

/// Up to 32 numbers, x = d * q; those that are missing are 0.
pub(crate) struct Block {
    /// As f16.
    pub(crate) d: u16,
    /// -127..=127.
    pub(crate) q: [i8; LEN],
}

impl Block {
    /// d = f16(amax / 127) and q = round-to-even(x * (127 / amax)), with amax the largest magnitude. If amax is not
    /// finite, or so large that d would not be: d is NaN and q 0. If d is 0: q is 0, too.
    #[inline(always)]
    pub(crate) fn quantize<S: Simd>(s: S, x: &[f32]) -> Self {
        const F16_INFINITY: u16 = 31 << 10;
        const F16_NAN: u16 = 63 << 9;
        let amax = amax_bits(x);
        let mut d = [F16_NAN; LANES];
        let mut q = [0; LEN];
        if amax >= INFINITY_BITS {
            return Self { d: F16_NAN, q };
        }
        let amax = f32::from_bits(amax);
        s.store_f16(s.splat(amax / 127.0), &mut d);
        match d[0] {
            F16_INFINITY => return Self { d: F16_NAN, q },
            0 => return Self { d: 0, q },
            _ => (),
        }
        // An amax whose d is not 0 is above 2^-19, so this does not overflow.
        round_products(s, x, 127.0 / amax, q.as_chunks_mut().0);
        Self { d: d[0], q }
    }
}
