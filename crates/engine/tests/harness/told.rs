//! A model whose logits a test tells.

use super::{TickingClock, VOCAB_SIZE, fake, tokenizer};
use limpid_engine::engine::{Engine, EngineConfig};
use limpid_engine::kv::{KvCache, KvLayout};
use limpid_engine::model::fake::FakeModel;
use limpid_engine::model::{Batch, BatchRow, Forward, ForwardError, Want, check_batch};
use limpid_engine::trace::Recorder;
use limpid_kernels::Cpu;
use limpid_kernels::buffer::Rows;
use std::sync::Arc;

/// The fake model, with room for no more rows of logits than there are sequences.
struct Told<F> {
    inner: FakeModel,
    logits: Rows,
    tell: F,
    /// The call that fails, counted from 0.
    fails_at: Option<usize>,
    n_calls: usize,
}

/// An engine whose model gives a row the logits that `tell` writes over zeros.
pub fn engine_told(
    config: EngineConfig,
    fails_at: Option<usize>,
    tell: impl FnMut(&BatchRow, &mut [f32]) + Send + 'static,
) -> Engine {
    let inner = fake(&config, &[None], None);
    let logits = Rows::new(config.max_sequences, VOCAB_SIZE).expect("memory");
    let model = Told { inner, logits, tell, fails_at, n_calls: 0 };
    let clock = Box::new(TickingClock::default());
    Engine::new(Box::new(model), tokenizer(), config, clock).expect("a valid configuration")
}

impl<F: FnMut(&BatchRow, &mut [f32]) + Send> Forward for Told<F> {
    fn cpu(&self) -> &Arc<Cpu> {
        self.inner.cpu()
    }

    fn vocab_size(&self) -> usize {
        self.inner.vocab_size()
    }

    fn context_length(&self) -> usize {
        self.inner.context_length()
    }

    fn kv_layout(&self) -> &KvLayout {
        self.inner.kv_layout()
    }

    fn max_batch_rows(&self) -> usize {
        self.inner.max_batch_rows()
    }

    fn max_logit_rows(&self) -> usize {
        self.logits.max_rows()
    }

    fn forward(
        &mut self,
        batch: &Batch,
        kv: &mut KvCache,
        recorder: &mut dyn Recorder,
    ) -> Result<&Rows, ForwardError> {
        self.n_calls += 1;
        if self.fails_at == Some(self.n_calls - 1) {
            return Err(ForwardError::TooManyRows { found: 2, max: 1 });
        }
        check_batch(self, batch)?;
        self.inner.forward(batch, kv, recorder)?;
        self.logits.set_n_rows(batch.n_logits());
        for (i, row) in batch.rows.iter().filter(|row| row.want == Want::Logits).enumerate() {
            self.logits.row_mut(i).fill(0.0);
            (self.tell)(row, self.logits.row_mut(i));
        }
        Ok(&self.logits)
    }
}
