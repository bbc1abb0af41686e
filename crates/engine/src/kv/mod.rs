//! What a sequence remembers: the keys and values of its tokens, in pages.
//!
//! A *page* holds `PAGE_LEN` positions of one layer group (vLLM says block). Layers that are alike, with the same
//! heads, sizes, format and window, form a *layer group*; a sequence has one page table in each group, so that layers
//! with a sliding window can give back pages that the others keep. Forked sequences share pages; a shared page is
//! copied when one of them is about to write into it (copy-on-write).
//!
//! - `pool`: reference counts and free pages.  `group`: the page tables of one layer group. Pure bookkeeping, both.
//! - [`KvCache`]: all groups with their storage, which the kernels read and write.
//!
//! What belongs here when it comes: the prefix index (it holds page references like a sequence does), state slots for
//! recurrent layers (beside the groups), swapping. None of them changes the tables.

mod group;
mod pool;
#[cfg(test)]
mod tests;

use group::PageGroup;
use limpid_kernels::buffer::AllocError;
use limpid_kernels::ops::{KvShape, KvSlot, KvStorage, PAGE_LEN};
use std::collections::BTreeSet;

/// The table entry of a page that the sliding window has left behind: no row reads it any more.
pub const NO_PAGE: u32 = u32::MAX;

/// A sequence in the [`KvCache`]. Valid from `create` or `fork` until `release`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SeqId(pub u32);

/// How a model's keys and values are laid out. Made by `model/`.
#[derive(Clone, Debug)]
pub struct KvLayout {
    pub groups: Vec<KvGroupLayout>,
}

/// One layer group.
#[derive(Clone, Debug)]
pub struct KvGroupLayout {
    pub shape: KvShape,
    /// The model's layers of this group, ascending: layer `layers[i]` is layer `i` of the group's storage.
    pub layers: Vec<usize>,
    /// A row at position p attends to the keys `max(0, p - window + 1) ..= p`; `None`: to all of them. Never 0.
    pub window: Option<u32>,
}

impl KvGroupLayout {
    /// The most pages that a sequence of up to `len` positions holds at once, growing by up to `n_new` at a time.
    pub fn pages_needed(&self, len: usize, n_new: usize) -> usize {
        let n_pages = len.div_ceil(PAGE_LEN);
        match self.window {
            None => n_pages,
            Some(window) => {
                // `window - 1 + n_new` neighbouring positions, which may begin at the last slot of a page.
                let n_positions = (window as usize - 1).saturating_add(n_new);
                n_pages.min(n_positions.saturating_add(PAGE_LEN - 2) / PAGE_LEN + 1)
            }
        }
    }

    /// The most pages that `n_sequences` forks of one sequence hold, of which each has up to `len` positions: the first
    /// `n_shared` are common to all, and where those fill whole pages nobody writes into them again.
    pub fn pages_needed_by(&self, n_sequences: usize, n_shared: usize, len: usize, n_new: usize) -> usize {
        let alone = self.pages_needed(len, n_new).saturating_mul(n_sequences);
        let n_shared = n_shared.min(len) / PAGE_LEN;
        let n_own = len.div_ceil(PAGE_LEN) - n_shared;
        alone.min(n_own.saturating_mul(n_sequences).saturating_add(n_shared))
    }
}

/// An extension asked for more pages than are free. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("layer group {group} of the KV cache has {n_available} free pages, {n_needed} are needed")]
pub struct OutOfPages {
    pub group: usize,
    pub n_needed: usize,
    pub n_available: usize,
}

/// How much of the cache is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KvStats {
    /// Pages in all groups together, and how many of them sequences hold now.
    pub n_pages: usize,
    pub n_used_pages: usize,
    /// The limit: bytes of all pages. The operating system gives memory for a page when it is first written.
    pub reserved_bytes: usize,
    /// Bytes of the pages that were in use at some time: what the cache has really cost so far.
    pub touched_bytes: usize,
    /// Bytes of the pages that sequences hold now.
    pub used_bytes: usize,
}

struct Group {
    pages: PageGroup,
    storage: KvStorage,
}

/// The pages of all layer groups, and the sequences that hold them.
pub struct KvCache {
    layout: KvLayout,
    groups: Vec<Group>,
    /// Length of each sequence by slot; `None`: the slot is free. `SeqId` is an index into it.
    lens: Vec<Option<usize>>,
}

impl KvCache {
    /// A cache of `n_pages` pages in each group of the layout.
    pub fn new(layout: KvLayout, n_pages: usize) -> Result<Self, AllocError> {
        let group = |layout: &KvGroupLayout| {
            // The storage first: what is beyond all memory is an error here.
            let storage = KvStorage::new(layout.shape, n_pages)?;
            let pages = PageGroup::new(layout.window.map(|window| window as usize), n_pages);
            Ok(Group { pages, storage })
        };
        let groups = layout.groups.iter().map(group).collect::<Result<_, _>>()?;
        Ok(Self { layout, groups, lens: Vec::new() })
    }

    pub fn layout(&self) -> &KvLayout {
        &self.layout
    }

    /// The keys and values of one group, for the kernels.
    pub fn storage(&self, group: usize) -> &KvStorage {
        &self.groups[group].storage
    }

    /// See [`KvCache::storage`].
    pub fn storage_mut(&mut self, group: usize) -> &mut KvStorage {
        &mut self.groups[group].storage
    }

    /// A new, empty sequence. Its tables get room for `max_len` positions, so that growing to it never allocates.
    pub fn create(&mut self, max_len: usize) -> SeqId {
        let slot = self.lens.iter().position(Option::is_none).unwrap_or(self.lens.len());
        if slot == self.lens.len() {
            self.lens.push(None);
        }
        self.lens[slot] = Some(0);
        let seq = SeqId(slot as u32);
        self.prepare(seq, max_len);
        seq
    }

    /// Gives the tables of a sequence room for `max_len` positions, as `create` does.
    pub fn prepare(&mut self, seq: SeqId, max_len: usize) {
        for group in &mut self.groups {
            group.pages.prepare(seq.0 as usize, max_len.div_ceil(PAGE_LEN));
        }
    }

    /// A second sequence with the same past. It shares all pages until one of the two writes; `max_len` as in `create`.
    pub fn fork(&mut self, seq: SeqId, max_len: usize) -> SeqId {
        let len = self.len(seq);
        let copy = self.create(max_len.max(len));
        self.lens[copy.0 as usize] = Some(len);
        for group in &mut self.groups {
            group.pages.share(seq.0 as usize, copy.0 as usize);
        }
        copy
    }

    /// Positions of the sequence.
    ///
    /// # Panics
    /// Here and wherever a `SeqId` is taken: if the sequence was released.
    pub fn len(&self, seq: SeqId) -> usize {
        self.lens[seq.0 as usize].expect("the sequence was released")
    }

    /// Makes the sequence `n_new` positions longer: their slots exist afterwards in every group and belong to it alone.
    /// Pages that no position from the old length on can read through its window are given back.
    pub fn extend(&mut self, seq: SeqId, n_new: usize) -> Result<(), OutOfPages> {
        let (slot, len) = (seq.0 as usize, self.len(seq));
        for (i, group) in self.groups.iter().enumerate() {
            let demand = group.pages.demand(slot, len, n_new);
            if demand.n_needed > demand.n_available {
                let group::Demand { n_needed, n_available } = demand;
                return Err(OutOfPages { group: i, n_needed, n_available });
            }
        }
        for group in &mut self.groups {
            if let Some(copy) = group.pages.extend(slot, len, n_new) {
                group.storage.copy_page(copy.from, copy.to);
            }
        }
        self.lens[slot] = Some(len + n_new);
        Ok(())
    }

    /// Whether `truncate` to `len` positions, at most its length, is possible.
    pub fn can_truncate(&self, seq: SeqId, len: usize) -> bool {
        self.groups.iter().all(|group| group.pages.can_truncate(seq.0 as usize, len))
    }

    /// Forgets all positions from `len` on. Shortening to 0 is always possible.
    ///
    /// # Panics
    /// If `len` is more than the length, or if a window's pages that the position `len` reads were given back: they
    /// are as of the last `extend`, which is why drafts can be taken back, but not what came before them.
    pub fn truncate(&mut self, seq: SeqId, len: usize) {
        let old_len = self.len(seq);
        assert!(len <= old_len, "cannot shorten a sequence of {old_len} positions to {len}");
        for group in &mut self.groups {
            group.pages.truncate(seq.0 as usize, len);
        }
        self.lens[seq.0 as usize] = Some(len);
    }

    /// Ends the sequence and gives its pages back.
    pub fn release(&mut self, seq: SeqId) {
        self.truncate(seq, 0);
        self.lens[seq.0 as usize] = None;
    }

    /// Page ids of the sequence in a group: entry i holds the positions from `i * PAGE_LEN` on, or is [`NO_PAGE`].
    pub fn page_table(&self, seq: SeqId, group: usize) -> &[u32] {
        debug_assert!(self.lens[seq.0 as usize].is_some(), "the sequence was released");
        self.groups[group].pages.table(seq.0 as usize)
    }

    /// Where a position's keys and values lie.
    pub fn slot(&self, seq: SeqId, group: usize, position: usize) -> KvSlot {
        let page = self.page_table(seq, group)[position / PAGE_LEN];
        debug_assert_ne!(page, NO_PAGE, "position {position} lies before the window");
        KvSlot { page, offset: (position % PAGE_LEN) as u32 }
    }

    /// Pages that the sequence holds in a group, shared ones included.
    pub fn n_held_pages(&self, seq: SeqId, group: usize) -> usize {
        self.page_table(seq, group).iter().filter(|&&page| page != NO_PAGE).count()
    }

    /// Pages that some sequences hold together in a group, shared ones counted once.
    pub fn n_held_together(&self, seqs: impl Iterator<Item = SeqId>, group: usize) -> usize {
        let pages = seqs.flat_map(|seq| self.page_table(seq, group)).filter(|&&page| page != NO_PAGE);
        pages.collect::<BTreeSet<_>>().len()
    }

    /// Bytes of the pages that some sequences hold together.
    pub fn held_bytes(&self, seqs: impl Iterator<Item = SeqId> + Clone) -> usize {
        let groups = self.layout.groups.iter().enumerate();
        let bytes = groups
            .map(|(i, group)| self.n_held_together(seqs.clone(), i) * KvStorage::page_bytes(&group.shape));
        bytes.sum()
    }

    /// Sequences that were created or forked and not released.
    pub fn n_sequences(&self) -> usize {
        self.lens.iter().flatten().count()
    }

    pub fn stats(&self) -> KvStats {
        let mut stats = KvStats::default();
        for (layout, group) in self.layout.groups.iter().zip(&self.groups) {
            let (pool, page_bytes) = (group.pages.pool(), KvStorage::page_bytes(&layout.shape));
            stats.n_pages += pool.n_pages();
            stats.n_used_pages += pool.n_used();
            stats.reserved_bytes += pool.n_pages() * page_bytes;
            stats.touched_bytes += pool.n_touched() * page_bytes;
            stats.used_bytes += pool.n_used() * page_bytes;
        }
        stats
    }

    /// For tests: reference counts equal the uses in tables, free pages have none, tables are as long as sequences.
    pub fn check_integrity(&self) -> Result<(), String> {
        for (i, group) in self.groups.iter().enumerate() {
            group.pages.check(&self.lens).map_err(|error| format!("layer group {i}: {error}"))?;
        }
        Ok(())
    }
}
