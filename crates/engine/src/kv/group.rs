//! The page tables of one layer group: pure bookkeeping, no storage.

use super::NO_PAGE;
use super::pool::PagePool;
use limpid_kernels::ops::PAGE_LEN;

/// A page to be copied before a sequence writes into it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PageCopy {
    pub(super) from: u32,
    pub(super) to: u32,
}

/// What an extension would take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Demand {
    /// Pages to take from the pool.
    pub(super) n_needed: usize,
    /// Pages that it may take: the free ones and those that the sliding window gives back first.
    pub(super) n_available: usize,
}

#[derive(Clone, Default)]
struct PageTable {
    /// Entry i holds positions `i * PAGE_LEN ..`; `NO_PAGE` where the window has left it behind.
    pages: Vec<u32>,
    /// How many entries at the front are `NO_PAGE`.
    n_left_behind: usize,
}

/// One layer group's pool and the table of every sequence slot.
pub(super) struct PageGroup {
    window: Option<usize>,
    pool: PagePool,
    tables: Vec<PageTable>,
}

impl PageGroup {
    pub(super) fn new(window: Option<usize>, n_pages: usize) -> Self {
        assert!(window != Some(0), "a row attends at least to itself");
        Self { window, pool: PagePool::new(n_pages), tables: Vec::new() }
    }

    pub(super) fn pool(&self) -> &PagePool {
        &self.pool
    }

    pub(super) fn table(&self, slot: usize) -> &[u32] {
        &self.tables[slot].pages
    }

    /// Makes sure that the slot exists and that its table grows to `n_entries` without allocating.
    pub(super) fn prepare(&mut self, slot: usize, n_entries: usize) {
        if slot == self.tables.len() {
            self.tables.push(PageTable::default());
        }
        let pages = &mut self.tables[slot].pages;
        pages.reserve_exact(n_entries.saturating_sub(pages.len()));
    }

    /// The empty slot `to` gets the table of `from`; every page has one more user.
    pub(super) fn share(&mut self, from: usize, to: usize) {
        let mut table = std::mem::take(&mut self.tables[to]);
        table.pages.extend_from_slice(&self.tables[from].pages);
        table.n_left_behind = self.tables[from].n_left_behind;
        for &page in &table.pages[table.n_left_behind..] {
            self.pool.retain(page);
        }
        self.tables[to] = table;
    }

    /// The first table entry that a row at position `next` or later still reads.
    fn first_needed(&self, next: usize) -> usize {
        // A row at position p reads the keys max(0, p - window + 1) ..= p.
        self.window.map_or(0, |window| (next + 1).saturating_sub(window) / PAGE_LEN)
    }

    /// The last page, if `len` ends within it and another sequence uses it too: it is copied before it is written.
    fn page_to_copy(&self, slot: usize, len: usize) -> Option<u32> {
        if len.is_multiple_of(PAGE_LEN) {
            return None;
        }
        let page = self.tables[slot].pages[len / PAGE_LEN];
        self.pool.is_shared(page).then_some(page)
    }

    /// What growing the slot's sequence from `len` by `n_new` positions takes.
    pub(super) fn demand(&self, slot: usize, len: usize, n_new: usize) -> Demand {
        let table = &self.tables[slot];
        let n_added = (len + n_new).div_ceil(PAGE_LEN) - table.pages.len();
        let n_copied = usize::from(n_new > 0 && self.page_to_copy(slot, len).is_some());
        let left_behind = table.n_left_behind..self.first_needed(len).max(table.n_left_behind);
        let n_given_back =
            table.pages[left_behind].iter().filter(|&&page| !self.pool.is_shared(page)).count();
        Demand { n_needed: n_added + n_copied, n_available: self.pool.n_free() + n_given_back }
    }

    /// Grows the slot's sequence from `len` by `n_new` positions. `demand` has shown that the pages are there.
    pub(super) fn extend(&mut self, slot: usize, len: usize, n_new: usize) -> Option<PageCopy> {
        if n_new == 0 {
            return None;
        }
        self.leave_behind(slot, self.first_needed(len));
        let copy = self.page_to_copy(slot, len).map(|from| {
            let to = self.take();
            self.pool.release(from);
            self.tables[slot].pages[len / PAGE_LEN] = to;
            PageCopy { from, to }
        });
        for _ in self.tables[slot].pages.len()..(len + n_new).div_ceil(PAGE_LEN) {
            let page = self.take();
            self.tables[slot].pages.push(page);
        }
        copy
    }

    fn take(&mut self) -> u32 {
        self.pool.take().expect("demand() has counted the free pages")
    }

    /// Gives back the entries before `first_needed`.
    fn leave_behind(&mut self, slot: usize, first_needed: usize) {
        let table = &mut self.tables[slot];
        while table.n_left_behind < first_needed {
            let page = std::mem::replace(&mut table.pages[table.n_left_behind], NO_PAGE);
            self.pool.release(page);
            table.n_left_behind += 1;
        }
    }

    /// Whether the pages that the position `len` reads are all there.
    pub(super) fn can_truncate(&self, slot: usize, len: usize) -> bool {
        len == 0 || self.tables[slot].n_left_behind <= self.first_needed(len)
    }

    /// Shortens the slot's sequence to `len` positions.
    pub(super) fn truncate(&mut self, slot: usize, len: usize) {
        assert!(
            self.can_truncate(slot, len),
            "cannot shorten a sequence to {len} positions: its window's pages from {} on were given back",
            self.first_needed(len)
        );
        let table = &mut self.tables[slot];
        while table.pages.len() > len.div_ceil(PAGE_LEN) {
            let page = table.pages.pop().expect("the loop's condition");
            if page != NO_PAGE {
                self.pool.release(page);
            }
        }
        table.n_left_behind = table.n_left_behind.min(table.pages.len());
    }

    /// Checks pool and tables against each other; `lens` are the sequences' lengths, by slot.
    pub(super) fn check(&self, lens: &[Option<usize>]) -> Result<(), String> {
        let mut uses = vec![0; self.pool.n_pages()];
        for (slot, table) in self.tables.iter().enumerate() {
            let n_entries = lens[slot].unwrap_or(0).div_ceil(PAGE_LEN);
            if table.pages.len() != n_entries {
                return Err(format!(
                    "slot {slot}: {} table entries, expected {n_entries}",
                    table.pages.len()
                ));
            }
            for (i, &page) in table.pages.iter().enumerate() {
                match (page, i < table.n_left_behind) {
                    (NO_PAGE, true) => {}
                    (NO_PAGE, false) | (_, true) => return Err(format!("slot {slot}: entry {i} is {page}")),
                    (_, false) => uses[page as usize] += 1,
                }
            }
        }
        self.pool.check(&uses)
    }
}
