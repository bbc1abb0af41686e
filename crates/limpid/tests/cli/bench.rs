//! `limpid bench`: that it measures, not how fast.

use super::harness::{expect_error, limpid};
use serde_json::Value;

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn there_is_a_row_for_each_depth_and_each_number_of_sequences() {
    let args =
        ["bench", "--prefill", "40", "--decode", "4", "--depth", "70,0", "--sequences", "1,3", "--json"];
    let json = limpid(&[&args[..], &["--repetitions", "3", "--threads", "1", "--no-limits"]].concat()).json();
    let rows = json["rows"].as_array().unwrap();
    let cases: Vec<_> = rows.iter().map(|row| (row["depth"].as_u64(), row["sequences"].as_u64())).collect();
    let expected = [(0, 1), (0, 3), (70, 1), (70, 3)].map(|(depth, n)| (Some(depth), Some(n)));
    assert_eq!(cases, expected, "in ascending order");
    for row in rows {
        for name in ["prefill", "decode"] {
            let mut repetitions = numbers(&row[format!("{name}_repetitions")]);
            repetitions.sort_by(f64::total_cmp);
            assert!(repetitions.len() == 3 && repetitions[0] > 0.0, "{row}");
            let median = row[format!("{name}_tok_per_s")].as_f64().unwrap();
            assert!((median - repetitions[1]).abs() <= 0.02, "{row}");
        }
        let n = row["sequences"].as_f64().unwrap();
        let tpot_s = row["tpot_ms"].as_f64().unwrap() / 1e3;
        // Rates have two decimals, and times microseconds: those of a fast machine are few.
        let is_close = |name: &str, b: f64| (row[name].as_f64().unwrap() - b).abs() <= 0.006 + 2e-2 * b;
        assert!(
            is_close("decode_tok_per_s", n / tpot_s) && is_close("decode_tok_per_s_each", 1.0 / tpot_s),
            "{row}"
        );
        assert!(is_close("ttft_ms", 40e3 / row["prefill_tok_per_s"].as_f64().unwrap()), "{row}");
        // All matrices, 3,145,728 weights of which 786,432 are the head, and 1,536 bytes of a position in f16.
        let depth = row["depth"].as_f64().unwrap();
        let weights = json["weights_bytes"].as_f64().unwrap() - 13.0 * 192.0 * 4.0;
        assert_eq!(row["step_bytes"].as_f64(), Some(weights + n * (depth + 2.5) * 1536.0), "{row}");
        assert!(is_close("decode_gb_per_s", row["step_bytes"].as_f64().unwrap() / tpot_s / 1e9), "{row}");
        assert!(is_close("decode_gop_per_s", 2.0 * 3_145_728.0 * n / tpot_s / 1e9), "{row}");
        let products = 40.0 * (3_145_728.0 - 786_432.0) + 786_432.0;
        assert!(is_close("prefill_gop_per_s", 2e-6 * products / row["ttft_ms"].as_f64().unwrap()), "{row}");
        assert_eq!(row["kv_bytes"].as_f64(), Some(n * if depth == 0.0 { 1.0 } else { 2.0 } * 64.0 * 1536.0));
        assert!(row["limits"].is_null());
    }
    assert_eq!(json["prefill"], rows[0]["prefill_tok_per_s"]);
    assert_eq!(json["decode"], rows[0]["decode_tok_per_s"]);
    let (load, first) = (json["load_ms"].as_f64().unwrap(), json["first_token_ms"].as_f64().unwrap());
    assert!(0.0 < load && load < first, "{load} {first}");
}

/// Chunks shorter than the first prompt; a model whose windows give pages back on the way.
#[test]
fn small_chunks_and_windows_are_measured() {
    let window = format!("{}/../engine/tests/goldens/qwen2_window/hf", env!("CARGO_MANIFEST_DIR"));
    let args = ["bench", "-m", &window, "--prefill", "20", "--decode", "20", "--depth", "0,10,200"];
    for chunk in ["1", "3", "64"] {
        let more =
            ["--sequences", "1,5", "--repetitions", "1", "--no-limits", "--prefill-chunk", chunk, "--json"];
        let json = limpid(&[&args[..], &more].concat()).json();
        assert_eq!(json["rows"].as_array().unwrap().len(), 6, "{chunk}");
    }
}

#[test]
fn limits_stand_beside_each_row() {
    let args = ["bench", "--prefill", "4", "--decode", "2", "--repetitions", "1", "--threads", "1"];
    let json = limpid(&[&args[..], &["--json"]].concat()).json();
    let limits = json["rows"][0]["limits"].as_object().unwrap();
    assert!(limits.len() == 5 && limits.values().all(|limit| limit.as_f64().unwrap() > 0.0), "{limits:?}");
    assert_eq!(json["products"], "int8");
    let text = limpid(&args).success().stdout;
    assert!(text.contains("of int8 peak") && text.contains("of reads"), "{text}");
    assert!(text.lines().skip(1).all(|line| line.len() <= 100), "{text}");
}

#[test]
fn the_most_sequences_within_a_limit_are_named() {
    let args = [
        "bench",
        "--prefill",
        "0",
        "--decode",
        "2",
        "--repetitions",
        "1",
        "--no-limits",
        "--sequences",
        "1,2",
    ];
    let within = |limit: &str| {
        let json = limpid(&[&args[..], &["--tpot-limit-ms", limit, "--json"]].concat()).json();
        json["within_tpot_limit"].clone()
    };
    assert_eq!(within("100000"), serde_json::json!([{"depth": 0, "sequences": 2}]));
    assert_eq!(within("0.000001"), serde_json::json!([{"depth": 0, "sequences": null}]));
    let text = limpid(&[&args[..], &["--tpot-limit-ms", "100000"]].concat()).success().stdout;
    assert!(text.contains("depth 0: up to 2 sequences stay within 100000 ms a token"), "{text}");
}

#[test]
fn either_can_be_left_out() {
    let short = ["--repetitions", "1", "--no-limits"];
    let run = |args: &[&str]| limpid(&[&["bench"], args, &short].concat());
    let json = run(&["--prefill", "0", "--decode", "2", "--json"]).json();
    assert!(json["prefill"].is_null() && json["decode"].is_number());
    assert!(json["rows"][0]["ttft_ms"].is_null());
    let text = run(&["--prefill", "8", "--decode", "0"]).success().stdout;
    assert!(text.contains("prefill of 8") && !text.contains("decode of"), "{text}");
    expect_error(&["bench", "--prefill", "0", "--decode", "0"], 2, &["nothing to measure"]);
    expect_error(&["bench", "--prefill", "1000", "--depth", "100"], 2, &["1024"]);
    expect_error(&["bench", "--tpot-limit-ms", "0"], 2, &["--tpot-limit-ms", "above 0"]);
}
