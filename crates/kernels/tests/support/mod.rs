//! What the tests of this crate share: numbers that look random.

#![allow(dead_code, unreachable_pub, reason = "each test file uses some of these")]

use limpid_kernels::buffer::Rows;

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [-scale, scale).
    pub fn float(&mut self, scale: f32) -> f32 {
        scale * ((self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0)
    }

    pub fn floats(&mut self, n: usize, scale: f32) -> Vec<f32> {
        (0..n).map(|_| self.float(scale)).collect()
    }

    pub fn rows(&mut self, n_rows: usize, width: usize, scale: f32) -> Rows {
        let mut rows = Rows::new(n_rows, width).expect("memory");
        rows.set_n_rows(n_rows);
        for i in 0..n_rows {
            rows.row_mut(i).copy_from_slice(&self.floats(width, scale));
        }
        rows
    }
}
