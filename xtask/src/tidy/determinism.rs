//! What would make two machines differ: functions of the system's mathematics library, and the environment.

use super::lexer::{in_test_module, tokens};
use super::{Complaint, Source};

/// Their last bits differ between systems and compilers (design rule 1). `sqrt`, `mul_add` and rounding are exact.
const INEXACT: &[&str] = &[
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cos", "cosh", "exp", "exp2",
    "exp_m1", "hypot", "ln", "ln_1p", "log", "log10", "log2", "powf", "powi", "sin", "sin_cos", "sinh",
    "tan", "tanh",
];
const EXACT_CRATES: &[&str] = &["crates/kernels/src/", "crates/engine/src/"];
/// The oracle of the tests, within a bound.
const ORACLE: &str = "crates/kernels/src/reference";

pub(super) fn float_functions(source: &Source) -> Vec<Complaint> {
    if !source.is_rust() || !source.is_under(EXACT_CRATES) || source.is_under(&[ORACLE]) || source.is_test() {
        return Vec::new();
    }
    let is_test = in_test_module(&source.lines);
    let mut complaints = Vec::new();
    for window in tokens(&source.lines).windows(4) {
        let [owner, mark, name, open] = window else { continue };
        let is_method = mark.text == "." && open.text == "(";
        let is_path = mark.text == "::" && matches!(owner.text, "f32" | "f64");
        if INEXACT.contains(&name.text) && (is_method || is_path) && !is_test[name.line - 1] {
            let name_ = name.text;
            complaints.push((
                name.line,
                format!("`{name_}` of the standard library differs between systems: use the lane polynomial or libm"),
            ));
        }
    }
    complaints
}

/// All environment variables that any program here reads; CONTRIBUTING.md explains them.
pub(super) const ENVIRONMENT: &[&str] = &[
    "LIMPID_ISA",
    "LIMPID_API_KEY",
    "LIMPID_SOAK_SECONDS",
    "NO_COLOR",
    "CARGO",
    "TERM",
    "XDG_STATE_HOME",
    "HOME",
];

pub(super) fn environment(source: &Source) -> Vec<Complaint> {
    const READERS: [&str; 4] = ["env::var(", "env::var_os(", "env::vars(", "env::vars_os("];
    if !source.is_rust() {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (i, line) in source.lines.iter().enumerate() {
        for at in READERS.iter().filter_map(|reader| line.code.find(reader).map(|at| at + reader.len())) {
            // Columns are counted in characters: comments and literals may hold any.
            let n_chars = line.code[..at].chars().count();
            let argument: String = line.text.chars().skip(n_chars).take_while(|&c| c != ')').collect();
            let is_listed = |name: &&str| is_name(source, &argument, name);
            if !ENVIRONMENT.iter().any(is_listed) {
                complaints.push((
                    i + 1,
                    "reads a variable that is not listed: prefer an option; else add its name to ENVIRONMENT in \
                     xtask/src/tidy/determinism.rs and explain it in CONTRIBUTING.md"
                        .to_string(),
                ));
            }
        }
    }
    complaints
}

/// Whether an argument is the name as a literal, or a constant of this file that is.
fn is_name(source: &Source, argument: &str, name: &str) -> bool {
    let constant = format!("const {argument}: &str = \"{name}\";");
    argument == format!("\"{name}\"") || source.lines.iter().any(|line| line.text.ends_with(&constant))
}
