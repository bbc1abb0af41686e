//! What a model's files say, and what is wrong with them, as a user sees it.

use super::folder::{Folder, SMALL};
use super::harness::{expect_error, limpid};
use serde_json::json;

#[test]
fn facts_are_shown_without_a_tokenizer_and_the_problem_in_its_line() {
    let folder = Folder::new(SMALL);
    std::fs::remove_file(folder.file("tokenizer.json")).unwrap();
    let text = limpid(&["inspect", folder.as_str()]).success().stdout;
    let line = text.lines().find(|line| line.starts_with("tokenizer ")).unwrap();
    assert!(line.contains("not usable: ") && line.contains("tokenizer.json is missing"), "{line}");
    assert!(text.contains("architecture       llama\n") && text.contains("weights in memory"), "{text}");
    let json = limpid(&["inspect", folder.as_str(), "--json"]).json();
    assert!(json["tokenizer"]["error"].as_str().unwrap().contains("tokenizer.json"), "{json}");
    assert_eq!(json["hidden_size"], 64);
    let parts = [folder.as_str(), "tokenizer.json is missing", "get the model again"];
    expect_error(&["run", "-m", folder.as_str(), "a"], 1, &parts);
}

#[test]
fn what_is_not_followed_is_noted_by_name() {
    let folder = Folder::new(SMALL);
    folder.write(
        "generation_config.json",
        &json!({"stop_strings": ["x"], "max_new_tokens": 512, "temperature": 0.5, "eos_token_id": 3}),
    );
    let run = limpid(&["run", "-m", folder.as_str(), "--prompt-tokens", "5", "-n", "1"]).success();
    for key in ["stop_strings", "max_new_tokens"] {
        let note =
            format!("limpid: warning: the model's files set {key}, which is not supported and is left out\n");
        assert!(run.stderr.contains(&note), "{}", run.stderr);
    }
    assert_eq!(run.stderr.matches("left out").count(), 2, "{}", run.stderr);
}

#[test]
fn tokens_that_the_files_ban_are_banned() {
    // All logits are equal: greedy takes the lowest id that is left.
    let folder = Folder::new(SMALL);
    folder.write("generation_config.json", &json!({"suppress_tokens": [0], "bad_words_ids": [[5, 1], [2]]}));
    let base =
        ["run", "-m", folder.as_str(), "--prompt-tokens", "5", "-n", "1", "--temperature", "0", "--json"];
    let found = |more: &[&str]| limpid(&[&base[..], more].concat()).json();
    let all = found(&[]);
    assert_eq!(all["token_ids"], json!([3]));
    let source = "generation_config.json";
    assert_eq!(all["defaults"]["suppress_tokens"], json!({"value": [0], "source": source}));
    assert_eq!(all["defaults"]["bad_words_ids"], json!({"value": [[5, 1], [2]], "source": source}));
    assert_eq!(found(&["--suppress-tokens", "none"])["token_ids"], json!([0]));
    assert_eq!(found(&["--suppress-tokens", "3"])["token_ids"], json!([0]));
    assert_eq!(found(&["--bad-words-ids", "none"])["token_ids"], json!([1]));
    let text = limpid(&["inspect", folder.as_str()]).success().stdout;
    let shown = "1 in suppress_tokens (generation_config.json), 2 in bad_words_ids (generation_config.json)";
    assert!(text.contains(shown), "{text}");
    folder.write("generation_config.json", &json!({"suppress_tokens": [380]}));
    let parts = [
        "generation_config.json: suppress_tokens is 380, allowed is tokens from 0 to 379",
        "correct the file",
    ];
    expect_error(&["run", "-m", folder.as_str(), "--prompt-tokens", "5"], 1, &parts);
}

#[test]
fn wrong_values_name_the_file_and_the_key() {
    let folder = Folder::new(SMALL);
    let args = ["run", "-m", folder.as_str(), "--prompt-tokens", "5", "-n", "1"];
    let path = folder.file("generation_config.json");
    for (config, parts) in [
        (json!({"eos_token_id": "</s>"}), ["generation_config.json eos_token_id", "\"</s>\"", "a token id"]),
        (
            json!({"temperature": "hot"}),
            [path.to_str().unwrap(), "temperature is \"hot\"", "correct the file"],
        ),
        (json!({"top_p": 2}), [path.to_str().unwrap(), "top_p (generation_config.json) is 2", "from 0 to 1"]),
    ] {
        folder.write("generation_config.json", &config);
        expect_error(&args, 1, &parts);
    }
}

#[test]
fn a_chat_template_that_fails_names_its_model() {
    let folder = Folder::new(SMALL);
    for (template, message) in [
        ("{% if %}", "the chat template is not valid Jinja, line 1"),
        ("{{ raise_exception(\"no\") }}", "the chat template refuses these messages: no"),
    ] {
        std::fs::write(folder.file("chat_template.jinja"), template).unwrap();
        let parts = [&format!("limpid: error: {}: {message}", folder.as_str()), "go without the template"];
        expect_error(&["run", "-m", folder.as_str(), "a"], 1, &parts);
    }
    assert_eq!(limpid(&["run", "-m", folder.as_str(), "--raw", "a", "-n", "1"]).code, 0);
}

#[test]
fn a_template_that_skips_what_the_system_says_is_told() {
    let folder = Folder::new(SMALL);
    let template = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}";
    std::fs::write(folder.file("chat_template.jinja"), template).unwrap();
    let run = ["run", "-m", folder.as_str(), "-n", "1", "a"];
    let parts =
        ["leaves message 0 out, counted from 0: it has no place for the role system; let the user say it"];
    expect_error(&[&run[..], &["--system", "Be brief."]].concat(), 1, &parts);
    assert_eq!(limpid(&run).code, 0);
    assert_eq!(limpid(&[&run[..], &["--system", " "]].concat()).code, 0, "nothing is lost");
}

#[test]
fn windows_are_named_in_the_table_of_contexts() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/tests/goldens/mistral_window/hf");
    let text = limpid(&["inspect", golden, "--context", "64"]).success().stdout;
    let growth = text.lines().find(|line| line.contains("constant")).unwrap();
    let columns: Vec<_> = growth.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(columns, ["n", "constant", "~ n, window", "~ chunk", "constant", "~ n, window", "~ n^2"]);
}
