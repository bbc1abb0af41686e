//! Where keys and values live: pages of 64 positions, laid out for attention.
//!
//! A page holds, for each layer and each kv head, the keys and then the values of its positions:
//!
//! ```text
//! keys    [4 tiles][head_dim][16 positions]        a lane of a vector is a key
//! values  [head_dim / 16][64 positions][16]        a lane of a vector is an element of the head
//! ```
//!
//! so that attention reads one ascending stream. If head_dim is no multiple of 16, the last block of values is
//! narrower. Nothing is padded, whatever head_dim is: a position takes exactly `2 * n_layers * n_kv_heads * head_dim`
//! elements. A fresh page is zeros; a page that is used again holds what its last owner left, which may be anything.

use crate::Cpu;
use crate::buffer::{AllocError, Buffer, Plain, Rows, Shared};
use crate::simd::{self, Kernel, LANES, Simd};
use half::f16;

/// Token positions of a page: four tiles of 16 keys.
pub const PAGE_LEN: usize = 64;

/// How keys and values are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KvFormat {
    /// Rounded to the nearest; magnitudes above 65,504 become infinite.
    F16,
    F32,
}

impl KvFormat {
    pub const fn element_bytes(self) -> usize {
        match self {
            KvFormat::F16 => 2,
            KvFormat::F32 => 4,
        }
    }
}

/// What the layers of a group have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KvShape {
    pub n_layers: usize,
    pub n_kv_heads: usize,
    pub head_dim: usize,
    pub format: KvFormat,
}

impl KvShape {
    /// Keys and values of one position in all layers.
    pub const fn bytes_per_token(&self) -> usize {
        2 * self.n_layers * self.n_kv_heads * self.head_dim * self.format.element_bytes()
    }

    /// Where in the pages the keys of a head start, counted in elements. Its values start `PAGE_LEN * head_dim` later.
    pub(super) fn head_start(&self, page: u32, layer: usize, kv_head: usize) -> usize {
        assert!(layer < self.n_layers && kv_head < self.n_kv_heads);
        ((page as usize * self.n_layers + layer) * self.n_kv_heads + kv_head) * 2 * PAGE_LEN * self.head_dim
    }
}

/// The place of one token position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KvSlot {
    pub page: u32,
    /// Below [`PAGE_LEN`].
    pub offset: u32,
}

/// The pages of a layer group.
pub struct KvStorage {
    shape: KvShape,
    n_pages: usize,
    /// `[n_pages][n_layers][n_kv_heads][keys, values]`, then `SLACK` bytes.
    data: Buffer<u8>,
}

/// Attention reads values in whole vectors, so at the very end past the last element: what it finds there lands in
/// lanes that nobody looks at.
const SLACK: usize = LANES * size_of::<f32>();

impl KvStorage {
    /// Room for `n_pages`; the system gives physical memory as pages are written.
    pub fn new(shape: KvShape, n_pages: usize) -> Result<Self, AllocError> {
        let bytes = n_pages.checked_mul(Self::page_bytes(&shape)).and_then(|bytes| bytes.checked_add(SLACK));
        let data = Buffer::zeroed(bytes.ok_or(AllocError { bytes: usize::MAX })?)?;
        Ok(Self { shape, n_pages, data })
    }

    pub const fn page_bytes(shape: &KvShape) -> usize {
        PAGE_LEN * shape.bytes_per_token()
    }

    pub fn shape(&self) -> &KvShape {
        &self.shape
    }

    pub fn n_pages(&self) -> usize {
        self.n_pages
    }

    pub fn bytes(&self) -> usize {
        self.data.bytes()
    }

    /// Copies the whole page `from`, all layers, over the page `to`.
    pub fn copy_page(&mut self, from: u32, to: u32) {
        let (from, to) = (from as usize, to as usize);
        assert!(from < self.n_pages && to < self.n_pages, "copy of page {from} to {to} of {}", self.n_pages);
        let bytes = Self::page_bytes(&self.shape);
        self.data.copy_within(from * bytes..(from + 1) * bytes, to * bytes);
    }

    /// The key and the value of one position as they are stored: for tests and for looking. `[head_dim]` each.
    pub fn read(&self, layer: usize, kv_head: usize, slot: KvSlot, key: &mut [f32], value: &mut [f32]) {
        let head_dim = self.shape.head_dim;
        self.check(slot);
        assert!(key.len() == head_dim && value.len() == head_dim);
        let start = self.shape.head_start(slot.page, layer, kv_head);
        let offset = slot.offset as usize;
        let element = |i: usize| match self.shape.format {
            KvFormat::F16 => f16::from_bits(self.elements::<u16>()[start + i]).to_f32(),
            KvFormat::F32 => self.elements::<f32>()[start + i],
        };
        for d in 0..head_dim {
            key[d] = element(key_index(head_dim, offset, d));
            value[d] = element(PAGE_LEN * head_dim + value_index(head_dim, offset, d));
        }
    }

    /// All pages, and at least 16 elements behind them.
    pub(super) fn elements<E: Element>(&self) -> &[E] {
        assert_eq!(E::FORMAT, self.shape.format);
        // SAFETY: the buffer is aligned to 64 bytes and initialised; any bytes are valid f32 and u16, the only two
        // types that implement `Element`; the length is rounded down to whole elements.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr().cast(), self.data.len() / size_of::<E>()) }
    }

    fn elements_mut<E: Element>(&mut self) -> &mut [E] {
        assert_eq!(E::FORMAT, self.shape.format);
        let len = self.data.len() / size_of::<E>();
        // SAFETY: as in `elements`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.data.as_mut_ptr().cast(), len) }
    }

    fn check(&self, slot: KvSlot) {
        let inside = (slot.page as usize) < self.n_pages && (slot.offset as usize) < PAGE_LEN;
        assert!(inside, "{slot:?} is not in {} pages", self.n_pages);
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

/// A number as it is stored: f16 as its bits, or f32.
pub(super) trait Element: Plain + Default {
    const FORMAT: KvFormat;
    fn load<S: Simd>(s: S, from: &[Self; LANES]) -> S::F;
    fn store<S: Simd>(s: S, x: S::F, to: &mut [Self; LANES]);
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
}

/// Writes the keys and values of some positions into one layer: row i of `k` and `v`, `[n_rows, n_kv_heads * head_dim]`
/// each, goes to `slots[i]`. Where a slot appears twice the later row stays.
pub fn kv_write(cpu: &Cpu, kv: &mut KvStorage, layer: usize, slots: &[KvSlot], k: &Rows, v: &Rows) {
    match kv.shape.format {
        KvFormat::F16 => write::<u16>(cpu, kv, layer, slots, k, v),
        KvFormat::F32 => write::<f32>(cpu, kv, layer, slots, k, v),
    }
}

fn write<E: Element>(cpu: &Cpu, kv: &mut KvStorage, layer: usize, slots: &[KvSlot], k: &Rows, v: &Rows) {
    let KvShape { n_kv_heads, head_dim, .. } = kv.shape;
    assert_eq!((k.n_rows(), k.width()), (slots.len(), n_kv_heads * head_dim));
    assert_eq!((v.n_rows(), v.width()), (slots.len(), n_kv_heads * head_dim));
    slots.iter().for_each(|&slot| kv.check(slot));
    let shape = kv.shape;
    let pages = Shared::new(kv.elements_mut::<E>());
    // Threads split the heads, not the rows: rows may share a slot, and then the order counts.
    let n_items = cpu.pool.n_threads().min(n_kv_heads);
    cpu.pool.for_each(n_items, &|item| {
        let kv_heads = n_kv_heads * item / n_items..n_kv_heads * (item + 1) / n_items;
        for (i, slot) in slots.iter().enumerate() {
            for kv_head in kv_heads.clone() {
                let start = shape.head_start(slot.page, layer, kv_head);
                // SAFETY: each item takes other heads, and one part at a time.
                let head = unsafe { pages.part(start, 2 * PAGE_LEN * head_dim) };
                let (keys, values) = head.split_at_mut(PAGE_LEN * head_dim);
                let offset = slot.offset as usize;
                let columns = kv_head * head_dim..(kv_head + 1) * head_dim;
                let (k, v) = (&k.row(i)[columns.clone()], &v.row(i)[columns]);
                simd::run_f32(cpu.isa, WriteHead { k, v, keys, values, offset });
            }
        }
    });
}

struct WriteHead<'a, E> {
    /// `[head_dim]` each.
    k: &'a [f32],
    v: &'a [f32],
    /// Those of a page, of which the ones at `offset` are written.
    keys: &'a mut [E],
    values: &'a mut [E],
    offset: usize,
}

impl<E: Element> Kernel for WriteHead<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let head_dim = self.k.len();
        for (i, x) in self.k.chunks(LANES).enumerate() {
            let rounded = round::<S, E>(s, x);
            for (j, &element) in rounded[..x.len()].iter().enumerate() {
                self.keys[key_index(head_dim, self.offset, i * LANES + j)] = element;
            }
        }
        for (i, x) in self.v.chunks(LANES).enumerate() {
            let start = value_index(head_dim, self.offset, i * LANES);
            self.values[start..][..x.len()].copy_from_slice(&round::<S, E>(s, x)[..x.len()]);
        }
    }
}

/// Up to 16 numbers in the format of the page; the rest is 0.
#[inline(always)]
fn round<S: Simd, E: Element>(s: S, x: &[f32]) -> [E; LANES] {
    let mut rounded = [E::default(); LANES];
    let x = match x.as_array::<LANES>() {
        Some(x) => s.load(x),
        None => s.load_partial(x),
    };
    E::store(s, x, &mut rounded);
    rounded
}
