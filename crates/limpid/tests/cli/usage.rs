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
        &["sample", "--help"],
        &["perplexity", "--help"],
        &["bench", "--help"],
        &["batch", "--help"],
        &["chat", "--help"],
    ] {
        let outcome = limpid(args).success();
        assert!(outcome.stdout.contains("Usage: limpid"), "{args:?}");
        assert_eq!(outcome.stderr, "", "{args:?}");
    }
}

#[test]
fn help_of_run_groups_options_and_names_ranges_and_defaults() {
    let help = limpid(&["run", "--help"]).success().stdout;
    for heading in [
        "Prompt:",
        "Length and stopping:",
        "Sampling:",
        "Penalties:",
        "Bans and bias:",
        "Several texts and beams:",
        "Log-probabilities:",
        "Computing:",
        "Output:",
    ] {
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
    expect_error(
        &["walk"],
        2,
        &["there is no command `walk`; the commands are run, chat, inspect, tokenize"],
    );
    expect_error(&["run", PROMPT, "there"], 2, &["'there'", "a text of several words needs quotes"]);
    expect_error(&["bench", "there"], 2, &["unexpected argument 'there' found; see --help"]);
    expect_error(&["detokenize", "1", "-f"], 2, &["unexpected argument '-f' found; see --help"]);
    expect_error(&["run", PROMPT, "--ignore-eos", "forbid"], 2, &["'forbid'", "--ignore-eos=forbid"]);
    expect_error(&["run", "--ignore-eos", "forbid"], 2, &["--ignore-eos=forbid", "equals sign"]);
    expect_error(&["run", "--stop", "hello"], 2, &["no prompt", "--stop is the option's value"]);
    expect_error(
        &["run", PROMPT, "--temprature", "1"],
        2,
        &["'--temprature' found; tip: a similar argument exists: '--temperature'; see --help"],
    );
    expect_error(&["run", PROMPT, "-n", "many"], 2, &["many", "--max-tokens"]);
    expect_error(&["run", PROMPT, "--file", "x"], 2, &["cannot be used with"]);
    expect_error(&["run", PROMPT, "--raw", "--system", "x"], 2, &["--raw", "--system"]);
    expect_error(&["run", PROMPT, "--template-arg", "thinking"], 2, &["NAME=VALUE"]);
    let unknown = ["run", PROMPT, "--template-arg", "enable_thinking=false"];
    expect_error(&unknown, 2, &["`enable_thinking` is not read by the model's chat template"]);
    expect_error(&["run", PROMPT, "--compute", "slow"], 2, &["slow", "fast"]);
    expect_error(&["run", "--prompt-tokens", "1,x"], 2, &["`x` is no token id", "from 0 to 4294967295"]);
    expect_error(
        &["run", "--prompt-tokens", "1,,2"],
        2,
        &["--prompt-tokens", "number 2 of the list is empty"],
    );
    expect_error(&["run", PROMPT, "--stop-token-ids", "1,"], 2, &["number 2 of the list is empty"]);
    expect_error(&["run", ""], 2, &["empty"]);
}

#[test]
fn values_out_of_range_name_the_option_and_the_range() {
    expect_error(&["run", PROMPT, "--temperature", "-1"], 2, &["--temperature is -1", "0 (greedy) or"]);
    for (option, range) in [
        ("--temperature", "0 or from 0.000001 to 1000000"),
        ("--top-p", "from 0 to 1"),
        ("--min-p", "from 0 to 1"),
        ("--repetition-penalty", "from 0.01 to 100"),
        ("--frequency-penalty", "from -2 to 2"),
        ("--presence-penalty", "from -2 to 2"),
        ("--xtc-threshold", "from 0 to 0.5"),
        ("--dry-base", "from 1 to 100"),
    ] {
        let parts = [option, &format!("a number is expected, {range}")];
        expect_error(&["run", PROMPT, option, "much"], 2, &parts);
    }
    expect_error(&["run", PROMPT, "--temperature", "nan"], 2, &["--temperature is NaN"]);
    expect_error(&["run", PROMPT, "--top-p", "1.5"], 2, &["--top-p is 1.5", "from 0 to 1"]);
    expect_error(
        &["run", PROMPT, "--presence-penalty", "-3"],
        2,
        &["--presence-penalty is -3", "from -2 to 2"],
    );
    for (args, error) in [
        (&["--typical-p", "2"][..], "--typical-p is 2, allowed is from 0 to 1"),
        (&["--xtc-threshold", "0.2"], "--xtc-probability"),
        (&["--dynatemp-min", "1"], "--dynatemp-max"),
        (
            &["--dynatemp-min", "1", "--dynatemp-max", "0.5"],
            "--dynatemp-min is 1, allowed is from 0.000001 to",
        ),
        (&["--dynatemp-min", "1", "--dynatemp-max", "2", "--temperature", "1"], "cannot be used with"),
        (&["--mirostat-tau", "5", "--temperature", "0"], "--mirostat-tau is 5, allowed is 0 (off)"),
        (&["--sampler-order", "top_k,top_x"], "sampler_order is `top_x`, allowed is notes, vllm, hf,"),
        (&["--sampler-order", "top_k,top_k"], "top_k is there twice"),
        (&["--sampler-order", "penalties"], "has no place for temperature"),
        (&["--sampler-order", "vllm", "--typical-p", "0.5"], "--typical-p is 0.5, allowed is 1 (off)"),
        (&["--penalty-scope", "last"], "output, all, or last_N such as last_64"),
        (&["--logit-bias", "4096=1"], "--logit-bias is 4096, allowed is tokens from 0 to 4095"),
        (&["--logit-bias", "5=1", "--logit-bias", "5=2"], "--logit-bias is 5, allowed is each token once"),
        (&["--suppress-tokens", "5000"], "--suppress-tokens is 5000"),
    ] {
        expect_error(&[&["run", PROMPT], args].concat(), 2, &[error]);
    }
    expect_error(&["run", PROMPT, "--max-tokens", "0"], 2, &["--max-tokens", "from 1 to"]);
    expect_error(
        &["run", PROMPT, "-n", "5", "--min-tokens", "6"],
        2,
        &["--min-tokens is 6, allowed is from 0 to 5, the most that may be generated"],
    );
    expect_error(&["run", PROMPT, "--threads", "0"], 2, &["--threads", "from 1 to 512"]);
    expect_error(&["run", PROMPT, "--prefill-chunk", "0"], 2, &["--prefill-chunk"]);
    expect_error(
        &["run", PROMPT, "--context", "2k"],
        2,
        &["--context is 2048", "1024", "llama.context_length", "lower it, or leave it out"],
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
    let version = command(&["--version"]).env("LIMPID_ISA", "mmx").output().unwrap();
    assert_eq!((version.status.code(), version.stdout), (Some(2), Vec::new()));
    assert_eq!(String::from_utf8(version.stderr).unwrap(), message, "the same from every command");
}

#[test]
fn an_empty_instruction_set_is_as_if_none_was_asked_for() {
    let version = |isa| command(&["--version"]).env("LIMPID_ISA", isa).output().unwrap();
    let best = command(&["--version"]).env_remove("LIMPID_ISA").output().unwrap();
    assert_eq!(version("").stdout, best.stdout);
    assert!(limpid(&["--help"]).success().stdout.contains("LIMPID_ISA"));
}

#[test]
fn huge_numbers_are_refused_with_the_range() {
    const HUGE: &str = "18446744073709551615";
    for (args, option, most) in [
        (&["inspect", "--context", HUGE][..], "--context", "268435456"),
        (&["inspect", "--context", "1k", "--prefill-chunk", HUGE], "--prefill-chunk", "65536"),
        (&["inspect", "--context", "9999999999999999999k"], "--context", "268435456"),
        (&["bench", "--sequences", HUGE, "--prefill", "4", "--decode", "1"], "--sequences", "4096"),
        (&["bench", "--prefill", HUGE], "--prefill", "268435456"),
        (&["bench", "--depth", HUGE], "--depth", "268435456"),
        (&["bench", "--repetitions", HUGE], "--repetitions", "1000"),
        (&["run", PROMPT, "-n", HUGE], "--max-tokens", "268435456"),
        (&["run", PROMPT, "--min-tokens", HUGE], "--min-tokens", "4294967295"),
        (&["run", PROMPT, "--threads", HUGE], "--threads", "512"),
        (&["run", PROMPT, "--top-k", HUGE], "--top-k", "4294967295"),
        (&["logits", PROMPT, "--prefill-chunk", HUGE], "--prefill-chunk", "65536"),
    ] {
        expect_error(args, 2, &["invalid value '", option, most]);
    }
    let most = ["inspect", "--context", "262144k", "--prefill-chunk", "65536", "--threads", "512", "--json"];
    let row = &limpid(&most).json()["contexts"][0];
    assert_eq!(row["context"], 1 << 28);
    assert_eq!(row["kv_bytes"], 1536_u64 << 28);
}

#[test]
fn negative_numbers_are_refused_by_their_option() {
    for (args, option, part) in [
        (&["run", PROMPT, "--top-k", "-1"][..], "--top-k", "0 switches it off"),
        (&["run", PROMPT, "-n", "-1"], "--max-tokens", "leave the option out"),
        (&["run", PROMPT, "--seed", "-1"], "--seed", "one is drawn"),
        (&["run", PROMPT, "--min-tokens", "-1"], "--min-tokens", "from 0 to 4294967295"),
        (&["run", PROMPT, "--context", "-5"], "--context", "from 1 to"),
        (&["run", PROMPT, "--threads", "-2"], "--threads", "from 1 to 512"),
        (&["run", PROMPT, "--prefill-chunk", "-2"], "--prefill-chunk", "from 1 to 65536"),
        (&["run", "--prompt-tokens", "-1,2"], "--prompt-tokens", "`-1` is no token id"),
        (&["run", PROMPT, "--stop-token-ids", "-1"], "--stop-token-ids", "`-1` is no token id"),
        (&["inspect", "--context", "-5"], "--context", "from 1 to"),
        (&["inspect", "--context", "-5,2k"], "--context", "from 1 to"),
        (&["logits", PROMPT, "--positions", "-1"], "--positions", "`-1` is no position"),
        (&["logits", PROMPT, "--top", "-1"], "--top", "1 or more, or `all`"),
        (&["bench", "--prefill", "-1"], "--prefill", "from 0 to"),
        (&["bench", "--decode", "-1"], "--decode", "from 0 to"),
        (&["bench", "--depth", "-1"], "--depth", "from 0 to"),
        (&["bench", "--sequences", "-1"], "--sequences", "from 1 to 4096"),
        (&["detokenize", "-1"], "<IDS>", "`-1` is no token id"),
    ] {
        expect_error(args, 2, &["invalid value '-", option, part]);
    }
}

/// An option that asks for too much is 2; a prompt that is too long is 1.
#[test]
fn exit_codes_of_what_is_too_long() {
    expect_error(
        &["run", "--prompt-tokens", "5,6,7", "-n", "2000"],
        2,
        &["the prompt has 3 tokens and --max-tokens is 2000, but the model's context holds 1024. \
           Lower --max-tokens to 1021 or shorten the prompt"],
    );
    expect_error(
        &["run", "--prompt-tokens", "5,6,7", "-n", "8", "--context", "10"],
        2,
        &["Lower --max-tokens to 7 or shorten the prompt, or enlarge the context"],
    );
    expect_error(&["run", PROMPT, "--context", "2k"], 2, &["--context"]);
    expect_error(&["bench", "--prefill", "1025"], 2, &["--prefill 1025", "1024", "lower them"]);
    expect_error(&["bench", "--depth", "1000", "--decode", "100"], 2, &["--depth 1000", "1024"]);
    expect_error(&["run", PROMPT, "--context", "5"], 1, &["the context holds 5", "or enlarge the context"]);
    let long = vec!["5"; 1024].join(",");
    let no_room =
        ["1024 tokens", "the model's context holds 1024: no room for an answer. Shorten the prompt"];
    expect_error(&["run", "--prompt-tokens", &long], 1, &no_room);
    expect_error(&["run", "--prompt-tokens", &long, "-n", "1"], 1, &no_room);
    assert_eq!(limpid(&["logits", "--prompt-tokens", &long, "--top", "1"]).code, 0, "no answer is wanted");
    let help = limpid(&["--help"]).success().stdout;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("2 the command line makes no sense or an option asks for more than is allowed"));
}

#[test]
fn what_cannot_be_done_is_a_failure() {
    expect_error(&["run", "-m", "no-such-model.gguf", PROMPT], 1, &["no-such-model.gguf", "check the path"]);
    // Before a prompt is asked for.
    for command in ["run", "logits", "tokenize"] {
        expect_error(&[command, "-m", "no-such-model.gguf"], 1, &["no-such-model.gguf", "check the path"]);
    }
    let odd_path = ["inspect", "no\u{1b}[31m\nsuch"];
    expect_error(&odd_path, 1, &[r"no\u{1b}[31m\nsuch: cannot open"]);
    expect_error(&["run", "--file", "no-such-prompt.txt"], 1, &["no-such-prompt.txt"]);
    expect_error(&["inspect", env!("CARGO_MANIFEST_DIR")], 1, &["config.json"]);
    expect_error(&["run", "--raw", "x", "--template-arg", "a=1"], 2, &["--template-arg"]);
}
