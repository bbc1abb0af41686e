//! Q5_1: 32 weights, an f16 scale and an f16 minimum. w = d * q + m: Q4_1 with a bit more.

use super::q4_1::MinPanel;
use super::unsigned::U5;
use crate::simd::LANES;

/// In a file: scale, minimum, bit 4 of weight k in bit k of a dword, then the nibbles as in Q4_0.
pub(crate) type Q5_1Panel = MinPanel<U5>;

const _: () = assert!(size_of::<Q5_1Panel>() == LANES * 24);
