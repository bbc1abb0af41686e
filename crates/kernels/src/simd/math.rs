//! Transcendental functions over lanes: one polynomial, the same bits on every instruction set.

use super::Simd;

const SMALLEST: f32 = -87.336_54; // ln 2^-126: below, the result would be subnormal
const LARGEST: f32 = 88.376_26; // 127.5 ln 2: above, the power of two would be 128, which has no f32 of its own

/// e^x, within 1 ulp for x in [-87.33, 88.37]; 0 below, +infinity above (a little before f32 ends), NaN for NaN.
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    let largest = s.splat(LARGEST);
    let y = exp_near(s, x, s.select_gt(largest, x, x, largest));
    s.select_gt(x, largest, s.splat(f32::INFINITY), y)
}

/// The same bits as [`exp`] for x that are not above 0, or NaN; a third cheaper.
#[inline(always)]
pub fn exp_of_negative<S: Simd>(s: S, x: S::F) -> S::F {
    exp_near(s, x, x)
}

/// e^x = 2^n e^r with n = round(near / ln 2), r = x - n ln 2 (ln 2 in two parts, so that r keeps its last bits) and the
/// Taylor series of e^r to r^7: what is left of it for |r| <= ln 2 / 2, r^8 / 8!, is below 6e-9, a twentieth of an ulp.
/// `near` is x where that is at most `LARGEST`; NaN reaches the result by way of r.
#[inline(always)]
fn exp_near<S: Simd>(s: S, x: S::F, near: S::F) -> S::F {
    const LN2_HIGH: f32 = 0.693_359_4; // 355/512: n * LN2_HIGH is exact for |n| < 2^15
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let smallest = s.splat(SMALLEST);
    // NaN becomes the bound here, so that the conversion to i32 is defined.
    let n = s.round_to_i32(s.mul(s.max(near, smallest), s.splat(std::f32::consts::LOG2_E)));
    let n_f32 = s.to_f32(n);
    let r = s.fnma(n_f32, s.splat(LN2_HIGH), x);
    let r = s.fnma(n_f32, s.splat(LN2_LOW), r);
    let mut p = s.splat(1.0 / 5040.0);
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = s.fma(p, r, s.splat(c));
    }
    let y = s.mul(p, s.exp2_i32(n));
    s.select_gt(smallest, x, s.splat(0.0), y)
}

/// x * sigmoid(x) = x / (1 + e^-x), within 3 ulp for x above -87.33; at most 4e-37 off below.
#[inline(always)]
pub fn silu<S: Simd>(s: S, x: S::F) -> S::F {
    let e = exp(s, s.sub(s.splat(0.0), x));
    s.div(x, s.add(s.splat(1.0), e))
}
