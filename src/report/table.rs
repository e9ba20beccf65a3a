//! Columns in a terminal.

use std::borrow::Cow;

use anstyle::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::escape;

/// Where a column's text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A column.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    /// It may come from a target: it is made safe to print.
    pub(crate) title: Cow<'static, str>,
    pub(crate) align: Align,
    /// Whether this column takes the room that the others leave, and is cut to it.
    pub(crate) fills: bool,
}

impl Column {
    pub(crate) fn left(title: impl Into<Cow<'static, str>>) -> Self {
        Self { title: title.into(), align: Align::Left, fills: false }
    }

    pub(crate) fn right(title: impl Into<Cow<'static, str>>) -> Self {
        Self { title: title.into(), align: Align::Right, fills: false }
    }

    pub(crate) fn filling(title: impl Into<Cow<'static, str>>) -> Self {
        Self { title: title.into(), align: Align::Left, fills: true }
    }
}

/// What stands in one place of a table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Field {
    text: String,
    style: Style,
}

impl Field {
    /// A field with this text. It may come from a target: it is made safe to print.
    pub(crate) fn new(text: &str) -> Self {
        Self { text: escape::visible(text).into_owned(), style: Style::new() }
    }

    pub(crate) fn styled(mut self, style: Style) -> Self {
        self.style = style;
        self
    }
}

/// A table: titles, then rows.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

/// A row, and what stands below it across all columns.
#[derive(Debug, Default)]
struct Row {
    fields: Vec<Field>,
    below: Vec<Field>,
}

impl Table {
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, fields: Vec<Field>) {
        self.rows.push(Row { fields, below: Vec::new() });
    }

    /// A line below the last row, as wide as the table, under its second column.
    pub(crate) fn below(&mut self, field: Field) {
        if let Some(row) = self.rows.last_mut() {
            row.below.push(field);
        }
    }

    /// The lines, at most `width` columns wide unless the columns that are never
    /// cut need more.
    pub(crate) fn lines(&self, width: usize, colour: bool) -> Vec<String> {
        let titles: Vec<_> = self
            .columns
            .iter()
            .map(|column| Field::new(&column.title).styled(Style::new().bold()))
            .collect();
        let widths = self.widths(width);
        let mut lines = vec![self.line(&titles, &widths, colour)];
        let indent = widths.first().map_or(0, |first| first + 1);
        for row in &self.rows {
            lines.push(self.line(&row.fields, &widths, colour));
            lines.extend(row.below.iter().map(|field| {
                let text = cut(&field.text, width.saturating_sub(indent));
                format!("{}{}", " ".repeat(indent), paint(&text, field.style, colour))
            }));
        }
        lines
    }

    fn widths(&self, width: usize) -> Vec<usize> {
        /// What even a crowded filling column keeps.
        const LEAST: usize = 12;
        let mut widths: Vec<usize> =
            self.columns.iter().map(|column| column.title.width()).collect();
        for row in &self.rows {
            for (widest, field) in widths.iter_mut().zip(&row.fields) {
                *widest = (*widest).max(field.text.width());
            }
        }
        let gaps = self.columns.len().saturating_sub(1);
        let others = |widths: &[usize]| -> usize {
            let fixed = widths.iter().zip(&self.columns).filter(|(_, column)| !column.fills);
            fixed.map(|(width, _)| width).sum::<usize>() + gaps
        };
        let room = width.saturating_sub(others(&widths)).max(LEAST);
        for (width, column) in widths.iter_mut().zip(&self.columns) {
            if column.fills {
                *width = room;
            }
        }
        widths
    }

    fn line(&self, fields: &[Field], widths: &[usize], colour: bool) -> String {
        let mut line = String::new();
        for ((field, column), &width) in fields.iter().zip(&self.columns).zip(widths) {
            if !line.is_empty() {
                line.push(' ');
            }
            let text = cut(&field.text, width);
            let blank = " ".repeat(width.saturating_sub(text.width()));
            let text = paint(&text, field.style, colour);
            match column.align {
                Align::Left => line.extend([text, blank]),
                Align::Right => line.extend([blank, text]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Text in a style, if there is to be colour at all.
pub(crate) fn paint(text: &str, style: Style, colour: bool) -> String {
    if colour && style != Style::new() && !text.is_empty() {
        format!("{style}{text}{style:#}")
    } else {
        text.to_owned()
    }
}

/// The text in at most `width` columns: what does not fit ends in `…`.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let fits = |character: &char| {
        let needs = character.width().unwrap_or(0);
        let fits = needs <= room;
        room = room.saturating_sub(needs);
        fits
    };
    let mut kept: String = text.chars().take_while(fits).collect();
    if width > 0 {
        kept.push('\u{2026}');
    }
    kept
}

/// A text in lines of at most `width` columns, broken at spaces where there are any.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().map_or(0, |line| line.width());
        if line > 0 && line + 1 + word.width() > width {
            lines.push(cut(word, width));
        } else if let Some(last) = lines.last_mut() {
            if line > 0 {
                last.push(' ');
            }
            last.push_str(&cut(word, width));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_are_counted_as_wide() {
        assert_eq!(cut("日本語テスト", 7), "日本語…");
        assert_eq!(cut("日本語テスト", 12), "日本語テスト");
        assert_eq!(cut("abc", 2), "a…");
        assert_eq!(cut("abc", 0), "");
    }

    #[test]
    fn the_filling_column_takes_what_is_left_and_colour_adds_no_width() {
        let mut table = Table::new(vec![Column::filling("NAME"), Column::right("TIME")]);
        let red = Style::new().bold();
        table.row(vec![Field::new("a\u{1b}[2J very long name").styled(red), Field::new("1.0 s")]);
        let plain = table.lines(20, false);
        assert_eq!(plain, ["NAME            TIME", "a\\u{1b}[2J ve… 1.0 s"]);
        let painted = table.lines(20, true);
        let stripped: Vec<_> = painted
            .iter()
            .map(|line| line.replace("\u{1b}[1m", "").replace("\u{1b}[0m", ""))
            .collect();
        assert_eq!(stripped, plain);
    }

    #[test]
    fn text_is_wrapped_at_spaces() {
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("abcdefghij k", 5), ["abcd…", "k"]);
    }
}
