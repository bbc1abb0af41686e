//! Logits of given tokens and perplexity, on the fake model, whose logits are a hash of all that came before.

use limpid_engine::TokenId;
use limpid_engine::evaluation::{EvaluationError, Perplexity, Windows, each_logits, perplexity};
use limpid_engine::kv::KvCache;
use limpid_engine::model::fake::{FakeConfig, FakeModel};
use limpid_engine::model::{Batch, BatchRow, Forward, Want};
use limpid_engine::trace::NoTrace;
use limpid_kernels::Cpu;
use limpid_kernels::isa::Isa;

const VOCAB_SIZE: usize = 50;

fn model(max_batch_rows: usize, poison: Option<TokenId>) -> (FakeModel, KvCache) {
    let config = FakeConfig {
        vocab_size: VOCAB_SIZE,
        context_length: 1000,
        max_batch_rows,
        windows: vec![None, Some(7)],
        poison,
        n_threads: 1,
    };
    let model = FakeModel::new(config).expect("memory");
    let kv = KvCache::new(model.kv_layout().clone(), 20).expect("memory");
    (model, kv)
}

fn text(n: usize) -> Vec<TokenId> {
    (0..n as u32).map(|i| TokenId((i * i + 3 * i) % VOCAB_SIZE as u32)).collect()
}

fn measured(max_batch_rows: usize, text: Windows<'_>) -> Result<Perplexity, EvaluationError> {
    let (mut model, mut kv) = model(max_batch_rows, None);
    let cpu = Cpu::new(Isa::Portable, 1);
    let mut seen = Vec::new();
    let result = perplexity(&mut model, &mut kv, &cpu, text, &mut |n| seen.push(n));
    assert!(seen.is_sorted() && seen.iter().all(|&n| n < text.n_computed()), "{seen:?}");
    assert_eq!(kv.n_sequences(), 0, "pages are free again");
    result
}

/// The definition, word for word: one window after the other, token by token.
fn plain(text: Windows<'_>) -> Vec<f64> {
    let mut scores = Vec::new();
    for window in text.tokens.chunks_exact(text.len) {
        let (mut model, mut kv) = model(1, None);
        let seq = kv.create(text.len);
        for position in 0..text.len - 1 {
            let token = if position == 0 { text.bos.unwrap_or(window[0]) } else { window[position] };
            let row = BatchRow { token, position: position as u32, seq, want: Want::Logits };
            kv.extend(seq, 1).expect("a page");
            let logits = model.forward(&Batch { rows: vec![row] }, &mut kv, &mut NoTrace).expect("logits");
            let sum: f64 = logits.row(0).iter().map(|&logit| f64::from(logit).exp()).sum();
            let p = f64::from(logits.row(0)[window[position + 1].0 as usize]).exp() / sum;
            if position >= text.len / 2 {
                scores.push(-p.ln());
            }
        }
    }
    scores
}

#[test]
fn perplexity_is_what_its_definition_says() {
    let tokens = text(100);
    for (len, n_scored) in [(3, 33), (8, 12 * 3), (33, 3 * 16), (100, 49)] {
        for bos in [None, Some(TokenId(1))] {
            let text = Windows { tokens: &tokens, len, bos };
            let (found, scores) = (measured(64, text).expect("a number"), plain(text));
            assert_eq!((found.n_scored, scores.len()), (n_scored, n_scored), "{len}");
            let n = scores.len() as f64;
            let mean = scores.iter().sum::<f64>() / n;
            let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / n;
            let error = mean.exp() * (variance / (n - 1.0)).sqrt();
            let is_close = |a: f64, b: f64| (a - b).abs() <= 1e-5 * b;
            assert!(is_close(found.mean(), mean) && is_close(found.value(), mean.exp()), "{len}: {found:?}");
            assert!(is_close(found.standard_error().expect("several scores"), error), "{len}: {found:?}");
        }
    }
    let [with, without] =
        [None, Some(TokenId(1))].map(|bos| measured(64, Windows { tokens: &tokens, len: 33, bos }));
    assert_ne!(with, without, "BOS is part of the context");
}

#[test]
fn perplexity_does_not_depend_on_the_batch() {
    let tokens = text(70);
    let text = Windows { tokens: &tokens, len: 20, bos: None };
    let whole = measured(64, text);
    for max_batch_rows in [1, 2, 3, 7, 19] {
        assert_eq!(measured(max_batch_rows, text), whole, "{max_batch_rows}");
    }
}

#[test]
fn a_text_without_a_whole_window_scores_nothing() {
    let tokens = text(7);
    let found = measured(8, Windows { tokens: &tokens, len: 8, bos: None }).expect("no error");
    assert!(found.n_scored == 0 && found.value().is_nan() && found.standard_error().is_none());
    let found = measured(8, Windows { tokens: &tokens, len: 4, bos: None }).expect("no error");
    assert!(found.n_scored == 1 && found.value() > 1.0 && found.standard_error().is_none());
}

#[test]
fn logits_that_are_no_numbers_are_an_error_with_their_place() {
    let tokens: Vec<_> = (0..20).map(TokenId).collect();
    let (mut model, mut kv) = model(5, Some(TokenId(17)));
    let cpu = Cpu::new(Isa::Portable, 1);
    let text = Windows { tokens: &tokens, len: 10, bos: None };
    let found = perplexity(&mut model, &mut kv, &cpu, text, &mut |_| ());
    assert_eq!(found, Err(EvaluationError::NotFinite { position: 17 }));
}

#[test]
fn logits_come_in_order_and_only_where_they_are_wanted() {
    let tokens = text(30);
    let at = |max_batch_rows, wanted: &dyn Fn(usize) -> bool| {
        let (mut model, mut kv) = model(max_batch_rows, None);
        let mut found = Vec::new();
        let mut keep = |position, logits: &[f32]| {
            found.push((position, logits.to_vec()));
            Ok::<_, EvaluationError>(())
        };
        each_logits(&mut model, &mut kv, &tokens, wanted, &mut |_| (), &mut keep).expect("logits");
        found
    };
    let all = at(30, &|_| true);
    assert!(all.iter().map(|(position, _)| *position).eq(0..30));
    for max_batch_rows in [1, 4, 29] {
        assert_eq!(at(max_batch_rows, &|_| true), all);
        let some = at(max_batch_rows, &|position| position % 7 == 3);
        assert!(some.iter().eq(all.iter().skip(3).step_by(7)), "{max_batch_rows}");
    }
}
