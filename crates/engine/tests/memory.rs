//! The memory plan of limits that nothing could hold: as much as can be counted, never a small number.

mod support;

use limpid_engine::model::{BatchLimits, MemoryPlan, arch};
use limpid_engine::weights::WeightsFile;
use limpid_kernels::ops::{Compute, KvFormat};
use support::goldens;

#[test]
fn sizes_beyond_all_memory_do_not_wrap() {
    for (name, n_threads) in [("mistral_window/hf", 1), ("stories260k_q8_0/model.gguf", 512)] {
        let file = WeightsFile::open(&goldens().join(name)).expect("the golden opens");
        let config = arch::read(&file).expect("its configuration is read");
        let plan = MemoryPlan::new(&file, &config, Compute::Fast, KvFormat::F16, n_threads).expect("a plan");
        let small = BatchLimits { max_rows: 1, max_logit_rows: 1, context_length: 64 };
        assert!(plan.workspace(small) < 1 << 30, "{name}");
        for huge in [
            BatchLimits { max_rows: usize::MAX, ..small },
            BatchLimits { max_logit_rows: usize::MAX, ..small },
            BatchLimits { max_rows: usize::MAX, max_logit_rows: usize::MAX, context_length: usize::MAX },
        ] {
            assert_eq!(plan.workspace(huge), usize::MAX, "{name}: {huge:?}");
        }
        assert_eq!(plan.score_matrix(usize::MAX), usize::MAX, "{name}");
    }
    let file = WeightsFile::open(&goldens().join("stories260k_q8_0/model.gguf")).expect("the golden opens");
    let config = arch::read(&file).expect("its configuration is read");
    let plan = MemoryPlan::new(&file, &config, Compute::F32, KvFormat::F32, 2).expect("a plan");
    assert_eq!(plan.kv(usize::MAX, 1), usize::MAX);
}

#[test]
fn what_texts_keep_grows_with_their_number_and_length() {
    use limpid_engine::engine::bytes_of_sequences;
    // 4 bytes of a token, 4 of its log-probability, 8 of where its alternatives end, 12 of a count.
    assert_eq!(bytes_of_sequences(1, 10, 100), 10 * 28);
    assert_eq!(
        bytes_of_sequences(8, 1000, 100),
        8 * (1000 * 16 + 200 * 12),
        "the vocabulary bounds the counts"
    );
    assert_eq!(bytes_of_sequences(0, 1000, 100), 0);
    assert_eq!(bytes_of_sequences(2, usize::MAX, 100), usize::MAX);
}
