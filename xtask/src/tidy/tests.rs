//! Each rule against a snippet that breaks it, and the repository against all rules.

use super::lexer::{read_rust, tokens};
use super::{RULES, Source, check, check_tree, determinism};
use crate::repository;

/// Checks a file and compares the findings: `LINE RULE`, in the order of the rules.
fn expect(path: &str, text: &str, expected: &[&str]) {
    let findings = check(&Source::new(path, text.to_string()));
    let found: Vec<String> = findings.iter().map(|f| format!("{} {}", f.line, f.rule)).collect();
    let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "{path}: {shown:#?}\n{text}");
}

/// A body for a snippet's file: the line numbers of findings start at 2.
fn expect_code(path: &str, code: &str, expected: &[&str]) {
    expect(path, &format!("//! A snippet.\n{code}\n"), expected);
}

const ENGINE: &str = "crates/engine/src/kv/pages.rs";
const KERNELS: &str = "crates/kernels/src/ops/norm.rs";

#[test]
fn the_repository_is_tidy() {
    let findings = check_tree(&repository()).unwrap();
    let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(shown.is_empty(), "{} findings:\n{}", shown.len(), shown.join("\n"));
}

#[test]
fn a_finding_names_place_rule_and_what_to_do() {
    let findings = check(&Source::new(ENGINE, "fn f() {}\n".to_string()));
    let shown = findings[0].to_string();
    assert!(
        shown.starts_with("crates/engine/src/kv/pages.rs:1: purpose: open the file with `//!`"),
        "{shown}"
    );
}

#[test]
fn long_lines() {
    expect_code(ENGINE, &format!("const A: &str = \"{}\";", "é".repeat(101)), &[]);
    expect_code(ENGINE, &format!("const A: &str = \"{}\";", "é".repeat(102)), &["2 line-length"]);
    expect("tools/a.py", &"#".repeat(121), &["1 line-length"]);
    expect("docs/a.md", &"-".repeat(121), &[]);
}

#[test]
fn long_functions() {
    let body = |n_lines: usize| "    let brace = '{'; // {\n".repeat(n_lines);
    expect_code(ENGINE, &format!("fn f(x: [u8; 2]) {{\n{}}}", body(68)), &[]);
    expect_code(ENGINE, &format!("fn f(x: [u8; 2]) {{\n{}}}", body(69)), &["2 function-length"]);
    let inner = format!("impl A {{\n    fn f() {{\n{}    }}\n\n    fn g();\n}}", body(69));
    expect_code(ENGINE, &inner, &["3 function-length"]);
}

#[test]
fn long_files() {
    let text = |n_lines: usize| format!("//! A file.\n{}", "\n".repeat(n_lines - 1));
    expect(ENGINE, &text(600), &[]);
    expect(ENGINE, &text(601), &["601 file-length"]);
    for test in ["crates/engine/src/kv/tests.rs", "crates/engine/tests/kv.rs"] {
        expect(test, &text(1000), &[]);
        expect(test, &text(1001), &["1001 file-length"]);
    }
}

#[test]
fn files_without_a_purpose() {
    expect(ENGINE, "// Pages.\nfn f() {}\n", &["1 purpose"]);
    expect(ENGINE, "", &["1 purpose"]);
}

#[test]
fn unsafe_without_an_argument() {
    expect_code(KERNELS, "fn f() {\n    let x =\n        unsafe { g() };\n}", &["4 safety"]);
    expect_code(KERNELS, "fn f() {\n    // SAFETY: g is fine.\n    let x =\n        unsafe { g() };\n}", &[]);
    expect_code(KERNELS, "// SAFETY: no pointers.\n#[cfg(unix)]\nunsafe impl Send for A {}", &[]);
    let second = "// SAFETY: no pointers.\nunsafe impl Send for A {}\nunsafe impl Sync for A {}";
    expect_code(KERNELS, second, &["4 safety"]);
    let arms = "match x {\n    // SAFETY: a.\n    A => unsafe { f() },\n    B => unsafe { f() },\n}";
    expect_code(KERNELS, arms, &["5 safety"]);
    let file = "//! SAFETY (the whole file): the processor has AVX2.\nfn f() {\n    unsafe { g() }\n}";
    expect_code("crates/kernels/src/simd/avx2.rs", file, &[]);
    expect_code(KERNELS, file, &["4 safety"]);
    // The operations of an unsafe function are in blocks of their own.
    expect_code(KERNELS, "unsafe fn f() {}", &[]);
}

#[test]
fn unsafe_away_from_home() {
    for path in ["crates/engine/src/kv/pages.rs", "crates/limpid/src/main.rs", "xtask/src/main.rs"] {
        expect_code(path, "unsafe fn f() {}", &["2 unsafe"]);
    }
    expect_code("crates/engine/src/weights/mapped.rs", "unsafe fn f() {}", &[]);
    expect_code("crates/engine/tests/bad_files/alloc.rs", "unsafe fn f() {}", &[]);
    expect_code(ENGINE, "// unsafe\nconst A: &str = \"unsafe\";", &[]);
}

#[test]
fn lints_switched_off_without_a_reason() {
    expect_code(ENGINE, "#[allow(dead_code)]\nfn f() {}", &["2 allow"]);
    expect_code(ENGINE, "/// Does f.\n#[expect(dead_code)]\nfn f() {}", &["3 allow"]);
    expect_code(ENGINE, "#[allow(dead_code, reason = \"the test below\")]\nfn f() {}", &[]);
    expect_code(ENGINE, "// Needed by the test below.\n#[allow(dead_code)]\nfn f() {}", &[]);
}

#[test]
fn arrows_that_point_down() {
    expect_code(ENGINE, "use crate::model::config::ModelConfig;", &["2 arrows"]);
    expect_code(ENGINE, "use crate::{\n    TokenId,\n    scheduler::{kv, Queue},\n};", &["4 arrows"]);
    expect_code(ENGINE, "fn f(x: super::super::engine::Engine) {}", &["2 arrows"]);
    expect_code("crates/engine/src/stats.rs", "use super::engine::Engine;", &["2 arrows"]);
    expect_code(KERNELS, "use crate::reference;", &["2 arrows"]);
    expect_code("crates/kernels/src/isa.rs", "use crate::pool::ThreadPool;", &["2 arrows"]);
}

#[test]
fn arrows_that_point_up_or_inside() {
    expect_code(ENGINE, "use crate::{TokenId, stats, kv::model, weights::{engine, Tensor}};", &[]);
    expect_code(ENGINE, "use super::model::Page;\nuse self::engine::A;\nuse limpid_kernels::ops;", &[]);
    expect_code("crates/engine/src/kv/mod.rs", "use super::weights::Tensor;\npub(crate) mod pages;", &[]);
    expect_code("crates/engine/src/lib.rs", "pub use crate::engine::Engine;", &[]);
    expect_code("crates/limpid/src/driver.rs", "use crate::engine::Engine;", &[]);
}

#[test]
fn dependencies_that_point_down() {
    let manifest =
        |name: &str| format!("[package]\nname = \"{name}\"\n\n[dependencies]\n{name}.workspace = true\n");
    expect("crates/kernels/Cargo.toml", &manifest("serde"), &["5 dependencies"]);
    expect("crates/kernels/Cargo.toml", &manifest("half"), &[]);
    expect("crates/engine/Cargo.toml", &manifest("tokio"), &["5 dependencies"]);
    expect(
        "crates/engine/Cargo.toml",
        "[dev-dependencies]\nclap = { version = \"4\" }\n",
        &["2 dependencies"],
    );
    expect("crates/limpid/Cargo.toml", &manifest("tokio"), &[]);
}

#[test]
fn names_that_say_nothing_or_two_things() {
    expect_code("crates/engine/src/kv/utils.rs", "", &["1 names"]);
    expect_code("crates/engine/tests/common/mod.rs", "", &["1 names"]);
    expect_code(ENGINE, "mod helpers;", &["2 names"]);
    expect_code(ENGINE, "struct A {\n    hidden_dim: usize,\n    dim: usize,\n}", &["3 names", "4 names"]);
    expect_code(ENGINE, "let w1 = &layer.gate_proj;", &["2 names"]);
    expect_code(KERNELS, "acc = fma(w1, a1, acc);", &[]);
    expect_code(ENGINE, "let head_dim = config[\"dim\"]; // dim", &[]);
    expect_code(ENGINE, "let dim = self.dim;", &["2 names", "2 names"]);
    expect_code(ENGINE, "dims.iter().map(|&dim| u64::from(dim))", &[]);
}

#[test]
fn unfinished_work() {
    expect_code(ENGINE, "fn f() {\n    todo!()\n}", &["3 unfinished"]);
    expect_code(ENGINE, "fn f() {\n    dbg!(1);\n}", &["3 unfinished"]);
    expect_code(ENGINE, "#[test]\n#[ignore = \"slow\"]\nfn f() {}", &["3 unfinished"]);
    expect_code(ENGINE, "// TODO: more.", &["2 unfinished"]);
}

#[test]
fn paths_of_one_machine() {
    for folder in ["work", "root", "home"] {
        let path = format!("/{folder}/models/a.gguf");
        expect("docs/a.md", &format!("limpid run -m {path}"), &["1 host-paths"]);
        expect_code(ENGINE, &format!("const A: &str = \"{path}\";"), &["2 host-paths"]);
        expect("docs/a.md", &format!("my{path}, https://example.org{path}"), &[]);
    }
}

#[test]
fn tests_that_are_not_the_promised_ones() {
    expect("README.md", "cargo test", &["1 test-command"]);
    expect(".ci/run", "cargo xtask test", &[]);
}

#[test]
fn functions_that_differ_between_systems() {
    for call in ["x.exp()", "x.powi(2)", "f32::ln(x)", "2f32.powf(x)", "x\n.tanh()"] {
        let line = 1 + call.lines().count();
        expect_code(KERNELS, &format!("let y = {call};"), &[&format!("{line} float-functions")]);
        expect_code("crates/kernels/src/reference.rs", &format!("let y = {call};"), &[]);
        expect_code("crates/kernels/tests/norm.rs", &format!("let y = {call};"), &[]);
        expect_code("crates/limpid/src/main.rs", &format!("let y = {call};"), &[]);
    }
    expect_code(KERNELS, "let y = x.sqrt() + libm::exp(x) + exp(x) + x.exp;", &[]);
    expect_code(KERNELS, "#[cfg(test)]\nmod tests {\n    fn f() {\n        x.exp();\n    }\n}", &[]);
    let after = "#[cfg(test)]\nmod tests {\n}\nfn f() {\n    x.exp();\n}";
    expect_code(KERNELS, after, &["6 float-functions"]);
}

#[test]
fn variables_that_nobody_knows() {
    expect_code(ENGINE, "let a = std::env::var(\"LIMPID_SECRET\");", &["2 environment"]);
    expect_code(ENGINE, "let a = \"é\"; std::env::var_os(name);", &["2 environment"]);
    expect_code(ENGINE, "let a = \"é\"; std::env::var_os(\"LIMPID_ISA\");", &[]);
    expect_code(ENGINE, "const A: &str = \"LIMPID_ISA\";\nstd::env::var(A);", &[]);
    expect_code(ENGINE, "const A: &str = \"LIMPID_SECRET\";\nstd::env::var(A);", &["3 environment"]);
}

#[test]
fn every_variable_is_explained() {
    let guide = std::fs::read_to_string(repository().join("CONTRIBUTING.md")).unwrap();
    for name in determinism::ENVIRONMENT {
        assert!(guide.contains(&format!("`{name}`")), "CONTRIBUTING.md does not explain {name}");
    }
}

#[test]
fn rules_have_different_names() {
    for (i, rule) in RULES.iter().enumerate() {
        assert!(RULES[..i].iter().all(|other| other.name != rule.name), "{}", rule.name);
    }
}

#[test]
fn literals_and_comments_are_not_code() {
    let code_of = |text: &str| {
        let lines = read_rust(text);
        tokens(&lines).iter().map(|token| token.text.to_string()).collect::<Vec<_>>().join(" ")
    };
    for (text, code) in [
        ("a /* b /* c */ d */ e", "a e"),
        ("a // b\nc", "a c"),
        ("a(\"b\\\"c\") d", "a ( ) d"),
        ("a(r\"b\\\") d", "a ( ) d"),
        ("a(r#\"b\"c\"#) d", "a ( ) d"),
        ("a(br##\"b\"#c\"##) d", "a ( ) d"),
        ("a(\"b\nc\") d", "a ( ) d"),
        ("f('{', '\\'', '\\u{7b}', b'{') g", "f ( , , , b ) g"),
        ("fn f<'a>(x: &'a str) {}", "fn f < ' a > ( x : & ' a str ) { }"),
        ("r#type::new()", "r # type :: new ( )"),
        ("for\"a\"", "for"),
    ] {
        assert_eq!(code_of(text), code, "{text}");
    }
}
