//! `limpid logits`.

use super::harness::{expect_error, limpid};
use serde_json::Value;

fn pairs(position: &Value) -> Vec<(u64, f64)> {
    let pair = |pair: &Value| (pair[0].as_u64().unwrap(), pair[1].as_f64().unwrap());
    position["logits"].as_array().unwrap().iter().map(pair).collect()
}

#[test]
fn all_logits_come_in_order_of_id() {
    let json = limpid(&["logits", "--prompt-tokens", "1,2,3", "--top", "all", "--json"]).json();
    let list = json.as_array().unwrap();
    assert_eq!((list.len(), &list[0]["pos"]), (1, &2.into()), "the last position is the default");
    let pairs = pairs(&list[0]);
    assert!(pairs.iter().map(|pair| pair.0).eq(0..4096));
}

#[test]
fn top_is_the_beginning_of_the_sorted_list() {
    let args = ["logits", "Once upon a time", "--json"];
    let mut all = pairs(&limpid(&[&args[..], &["--top", "all"]].concat()).json()[0]);
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    let top = pairs(&limpid(&[&args[..], &["--top", "7"]].concat()).json()[0]);
    assert_eq!(top, all[..7]);
}

#[test]
fn positions_do_not_depend_on_chunks_or_on_what_else_is_asked() {
    for compute in ["fast", "f32"] {
        let logits = |more: &[&str]| {
            let args = ["logits", "--prompt-tokens", "1,2,300,400,500,600", "--json", "--compute", compute];
            limpid(&[&args[..], more].concat()).json()
        };
        let all = logits(&["--positions", "all", "--top", "5"]);
        let all = all.as_array().unwrap();
        assert!(all.iter().map(|entry| entry["pos"].as_u64().unwrap()).eq(0..6));
        assert_eq!(logits(&["--positions", "4, 0", "--top", "5"]), serde_json::json!([all[0], all[4]]));
        let chunked = logits(&["--positions", "all", "--top", "5", "--prefill-chunk", "2", "--threads", "2"]);
        assert_eq!(chunked.as_array().unwrap(), all);
        assert_eq!(logits(&["--top", "5"]), serde_json::json!([all[5]]));
    }
}

#[test]
fn more_positions_than_are_held_at_once() {
    let ids = (0..100).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    let json =
        limpid(&["logits", "--prompt-tokens", &ids, "--positions", "all", "--top", "1", "--json"]).json();
    let last = limpid(&["logits", "--prompt-tokens", &ids, "--top", "1", "--json"]).json();
    assert_eq!(json.as_array().unwrap().len(), 100);
    assert_eq!(json[99], last[0]);
}

#[test]
fn people_get_a_list_with_pieces() {
    let text = limpid(&["logits", "Once upon a", "--top", "3"]).success().stdout;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("position "));
    assert!(lines[1].ends_with("\" time\""), "{text}");
}

#[test]
fn what_is_not_there_is_refused() {
    expect_error(
        &["logits", "--prompt-tokens", "1,2", "--positions", "2"],
        2,
        &["--positions has 2", "0 to 1"],
    );
    expect_error(&["logits", "--prompt-tokens", "4096"], 2, &["4096"]);
    expect_error(&["logits", "a", "--top", "0"], 2, &["--top"]);
    let long = vec!["5"; 1025].join(",");
    expect_error(&["logits", "--prompt-tokens", &long], 1, &["1025", "1024"]);
}
