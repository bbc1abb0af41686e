//! Weights out of a file's bytes, straight from the definition of each format, and the plain matrix product.

use crate::quant::Format;
use half::{bf16, f16};

/// The weights of whole blocks, as f32.
pub fn dequantize(format: Format, bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(format.block_bytes()).flat_map(|block| dequantize_block(format, block)).collect()
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn dequantize_block(format: Format, block: &[u8]) -> Vec<f32> {
    match format {
        Format::F32 => vec![f32::from_le_bytes([block[0], block[1], block[2], block[3]])],
        Format::F16 => vec![half_at(block, 0)],
        Format::BF16 => vec![bf16::from_le_bytes([block[0], block[1]]).to_f32()],
        Format::Q4_0 => {
            let d = half_at(block, 0);
            nibbles(&block[2..]).map(|q| d * f32::from(i16::from(q) - 8)).collect()
        }
        Format::Q4_1 => {
            let (d, m) = (half_at(block, 0), half_at(block, 2));
            nibbles(&block[4..]).map(|q| d * f32::from(q) + m).collect()
        }
        Format::Q5_0 => {
            let d = half_at(block, 0);
            five_bits(&block[2..]).map(|q| d * f32::from(i16::from(q) - 16)).collect()
        }
        Format::Q5_1 => {
            let (d, m) = (half_at(block, 0), half_at(block, 2));
            five_bits(&block[4..]).map(|q| d * f32::from(q) + m).collect()
        }
        Format::Q8_0 => {
            let d = half_at(block, 0);
            block[2..].iter().map(|&q| d * f32::from(q as i8)).collect()
        }
        Format::Q4_K => scaled_with_minimums(&block[..16], block[16..].chunks(32).flat_map(nibbles)),
        Format::Q5_K => {
            let low = block[48..].chunks(32).flat_map(nibbles);
            let with_high = |(k, q)| q | (block[16 + k % 32] >> (k / 32) & 1) << 4;
            scaled_with_minimums(&block[..16], low.enumerate().map(with_high))
        }
        Format::Q6_K => q6_k(block),
    }
}

/// All low nibbles, then all high ones.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().map(|b| b & 15).chain(bytes.iter().map(|b| b >> 4))
}

/// Nibbles with a fifth bit each; these stand in front.
fn five_bits(bytes: &[u8]) -> impl Iterator<Item = u8> {
    nibbles(&bytes[4..]).enumerate().map(|(k, q)| q | (bytes[k / 8] >> (k % 8) & 1) << 4)
}

/// Q4_K and Q5_K: what the weights `q` of a super-block are worth with its header.
fn scaled_with_minimums(header: &[u8], q: impl Iterator<Item = u8>) -> Vec<f32> {
    let (d, dmin, packed) = (half_at(header, 0), half_at(header, 2), &header[4..16]);
    let weight = |(k, q): (usize, u8)| {
        let i = k / 32;
        let (scale, min) = if i < 4 {
            (packed[i] & 63, packed[i + 4] & 63)
        } else {
            let low = packed[i + 4];
            (low & 15 | (packed[i - 4] >> 6) << 4, low >> 4 | (packed[i] >> 6) << 4)
        };
        d * f32::from(scale) * f32::from(q) - dmin * f32::from(min)
    };
    q.enumerate().map(weight).collect()
}

fn q6_k(block: &[u8]) -> Vec<f32> {
    let d = half_at(block, 208);
    let mut out = Vec::new();
    for half in 0..2 {
        let (low, high) = (&block[64 * half..][..64], &block[128 + 32 * half..][..32]);
        for (i, q) in nibbles(low).enumerate() {
            let q = q | (high[i % 32] >> (2 * (i / 32)) & 3) << 4;
            let scale = d * f32::from(block[192 + 8 * half + i / 16] as i8);
            out.push(scale * f32::from(i16::from(q) - 32));
        }
    }
    out
}

/// What a row is worth after quantization to int8 in groups of 256 (`ops::Record`).
pub fn quantize_row(x: &[f32]) -> Vec<f64> {
    let of_group = |x: &[f32]| -> Vec<f64> {
        let amax = x.iter().fold(0.0, |a: f32, x| if x.is_finite() { a.max(x.abs()) } else { f32::NAN });
        if amax.is_nan() || x.iter().any(|x| !x.is_finite()) {
            return vec![f64::NAN; x.len()];
        }
        if f64::from(amax) < 2f64.powi(-110) {
            return vec![0.0; x.len()];
        }
        let (scale, inverse) = (amax / 127.0, 127.0 / amax);
        x.iter().map(|x| f64::from(scale) * f64::from((x * inverse).round_ties_even())).collect()
    };
    x.chunks(256).flat_map(of_group).collect()
}

/// The dot product of a row of weights and a row of activations, and the sum of the products' magnitudes (what a
/// bound on rounding errors is proportional to).
pub fn dot(w: &[f32], x: &[f64]) -> (f64, f64) {
    let products = || w.iter().zip(x).map(|(&w, x)| f64::from(w) * x);
    (products().sum(), products().map(f64::abs).sum())
}
