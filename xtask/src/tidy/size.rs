//! How long a line, a function and a file may be.

use super::lexer::{Token, closing_brace, tokens};
use super::{Complaint, Source};

const MAX_LINE_COLUMNS: usize = 120;
const MAX_FUNCTION_LINES: usize = 70;
const MAX_FILE_LINES: usize = 600;
/// Tables of cases are long.
const MAX_TEST_FILE_LINES: usize = 1000;

pub(super) fn line_length(source: &Source) -> Vec<Complaint> {
    // Scripts that came with a model's recipe hold their training text.
    let is_tool = source.is_under(&["tools/"]) && source.path.ends_with(".py");
    if !source.is_rust() && !is_tool {
        return Vec::new();
    }
    let n_columns = source.lines.iter().map(|line| line.text.chars().count());
    let long = n_columns.enumerate().filter(|(_, n)| *n > MAX_LINE_COLUMNS);
    long.map(|(i, n)| (i + 1, format!("{n} columns; break the line at {MAX_LINE_COLUMNS}"))).collect()
}

pub(super) fn function_length(source: &Source) -> Vec<Complaint> {
    if !source.is_rust() {
        return Vec::new();
    }
    let tokens = tokens(&source.lines);
    let mut complaints = Vec::new();
    for (i, pair) in tokens.windows(2).enumerate() {
        // `fn(` is a type.
        if pair[0].text != "fn" || pair[1].text == "(" {
            continue;
        }
        let Some(open) = body(&tokens, i) else { continue };
        let n_lines = tokens[closing_brace(&tokens, open)].line - pair[0].line + 1;
        if n_lines > MAX_FUNCTION_LINES {
            let name = pair[1].text;
            let message =
                format!("`{name}` has {n_lines} lines; split it so that each part has {MAX_FUNCTION_LINES}");
            complaints.push((pair[0].line, message));
        }
    }
    complaints
}

/// The index of the brace that opens the body of the function whose `fn` stands at `start`; a declaration has none.
fn body(tokens: &[Token], start: usize) -> Option<usize> {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().skip(start) {
        match token.text {
            "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            "{" if depth == 0 => return Some(i),
            ";" if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

pub(super) fn file_length(source: &Source) -> Vec<Complaint> {
    let max = if source.is_test() { MAX_TEST_FILE_LINES } else { MAX_FILE_LINES };
    let n_lines = source.lines.len();
    if !source.is_rust() || n_lines <= max {
        return Vec::new();
    }
    vec![(n_lines, format!("{n_lines} lines; split the file so that each part has {max}"))]
}
