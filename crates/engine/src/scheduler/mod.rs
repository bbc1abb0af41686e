//! Which rows go into the next step: policy on plain numbers. It knows neither sequences nor tensors.
//!
//! First come, first served: requests start in the order in which they came, each when a place and the pages of its
//! worst case are free, and run until they end. A step computes one row of every sequence that has one token to go
//! (decode), and up to `prefill_chunk` rows of those that have more (prefill), the oldest first.

#[cfg(test)]
mod tests;

/// What a step may hold.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Sequences that run at the same time, 1 or more.
    pub max_sequences: usize,
    /// Prefill rows of one step in all, 1 or more.
    pub prefill_chunk: usize,
    /// Rows that may want logits in one step beyond one of each sequence.
    pub extra_logit_rows: usize,
}

impl Budget {
    /// The most rows in one step: a prefill chunk, and one row of every other sequence.
    pub fn max_rows(&self) -> usize {
        self.prefill_chunk.saturating_add(self.max_sequences - 1)
    }

    /// A new step, of which nothing is given out yet.
    pub fn begin_step(&self) -> StepBudget {
        StepBudget { n_prefill_left: self.prefill_chunk, n_logits_left: self.extra_logit_rows }
    }
}

/// What is left of one step.
#[derive(Debug)]
pub struct StepBudget {
    n_prefill_left: usize,
    n_logits_left: usize,
}

impl StepBudget {
    /// How many rows a sequence gets that has `n_pending` tokens to compute, of which the last wants logits, or all of
    /// them do. To be asked once for each sequence, the oldest first.
    pub fn take(&mut self, n_pending: usize, all_want_logits: bool) -> usize {
        if n_pending <= 1 {
            return n_pending;
        }
        let mut n_rows = n_pending.min(self.n_prefill_left);
        if all_want_logits {
            n_rows = n_rows.min(1 + self.n_logits_left);
            self.n_logits_left -= n_rows.saturating_sub(1);
        }
        self.n_prefill_left -= n_rows;
        n_rows
    }
}

/// The pages, by layer group, that no running request has a claim on. A request that was admitted never runs out.
#[derive(Clone, Debug)]
pub struct FreePages {
    n_free: Vec<usize>,
}

impl FreePages {
    /// `n_pages` of each layer group.
    pub fn new(n_pages: Vec<usize>) -> Self {
        Self { n_free: n_pages }
    }

    pub fn n_free(&self, group: usize) -> usize {
        self.n_free[group]
    }

    /// Sets pages aside, or changes nothing if a group has not enough.
    pub fn reserve(&mut self, n_pages: &[usize]) -> bool {
        let fits = self.n_free.iter().zip(n_pages).all(|(n_free, n)| n <= n_free);
        if fits {
            self.n_free.iter_mut().zip(n_pages).for_each(|(n_free, n)| *n_free -= n);
        }
        fits
    }

    /// Gives back what was reserved.
    pub fn give_back(&mut self, n_pages: &[usize]) {
        self.n_free.iter_mut().zip(n_pages).for_each(|(n_free, n)| *n_free += n);
    }
}
