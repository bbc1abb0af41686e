//! Rotary position embedding.

use crate::ops::RopeStyle;

/// Turns pair i of the first `2 * inv_freq.len()` elements of a head by `position * inv_freq[i]`, which is an f32 by
/// definition.
pub fn rope(head: &[f32], inv_freq: &[f32], style: RopeStyle, position: u32) -> Vec<f64> {
    let mut out: Vec<f64> = head.iter().copied().map(f64::from).collect();
    let n_pairs = inv_freq.len();
    for (i, &inv_freq) in inv_freq.iter().enumerate() {
        let (first, second) = match style {
            RopeStyle::Interleaved => (2 * i, 2 * i + 1),
            RopeStyle::HalfSplit => (i, i + n_pairs),
        };
        let (a, b) = (f64::from(head[first]), f64::from(head[second]));
        let (sin, cos) = f64::from(position as f32 * inv_freq).sin_cos();
        out[first] = a * cos - b * sin;
        out[second] = b * cos + a * sin;
    }
    out
}
