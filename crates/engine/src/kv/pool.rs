//! Which pages of a layer group are in use, and by how many page tables.

use super::NO_PAGE;

/// Reference counts and the free pages of one layer group. Ids are indices below `n_pages`.
///
/// A page that was given back is handed out again before one that was never used: memory that nobody has touched is
/// memory that the operating system has not given us yet.
pub(super) struct PagePool {
    /// How many table entries name the page; 0 means free. As long as the pages touched so far.
    ref_counts: Vec<u32>,
    /// Pages that were used and given back, the latest on top.
    freed: Vec<u32>,
    n_pages: usize,
}

impl PagePool {
    pub(super) fn new(n_pages: usize) -> Self {
        assert!(n_pages <= NO_PAGE as usize, "{n_pages} pages: ids have 32 bits");
        // Both lists get their room now (4 bytes a page), so that taking and giving back never allocate.
        Self { ref_counts: Vec::with_capacity(n_pages), freed: Vec::with_capacity(n_pages), n_pages }
    }

    pub(super) fn n_pages(&self) -> usize {
        self.n_pages
    }

    pub(super) fn n_free(&self) -> usize {
        self.n_pages - self.ref_counts.len() + self.freed.len()
    }

    pub(super) fn n_used(&self) -> usize {
        self.ref_counts.len() - self.freed.len()
    }

    /// Pages that were in use at some time: what the storage costs in memory.
    pub(super) fn n_touched(&self) -> usize {
        self.ref_counts.len()
    }

    /// Takes a free page, with one user. `None` when there is none.
    pub(super) fn take(&mut self) -> Option<u32> {
        if let Some(page) = self.freed.pop() {
            self.ref_counts[page as usize] = 1;
            return Some(page);
        }
        if self.ref_counts.len() == self.n_pages {
            return None;
        }
        self.ref_counts.push(1);
        Some(self.ref_counts.len() as u32 - 1)
    }

    /// One more user of a page in use.
    pub(super) fn retain(&mut self, page: u32) {
        let count = &mut self.ref_counts[page as usize];
        assert!(*count > 0, "page {page} is free and cannot be shared");
        *count += 1;
    }

    /// One user less; the last one frees the page.
    pub(super) fn release(&mut self, page: u32) {
        let count = &mut self.ref_counts[page as usize];
        assert!(*count > 0, "page {page} was given back twice");
        *count -= 1;
        if *count == 0 {
            self.freed.push(page);
        }
    }

    pub(super) fn is_shared(&self, page: u32) -> bool {
        self.ref_counts[page as usize] > 1
    }

    /// Checks the counts against `uses`, how often the page tables name each page.
    pub(super) fn check(&self, uses: &[u32]) -> Result<(), String> {
        for (page, (&count, &used)) in self.ref_counts.iter().zip(uses).enumerate() {
            if count != used {
                return Err(format!(
                    "page {page}: reference count {count}, but {used} table entries name it"
                ));
            }
        }
        if let Some(page) = (self.ref_counts.len()..uses.len()).find(|&page| uses[page] > 0) {
            return Err(format!("page {page} was never handed out, but a table names it"));
        }
        let mut is_free = vec![false; self.ref_counts.len()];
        for &page in &self.freed {
            if self.ref_counts[page as usize] > 0 {
                return Err(format!("page {page} is in the free list and in use"));
            }
            if std::mem::replace(&mut is_free[page as usize], true) {
                return Err(format!("page {page} is in the free list twice"));
            }
        }
        let n_unused = self.ref_counts.iter().filter(|&&count| count == 0).count();
        if n_unused != self.freed.len() {
            return Err(format!(
                "{n_unused} pages have no user, but the free list holds {}",
                self.freed.len()
            ));
        }
        Ok(())
    }
}
