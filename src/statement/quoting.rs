//! What of a text is code, what is quoted and what is a comment: where databases disagree,
//! as each of them reads it.
//!
//! ```text
//! SELECT a -- it's\n FROM "t" WHERE b = 'x\' AND c = 'y'
//!   standard strings   …code…  'x\'  code  'y' ┐
//!   with backslashes   …code…  'x\' AND c = 'y ┴► shown is only what is code for all
//! ```

/// Whose quoting a statement keeps to, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// PostgreSQL and what is modelled on it.
    Postgres,
    /// MySQL and MariaDB.
    MySql,
    /// SQLite.
    Sqlite,
    /// Any of these.
    #[default]
    Unknown,
}

/// What a character belongs to, as bits: readings may differ.
pub(super) mod class {
    pub(in crate::statement) const CODE: u8 = 1;
    pub(in crate::statement) const COMMENT: u8 = 2;
    /// A string.
    pub(in crate::statement) const TEXT: u8 = 4;
    /// A quoted identifier.
    pub(in crate::statement) const NAME: u8 = 8;
}

/// One way to read quotes and comments.
#[derive(Debug, Clone, Copy)]
struct Rules {
    /// Whether a backslash in a plain string takes the next character with it.
    backslash: bool,
    /// The same between double quotes.
    backslash_in_double: bool,
    /// Whether `E'…'` is a string with backslashes.
    escape_strings: bool,
    /// What is between double quotes.
    double: u8,
    /// Whether `` `…` `` is an identifier.
    backtick: bool,
    /// Whether `[…]` is one.
    brackets: bool,
    /// Whether `$tag$…$tag$` is a string.
    dollar: bool,
    /// Whether `#` begins a comment.
    hash: bool,
    /// Whether `--` begins one only before white space.
    dashes_need_space: bool,
    /// Whether a carriage return ends a line.
    return_ends_line: bool,
    nested_comments: bool,
    /// Whether what is in `/*!…*/` is code.
    code_in_comments: bool,
}

const POSTGRES: Rules = Rules {
    backslash: false,
    backslash_in_double: false,
    escape_strings: true,
    double: class::NAME,
    backtick: false,
    brackets: false,
    dollar: true,
    hash: false,
    dashes_need_space: false,
    return_ends_line: true,
    nested_comments: true,
    code_in_comments: false,
};

/// `standard_conforming_strings = off`.
const POSTGRES_BACKSLASH: Rules = Rules { backslash: true, ..POSTGRES };

const MYSQL: Rules = Rules {
    backslash: true,
    backslash_in_double: true,
    escape_strings: false,
    double: class::TEXT,
    backtick: true,
    brackets: false,
    dollar: false,
    hash: true,
    dashes_need_space: true,
    return_ends_line: false,
    nested_comments: false,
    code_in_comments: true,
};

/// `sql_mode` with `NO_BACKSLASH_ESCAPES`.
const MYSQL_PLAIN: Rules = Rules { backslash: false, backslash_in_double: false, ..MYSQL };

/// `sql_mode` with `ANSI_QUOTES`.
const MYSQL_ANSI: Rules = Rules { backslash_in_double: false, ..MYSQL };

const SQLITE: Rules = Rules {
    backslash: false,
    backslash_in_double: false,
    escape_strings: false,
    // A string after all, where no column has that name.
    double: class::NAME | class::TEXT,
    backtick: true,
    brackets: true,
    dollar: false,
    hash: false,
    dashes_need_space: false,
    return_ends_line: false,
    nested_comments: false,
    code_in_comments: false,
};

impl Dialect {
    const fn readings(self) -> &'static [Rules] {
        match self {
            Self::Postgres => &[POSTGRES, POSTGRES_BACKSLASH],
            Self::MySql => &[MYSQL, MYSQL_PLAIN, MYSQL_ANSI],
            Self::Sqlite => &[SQLITE],
            // PostgreSQL has no use for backticks, so that they are names here.
            Self::Unknown => &[
                Rules { backtick: true, ..POSTGRES },
                Rules { backtick: true, ..POSTGRES_BACKSLASH },
                MYSQL,
                MYSQL_PLAIN,
                MYSQL_ANSI,
                SQLITE,
            ],
        }
    }
}

/// The classes of every character, in all readings together.
pub(super) fn classes(text: &[char], dialect: Dialect) -> Vec<u8> {
    let mut classes = vec![0; text.len()];
    for rules in dialect.readings() {
        Reading { text, rules, classes: &mut classes, at: 0 }.read();
    }
    classes
}

/// Whether a character can be in a name, after the first.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

struct Reading<'a> {
    text: &'a [char],
    rules: &'a Rules,
    classes: &'a mut [u8],
    at: usize,
}

impl Reading<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    fn looks_at(&self, what: &str) -> bool {
        what.chars().enumerate().all(|(ahead, c)| self.peek(ahead) == Some(c))
    }

    /// Goes on by so many characters of this class.
    fn take(&mut self, count: usize, class: u8) {
        let end = self.text.len().min(self.at + count);
        for known in &mut self.classes[self.at..end] {
            *known |= class;
        }
        self.at = end;
    }

    fn read(&mut self) {
        // `/*!` was met: its end is no code.
        let mut in_code_comment = false;
        while let Some(c) = self.peek(0) {
            let rules = self.rules;
            match c {
                '\'' => self.quoted('\'', rules.backslash, class::TEXT),
                '"' => self.quoted('"', rules.backslash_in_double, rules.double),
                '`' if rules.backtick => self.quoted('`', false, class::NAME),
                '[' if rules.brackets => self.bracketed(),
                '-' if self.looks_at("--") && self.dashes_are_comment() => self.line(),
                '#' if rules.hash => self.line(),
                '/' if rules.code_in_comments
                    && (self.looks_at("/*!") || self.looks_at("/*M!")) =>
                {
                    in_code_comment = true;
                    self.take(3, class::COMMENT);
                }
                '*' if in_code_comment && self.looks_at("*/") => {
                    in_code_comment = false;
                    self.take(2, class::COMMENT);
                }
                '/' if self.looks_at("/*") => self.block(),
                '$' if rules.dollar && self.dollar_quoted() => {}
                _ if c.is_alphabetic() || c == '_' => self.word(),
                _ => self.take(1, class::CODE),
            }
        }
    }

    /// A word, so that what is in its middle begins nothing: `a$b$`. `E` before a quote is
    /// part of the string.
    fn word(&mut self) {
        let rest = &self.text[self.at..];
        let length = rest.iter().take_while(|&&c| is_word(c)).count();
        let is_escape = length == 1 && matches!(rest[0], 'e' | 'E') && self.peek(1) == Some('\'');
        self.take(length, class::CODE);
        if is_escape && self.rules.escape_strings {
            self.quoted('\'', true, class::TEXT);
        }
    }

    fn quoted(&mut self, quote: char, backslash: bool, class: u8) {
        self.take(1, class);
        while let Some(c) = self.peek(0) {
            let doubled = c == quote && self.peek(1) == Some(quote);
            if doubled || (c == '\\' && backslash) {
                self.take(2, class);
            } else {
                self.take(1, class);
                if c == quote {
                    return;
                }
            }
        }
    }

    fn bracketed(&mut self) {
        let length = self.text[self.at..].iter().position(|&c| c == ']');
        self.take(length.map_or(usize::MAX - self.at, |length| length + 1), class::CODE);
    }

    fn dashes_are_comment(&self) -> bool {
        let after = self.peek(2);
        !self.rules.dashes_need_space
            || after.is_none_or(|after| after.is_whitespace() || after.is_control())
    }

    fn line(&mut self) {
        let ends = |c: &char| *c == '\n' || (*c == '\r' && self.rules.return_ends_line);
        let length = self.text[self.at..].iter().position(ends);
        self.take(length.unwrap_or(usize::MAX - self.at), class::COMMENT);
    }

    fn block(&mut self) {
        let mut depth = 0_usize;
        while self.peek(0).is_some() {
            if self.looks_at("/*") && (depth == 0 || self.rules.nested_comments) {
                depth += 1;
                self.take(2, class::COMMENT);
            } else if self.looks_at("*/") {
                depth -= 1;
                self.take(2, class::COMMENT);
                if depth == 0 {
                    return;
                }
            } else {
                self.take(1, class::COMMENT);
            }
        }
    }

    /// A string between two `$tag$`; whether there is one.
    fn dollar_quoted(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let tag = rest[1..].iter().take_while(|&&c| is_word(c) && c != '$').count();
        let starts_with_digit = rest.get(1).is_some_and(char::is_ascii_digit);
        if starts_with_digit || rest.get(tag + 1) != Some(&'$') {
            return false;
        }
        let length = tag + 2;
        let (tag, content) = rest.split_at(length);
        let end = content.windows(length).position(|window| window == tag);
        self.take(end.map_or(usize::MAX - self.at, |end| end + 2 * length), class::TEXT);
        true
    }
}
