//! Tells Rust's code from its comments and literals, and cuts code into tokens.

/// One line of a file. `text` and `code` have the same characters at the same places, except that comments and the
/// contents of literals are blank in `code`.
pub(super) struct Line {
    pub text: String,
    pub code: String,
    /// The text of the comments on this line, with their marks.
    pub comment: String,
}

pub(super) struct Token<'a> {
    /// A word, `::`, or one character of punctuation.
    pub text: &'a str,
    /// From 1.
    pub line: usize,
}

/// What a character belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Code,
    Comment,
    Literal,
}

pub(super) fn read_plain(text: &str) -> Vec<Line> {
    let line = |text: &str| Line { text: text.to_string(), code: text.to_string(), comment: String::new() };
    text.lines().map(line).collect()
}

pub(super) fn read_rust(text: &str) -> Vec<Line> {
    let chars: Vec<char> = text.chars().collect();
    let mut lines = Vec::new();
    let mut line = Line { text: String::new(), code: String::new(), comment: String::new() };
    for (&c, part) in chars.iter().zip(parts(&chars)) {
        if c == '\n' {
            let empty = Line { text: String::new(), code: String::new(), comment: String::new() };
            lines.push(std::mem::replace(&mut line, empty));
            continue;
        }
        line.text.push(c);
        line.code.push(if part == Part::Code { c } else { ' ' });
        if part == Part::Comment {
            line.comment.push(c);
        }
    }
    if !line.text.is_empty() {
        lines.push(line);
    }
    lines
}

/// The part of each character.
fn parts(chars: &[char]) -> Vec<Part> {
    let mut parts = Vec::with_capacity(chars.len());
    while parts.len() < chars.len() {
        let at = parts.len();
        let rest = &chars[at..];
        let before = if at == 0 { ' ' } else { chars[at - 1] };
        let (part, len) = match rest {
            ['/', '/', ..] => (Part::Comment, rest.iter().position(|&c| c == '\n').unwrap_or(rest.len())),
            ['/', '*', ..] => (Part::Comment, block_comment_len(rest)),
            ['"', ..] => (Part::Literal, string_len(rest)),
            ['r', '"' | '#', ..] | ['b' | 'c', 'r', '"' | '#', ..] if !is_word(before) => {
                raw_string_len(rest).map_or((Part::Code, 1), |len| (Part::Literal, len))
            }
            ['\'', ..] => char_len(rest).map_or((Part::Code, 1), |len| (Part::Literal, len)),
            _ => (Part::Code, 1),
        };
        parts.resize((at + len).min(chars.len()), part);
    }
    parts
}

fn block_comment_len(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_len(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// `None` where it is no raw string: `r#name`.
fn raw_string_len(rest: &[char]) -> Option<usize> {
    let start = rest.iter().position(|&c| c == '#' || c == '"')?;
    let n_hashes = rest[start..].iter().take_while(|&&c| c == '#').count();
    let body = start + n_hashes + 1;
    if rest.get(body - 1) != Some(&'"') {
        return None;
    }
    let is_end =
        |at: &usize| rest[*at] == '"' && rest[at + 1..].iter().take_while(|&&c| c == '#').count() >= n_hashes;
    Some((body..rest.len()).find(is_end).map_or(rest.len(), |at| at + 1 + n_hashes))
}

/// `None` where the quote starts a lifetime or a label.
fn char_len(rest: &[char]) -> Option<usize> {
    match rest {
        ['\'', '\\', _, tail @ ..] => Some(3 + tail.iter().position(|&c| c == '\'')? + 1),
        ['\'', _, '\'', ..] => Some(3),
        _ => None,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The tokens of the code of all lines.
pub(super) fn tokens(lines: &[Line]) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let mut rest = line.code.trim_start();
        while let Some(first) = rest.chars().next() {
            let len = match first {
                c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                c => c.len_utf8(),
            };
            tokens.push(Token { text: &rest[..len], line: i + 1 });
            rest = rest[len..].trim_start();
        }
    }
    tokens
}

/// The index of the brace that closes the one at `open`, or the last token where none does.
pub(super) fn closing_brace(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i;
        }
    }
    tokens.len() - 1
}

/// For each line whether it stands in a `#[cfg(test)] mod name { ... }`.
pub(super) fn in_test_module(lines: &[Line]) -> Vec<bool> {
    const START: [&str; 8] = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let tokens = tokens(lines);
    let mut is_test = vec![false; lines.len()];
    for (i, window) in tokens.windows(START.len() + 2).enumerate() {
        let opens = window.iter().zip(START).all(|(token, expected)| token.text == expected);
        if opens && window[START.len() + 1].text == "{" {
            let end = closing_brace(&tokens, i + START.len() + 1);
            is_test[tokens[i].line - 1..tokens[end].line].fill(true);
        }
    }
    is_test
}
