//! A message as one line of a terminal, whatever files and arguments are quoted in it.

/// Longer messages lose their middle.
const MAX_CHARS: usize = 1200;
/// Of such a message: where it happened, and, at its end, what was expected and what to do.
const KEPT_CHARS: [usize; 2] = [600, 500];

/// Escapes what would break the line, move the cursor or turn the text around, and leaves out the middle of a message
/// that is very long: a file may have megabytes where a name is expected.
pub(crate) fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len().min(4 * MAX_CHARS));
    let n_chars = message.chars().count();
    if n_chars <= MAX_CHARS {
        message.chars().for_each(|c| push_escaped(&mut line, c));
        return line;
    }
    let [n_start, n_end] = KEPT_CHARS;
    let n_left_out = n_chars - n_start - n_end;
    message.chars().take(n_start).for_each(|c| push_escaped(&mut line, c));
    line.push_str(&format!(" [... {n_left_out} characters ...] "));
    message.chars().skip(n_start + n_left_out).for_each(|c| push_escaped(&mut line, c));
    line
}

/// A text of many lines with what steers a terminal escaped.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\n' | '\t') || !c.is_control() {
            shown.push(c)
        } else {
            shown.extend(c.escape_debug())
        }
    }
    shown
}

fn push_escaped(line: &mut String, c: char) {
    // Line and paragraph separators, and marks and overrides of the direction of writing.
    let is_layout = matches!(c, '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || is_layout { line.extend(c.escape_debug()) } else { line.push(c) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        assert_eq!(one_line("a\u{1b}[31m\n\u{11}\u{202e}\u{9b}b"), r"a\u{1b}[31m\n\u{11}\u{202e}\u{9b}b");
        assert_eq!(one_line("Grüße \"狐\" `a\\b`"), "Grüße \"狐\" `a\\b`");
    }

    #[test]
    fn a_text_keeps_its_lines() {
        assert_eq!(shown("a\n\tb\u{1b}[?25l\r\u{202e}"), "a\n\tb\\u{1b}[?25l\\r\u{202e}");
    }

    #[test]
    fn the_middle_of_a_long_message_is_left_out() {
        let message = format!("model.gguf: `{}`: found nothing, expected a number", "k".repeat(60_000));
        let line = one_line(&message);
        assert!(line.chars().count() <= MAX_CHARS, "{line}");
        assert!(
            line.starts_with("model.gguf: `kkk") && line.ends_with("kkk`: found nothing, expected a number")
        );
        let n_left_out = message.len() - 1100;
        assert!(line.contains(&format!("kkk [... {n_left_out} characters ...] kkk")), "{line}");
    }
}
