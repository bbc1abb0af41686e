//! Where keys and values live: pages of 64 positions, laid out for attention.
//!
//! A page holds, for each layer and each kv head, the keys and then the values of its positions, so that attention
//! reads one ascending stream. In f16 and f32 (`floats`):
//!
//! ```text
//! keys    [4 tiles][head_dim][16 positions]        a lane of a vector is a key
//! values  [head_dim / 16][64 positions][16]        a lane of a vector is an element of the head
//! ```
//!
//! If head_dim is no multiple of 16, the last block of values is narrower. Nothing is padded, whatever head_dim is.
//!
//! In q8_0 (`q8_0`), a token's key and its value of a head are each quantized by themselves, in blocks of 32 elements,
//! the last filled up with zeros: x = d * q, with q of 8 bits and d as f16.
//!
//! ```text
//! amax = the largest |x| of the block
//! d    = f16(amax / 127)                          NaN if amax is not finite or d would not be
//! q    = round-to-even(x * (127 / amax))          0 if d is 0 or NaN
//!
//! keys    [4 tiles][blocks] of  d [16 positions], q [8][16 positions][4]      a panel of 16 rows, as Q8_0 weights are
//! values  [blocks] of           d [64 positions], q [2][64 positions][16]
//! ```
//!
//! A fresh page is zeros; a page that is used again holds what its last owner left, which may be anything.

mod floats;
mod q8_0;

use crate::Cpu;
use crate::buffer::{ALIGNMENT, AllocError, Buffer, LANES, Plain, Rows, Shared};
use crate::quant::q8_0 as block;
use crate::simd::{self, Kernel, Simd};

pub(super) use floats::Element;
pub(super) use q8_0::{Q8_0, Q8_0Values};

/// Token positions of a page: four tiles of 16 keys.
pub const PAGE_LEN: usize = 64;

/// How keys and values are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(non_camel_case_types, reason = "the field's spelling")]
pub enum KvFormat {
    /// Rounded to the nearest; magnitudes above 65,504 become infinite.
    F16,
    F32,
    /// Integers of 8 bits, 32 with a scale; scores are products with queries that are rounded to 8 bits, too.
    Q8_0,
}

impl KvFormat {
    pub const ALL: [KvFormat; 3] = [KvFormat::F16, KvFormat::F32, KvFormat::Q8_0];

    /// Bytes of one key, or one value, of one head.
    pub const fn head_bytes(self, head_dim: usize) -> usize {
        match self {
            KvFormat::F16 => 2 * head_dim,
            KvFormat::F32 => 4 * head_dim,
            KvFormat::Q8_0 => head_dim.div_ceil(block::LEN) * block::BLOCK_BYTES,
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
        2 * self.n_layers * self.n_kv_heads * self.format.head_bytes(self.head_dim)
    }

    /// Bytes of a head's keys in a page, or of its values.
    const fn half_bytes(&self) -> usize {
        PAGE_LEN * self.format.head_bytes(self.head_dim)
    }

    /// Where in the pages the keys of a head start. Its values start `half_bytes` later.
    fn head_start(&self, page: u32, layer: usize, kv_head: usize) -> usize {
        assert!(layer < self.n_layers && kv_head < self.n_kv_heads);
        ((page as usize * self.n_layers + layer) * self.n_kv_heads + kv_head) * 2 * self.half_bytes()
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

/// Each head starts at a cache line.
const _: () = assert!(PAGE_LEN.is_multiple_of(ALIGNMENT));

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
        self.check(slot);
        assert!(key.len() == self.shape.head_dim && value.len() == self.shape.head_dim);
        match self.shape.format {
            KvFormat::F16 => self.read_as::<u16>(layer, kv_head, slot, key, value),
            KvFormat::F32 => self.read_as::<f32>(layer, kv_head, slot, key, value),
            KvFormat::Q8_0 => self.read_as::<Q8_0>(layer, kv_head, slot, key, value),
        }
    }

    fn read_as<L: Layout>(
        &self,
        layer: usize,
        kv_head: usize,
        slot: KvSlot,
        key: &mut [f32],
        value: &mut [f32],
    ) {
        let (keys, values) = self.head::<L>(slot.page, layer, kv_head);
        L::read_key(keys, slot.offset as usize, key);
        L::read_value(values, slot.offset as usize, value);
    }

    /// The keys of a head in a page, and what lies from its values on to the end of the storage.
    pub(super) fn head<L: Layout>(
        &self,
        page: u32,
        layer: usize,
        kv_head: usize,
    ) -> (&[L::Key], &[L::Value]) {
        assert_eq!(L::FORMAT, self.shape.format);
        let start = self.shape.head_start(page, layer, kv_head);
        let values = start + self.shape.half_bytes();
        (stored(&self.data[start..values]), stored(&self.data[values..]))
    }

    fn check(&self, slot: KvSlot) {
        let inside = (slot.page as usize) < self.n_pages && (slot.offset as usize) < PAGE_LEN;
        assert!(inside, "{slot:?} is not in {} pages", self.n_pages);
    }
}

/// How a format lies in a page. Keys and values are those of one head; `offset` is a position in the page.
pub(super) trait Layout: Sync + 'static {
    const FORMAT: KvFormat;
    type Key: Stored;
    type Value: Stored;

    /// `x` is `[head_dim]`, here and below.
    fn write_key<S: Simd>(s: S, x: &[f32], keys: &mut [Self::Key], offset: usize);
    fn write_value<S: Simd>(s: S, x: &[f32], values: &mut [Self::Value], offset: usize);
    fn read_key(keys: &[Self::Key], offset: usize, x: &mut [f32]);
    fn read_value(values: &[Self::Value], offset: usize, x: &mut [f32]);
}

/// What pages are made of.
///
/// # Safety
/// Any bytes must be a valid value, and its alignment at most that of a buffer.
pub(super) unsafe trait Stored: Plain {}

// SAFETY: a plain number.
unsafe impl Stored for u16 {}
// SAFETY: a plain number.
unsafe impl Stored for f32 {}

/// Bytes of a page as what they stand for; a rest that is too short is left out.
fn stored<T: Stored>(bytes: &[u8]) -> &[T] {
    assert!((bytes.as_ptr() as usize).is_multiple_of(align_of::<T>()));
    // SAFETY: aligned, by the assertion; inside `bytes`; any bytes are a valid T.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / size_of::<T>()) }
}

fn stored_mut<T: Stored>(bytes: &mut [u8]) -> &mut [T] {
    assert!((bytes.as_ptr() as usize).is_multiple_of(align_of::<T>()));
    // SAFETY: as in `stored`, and `bytes` is borrowed mutably; a T has no bytes that are not initialised.
    unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len() / size_of::<T>()) }
}

/// Writes the keys and values of some positions into one layer: row i of `k` and `v`, `[n_rows, n_kv_heads * head_dim]`
/// each, goes to `slots[i]`. Where a slot appears twice the later row stays.
pub fn kv_write(cpu: &Cpu, kv: &mut KvStorage, layer: usize, slots: &[KvSlot], k: &Rows, v: &Rows) {
    match kv.shape.format {
        KvFormat::F16 => write::<u16>(cpu, kv, layer, slots, k, v),
        KvFormat::F32 => write::<f32>(cpu, kv, layer, slots, k, v),
        KvFormat::Q8_0 => write::<Q8_0>(cpu, kv, layer, slots, k, v),
    }
}

fn write<L: Layout>(cpu: &Cpu, kv: &mut KvStorage, layer: usize, slots: &[KvSlot], k: &Rows, v: &Rows) {
    let KvShape { n_kv_heads, head_dim, .. } = kv.shape;
    assert_eq!((k.n_rows(), k.width()), (slots.len(), n_kv_heads * head_dim));
    assert_eq!((v.n_rows(), v.width()), (slots.len(), n_kv_heads * head_dim));
    slots.iter().for_each(|&slot| kv.check(slot));
    let shape = kv.shape;
    let half = shape.half_bytes();
    let pages = Shared::new(&mut kv.data);
    // Threads split the heads, not the rows: rows may share a slot, and then the order counts.
    let n_items = cpu.pool.n_threads().min(n_kv_heads);
    cpu.pool.for_each(n_items, &|item| {
        let kv_heads = n_kv_heads * item / n_items..n_kv_heads * (item + 1) / n_items;
        for (i, slot) in slots.iter().enumerate() {
            for kv_head in kv_heads.clone() {
                let start = shape.head_start(slot.page, layer, kv_head);
                // SAFETY: each item takes other heads, and one part at a time.
                let (keys, values) = unsafe { pages.part(start, 2 * half) }.split_at_mut(half);
                let (keys, values) = (stored_mut(keys), stored_mut(values));
                let offset = slot.offset as usize;
                let columns = kv_head * head_dim..(kv_head + 1) * head_dim;
                let (k, v) = (&k.row(i)[columns.clone()], &v.row(i)[columns]);
                simd::run_f32(cpu.isa, WriteHead::<L> { k, v, keys, values, offset });
            }
        }
    });
}

struct WriteHead<'a, L: Layout> {
    /// `[head_dim]` each.
    k: &'a [f32],
    v: &'a [f32],
    /// Those of a page, of which the ones at `offset` are written.
    keys: &'a mut [L::Key],
    values: &'a mut [L::Value],
    offset: usize,
}

impl<L: Layout> Kernel for WriteHead<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        L::write_key(s, self.k, self.keys, self.offset);
        L::write_value(s, self.v, self.values, self.offset);
    }
}
