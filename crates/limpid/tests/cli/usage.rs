//! Help, version, and what is refused.

use super::harness::{PROMPT, command, expect_error, limpid};

#[test]
fn help_of_every_command_is_on_standard_output() {
    for args in [
        &["--help"][..],
        &["run", "--help"],
        &["inspect", "--help"],
        &["tokenize", "--help"],
        &["detokenize", "--help"],
        &["logits", "--help"],
        &["bench", "--help"],
    ] {
        let outcome = limpid(args).success();
        assert!(outcome.stdout.contains("Usage: limpid"), "{args:?}");
        assert_eq!(outcome.stderr, "", "{args:?}");
    }
}

#[test]
fn help_of_run_groups_options_and_names_ranges_and_defaults() {
    let help = limpid(&["run", "--help"]).success().stdout;
    for heading in ["Prompt:", "Length and stopping:", "Sampling:", "Computing:", "Output:"] {
        assert!(help.contains(heading), "{heading}");
    }
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["-n, --max-tokens", "-c, --context", "-t, --threads", "-m, --model", "from 0 to 1; 1 is off"]
    {
        assert!(words.contains(part), "{part}");
    }
}

#[test]
fn version_names_the_instruction_set() {
    let output = command(&["--version"]).env("LIMPID_ISA", "portable").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, format!("limpid {} (portable)\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn command_lines_that_make_no_sense() {
    expect_error(&[], 2, &["no command"]);
    expect_error(&["walk"], 2, &["walk"]);
    expect_error(&["run", PROMPT, "--temprature", "1"], 2, &["--temprature", "--temperature"]);
    expect_error(&["run", PROMPT, "-n", "many"], 2, &["many", "--max-tokens"]);
    expect_error(&["run", PROMPT, "--file", "x"], 2, &["cannot be used with"]);
    expect_error(&["run", PROMPT, "--raw", "--system", "x"], 2, &["--raw", "--system"]);
    expect_error(&["run", PROMPT, "--template-arg", "thinking"], 2, &["NAME=VALUE"]);
    expect_error(&["run", PROMPT, "--compute", "slow"], 2, &["slow", "fast"]);
    expect_error(&["run", "--prompt-tokens", "1,x"], 2, &["`x` is no token id"]);
    expect_error(&["run", ""], 2, &["empty"]);
}

#[test]
fn values_out_of_range_name_the_option_and_the_range() {
    expect_error(&["run", PROMPT, "--temperature", "-1"], 2, &["--temperature is -1", "0 (greedy) or"]);
    expect_error(&["run", PROMPT, "--temperature", "nan"], 2, &["--temperature is NaN"]);
    expect_error(&["run", PROMPT, "--top-p", "1.5"], 2, &["--top-p is 1.5", "from 0 to 1"]);
    expect_error(
        &["run", PROMPT, "--presence-penalty", "-3"],
        2,
        &["--presence-penalty is -3", "from -2 to 2"],
    );
    expect_error(&["run", PROMPT, "--max-tokens", "0"], 2, &["--max-tokens", "from 1 to"]);
    expect_error(&["run", PROMPT, "-n", "5", "--min-tokens", "6"], 2, &["--min-tokens is 6", "5"]);
    expect_error(&["run", PROMPT, "--threads", "0"], 2, &["--threads", "1..=512"]);
    expect_error(&["run", PROMPT, "--prefill-chunk", "0"], 2, &["--prefill-chunk"]);
    expect_error(
        &["run", PROMPT, "--context", "2k"],
        2,
        &["--context is 2048", "1024", "llama.context_length"],
    );
    expect_error(&["run", PROMPT, "--stop", ""], 2, &["--stop is an empty string"]);
    expect_error(&["run", "--prompt-tokens", "1,4096"], 2, &["4096", "position 1"]);
    expect_error(&["run", PROMPT, "--stop-token-ids", "4096"], 2, &["--stop-token-ids is 4096"]);
}

#[test]
fn the_instruction_set_of_the_environment_is_checked() {
    let output = command(&["run", PROMPT]).env("LIMPID_ISA", "mmx").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.starts_with("limpid: error: LIMPID_ISA=mmx"), "{message}");
}

#[test]
fn what_cannot_be_done_is_a_failure() {
    expect_error(&["run", "-m", "no-such-model.gguf", PROMPT], 1, &["no-such-model.gguf"]);
    expect_error(&["run", "--file", "no-such-prompt.txt"], 1, &["no-such-prompt.txt"]);
    expect_error(&["inspect", env!("CARGO_MANIFEST_DIR")], 1, &["config.json"]);
    expect_error(&["run", PROMPT, "-n", "1020"], 2, &["1020", "1024", "Lower --max-tokens to"]);
    expect_error(&["run", PROMPT, "--context", "5"], 1, &["the context holds 5"]);
    expect_error(&["run", "--raw", "x", "--template-arg", "a=1"], 2, &["--template-arg"]);
}
