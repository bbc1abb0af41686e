//! SplitMix64 (Steele, Lea, Flood 2014): a counter and a mixer, about a nanosecond for 8 bytes.

pub(super) struct Rng {
    state: u64,
}

impl Rng {
    /// Each tensor has its own stream, keyed by its name, so that it does not depend on the tensors before it.
    pub(super) fn new(seed: u64, stream: &str) -> Self {
        // FNV-1a; the mixer below does the rest.
        let hash = stream
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Self { state: Self { state: seed ^ hash }.next_u64() }
    }

    pub(super) fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [-1, 1).
    pub(super) fn next_signed_f32(&mut self) -> f32 {
        // The upper 24 bits are what an f32 holds exactly.
        (self.next_u64() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}
