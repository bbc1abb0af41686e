//! `limpid bench`: that it measures, not how fast.

use super::harness::{expect_error, limpid};

#[test]
fn json_has_prefill_and_decode_in_tokens_a_second() {
    let args = ["bench", "--prefill", "40", "--decode", "4", "--depth", "70", "--sequences", "3", "--json"];
    let json = limpid(&[&args[..], &["--repetitions", "3", "--threads", "1"]].concat()).json();
    for name in ["prefill", "decode"] {
        let mut repetitions: Vec<f64> = json[format!("{name}_repetitions")]
            .as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_f64().unwrap())
            .collect();
        assert_eq!(repetitions.len(), 3);
        repetitions.sort_by(f64::total_cmp);
        assert_eq!(json[name].as_f64(), Some(repetitions[1]), "the median");
        assert!(repetitions[0] > 0.0);
    }
    assert_eq!((&json["depth"], &json["sequences"], &json["threads"]), (&70.into(), &3.into(), &1.into()));
}

#[test]
fn either_can_be_left_out() {
    let json = limpid(&["bench", "--prefill", "0", "--decode", "2", "--repetitions", "1", "--json"]).json();
    assert!(json["prefill"].is_null() && json["decode"].is_number());
    let text = limpid(&["bench", "--prefill", "8", "--decode", "0", "--repetitions", "1"]).success().stdout;
    assert!(text.contains("prefill") && !text.contains("decode"), "{text}");
    expect_error(&["bench", "--prefill", "0", "--decode", "0"], 2, &["nothing to measure"]);
    expect_error(&["bench", "--prefill", "1000", "--depth", "100"], 2, &["1024"]);
}
