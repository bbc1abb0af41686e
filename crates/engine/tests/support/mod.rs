//! What the tests of whole models share: where the goldens lie, and a model that is fed by hand.
#![allow(dead_code, reason = "each test binary uses its part")]

use limpid_engine::TokenId;
use limpid_engine::kv::{KvCache, SeqId};
use limpid_engine::model::{Batch, BatchLimits, BatchRow, Forward, Model, ModelOptions, Want, arch};
use limpid_engine::trace::NoTrace;
use limpid_engine::weights::WeightsFile;
use limpid_kernels::Cpu;
use limpid_kernels::isa::Isa;
use limpid_kernels::ops::{Compute, KvFormat, PAGE_LEN};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

/// How a model is loaded and run; `default` is the one that correctness is judged in.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub compute: Compute,
    pub kv_format: KvFormat,
    pub isa: Isa,
    pub n_threads: usize,
}

impl Setup {
    pub fn exact() -> Self {
        Self { compute: Compute::F32, kv_format: KvFormat::F32, isa: Isa::detect(), n_threads: 1 }
    }
}

/// A model with its cache, driven row by row.
pub struct Bench {
    pub model: Model,
    pub kv: KvCache,
}

const MAX_ROWS: usize = 256;

impl Bench {
    pub fn open(path: &Path, setup: Setup) -> Self {
        let file = WeightsFile::open(path).expect("the golden opens");
        let config = arch::read(&file).expect("its configuration is read");
        let cpu = Arc::new(Cpu::new(setup.isa, setup.n_threads));
        let limits = BatchLimits {
            max_rows: MAX_ROWS,
            max_logit_rows: MAX_ROWS,
            context_length: config.context_length,
        };
        let options = ModelOptions { compute: setup.compute, kv_format: setup.kv_format, limits };
        let context_length = config.context_length;
        let model = Model::load(&file, config, cpu, &options, &mut |_| ()).expect("the golden loads");
        let kv =
            KvCache::new(model.kv_layout().clone(), 4 * context_length.div_ceil(PAGE_LEN)).expect("memory");
        Self { model, kv }
    }

    pub fn sequence(&mut self) -> SeqId {
        self.kv.create(self.model.context_length())
    }

    /// Appends `ids` to the sequence in one batch, and gives the logits of each of them.
    pub fn feed(&mut self, seq: SeqId, ids: &[u32]) -> Vec<Vec<f32>> {
        let start = self.kv.len(seq);
        self.kv.extend(seq, ids.len()).expect("the pages are there");
        let row =
            |(i, &id)| BatchRow { token: TokenId(id), position: (start + i) as u32, seq, want: Want::Logits };
        self.batch(&Batch { rows: ids.iter().enumerate().map(row).collect() })
    }

    pub fn batch(&mut self, batch: &Batch) -> Vec<Vec<f32>> {
        let logits = self.model.forward(batch, &mut self.kv, &mut NoTrace).expect("within the limits");
        (0..logits.n_rows()).map(|i| logits.row(i).to_vec()).collect()
    }
}
