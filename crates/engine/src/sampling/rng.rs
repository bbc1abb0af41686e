//! The random numbers of a request: Philox4x32-10, a counter-based generator.
//!
//! J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. There is no state that a draw
//! could advance: each number is a function of what it is for, so that a request draws the same numbers
//! alone, in any batch, and after it was preempted. With key (k0, k1) and counter (c0, c1, c2, c3), 32 bit
//! each, one round is
//!
//! ```text
//! (h0, l0) = 0xD2511F53 * c0      (h1, l1) = 0xCD9E8D57 * c2      (high and low half of a 64-bit product)
//! c = (h1 ^ c1 ^ k0, l1, h0 ^ c3 ^ k1, l0)
//! ```
//!
//! ten times, with k0 += 0x9E3779B9 and k1 += 0xBB67AE85 (modulo 2^32) between the rounds. Here the key is
//! the seed (k0 its low half) and the counter is (output position, choice index, beam rank, purpose); the
//! number is c0 + 2^32 * c1. The tests hold the authors' own vectors.

/// What a number is for. The values are part of what a seed means: never renumber them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Purpose {
    /// The choice of the token.
    Draw = 0,
    /// Whether XTC happens.
    Xtc = 1,
}

/// The random numbers of one choice of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stream {
    pub seed: u64,
    /// Which of a request's n texts.
    pub choice: u32,
    /// Which of its beams.
    pub beam_rank: u32,
}

impl Stream {
    /// The stream of a request with one text.
    pub fn new(seed: u64) -> Self {
        Stream { seed, choice: 0, beam_rank: 0 }
    }

    /// 64 uniform bits for the token at `position` of the output (0 is the first one generated).
    pub fn bits(&self, position: u32, purpose: Purpose) -> u64 {
        let key = [self.seed as u32, (self.seed >> 32) as u32];
        let [c0, c1, _, _] = philox4x32_10([position, self.choice, self.beam_rank, purpose as u32], key);
        u64::from(c0) | u64::from(c1) << 32
    }

    /// u in [0, 1), to 53 bits: for people to look at.
    pub fn uniform(&self, position: u32, purpose: Purpose) -> f64 {
        (self.bits(position, purpose) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// floor(u * n) for u = bits / 2^64, exactly: a number from 0 to n - 1.
    pub fn below(&self, n: u64, position: u32, purpose: Purpose) -> u64 {
        let product = u128::from(self.bits(position, purpose)) * u128::from(n);
        (product >> 64) as u64
    }
}

fn philox4x32_10(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let product0 = 0xD251_1F53 * u64::from(counter[0]);
        let product1 = 0xCD9E_8D57 * u64::from(counter[2]);
        counter = [
            (product1 >> 32) as u32 ^ counter[1] ^ key[0],
            product1 as u32,
            (product0 >> 32) as u32 ^ counter[3] ^ key[1],
            product0 as u32,
        ];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of the authors' Random123 library (`kat_vectors`, philox4x32 10).
    #[test]
    fn philox_gives_the_published_vectors() {
        assert_eq!(philox4x32_10([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox4x32_10([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32_10([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }
}
