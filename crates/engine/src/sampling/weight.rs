//! The one exponential of the sampler.

/// log2 of the weight of the most likely token.
pub(super) const WEIGHT_BITS: u32 = 40;

/// w = floor(p / p_max * 2^40), from p / p_max = exp(l - l_max) in f32.
///
/// `below_max` is l - l_max, at most 0. Crate libm's `expf` (FreeBSD's, error below 1 ulp) is the same code
/// on every system, scaling by a power of two is exact, and so are sums of the result: 2^23 tokens of at most
/// 2^40 stay below 2^64. Tokens 27.7 below the maximum weigh 0: they are never drawn, as a probability below
/// 2^-40 of the largest one should be.
pub(super) fn weight(below_max: f32) -> u64 {
    (libm::expf(below_max) * (1u64 << WEIGHT_BITS) as f32) as u64
}
