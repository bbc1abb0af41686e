//! `limpid chat` with its messages in a pipe: what is reused, the commands, what does not fit.

use super::folder::{Folder, SMALL};
use super::harness::{Outcome, PROMPT, expect_error, limpid, limpid_with_stdin};
use serde_json::{Value, json};

fn chat(args: &[&str], lines: &[&str]) -> Outcome {
    limpid_with_stdin(&[&["chat", "--no-history"], args].concat(), (lines.join("\n") + "\n").as_bytes())
}

/// The numbers of the line after an answer.
#[derive(Debug)]
struct Turn {
    reused: usize,
    new: usize,
    used: usize,
    ended_by_itself: bool,
}

fn turns(stderr: &str) -> Vec<Turn> {
    let number = |line: &str, before: &str, after: &str| {
        let text = line.split_once(before).and_then(|(_, rest)| rest.split_once(after)).map(|(text, _)| text);
        let digits = text.unwrap_or_else(|| panic!("{line}")).replace(',', "");
        digits.parse().unwrap_or_else(|_| panic!("{line}"))
    };
    let summaries = stderr.lines().filter(|line| line.starts_with("TTFT ") || line.starts_with("no text"));
    let turn = |line: &str| {
        // The reused tokens stand behind the last bar before their noun.
        let (before, _) = line.split_once(" token").expect("reused tokens");
        let reused =
            before.rsplit(' ').next().unwrap_or_default().replace(',', "").parse().expect("a number");
        Turn {
            reused,
            new: number(line, "reused, ", " new"),
            used: number(line, "context ", " of"),
            ended_by_itself: !line.contains("length ("),
        }
    };
    summaries.map(turn).collect()
}

#[test]
fn answers_are_those_of_run_and_are_all_that_standard_output_has() {
    let lines = [PROMPT, "What then?"];
    let outcome = chat(&["--seed", "1", "-n", "30"], &lines).success();
    let first = limpid(&["run", PROMPT, "--seed", "1", "-n", "30"]).success().stdout;
    assert!(outcome.stdout.starts_with(&(first + "\n")), "{}", outcome.stdout);
    assert!(outcome.stdout.ends_with('\n') && !outcome.stdout.contains("<|"), "{}", outcome.stdout);
    assert_eq!(turns(&outcome.stderr).len(), 2, "{}", outcome.stderr);
    let quiet = chat(&["--seed", "1", "-n", "30", "-q"], &lines).success();
    assert_eq!((quiet.stdout, quiet.stderr), (outcome.stdout, String::new()));
}

/// Drawn so freely, the model chooses tokens that the tokenizer would not.
#[test]
fn a_turn_computes_only_what_is_new() {
    let (mut n_whole, mut n_cut) = (0, 0);
    for seed in 0..12 {
        let sampling =
            ["--temperature", "1", "--top-p", "1", "--top-k", "0", "-n", "60", "--seed", &seed.to_string()];
        let outcome = chat(&sampling, &[PROMPT, "And then?", "Who was it?", "Why?"]).success();
        let turns = turns(&outcome.stderr);
        assert_eq!(turns.len(), 4, "{}", outcome.stderr);
        for pair in turns.windows(2) {
            // Of an answer that was cut, the last token was chosen and not computed.
            let n_not_computed = usize::from(!pair[0].ended_by_itself);
            assert_eq!(pair[1].reused, pair[0].used - n_not_computed, "seed {seed}: {turns:#?}");
            assert!(pair[1].new < 25, "{turns:#?}");
            *if pair[0].ended_by_itself { &mut n_whole } else { &mut n_cut } += 1;
        }
    }
    assert!(n_whole > 5 && n_cut > 5, "both kinds are tested: {n_whole} {n_cut}");
}

#[test]
fn a_template_that_trims_costs_what_it_changes() {
    let folder = Folder::with_vocabulary(SMALL, 384);
    // Random words: what is not trimmed begins and ends with anything.
    let args = ["-m", folder.as_str(), "-n", "12", "--temperature", "1", "--seed", "3"];
    let outcome = chat(&args, &["a", "b", "c"]).success();
    let turns = turns(&outcome.stderr);
    assert_eq!(turns.len(), 3, "{}", outcome.stderr);
    assert!(turns[1].reused > 0 && turns[1].reused <= turns[0].used, "{turns:#?}");
}

#[test]
fn regenerating_takes_another_seed_unless_one_is_set() {
    let drawn = chat(&["-n", "30"], &[PROMPT, "/regen"]).success();
    let seeds: Vec<_> =
        drawn.stderr.lines().filter_map(|line| line.split_once("| seed ")).map(|(_, seed)| seed).collect();
    assert!(seeds.len() == 2 && seeds[0] != seeds[1], "{}", drawn.stderr);
    let turns = turns(&drawn.stderr);
    assert_eq!((turns[1].new, turns[1].reused + 1), (1, turns[0].new), "the last token is computed again");
    let set = chat(&["-n", "30", "--seed", "5"], &[PROMPT, "/regen"]).success();
    let lines: Vec<_> = set.stdout.lines().collect();
    assert_eq!(lines[..lines.len() / 2], lines[lines.len() / 2..], "{}", set.stdout);
    assert!(set.stderr.contains("limpid: the seed is set"), "{}", set.stderr);
    let greedy = chat(&["-n", "3", "--temperature", "0"], &[PROMPT, "/regen"]).success();
    assert!(greedy.stderr.contains("limpid: the temperature is 0"), "{}", greedy.stderr);
    let none = chat(&[], &["/regen"]);
    assert_eq!((none.code, none.stdout.as_str()), (1, ""));
    assert!(none.stderr.contains("no message yet"), "{}", none.stderr);
}

#[test]
fn settings_change_between_two_answers() {
    let lines = [
        "/set temperature 0 max_tokens 4",
        PROMPT,
        "/set max_tokens default stop \" a\"",
        "/reset",
        PROMPT,
        "/set",
    ];
    let outcome = chat(&["--temperature", "1", "--top-k", "7"], &lines).success();
    let four = limpid(&["run", PROMPT, "--temperature", "0", "-n", "4"]).success().stdout;
    let stopped = limpid(&["run", PROMPT, "--temperature", "0", "--stop", " a"]).success().stdout;
    assert_eq!(outcome.stdout, format!("{four}\n{stopped}\n"));
    for part in ["temperature 0\n", "seed drawn for each answer\n", "top_k 7\n", "stop \" a\"\n"] {
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    }
    for (line, part) in [
        ("/set top_p 2", "limpid: error: top_p is 2, allowed is from 0 to 1"),
        ("/set top_p", "top_p has no value"),
        ("/set topp 1", "there is no setting topp; they are max_tokens"),
        ("/set max_tokens 0", "from 1 to"),
        ("/nonsense", "there is no command /nonsense; they are /help"),
    ] {
        let outcome = chat(&["-n", "3"], &[line, PROMPT]);
        assert_eq!(outcome.code, 1, "{line}");
        assert!(outcome.stderr.contains(part), "{line}: {}", outcome.stderr);
        assert_eq!(turns(&outcome.stderr).len(), 1, "{line}: the chat goes on");
    }
}

#[test]
fn the_system_message_changes_and_is_shown() {
    let lines = ["/system", "/system You  tell stories.", "/system", PROMPT];
    let outcome = chat(&["-n", "9", "--seed", "1"], &lines).success();
    assert!(
        outcome.stderr.contains("there is no system message\nYou  tell stories.\n"),
        "{}",
        outcome.stderr
    );
    let system = ["run", PROMPT, "-n", "9", "--seed", "1", "--system", "You  tell stories."];
    assert_eq!(outcome.stdout, limpid(&system).success().stdout + "\n");
    let by_option = chat(&["-n", "9", "--seed", "1", "--system", "You  tell stories."], &[PROMPT]).success();
    assert_eq!(by_option.stdout, outcome.stdout);
}

#[test]
fn messages_of_several_lines_and_with_slashes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.json");
    let save = format!("/save {}", path.display());
    let lines = ["a\\", " b", "\"\"\"", "/help", "", "c\\", "\"\"\"", "//etc", "", &save];
    let outcome = chat(&["-n", "1"], &lines).success();
    let saved: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let users = saved["messages"].as_array().unwrap().iter().filter(|message| message["role"] == "user");
    let users: Vec<_> = users.map(|message| message["content"].as_str().unwrap()).collect();
    assert_eq!(users, ["a\n b", "/help\n\nc\\", "/etc"], "{}", outcome.stderr);
    let open = chat(&["-n", "1"], &["\"\"\"", "a"]);
    assert!(open.code == 1 && open.stderr.contains("does not end"), "{}", open.stderr);
}

#[test]
fn a_conversation_is_written_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.json");
    let (save, load) = (format!("/save {}", path.display()), format!("/load {}", path.display()));
    let args = ["-n", "20", "--seed", "1", "--system", "s"];
    let whole = chat(&args, &[PROMPT, &save, "What then?"]).success();
    let saved: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(saved["messages"][0], json!({"role": "system", "content": "s"}));
    assert_eq!(saved["settings"], json!({"max_tokens": ["20"], "seed": ["1"]}));
    let read = chat(&[], &[&load, "What then?"]).success();
    assert_eq!(whole.stdout.lines().last(), read.stdout.lines().last());
    let again = chat(&["-n", "2"], &[PROMPT, &save]);
    assert!(again.code == 1 && again.stderr.contains("/save! "), "{}", again.stderr);
    chat(&["-n", "2"], &[&save.replace("/save", "/save!")]).success();
    let saved: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(saved["messages"], json!([]));
}

#[test]
fn files_that_are_no_conversation_leave_the_conversation_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.json");
    for (content, part) in [
        ("[", "EOF while parsing"),
        ("{}", "missing field `messages`"),
        ("{\"messages\": [{\"role\": \"user\"}]}", "missing field `content`"),
        ("{\"messages\": [{\"role\": \"tool\", \"content\": \"a\"}]}", "the role is `tool`"),
        ("{\"messages\": [], \"settings\": {\"warmth\": [\"1\"]}}", "there is no setting warmth"),
        ("{\"messages\": [], \"settings\": {\"top_p\": [\"3\"]}}", "chat.json: top_p is 3"),
    ] {
        std::fs::write(&path, content).unwrap();
        let load = format!("/load {}", path.display());
        let outcome = chat(&["-n", "5", "--seed", "1"], &[PROMPT, &load, "What then?"]);
        assert_eq!(outcome.code, 1, "{content}");
        assert!(outcome.stderr.contains(part), "{content}: {}", outcome.stderr);
        assert!(turns(&outcome.stderr)[1].reused > 20, "{content}: {}", outcome.stderr);
    }
    let missing = chat(&[], &["/load no-such-file.json"]);
    assert!(
        missing.code == 1 && missing.stderr.contains("cannot read no-such-file.json"),
        "{}",
        missing.stderr
    );
}

#[test]
fn what_does_not_fit_is_said_before_it_is_dropped() {
    let lines = [PROMPT, "What then?", "And then?", "And then?", "/stats"];
    let outcome =
        chat(&["--context", "100", "-n", "20", "--ignore-eos=forbid", "--seed", "1"], &lines).success();
    let said: Vec<_> = outcome.stderr.lines().collect();
    let dropped = said.iter().position(|line| line.contains("the oldest 2 messages (")).expect("it is said");
    for part in [
        "limpid: ",
        "are dropped: the conversation has ",
        "and the context holds 100 of which 20 are kept for the answer",
    ] {
        assert!(said[dropped].contains(part), "{}", said[dropped]);
    }
    assert!(said[dropped + 1].starts_with("TTFT "), "before the answer: {said:#?}");
    assert!(turns(&outcome.stderr).iter().all(|turn| turn.used <= 100), "{}", outcome.stderr);
    let quiet = chat(&["--context", "100", "-n", "20", "--ignore-eos=forbid", "-q"], &lines).success();
    assert!(quiet.stderr.contains("are dropped"), "also where all else is quiet");
}

#[test]
fn a_message_that_fits_no_context_is_taken_back() {
    let long = "a fox and ".repeat(40);
    let outcome = chat(&["--context", "100", "-n", "10", "--seed", "1"], &["Hello.", &long, "What then?"]);
    assert_eq!(outcome.code, 1);
    let expected = "limpid: error: the message alone, as the chat template writes it, has ";
    assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
    for part in ["the context holds 100, and max_tokens is 10", "it is taken back"] {
        assert!(outcome.stderr.contains(part), "{}", outcome.stderr);
    }
    assert!(!outcome.stderr.contains("are dropped"), "the conversation is whole: {}", outcome.stderr);
    let turns = turns(&outcome.stderr);
    assert!(turns.len() == 2 && turns[1].reused >= turns[0].used - 1, "{turns:#?}");
}

#[test]
fn an_answer_that_comes_too_late_is_none() {
    let long = "a fox and ".repeat(200);
    let outcome = chat(&["--time-limit-s", "0.001", "--prefill-chunk", "1", "-n", "5"], &[&long, "/stats"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("the time limit was up before anything was said"), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("0 messages, context 0 of"),
        "the message is taken back: {}",
        outcome.stderr
    );
}

#[test]
fn models_and_options_that_cannot_chat() {
    let folder = Folder::with_vocabulary(SMALL, 384);
    let tokenizer = |template: Value| json!({"eos_token": "<|eot_id|>", "chat_template": template});
    folder.write("tokenizer_config.json", &tokenizer(Value::Null));
    expect_error(&["chat", "-m", folder.as_str()], 1, &["has no chat template", "`limpid run --raw`"]);
    let think = ["chat", "--think", "on"];
    expect_error(&think, 2, &["no switch for thinking, neither enable_thinking nor thinking"]);
    expect_error(&["run", PROMPT, "--think", "off"], 2, &["no switch for thinking"]);
    expect_error(&["chat", "--think", "maybe"], 2, &["'maybe'", "on, off"]);
    expect_error(&["chat", "--json"], 2, &["'--json'"]);
    expect_error(&["chat", "--top-p", "2"], 2, &["--top-p is 2"]);
    expect_error(
        &["chat", "--context", "50", "-n", "60"],
        2,
        &["--max-tokens is 60", "the context holds 50"],
    );
    expect_error(&["chat", "--template-arg", "a=1"], 2, &["`a` is not read by the model's chat template"]);
}

#[test]
fn thinking_is_switched_by_whatever_name_the_template_has() {
    let folder = Folder::with_vocabulary(SMALL, 384);
    for name in ["enable_thinking", "thinking"] {
        let template = format!(
            "{{% for m in messages %}}{{{{ m.content }}}}{{% endfor %}}{{% if {name} %}}{}{{% endif %}}",
            "<|eot_id|>".repeat(9)
        );
        let config = json!({"eos_token": "<|eot_id|>", "chat_template": template});
        folder.write("tokenizer_config.json", &config);
        let n_new = |think: &str| {
            let outcome = chat(&["-m", folder.as_str(), "-n", "1", "--think", think], &["aaa"]).success();
            turns(&outcome.stderr)[0].new
        };
        assert_eq!(n_new("on"), n_new("off") + 9, "{name}");
    }
}
