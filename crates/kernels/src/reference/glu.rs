//! Gated linear units.

/// `silu(gate) * up` with `silu(x) = x / (1 + e^-x)`.
pub fn swiglu(gate: &[f32], up: &[f32]) -> Vec<f64> {
    gate.iter().zip(up).map(|(&gate, &up)| silu(f64::from(gate)) * f64::from(up)).collect()
}

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}
