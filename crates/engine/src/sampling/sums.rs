//! The largest number, and sums of real numbers over the candidates, whose order decides their last bits.
//!
//! Sums: chunks of 4,096 are summed in f32 in 16 lanes (element i in lane i mod 16), the lanes in order in f64, and the
//! chunks in order in f64. The order depends on which tokens are in play and on nothing else.

const LANES: usize = 16;
const CHUNK: usize = 256 * LANES;

/// The sum of `f(a[i], b[i])`.
pub(super) fn over(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f64 {
    a.chunks(CHUNK).zip(b.chunks(CHUNK)).map(|(a, b)| of_chunk(a, b, &f)).sum()
}

fn of_chunk(a: &[f32], b: &[f32], f: &impl Fn(f32, f32) -> f32) -> f64 {
    let mut sums = [0.0f32; LANES];
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += f(a[lane], b[lane]);
        }
    }
    for (lane, (&a, &b)) in a_tail.iter().zip(b_tail).enumerate() {
        sums[lane] += f(a, b);
    }
    sums.into_iter().map(f64::from).sum()
}

/// The largest number; -inf if there is none. In lanes, so that one comparison need not wait for the last.
pub(super) fn max(x: &[f32]) -> f32 {
    extreme(x, f32::NEG_INFINITY, |a, b| if a > b { a } else { b })
}

/// The smallest number; infinity if there is none.
pub(super) fn min(x: &[f32]) -> f32 {
    extreme(x, f32::INFINITY, |a, b| if a < b { a } else { b })
}

fn extreme(x: &[f32], none: f32, better: impl Fn(f32, f32) -> f32) -> f32 {
    let mut best = [none; LANES];
    let (chunks, tail) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (best, &x) in best.iter_mut().zip(chunk) {
            *best = better(x, *best);
        }
    }
    best.into_iter().chain(tail.iter().copied()).fold(none, better)
}
