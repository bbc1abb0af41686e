//! What a row attends to, beside transformers' output_attentions: `goldens/attention/rows.json`.

mod support;

use limpid_engine::TokenId;
use limpid_engine::model::{Batch, BatchRow, Forward, Want};
use limpid_engine::trace::{Recorder, What};
use limpid_kernels::ops::KvFormat;
use serde_json::Value;
use std::collections::BTreeMap;
use support::{Bench, Setup, goldens};

/// Looks at some layers.
struct Look {
    layers: Vec<usize>,
    /// By layer and head.
    weights: BTreeMap<(usize, usize), Vec<f64>>,
}

impl Recorder for Look {
    fn wants(&self, what: What) -> bool {
        matches!(what, What::Attention { layer } if self.layers.contains(&layer))
    }

    fn attention(&mut self, _row: usize, layer: usize, head: usize, weights: &[f64]) {
        assert_eq!(self.weights.insert((layer, head), weights.to_vec()), None, "one row is looked at");
    }
}

/// What the last of `ids` attends to, computed in batches of `chunk`.
fn look(
    bench: &mut Bench,
    ids: &[u32],
    chunk: usize,
    layers: Vec<usize>,
) -> BTreeMap<(usize, usize), Vec<f64>> {
    let seq = bench.sequence();
    let mut look = Look { layers, weights: BTreeMap::new() };
    let row = |(i, &id): (usize, &u32)| {
        let want = if i + 1 == ids.len() { Want::Logits } else { Want::Nothing };
        BatchRow { token: TokenId(id), position: i as u32, seq, want }
    };
    let rows: Vec<BatchRow> = ids.iter().enumerate().map(row).collect();
    for rows in rows.chunks(chunk) {
        bench.kv.extend(seq, rows.len()).expect("the pages are there");
        bench.model.forward(&Batch { rows: rows.to_vec() }, &mut bench.kv, &mut look).expect("within limits");
    }
    bench.kv.release(seq);
    look.weights
}

fn cases() -> Vec<Value> {
    let text = std::fs::read_to_string(goldens().join("attention/rows.json")).expect("the golden");
    let golden: Value = serde_json::from_str(&text).expect("JSON");
    golden["cases"].as_array().expect("cases").clone()
}

fn case(case: &Value) -> (&str, Vec<u32>) {
    let ids = case["prompt_token_ids"].as_array().expect("ids").iter();
    (case["checkpoint"].as_str().expect("a name"), ids.map(|id| id.as_u64().expect("an id") as u32).collect())
}

#[test]
fn a_row_attends_to_what_transformers_says() {
    let cases = cases();
    assert_eq!(cases.len(), 3);
    for of in &cases {
        let (name, ids) = case(of);
        let expected: Vec<Vec<Vec<f64>>> = serde_json::from_value(of["weights"].clone()).expect("numbers");
        let mut bench = Bench::open(&goldens().join(name).join("hf"), Setup::exact());
        let found = look(&mut bench, &ids, 256, (0..expected.len()).collect());
        assert_eq!(found.len(), expected.iter().map(Vec::len).sum::<usize>());
        for ((layer, head), found) in &found {
            let expected = &expected[*layer][*head];
            assert_eq!(found.len(), expected.len());
            let error = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(error < 1e-5, "{name}, layer {layer}, head {head}: {error}");
        }
        // Bit for bit: what a row sees does not depend on the chunk, and one layer is the same without the others.
        let mut one = found.clone();
        one.retain(|key, _| key.0 == 1);
        assert_eq!(look(&mut bench, &ids, 7, vec![1]), one);
        assert_eq!(look(&mut bench, &ids, 7, Vec::new()), BTreeMap::new());
    }
}

#[test]
fn every_format_of_the_cache_is_read() {
    let of = &cases()[0];
    let (name, ids) = case(of);
    let path = goldens().join(name).join("hf");
    let exact = look(&mut Bench::open(&path, Setup::exact()), &ids, 256, vec![1, 3]);
    for (kv_format, most) in [(KvFormat::F16, 2e-3), (KvFormat::Q8_0, 2e-2)] {
        let mut bench = Bench::open(&path, Setup { kv_format, ..Setup::exact() });
        let found = look(&mut bench, &ids, 256, vec![1, 3]);
        for (key, found) in &found {
            let error = found.iter().zip(&exact[key]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(0.0 < error && error < most, "{kv_format:?}, {key:?}: {error}");
            assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }
}
