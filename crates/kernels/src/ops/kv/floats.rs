//! Pages of plain numbers, f16 or f32.

use super::{KvFormat, LANES, Layout, PAGE_LEN, Stored};
use crate::simd::Simd;
use half::f16;

/// A number as it is stored: f16 as its bits, or f32.
pub(in crate::ops) trait Element: Stored + Default {
    const FORMAT: KvFormat;
    fn load<S: Simd>(s: S, from: &[Self; LANES]) -> S::F;
    fn store<S: Simd>(s: S, x: S::F, to: &mut [Self; LANES]);
    fn to_f32(self) -> f32;
}

impl Element for u16 {
    const FORMAT: KvFormat = KvFormat::F16;
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[Self; LANES]) -> S::F {
        s.load_f16(from)
    }
    #[inline(always)]
    fn store<S: Simd>(s: S, x: S::F, to: &mut [Self; LANES]) {
        s.store_f16(x, to);
    }
    fn to_f32(self) -> f32 {
        f16::from_bits(self).to_f32()
    }
}

impl Element for f32 {
    const FORMAT: KvFormat = KvFormat::F32;
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[Self; LANES]) -> S::F {
        s.load(from)
    }
    #[inline(always)]
    fn store<S: Simd>(s: S, x: S::F, to: &mut [Self; LANES]) {
        s.store(x, to);
    }
    fn to_f32(self) -> f32 {
        self
    }
}

impl<E: Element> Layout for E {
    const FORMAT: KvFormat = E::FORMAT;
    type Key = E;
    type Value = E;

    #[inline(always)]
    fn write_key<S: Simd>(s: S, x: &[f32], keys: &mut [E], offset: usize) {
        for (i, part) in x.chunks(LANES).enumerate() {
            let rounded = round::<S, E>(s, part);
            for (j, &element) in rounded[..part.len()].iter().enumerate() {
                keys[key_index(x.len(), offset, i * LANES + j)] = element;
            }
        }
    }

    #[inline(always)]
    fn write_value<S: Simd>(s: S, x: &[f32], values: &mut [E], offset: usize) {
        for (i, part) in x.chunks(LANES).enumerate() {
            let start = value_index(x.len(), offset, i * LANES);
            values[start..][..part.len()].copy_from_slice(&round::<S, E>(s, part)[..part.len()]);
        }
    }

    fn read_key(keys: &[E], offset: usize, x: &mut [f32]) {
        let head_dim = x.len();
        for (d, x) in x.iter_mut().enumerate() {
            *x = keys[key_index(head_dim, offset, d)].to_f32();
        }
    }

    fn read_value(values: &[E], offset: usize, x: &mut [f32]) {
        let head_dim = x.len();
        for (d, x) in x.iter_mut().enumerate() {
            *x = values[value_index(head_dim, offset, d)].to_f32();
        }
    }
}

/// Where in a head's keys element `d` of the key at `offset` lies.
const fn key_index(head_dim: usize, offset: usize, d: usize) -> usize {
    (offset / LANES * head_dim + d) * LANES + offset % LANES
}

/// Where in a head's values element `d` of the value at `offset` lies.
const fn value_index(head_dim: usize, offset: usize, d: usize) -> usize {
    let first = d / LANES * LANES;
    let width = if head_dim - first < LANES { head_dim - first } else { LANES };
    first * PAGE_LEN + offset * width + d % LANES
}

/// Up to 16 numbers in the format of the page; the rest is 0.
#[inline(always)]
fn round<S: Simd, E: Element>(s: S, x: &[f32]) -> [E; LANES] {
    let mut rounded = [E::default(); LANES];
    E::store(s, s.load_up_to(x), &mut rounded);
    rounded
}
