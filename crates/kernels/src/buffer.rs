//! Aligned memory: plain buffers, and rows of f32.

use memmap2::MmapMut;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Alignment of every buffer in bytes: a cache line, and the widest register.
pub const ALIGNMENT: usize = 64;

/// Lanes of the virtual vector that kernels are written in (see `simd`): what rows are padded to, the rows of a weight
/// panel and the keys of an attention tile.
pub const LANES: usize = 16;

/// Types whose bytes may all be zero, and that own nothing.
///
/// # Safety
/// All-zero bytes must be a valid value, and dropping one must do nothing.
pub unsafe trait Plain: Copy + Send + Sync + 'static {}

// SAFETY: plain numbers.
unsafe impl Plain for u8 {}
// SAFETY: plain numbers.
unsafe impl Plain for i8 {}
// SAFETY: plain numbers.
unsafe impl Plain for u16 {}
// SAFETY: plain numbers.
unsafe impl Plain for u32 {}
// SAFETY: plain numbers.
unsafe impl Plain for f32 {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system would not give {bytes} bytes of memory")]
pub struct AllocError {
    pub bytes: usize,
}

/// From this size on, memory comes straight from the system, which gives zeros without writing them. (The allocator
/// writes them where it must align, and then all of a KV cache takes physical memory at once.)
const MAPPED_FROM: usize = 2 << 20;

/// A zeroed array of fixed length, aligned to [`ALIGNMENT`]. Large ones take physical memory only where they are
/// written (the system hands out zero pages).
pub struct Buffer<T: Plain> {
    ptr: NonNull<T>,
    len: usize,
    /// Where the memory of a large one comes from; else the allocator.
    mapping: Option<MmapMut>,
}

// SAFETY: the buffer owns its memory, and `Plain` types may be sent and shared.
unsafe impl<T: Plain> Send for Buffer<T> {}
// SAFETY: as above.
unsafe impl<T: Plain> Sync for Buffer<T> {}

impl<T: Plain> Buffer<T> {
    pub fn zeroed(len: usize) -> Result<Self, AllocError> {
        if len == 0 || size_of::<T>() == 0 {
            return Ok(Self { ptr: NonNull::dangling(), len, mapping: None });
        }
        let layout = Self::layout(len).ok_or(AllocError { bytes: usize::MAX })?;
        if layout.size() >= MAPPED_FROM && layout.align() <= ALIGNMENT {
            let mut mapping =
                MmapMut::map_anon(layout.size()).map_err(|_| AllocError { bytes: layout.size() })?;
            // A mapping starts at a page, so it is aligned.
            let ptr = NonNull::from(&mut mapping[..]).cast();
            return Ok(Self { ptr, len, mapping: Some(mapping) });
        }
        // SAFETY: the layout has a size above 0.
        let ptr = unsafe { alloc_zeroed(layout) };
        let ptr = NonNull::new(ptr.cast()).ok_or(AllocError { bytes: layout.size() })?;
        Ok(Self { ptr, len, mapping: None })
    }

    pub fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }

    fn layout(len: usize) -> Option<Layout> {
        Layout::from_size_align(len.checked_mul(size_of::<T>())?, ALIGNMENT.max(align_of::<T>())).ok()
    }
}

impl<T: Plain> Drop for Buffer<T> {
    fn drop(&mut self) {
        if self.len == 0 || size_of::<T>() == 0 || self.mapping.is_some() {
            return;
        }
        if let Some(layout) = Self::layout(self.len) {
            // SAFETY: allocated in `zeroed` with the same layout.
            unsafe { dealloc(self.ptr.as_ptr().cast(), layout) }
        }
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `len` values that were zeroed, which is valid for `Plain`, or written since; dangling if `len` is 0.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

/// Rows of f32 of one width, `[n_rows, width]`: what operations read and write.
///
/// A row takes `stride` floats, the width rounded up to whole vectors. Invariant: the floats between width and stride
/// are 0, so that an operation may work on whole vectors; each operation keeps it so.
pub struct Rows {
    data: Buffer<f32>,
    n_rows: usize,
    width: usize,
    stride: usize,
}

impl Rows {
    /// Room for `max_rows`, of which none is in use yet.
    pub fn new(max_rows: usize, width: usize) -> Result<Self, AllocError> {
        let stride = width.next_multiple_of(LANES);
        let len = max_rows.checked_mul(stride).ok_or(AllocError { bytes: usize::MAX })?;
        Ok(Self { data: Buffer::zeroed(len)?, n_rows: 0, width, stride })
    }

    /// Bytes that `new` takes.
    pub fn bytes_for(max_rows: usize, width: usize) -> usize {
        let stride = width.next_multiple_of(LANES);
        max_rows.saturating_mul(stride).saturating_mul(size_of::<f32>())
    }

    /// One row: a norm's weight or a bias.
    pub fn from_vector(values: &[f32]) -> Result<Self, AllocError> {
        let mut rows = Self::new(1, values.len())?;
        rows.set_n_rows(1);
        rows.row_mut(0).copy_from_slice(values);
        Ok(rows)
    }

    /// How many rows are in use; at most `max_rows`. What lies in them is what was there before.
    pub fn set_n_rows(&mut self, n_rows: usize) {
        assert!(n_rows <= self.max_rows(), "{n_rows} rows do not fit into {}", self.max_rows());
        self.n_rows = n_rows;
    }

    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    pub fn max_rows(&self) -> usize {
        self.data.len().checked_div(self.stride).unwrap_or(usize::MAX)
    }

    pub fn width(&self) -> usize {
        self.width
    }

    /// Floats from one row to the next: a multiple of 16.
    pub fn stride(&self) -> usize {
        self.stride
    }

    pub fn row(&self, i: usize) -> &[f32] {
        &self.padded_row(i)[..self.width]
    }

    pub fn row_mut(&mut self, i: usize) -> &mut [f32] {
        let width = self.width;
        &mut self.padded_row_mut(i)[..width]
    }

    /// The row with the zeros behind it: `stride` floats.
    pub fn padded_row(&self, i: usize) -> &[f32] {
        assert!(i < self.n_rows);
        &self.data[i * self.stride..][..self.stride]
    }

    /// As `padded_row`; whoever writes keeps the zeros.
    pub fn padded_row_mut(&mut self, i: usize) -> &mut [f32] {
        assert!(i < self.n_rows);
        &mut self.data[i * self.stride..][..self.stride]
    }

    pub fn bytes(&self) -> usize {
        self.data.bytes()
    }

    /// For operations whose threads write disjoint parts of the rows.
    pub(crate) fn shared(&mut self) -> SharedRows<'_> {
        let (n_rows, stride) = (self.n_rows, self.stride);
        SharedRows { data: Shared::new(&mut self.data), n_rows, stride }
    }
}

/// A slice that several threads write at once, each its own part.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a, T> {
    ptr: *mut T,
    len: usize,
    slice: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: the parts that threads take are disjoint, which `part` asks of its caller.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { ptr: slice.as_mut_ptr(), len: slice.len(), slice: std::marker::PhantomData }
    }

    /// `len` elements from `start`.
    ///
    /// # Safety
    /// No two parts that live at the same time may overlap.
    #[inline(always)]
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(start <= self.len && len <= self.len - start);
        // SAFETY: inside the slice, by the assertion; disjoint, by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(start), len) }
    }
}

/// Rows that several threads write at once, each its own part.
#[derive(Clone, Copy)]
pub(crate) struct SharedRows<'a> {
    data: Shared<'a, f32>,
    n_rows: usize,
    stride: usize,
}

impl<'a> SharedRows<'a> {
    /// `len` floats of row `i` from column `start`.
    ///
    /// # Safety
    /// No two parts that live at the same time may overlap.
    #[inline(always)]
    pub(crate) unsafe fn part(&self, i: usize, start: usize, len: usize) -> &'a mut [f32] {
        assert!(i < self.n_rows && start + len <= self.stride);
        // SAFETY: passed on.
        unsafe { self.data.part(i * self.stride + start, len) }
    }

    /// The whole padded row `i`.
    ///
    /// # Safety
    /// As for `part`.
    #[inline(always)]
    pub(crate) unsafe fn row(&self, i: usize) -> &'a mut [f32] {
        // SAFETY: passed on.
        unsafe { self.part(i, 0, self.stride) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_aligned_and_padded_with_zeros() {
        let mut rows = Rows::new(3, 20).expect("memory");
        rows.set_n_rows(3);
        assert_eq!(rows.stride(), 32);
        for i in 0..3 {
            rows.row_mut(i).fill(1.0);
            assert_eq!(rows.row(i).as_ptr() as usize % ALIGNMENT, 0);
            assert_eq!(rows.padded_row(i)[20..], [0.0; 12]);
        }
    }

    #[test]
    fn what_cannot_be_had_is_an_error() {
        assert!(Buffer::<f32>::zeroed(usize::MAX / 2).is_err());
        assert!(Rows::new(usize::MAX, 17).is_err());
        assert!(Rows::new(4, 0).is_ok_and(|rows| rows.bytes() == 0));
    }
}
