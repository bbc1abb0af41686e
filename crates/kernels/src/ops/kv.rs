//! Stand-in until the branch `ops` is merged.

use crate::Cpu;
use crate::buffer::{AllocError, Rows};

pub const PAGE_LEN: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KvFormat {
    F16,
    F32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KvShape {
    pub n_layers: usize,
    pub n_kv_heads: usize,
    pub head_dim: usize,
    pub format: KvFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KvSlot {
    pub page: u32,
    pub offset: u32,
}

pub struct KvStorage {
    shape: KvShape,
    keys: Vec<f32>,
}

impl KvStorage {
    pub fn new(shape: KvShape, n_pages: usize) -> Result<Self, AllocError> {
        Ok(Self { shape, keys: vec![0.0; n_pages * Self::page_bytes(&shape) / 8] })
    }
    pub const fn page_bytes(shape: &KvShape) -> usize {
        2 * PAGE_LEN * shape.n_layers * shape.n_kv_heads * shape.head_dim * 4
    }
    fn index(&self, slot: KvSlot) -> usize {
        slot.page as usize * Self::page_bytes(&self.shape) / 8 + slot.offset as usize
    }
    pub fn copy_page(&mut self, from: u32, to: u32) {
        let n = Self::page_bytes(&self.shape) / 8;
        self.keys.copy_within(from as usize * n..(from as usize + 1) * n, to as usize * n);
    }
    pub fn read(&self, _layer: usize, _kv_head: usize, slot: KvSlot, key: &mut [f32], _value: &mut [f32]) {
        key[0] = self.keys[self.index(slot)];
    }
}

pub fn kv_write(_cpu: &Cpu, kv: &mut KvStorage, _layer: usize, slots: &[KvSlot], k: &Rows, _v: &Rows) {
    let i = kv.index(slots[0]);
    kv.keys[i] = k.row(0)[0];
}
