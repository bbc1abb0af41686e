//! Q5_K: a super-block of 256 weights in 8 sub-blocks of 32, each with a 6-bit scale and a 6-bit minimum.
//! w = (d * scale) * q - (dmin * min): Q4_K with a bit more.

use super::q4_k::SuperPanel;
use super::unsigned::U5;
use crate::simd::LANES;

/// In a file: d, dmin and 12 bytes of packed scales and minimums as in Q4_K, 32 bytes whose bits j are bit 4 of the
/// weights of sub-block j, then the nibbles as in Q4_K. Here the packed numbers take a byte each: 2.3 % more.
pub(crate) type Q5KPanel = SuperPanel<U5>;

const _: () = assert!(size_of::<Q5KPanel>() == LANES * (176 + 4));
