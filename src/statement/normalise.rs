//! Statements without the values in them.
//!
//! ```text
//! SELECT * FROM t WHERE a = 'x' AND b IN (1, 2, 3)   -- for user 4711
//! SELECT * FROM t WHERE a = ? AND b IN (?)
//! ```
//!
//! Whatever may be a value is a `?`: strings in any form of quotes, numbers, placeholders,
//! and all of which it is not sure that every database reads it as code. Comments are
//! dropped, since they may hold values too. Names stay, and so does the case of keywords.
//! Lists of values that differ in length only are one.

use super::quoting::{Dialect, class, classes, is_word};

/// The most characters of a normalised statement; a longer one is cut, and ends in `…`.
pub const LONGEST: usize = 500;

/// The longest name of anything in quotes: MySQL's 64 characters, PostgreSQL's 63 bytes.
const LONGEST_NAME: usize = 64;

/// So many digits in a row in a name are a number that somebody put there: of a thread,
/// a tenant, a day.
const MOST_DIGITS: usize = 6;

/// The statement in this text without values. `is_whole` says whether the text is; of one
/// that is not, the end may be in the middle of anything.
pub fn normalise(text: &str, is_whole: bool, dialect: Dialect) -> String {
    let text: Vec<char> = text.chars().collect();
    let classes = classes(&text, dialect);
    let mut tokens = Tokens::default();
    let mut at = 0;
    while let Some(&class) = classes.get(at) {
        let length = classes[at..].iter().take_while(|&&other| other == class).count();
        let span = &text[at..at + length];
        match class {
            class::CODE => tokens.code(span),
            class::COMMENT => tokens.space(),
            _ if class & !(class::NAME | class::TEXT) == 0 && class & class::NAME != 0 => {
                tokens.names(span, class == class::NAME, text.get(at + length) == Some(&'.'));
            }
            _ => tokens.hole(),
        }
        at += length;
        if tokens.hides_rest {
            break;
        }
    }
    tokens.finish(is_whole)
}

/// A part of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A name, a keyword or an operator.
    Word(String),
    /// What may be a value.
    Hole,
    Open,
    Close,
    Comma,
}

#[derive(Debug, Default)]
struct Tokens {
    /// With whether there was white space before each.
    tokens: Vec<(Token, bool)>,
    /// White space has come since the last token.
    spaced: bool,
    /// Where the open parentheses stand, and where the last two items of each list begin.
    lists: Vec<List>,
    /// The same for what is in no parentheses.
    outer: List,
    hides_rest: bool,
}

/// A list in the making.
#[derive(Debug, Clone, Copy, Default)]
struct List {
    /// Where its parenthesis is.
    open: usize,
    /// Where its last item begins.
    item: usize,
    /// Where the item before that begins.
    before: Option<usize>,
}

/// After these, what is in double quotes is a name whichever database reads it.
const BEFORE_NAMES: [&str; 8] = ["FROM", "JOIN", "INTO", "UPDATE", "TABLE", "AS", "SET", "ONLY"];

/// After these comes a name that was made up for the occasion.
const BEFORE_PASSING_NAMES: [&str; 4] = ["SAVEPOINT", "RELEASE", "TO", "DECLARE"];

impl Tokens {
    fn space(&mut self) {
        self.spaced = true;
    }

    fn push(&mut self, token: Token) {
        let spaced = std::mem::take(&mut self.spaced);
        self.tokens.push((token, spaced));
    }

    fn last(&self) -> Option<&Token> {
        self.tokens.last().map(|(token, _)| token)
    }

    fn last_word(&self) -> &str {
        match self.last() {
            Some(Token::Word(word)) => word,
            _ => "",
        }
    }

    fn word(&mut self, word: String) {
        self.push(Token::Word(word));
    }

    /// What may be a value. One that follows another directly is part of it.
    fn hole(&mut self) {
        if !self.spaced && self.is_prefix() {
            if self.last_word().to_ascii_lowercase().ends_with('q') {
                // Oracle's q'[…]' ends where it says itself.
                self.hides_rest = true;
            }
            let spaced = self.tokens.pop().is_some_and(|(_, spaced)| spaced);
            self.spaced = spaced;
        }
        if self.is_signed() {
            let spaced = self.tokens.pop().is_some_and(|(_, spaced)| spaced);
            self.spaced = spaced;
        }
        if self.last() == Some(&Token::Hole) {
            return;
        }
        let before = self.tokens.len().checked_sub(2).map(|index| &self.tokens[index].0);
        if self.last() == Some(&Token::Comma) && before == Some(&Token::Hole) {
            self.tokens.pop();
            let last = self.tokens.len() - 1;
            let list = self.list();
            (list.item, list.before) = (list.before.unwrap_or(last), None);
            return;
        }
        self.push(Token::Hole);
    }

    /// Whether the last word belongs to the string after it: `E'…'`, `_utf8'…'`.
    fn is_prefix(&self) -> bool {
        let word = self.last_word();
        ["e", "b", "x", "n", "u", "&", "q", "nq"].iter().any(|it| word.eq_ignore_ascii_case(it))
            || word.starts_with('_')
    }

    /// Whether a sign stands where only one of a number can.
    fn is_signed(&self) -> bool {
        let sign = |word: &str| word == "-" || word == "+";
        let operator = |token: &Token| match token {
            Token::Word(word) => !word.chars().any(|c| is_word(c) || "\"`])".contains(c)),
            Token::Open | Token::Comma => true,
            Token::Hole | Token::Close => false,
        };
        let before = self.tokens.len().checked_sub(2).map(|index| &self.tokens[index].0);
        sign(self.last_word()) && before.is_none_or(operator)
    }

    /// A name in quotes; `sure` if all databases read it as one.
    fn names(&mut self, span: &[char], sure: bool, dot_follows: bool) {
        let inner = span.get(1..span.len().saturating_sub(1)).unwrap_or_default();
        let closed = span.len() > 1 && span.first() == span.last();
        let is_plain = inner.iter().all(|&c| is_word(c)) && !inner.is_empty();
        let last = self.last_word();
        let after = |words: &[&str]| words.iter().any(|word| last.eq_ignore_ascii_case(word));
        let is_name = sure || (is_plain && (dot_follows || last == "." || after(&BEFORE_NAMES)));
        let is_short = inner.len() <= LONGEST_NAME && !inner.iter().any(|c| c.is_control());
        if !closed || !is_name || !is_short || after(&BEFORE_PASSING_NAMES) {
            return self.hole();
        }
        let quote = span[0];
        self.word(format!("{quote}{}{quote}", without_numbers(inner)));
    }

    /// Text that is neither quoted nor a comment in any reading.
    fn code(&mut self, span: &[char]) {
        let mut at = 0;
        while let Some(&c) = span.get(at) {
            let rest = &span[at..];
            let next = rest.get(1).copied();
            at += match c {
                _ if c.is_whitespace() || c.is_control() || c == '\u{feff}' => {
                    self.space();
                    1
                }
                '0'..='9' => self.number(rest),
                '.' if next.is_some_and(|next| next.is_ascii_digit()) => {
                    if self.last_word().is_empty() || self.spaced {
                        self.number(rest)
                    } else {
                        // `t.1`, if there were such a thing.
                        self.word(".".to_owned());
                        1
                    }
                }
                '%' => self.percent(rest),
                ':' if next == Some(':') || next == Some('=') => {
                    self.word(rest[..2].iter().collect());
                    2
                }
                ':' | '@' | '$' if next.is_some_and(is_word) => {
                    self.hole();
                    1 + rest[1..].iter().take_while(|&&c| is_word(c)).count()
                }
                '?' => {
                    self.hole();
                    1 + rest[1..].iter().take_while(|c| c.is_ascii_digit()).count()
                }
                '@' if next == Some('@') => {
                    self.word("@@".to_owned());
                    2
                }
                '(' => {
                    let open = self.tokens.len();
                    self.push(Token::Open);
                    self.lists.push(List { open, item: open + 1, before: None });
                    1
                }
                ')' => {
                    self.close();
                    1
                }
                ',' => {
                    self.fold_items();
                    self.push(Token::Comma);
                    let next = self.tokens.len();
                    let list = self.list();
                    (list.before, list.item) = (Some(list.item), next);
                    1
                }
                ';' if rest[1..].iter().all(|c| c.is_whitespace()) => rest.len(),
                _ if is_word(c) || c.is_alphabetic() => self.plain_word(rest),
                _ => {
                    self.word(c.to_string());
                    1
                }
            };
        }
    }

    fn plain_word(&mut self, rest: &[char]) -> usize {
        let length = rest.iter().take_while(|&&c| is_word(c)).count().max(1);
        let word = &rest[..length];
        let last = self.last_word();
        let is_passing = BEFORE_PASSING_NAMES.iter().any(|known| last.eq_ignore_ascii_case(known));
        let is_keyword = |known: &str| word.iter().copied().eq(known.chars());
        if is_passing && !is_keyword("SAVEPOINT") && !is_keyword("savepoint") {
            self.hole();
        } else {
            self.word(without_numbers(word));
        }
        length
    }

    /// A number in any form: `1`, `.5`, `1e-5`, `0xff`, `1_000`.
    fn number(&mut self, rest: &[char]) -> usize {
        let mut length = 0;
        while let Some(&c) = rest.get(length) {
            let after_exponent = length > 0 && matches!(rest[length - 1], 'e' | 'E' | 'p' | 'P');
            if !is_word(c) && c != '.' && !(after_exponent && matches!(c, '+' | '-')) {
                break;
            }
            length += 1;
        }
        self.hole();
        length
    }

    /// `%s`, `%(name)s`, `%%`, or the operator.
    fn percent(&mut self, rest: &[char]) -> usize {
        match rest.get(1) {
            Some('(') => {
                self.hole();
                match rest.iter().position(|&c| c == ')') {
                    Some(end) => {
                        end + 1
                            + rest[end + 1..].iter().take(1).filter(|c| c.is_alphabetic()).count()
                    }
                    None => {
                        self.hides_rest = true;
                        rest.len()
                    }
                }
            }
            Some('s' | 'b' | 't' | 'd' | 'f' | 'r')
                if !rest.get(2).copied().is_some_and(is_word) =>
            {
                self.hole();
                2
            }
            Some('%') => {
                self.word("%".to_owned());
                2
            }
            _ => {
                self.word("%".to_owned());
                1
            }
        }
    }

    fn list(&mut self) -> &mut List {
        self.lists.last_mut().unwrap_or(&mut self.outer)
    }

    /// Drops the last item of a list if it is as the one before and has values.
    fn fold_items(&mut self) {
        let end = self.tokens.len();
        let list = *self.list();
        let Some(before) = list.before else { return };
        let Some(comma) = list.item.checked_sub(1) else { return };
        let (Some(one), Some(other)) =
            (self.tokens.get(before..comma), self.tokens.get(list.item..end))
        else {
            return;
        };
        if is_repeated(one, other) {
            self.tokens.truncate(comma);
            let list = self.list();
            (list.item, list.before) = (before, None);
        }
    }

    /// A closing parenthesis: what is in it may be what was in the one before.
    fn close(&mut self) {
        self.fold_items();
        let Some(List { open, .. }) = self.lists.pop() else {
            self.push(Token::Close);
            return;
        };
        self.push(Token::Close);
        let length = self.tokens.len() - open;
        let Some(separator) = open.checked_sub(1) else { return };
        let repeats = match &self.tokens[separator].0 {
            Token::Comma => true,
            Token::Word(word) => word.eq_ignore_ascii_case("OR"),
            _ => false,
        };
        let Some(before) = separator.checked_sub(length) else { return };
        if repeats && is_repeated(&self.tokens[before..separator], &self.tokens[open..]) {
            self.tokens.truncate(separator);
            let list = self.list();
            if list.item > before {
                (list.item, list.before) = (before, None);
            }
        }
    }

    fn finish(mut self, is_whole: bool) -> String {
        if self.hides_rest && self.last() != Some(&Token::Hole) {
            self.push(Token::Hole);
        }
        if !is_whole && self.last() == Some(&Token::Comma) {
            self.tokens.pop();
        }
        let mut text = String::new();
        let mut before: Option<&Token> = None;
        for (token, spaced) in &self.tokens {
            let apart = match (before, token) {
                (None | Some(Token::Open), _) | (_, Token::Close | Token::Comma) => false,
                (Some(Token::Comma), _) => true,
                _ => *spaced,
            };
            if apart {
                text.push(' ');
            }
            match token {
                Token::Word(word) => text.push_str(word),
                Token::Hole => text.push('?'),
                Token::Open => text.push('('),
                Token::Close => text.push(')'),
                Token::Comma => text.push(','),
            }
            before = Some(token);
        }
        let cut = text.char_indices().nth(LONGEST).map(|(end, _)| end);
        if let Some(end) = cut {
            text.truncate(end);
        }
        if cut.is_some() || !is_whole || self.hides_rest {
            text.push('…');
        }
        text
    }
}

/// Whether two runs of tokens say the same and have values.
fn is_repeated(one: &[(Token, bool)], other: &[(Token, bool)]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|((one, _), (other, _))| one == other)
        && one.iter().any(|(token, _)| *token == Token::Hole)
}

/// A name with its long numbers left out.
fn without_numbers(name: &[char]) -> String {
    let mut text = String::with_capacity(name.len());
    let mut at = 0;
    while at < name.len() {
        let digits = name[at..].iter().take_while(|c| c.is_ascii_digit()).count();
        if digits >= MOST_DIGITS {
            text.push('?');
        } else {
            text.extend(&name[at..at + digits.max(1)]);
        }
        at += digits.max(1);
    }
    text
}
