//! Random weights, straight in the bytes of a format.
//!
//! All bits of a chunk are random; then the scales of each block are put in. A scale is s / (sqrt(cols) * rms),
//! where rms is that of the block's weights for scale 1 and s is drawn for each block from 0.5 .. 1.5, so that a
//! reader that takes a neighbour's scale is noticed. The scales come from a table: a conversion to f16 for each
//! block costs more than all its random bits.

use std::io::{self, Write};

use half::{bf16, f16};

use super::format::{Format, Role};
use super::rng::Rng;

/// Rounded down to whole blocks.
const CHUNK_BYTES: usize = 1 << 20;
/// 12 random bits choose a float weight, the top 8 bits of a random u64 choose a scale.
const N_FLOATS: usize = 1 << 12;
const N_SCALES: usize = 1 << 8;

// Root mean square of a weight at scale 1, all values of its fields equally likely.
/// q - 8 for q in 0..16.
const RMS_Q4_0: f32 = 4.637;
/// q - 7.5 for q in 0..16.
const RMS_Q4_1: f32 = 4.61;
/// q - 16 for q in 0..32.
const RMS_Q5_0: f32 = 9.247;
/// q - 15.5 for q in 0..32.
const RMS_Q5_1: f32 = 9.233;
/// -127..=127, where 0 comes twice as often.
const RMS_Q8_0: f32 = 73.5;
/// sc * q - 7.5 * m for q in 0..16, sc and m in 32..64.
const RMS_Q4_K: f32 = 243.6;
/// sc * q - 15.5 * m for q in 0..32, sc and m in 32..64.
const RMS_Q5_K: f32 = 490.5;
/// sc * (q - 32) for q in 0..64, sc in -128..128.
const RMS_Q6_K: f32 = 1366.0;

/// Writes the weights of one tensor.
pub(super) struct Filler {
    format: Format,
    role: Role,
    /// Standard deviation of a weight.
    sigma: f32,
    rng: Rng,
    /// f16 bits of the scale d and of the scale of the minima.
    scales: Vec<(u16, u16)>,
    /// f16 or bf16 bits.
    floats: Vec<u16>,
}

impl Filler {
    /// `cols` is the length of a row, which a matrix product sums over.
    pub(super) fn new(format: Format, role: Role, cols: usize, rng: Rng) -> Self {
        let sigma = 1.0 / (cols as f32).sqrt();
        let (rms, min_per_scale) = match format {
            Format::Q4_0 => (RMS_Q4_0, 0.0),
            Format::Q4_1 => (RMS_Q4_1, -7.5),
            Format::Q5_0 => (RMS_Q5_0, 0.0),
            Format::Q5_1 => (RMS_Q5_1, -15.5),
            Format::Q8_0 => (RMS_Q8_0, 0.0),
            Format::Q4K => (RMS_Q4_K, 7.5),
            Format::Q5K => (RMS_Q5_K, 15.5),
            Format::Q6K => (RMS_Q6_K, 0.0),
            Format::F32 | Format::F16 | Format::Bf16 => (1.0, 0.0),
        };
        let scales = (0..N_SCALES).map(|i| {
            let d = (0.5 + i as f32 / (N_SCALES - 1) as f32) * sigma / rms;
            // q - 8 reaches -8 but not 8 (q - 16 likewise): quantizers give the scale the sign that the largest weight
            // needs.
            let d = if matches!(format, Format::Q4_0 | Format::Q5_0) && i % 2 == 1 { -d } else { d };
            (f16::from_f32(d).to_bits(), f16::from_f32(min_per_scale * d).to_bits())
        });
        let floats = (0..N_FLOATS).map(|i| {
            let x = uniform(i as f32 / (N_FLOATS - 1) as f32 * 2.0 - 1.0, sigma);
            if format == Format::Bf16 { bf16::from_f32(x).to_bits() } else { f16::from_f32(x).to_bits() }
        });
        Self { format, role, sigma, rng, scales: scales.collect(), floats: floats.collect() }
    }

    pub(super) fn write(&mut self, n_bytes: u64, out: &mut impl Write) -> io::Result<()> {
        let block_bytes = self.format.block_bytes();
        let mut chunk = vec![0; CHUNK_BYTES / block_bytes * block_bytes];
        let mut n_left = n_bytes;
        while n_left > 0 {
            let len = n_left.min(chunk.len() as u64) as usize;
            self.fill(&mut chunk[..len]);
            out.write_all(&chunk[..len])?;
            n_left -= len as u64;
        }
        Ok(())
    }

    fn fill(&mut self, chunk: &mut [u8]) {
        match self.format {
            Format::F32 => return self.fill_f32(chunk),
            Format::F16 | Format::Bf16 => return self.fill_16_bit_floats(chunk),
            _ => self.rng.fill(chunk),
        }
        for block in chunk.chunks_exact_mut(self.format.block_bytes()) {
            let (d, min) = self.scales[(self.rng.next_u64() >> 56) as usize];
            let (d, min) = (d.to_le_bytes(), min.to_le_bytes());
            match self.format {
                Format::Q4_0 | Format::Q5_0 => block[..2].copy_from_slice(&d),
                Format::Q8_0 => {
                    block[..2].copy_from_slice(&d);
                    // Quantizers scale to 127 and never make a -128.
                    block[2..].iter_mut().filter(|q| **q == 0x80).for_each(|q| *q = 0);
                }
                Format::Q4_1 | Format::Q5_1 => {
                    block[..2].copy_from_slice(&d);
                    block[2..4].copy_from_slice(&min);
                }
                Format::Q4K | Format::Q5K => {
                    block[..2].copy_from_slice(&d);
                    block[2..4].copy_from_slice(&min);
                    // The top bit of all 6-bit scales and minima. The first eight bytes hold four scales and four
                    // minima in their low six bits and the upper two bits of four more above them.
                    block[4..12].iter_mut().for_each(|b| *b |= 0b1010_0000);
                }
                Format::Q6K => block[208..].copy_from_slice(&d),
                Format::F32 | Format::F16 | Format::Bf16 => unreachable!("written above"),
            }
        }
    }

    fn fill_f32(&mut self, chunk: &mut [u8]) {
        for bytes in chunk.chunks_exact_mut(4) {
            let x = self.rng.next_signed_f32();
            let weight = match self.role {
                Role::Norm => 1.0 + 0.1 * x,
                Role::Bias => 0.1 * x,
                _ => uniform(x, self.sigma),
            };
            bytes.copy_from_slice(&weight.to_le_bytes());
        }
    }

    fn fill_16_bit_floats(&mut self, chunk: &mut [u8]) {
        self.rng.fill(chunk);
        for bytes in chunk.chunks_exact_mut(2) {
            let index = u16::from_le_bytes([bytes[0], bytes[1]]) as usize % N_FLOATS;
            bytes.copy_from_slice(&self.floats[index].to_le_bytes());
        }
    }
}

/// Uniform with standard deviation `sigma`, from x uniform in [-1, 1].
fn uniform(x: f32, sigma: f32) -> f32 {
    x * sigma * 3f32.sqrt()
}
