//! Attention of one query over all its keys.

/// `sum of softmax(scale * q . k[j]) * v[j]`; keys and values are those that the query sees, `[head_dim]` each.
pub fn attention(q: &[f32], keys: &[Vec<f32>], values: &[Vec<f32>], scale: f32) -> Vec<f64> {
    let weights = weights(q, keys, scale);
    let mut out = vec![0.0; q.len()];
    for (weight, value) in weights.iter().zip(values) {
        for (out, &v) in out.iter_mut().zip(value) {
            *out += weight * f64::from(v);
        }
    }
    out
}

/// `softmax(scale * q . k[j])`.
pub fn weights(q: &[f32], keys: &[Vec<f32>], scale: f32) -> Vec<f64> {
    let scores = scores(q, keys, scale);
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

/// `scale * q . k[j]`.
pub fn scores(q: &[f32], keys: &[Vec<f32>], scale: f32) -> Vec<f64> {
    let dot = |key: &[f32]| q.iter().zip(key).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum::<f64>();
    keys.iter().map(|key| f64::from(scale) * dot(key)).collect()
}
