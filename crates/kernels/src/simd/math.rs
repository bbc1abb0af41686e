//! Transcendental functions over lanes: one polynomial, the same bits on every instruction set.

use super::Simd;

/// e^x, within 2 ulp for x in [-87.33, 88.37]; 0 below, +infinity above (a little before f32 ends), NaN for NaN.
///
/// x = n ln 2 + r with |r| <= ln 2 / 2 (ln 2 in two parts, so that r keeps its last bits), then the Taylor series of
/// e^r to r^7 (what is left, r^8 / 8!, is below 6e-9, a twentieth of an ulp), times 2^n.
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    const LN2_HIGH: f32 = 0.693_359_4; // 355/512: n * LN2_HIGH is exact for |n| < 2^15
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const SMALLEST: f32 = -87.336_54; // ln 2^-126: below, the result would be subnormal
    const LARGEST: f32 = 88.376_26; // 127.5 ln 2: above, n would be 128, which has no f32 of its own
    // Clamped, so that the conversion to i32 is defined; the ends are put right below. NaN becomes the bound here.
    let low = s.splat(SMALLEST);
    let high = s.splat(LARGEST);
    let clamped = s.select_gt(high, s.max(x, low), s.max(x, low), high);
    let n = s.round_to_i32(s.mul(clamped, s.splat(std::f32::consts::LOG2_E)));
    let n_f32 = s.to_f32(n);
    let r = s.fnma(n_f32, s.splat(LN2_HIGH), clamped);
    let r = s.fnma(n_f32, s.splat(LN2_LOW), r);
    let mut p = s.splat(1.0 / 5040.0);
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = s.fma(p, r, s.splat(c));
    }
    let y = s.mul(p, s.exp2_i32(n));
    let y = s.select_gt(low, x, s.splat(0.0), y);
    let y = s.select_gt(x, high, s.splat(f32::INFINITY), y);
    // x - x is NaN for NaN (and for infinities, which are already decided): keep it where x is not comparable.
    let is_number = s.select_gt(x, s.splat(f32::NEG_INFINITY), s.splat(1.0), s.splat(0.0));
    let is_number = s.select_gt(s.splat(f32::INFINITY), x, s.splat(1.0), is_number);
    s.select_gt(is_number, s.splat(0.0), y, x)
}

/// x * sigmoid(x) = x / (1 + e^-x).
#[inline(always)]
pub fn silu<S: Simd>(s: S, x: S::F) -> S::F {
    let e = exp(s, s.sub(s.splat(0.0), x));
    s.div(x, s.add(s.splat(1.0), e))
}
