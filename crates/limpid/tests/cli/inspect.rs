//! `limpid inspect`.

use super::harness::{expect_error, keys, limpid};

#[test]
fn json_has_the_facts_of_the_embedded_model() {
    let json = limpid(&["inspect", "--json"]).json();
    assert_eq!(json["architecture"], "llama");
    assert_eq!(json["parameters"], 3_148_224);
    assert_eq!(json["context_length"].to_string(), r#"{"tokens":1024,"source":"llama.context_length"}"#);
    let formats = &json["tensors"]["by_format"];
    assert_eq!(keys(formats), ["F32", "Q8_0"]);
    assert_eq!(
        formats["Q8_0"]["tensors"].as_u64().unwrap() + formats["F32"]["tensors"].as_u64().unwrap(),
        56
    );
    let eos = json["tokenizer"]["eos"].as_array().unwrap();
    assert_eq!(eos[0]["id"], 3);
    assert_eq!(eos[0]["text"], "<|im_end|>");
    assert!(eos[0]["sources"][0].as_str().unwrap().contains("eos_token_id"), "{eos:?}");
    assert_eq!(json["tokenizer"]["bos"]["id"], 1);
    assert_eq!(json["chat_template"], true);
    assert_eq!(json["defaults"]["top_k"]["value"], 40);
    // 6 layers, keys and values, 1 head of 64, 2 bytes.
    assert_eq!(json["kv"]["bytes_per_token"], 6 * 2 * 64 * 2);
    assert_eq!(json["contexts"].as_array().unwrap().len(), 0);
    assert_eq!(json["fits"]["context"], 1024);
    assert_eq!(json["size_on_disk_bytes"].as_u64(), Some(std::fs::metadata(POCKET).unwrap().len()));
}

const POCKET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/pocket/pocket.gguf");

#[test]
fn a_path_gives_the_same_facts_as_the_embedded_copy() {
    let text = |args: &[&str]| limpid(args).success().stdout;
    let without_name = |text: String| text.split_once('\n').unwrap().1.to_owned();
    // The last line shows the memory that is free at that moment.
    let facts = |text: String| {
        without_name(text)
            .lines()
            .filter(|line| !line.starts_with("fits"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let embedded = facts(text(&["inspect"]));
    assert_eq!(facts(text(&["inspect", POCKET])), embedded);
    assert_eq!(facts(text(&["inspect", "-m", POCKET])), embedded);
    expect_error(&["inspect", POCKET, "-m", POCKET], 2, &["cannot be used with"]);
}

#[test]
fn contexts_show_what_grows_and_how() {
    let json = limpid(&["inspect", "--json", "--context", "2k,256,512,1k,256"]).json();
    let rows = json["contexts"].as_array().unwrap();
    let column = |name: &str| rows.iter().map(|row| row[name].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(column("context"), [256, 512, 1024, 2048]);
    assert_eq!(column("kv_bytes"), [256, 512, 1024, 2048].map(|n| n * 1536), "linear");
    assert_eq!(column("score_matrix_bytes"), [256, 512, 1024, 2048].map(|n: u64| 3 * 4 * n * n), "quadratic");
    assert!(column("weights_bytes").windows(2).all(|pair| pair[0] == pair[1]));
    for row in rows {
        let parts = ["weights_bytes", "kv_bytes", "workspace_bytes", "runtime_bytes"]
            .map(|name| row[name].as_u64().unwrap());
        assert_eq!(parts.iter().sum::<u64>(), row["total_bytes"].as_u64().unwrap());
    }
    let beyond = rows.iter().map(|row| row["is_beyond_model"].as_bool().unwrap()).collect::<Vec<_>>();
    assert_eq!(beyond, [false, false, false, true]);
}

#[test]
fn the_table_labels_each_column_with_its_growth() {
    let text = limpid(&["inspect", "--context", "512,2k"]).success().stdout;
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let title = lines
        .iter()
        .position(|line| line.first() == Some(&"context") && line.contains(&"workspace"))
        .unwrap();
    assert_eq!(lines[title + 1], ["n", "constant", "~", "n", "~", "chunk", "constant", "~", "n", "~", "n^2"]);
    assert_eq!(lines[title + 2][0], "512");
    assert_eq!(lines[title + 3][0], "2,048*");
    expect_error(&["inspect", "--context", "2m"], 2, &["2m", "--context"]);
}
