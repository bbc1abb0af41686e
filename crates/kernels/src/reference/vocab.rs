//! Reductions over the vocabulary.

/// The index of the largest element, of equal ones the first.
pub fn argmax(x: &[f32]) -> usize {
    (0..x.len()).fold(0, |best, i| if x[i] > x[best] { i } else { best })
}

/// `ln(sum of e^x)`.
pub fn log_sum_exp(x: &[f32]) -> f64 {
    let max = f64::from(x[argmax(x)]);
    max + x.iter().map(|&x| (f64::from(x) - max).exp()).sum::<f64>().ln()
}
