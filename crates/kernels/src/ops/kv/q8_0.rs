//! Pages of q8_0: blocks of 32 integers with an f16 scale. What they are worth stands at the top of `kv`.

use super::{KvFormat, LANES, Layout, PAGE_LEN, Stored};
use crate::buffer::Plain;
use crate::quant::q8_0::{BLOCK_BYTES, Block, LEN, Q8_0Panel};
use crate::simd::Simd;
use half::f16;

/// The layout of q8_0 pages.
pub(in crate::ops) struct Q8_0;

/// 32 elements of the values of a page's positions.
#[derive(Clone, Copy)]
#[repr(C)]
pub(in crate::ops) struct Q8_0Values {
    pub(in crate::ops) d: [u16; PAGE_LEN],
    pub(in crate::ops) q: [[[i8; LANES]; PAGE_LEN]; LEN / LANES],
}

const _: () = assert!(size_of::<Q8_0Values>() == PAGE_LEN * BLOCK_BYTES);

// SAFETY: plain numbers.
unsafe impl Plain for Q8_0Values {}
// SAFETY: plain numbers, aligned to 2 bytes.
unsafe impl Stored for Q8_0Values {}
// SAFETY: plain numbers, aligned to 2 bytes.
unsafe impl Stored for Q8_0Panel {}

impl Layout for Q8_0 {
    const FORMAT: KvFormat = KvFormat::Q8_0;
    type Key = Q8_0Panel;
    type Value = Q8_0Values;

    #[inline(always)]
    fn write_key<S: Simd>(s: S, x: &[f32], keys: &mut [Q8_0Panel], offset: usize) {
        let tile = key_tile(x.len(), offset);
        for (panel, x) in keys[tile..].iter_mut().zip(x.chunks(LEN)) {
            panel.put_block(offset % LANES, &Block::quantize(s, x));
        }
    }

    #[inline(always)]
    fn write_value<S: Simd>(s: S, x: &[f32], values: &mut [Q8_0Values], offset: usize) {
        for (block, x) in values.iter_mut().zip(x.chunks(LEN)) {
            let Block { d, q } = Block::quantize(s, x);
            block.d[offset] = d;
            for (half, q) in block.q.iter_mut().zip(q.as_chunks().0) {
                half[offset] = *q;
            }
        }
    }

    fn read_key(keys: &[Q8_0Panel], offset: usize, x: &mut [f32]) {
        let tile = key_tile(x.len(), offset);
        for (k, x) in x.iter_mut().enumerate() {
            *x = keys[tile + k / LEN].weight(offset % LANES, k % LEN);
        }
    }

    fn read_value(values: &[Q8_0Values], offset: usize, x: &mut [f32]) {
        for (k, x) in x.iter_mut().enumerate() {
            let Q8_0Values { d, q } = &values[k / LEN];
            *x = f16::from_bits(d[offset]).to_f32() * f32::from(q[k % LEN / LANES][offset][k % LANES]);
        }
    }
}

/// The first panel of the tile in which the key at `offset` lies.
const fn key_tile(head_dim: usize, offset: usize) -> usize {
    offset / LANES * head_dim.div_ceil(LEN)
}
