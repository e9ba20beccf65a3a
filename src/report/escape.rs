//! Making text from a target safe to print. Names of functions, files, threads and
//! routes are the target's to choose: they may hold anything.

use std::borrow::Cow;

/// The text with every character made visible that would otherwise act: controls
/// and terminal escapes, line breaks, characters that turn the direction of text,
/// and those that XML does not allow.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, acts)
}

/// The same for one frame of a folded line, where `;` divides frames. Flame graph
/// tools take numbers at the end of a line for counts, so a space before one is made
/// unbreakable.
pub(super) fn frame(text: &str) -> Cow<'_, str> {
    let text = escaped(text, |character| acts(character) || character == ';');
    let number_at =
        text.rfind(' ').filter(|at| text[at + 1..].chars().all(|c| c.is_ascii_digit() || c == '.'));
    match number_at {
        Some(at) => Cow::Owned(format!("{}\u{a0}{}", &text[..at], &text[at + 1..])),
        None => text,
    }
}

fn acts(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
                | '\u{fffe}' | '\u{ffff}'
        )
}

fn escaped(text: &str, needs: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&needs) {
        return Cow::Borrowed(text);
    }
    let mut visible = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\n' => visible.push_str("\\n"),
            '\t' => visible.push_str("\\t"),
            ';' if needs(';') => visible.push_str("\\x3b"),
            other if needs(other) => visible.extend(other.escape_unicode()),
            other => visible.push(other),
        }
    }
    Cow::Owned(visible)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_act_is_shown_instead() {
        assert_eq!(visible("GET /users/<int:uid>; é 日本"), "GET /users/<int:uid>; é 日本");
        assert_eq!(visible("a\u{1b}[31m\nb\tc\0"), "a\\u{1b}[31m\\nb\\tc\\u{0}");
        assert_eq!(visible("\u{202e}gpj\u{9b}"), "\\u{202e}gpj\\u{9b}");
        assert_eq!(frame("a;b (c.py:1)"), "a\\x3bb (c.py:1)");
        assert_eq!(frame("thread 12"), "thread\u{a0}12");
        assert_eq!(frame("thread 12 "), "thread 12\u{a0}");
    }
}
