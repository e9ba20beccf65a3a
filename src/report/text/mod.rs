//! The summary for a terminal: one file for each table.

mod endpoints;
mod functions;
mod gil;
mod head;
mod loops;
mod requests;
mod sampling;
mod slow;
mod statements;
mod waits;
mod workers;

use std::io::{self, Write};

use anstyle::Style;

use super::table::{Table, paint, wrapped};
use super::{Report, escape, numbers};
use crate::analysis::Summary;
use crate::profile::Profile;

/// Rows in a table; what is beyond is counted.
const ROWS: usize = 10;
/// How far what follows a label is indented.
const INDENT: usize = 9;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// The summary for a terminal.
#[derive(Debug, Clone)]
pub struct Text {
    /// Whether to colour it.
    pub colour: bool,
    /// How wide it may be, in columns; 80 is what it is made for.
    pub width: usize,
    /// Whether files are written in full, not only their package part.
    pub full_filenames: bool,
}

impl Default for Text {
    fn default() -> Self {
        Self { colour: false, width: 80, full_filenames: false }
    }
}

impl Report for Text {
    fn write(&self, profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
        let summary = Summary::of(profile);
        let mut page = Page { text: self, lines: Vec::new() };
        page.head(&summary);
        if summary.sampling.samples == 0 {
            page.section("Nothing was sampled.");
        } else if summary.busy_seconds() == 0.0 {
            page.section("No thread was busy: all of them waited for work all the time.");
        } else {
            page.endpoints(&summary);
            page.functions(&summary, profile);
            page.gil(&summary);
            page.waits(&summary, profile);
            page.loops(&summary);
            page.statements(&summary);
        }
        page.slow(&summary);
        page.workers(&summary);
        page.sampling(&summary);
        page.notes(&summary, profile.notes_left_out());
        for line in page.lines {
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

struct Page<'a> {
    text: &'a Text,
    lines: Vec<String>,
}

impl Page<'_> {
    fn section(&mut self, title: &str) {
        self.lines.push(String::new());
        self.lines.push(paint(title, BOLD, self.text.colour));
    }

    /// A label and what belongs to it, wrapped beside it.
    fn labelled(&mut self, label: &str, text: &str, style: Style) {
        let text = escape::visible(text);
        let width = self.text.width.saturating_sub(INDENT).max(20);
        for (number, line) in wrapped(&text, width).into_iter().enumerate() {
            let label = if number == 0 { label } else { "" };
            let label = paint(&format!("{label:<INDENT$}"), DIM, self.text.colour);
            self.lines.push(format!("{label}{}", paint(&line, style, self.text.colour)));
        }
    }

    fn table(&mut self, table: &Table, left_out: usize, what: &str) {
        self.lines.push(String::new());
        self.lines.extend(table.lines(self.text.width, self.text.colour));
        if left_out > 0 {
            let more = format!("and {}", numbers::of(left_out as u64, &format!("more {what}")));
            self.lines.push(paint(&more, DIM, self.text.colour));
        }
    }
}
