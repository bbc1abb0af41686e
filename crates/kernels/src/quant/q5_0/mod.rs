//! Q5_0: 32 weights, one f16 scale. w = d * (q - 16): Q4_0 with a bit more.

use super::q4_0::OffsetPanel;
use super::unsigned::U5;
use crate::simd::LANES;

/// In a file: the scale, bit 4 of weight k in bit k of a dword, then the nibbles as in Q4_0.
pub(crate) type Q5_0Panel = OffsetPanel<U5>;

const _: () = assert!(size_of::<Q5_0Panel>() == LANES * 22);
