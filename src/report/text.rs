//! The summary for a terminal.

mod statements;

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::files::Files;
use super::frames::frame_text;
use super::table::{Column, Field, Table, paint, wrapped};
use super::{Report, escape, numbers};
use crate::analysis::{EndpointRow, FunctionTime, ProcessRow, Summary};
use crate::model::{Role, State};
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
            page.waits(&summary);
            page.statements(&summary);
        }
        page.sampling(&summary);
        page.notes(&summary, profile.notes_left_out());
        for line in page.lines {
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

/// The share columns of the endpoints' table: a title, its colour, and what it adds.
const SHARES: [(&str, AnsiColor, &[State]); 6] = [
    ("CPU", AnsiColor::Green, &[State::Running]),
    ("GIL", AnsiColor::Red, &[State::GilWait]),
    ("I/O", AnsiColor::Blue, &[State::Io]),
    ("LOCK", AnsiColor::Yellow, &[State::Lock]),
    ("SLEEP", AnsiColor::Cyan, &[State::Sleep]),
    ("OTHER", AnsiColor::Magenta, &[State::Runnable, State::Unknown]),
];

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

    fn head(&mut self, summary: &Summary) {
        let recorded = &summary.recorded;
        self.labelled("farrier", &recorded.target, BOLD);
        let start = recorded.start.split('.').next().unwrap_or_default();
        let start = start.trim_end_matches('Z').replace('T', " ");
        let run = format!(
            "{} at {} Hz on {}, {start} UTC",
            numbers::seconds(recorded.duration_s),
            numbers::plain(recorded.rate_hz),
            recorded.host,
        );
        self.labelled("", &run, Style::new());
        let processes = processes(summary);
        if !processes.is_empty() {
            self.labelled("", &processes, Style::new());
        }
        let threads = format!(
            "{} of thread time busy, {} idle",
            numbers::seconds(summary.busy_seconds()),
            numbers::seconds(summary.states.seconds(State::Idle)),
        );
        self.labelled("", &threads, Style::new());
    }

    fn endpoints(&mut self, summary: &Summary) {
        let mut columns =
            vec![Column::filling("ENDPOINT"), Column::right("TIME"), Column::right("SHARE")];
        columns.extend(SHARES.map(|(title, ..)| Column::right(title)));
        let mut table = Table::new(columns);
        let busy: Vec<_> = summary.endpoints.iter().filter(|row| row.seconds > 0.0).collect();
        for row in busy.iter().take(ROWS) {
            table.row(endpoint_fields(row));
        }
        self.table(&table, busy.len().saturating_sub(ROWS), "endpoint");
    }

    fn functions(&mut self, summary: &Summary, profile: &Profile) {
        let files = Files::of(profile.tables(), self.text.full_filenames);
        let mut table = Table::new(vec![
            Column::filling("FUNCTION"),
            Column::right("SELF"),
            Column::right("SHARE"),
            Column::right("TOTAL"),
        ]);
        let own: Vec<_> = summary.functions.iter().filter(|row| row.time.self_s > 0.0).collect();
        for row in own.iter().take(ROWS) {
            table.row(vec![
                Field::new(&function_text(&row.time, &files)),
                Field::new(&numbers::seconds(row.time.self_s)).styled(BOLD),
                Field::new(&numbers::share(row.self_share)),
                Field::new(&numbers::seconds(row.time.total_s)),
            ]);
        }
        self.table(&table, own.len().saturating_sub(ROWS), "function");
    }

    fn waits(&mut self, summary: &Summary) {
        if summary.waits.is_empty() {
            return;
        }
        let mut table = Table::new(vec![
            Column::left("WAIT"),
            Column::filling("ON"),
            Column::right("TIME"),
            Column::right("SHARE"),
            Column::left("MOSTLY UNDER"),
        ]);
        for row in summary.waits.iter().take(ROWS) {
            let (_, colour, _) = SHARES
                .into_iter()
                .find(|(.., states)| states.iter().any(|state| state.name() == row.state))
                .unwrap_or(SHARES[SHARES.len() - 1]);
            let under = row.endpoints.first().map_or("", |place| &place.endpoint);
            table.row(vec![
                Field::new(row.state).styled(colour.on_default()),
                Field::new(row.on.as_deref().unwrap_or(unnamed(row.state))),
                Field::new(&numbers::seconds(row.seconds)).styled(BOLD),
                Field::new(&numbers::share(row.share)),
                Field::new(&super::table::cut(under, 26)),
            ]);
        }
        self.table(&table, summary.waits.len().saturating_sub(ROWS), "wait");
    }

    fn sampling(&mut self, summary: &Summary) {
        let sampling = &summary.sampling;
        self.lines.push(String::new());
        let samples = sampling.samples.max(1) as f64;
        let grades = [
            (sampling.exact, "exact"),
            (sampling.functions, "functions"),
            (sampling.partial, "partial"),
            (sampling.lost, "lost"),
        ]
        .map(|(count, name)| format!("{} {name}", numbers::share(count as f64 / samples)));
        let text =
            format!("{} of threads: {}", numbers::count(sampling.samples), grades.join(", "));
        self.labelled("samples", &text, Style::new());
        let duration = summary.recorded.duration_s;
        let cpu = if duration > 0.0 { sampling.sampler_cpu_s / duration } else { 0.0 };
        let text = format!(
            "{}, {} missed; farrier itself used {} of one CPU",
            numbers::of(sampling.ticks, "tick"),
            numbers::count(sampling.missed_ticks),
            numbers::share(cpu),
        );
        self.labelled("ticks", &text, Style::new());
        if let (Some(rate), Some(budget)) = (sampling.rate_reached_hz, sampling.cpu_budget)
            && sampling.slowed_s > 0.0
        {
            let text = format!(
                "sampled at {} Hz on average: the CPU budget of {} % was reached; \
                 --max-cpu raises it",
                numbers::plain(rate.round()),
                numbers::plain(budget * 100.0),
            );
            self.labelled("", &text, Style::new());
        }
        if sampling.cut_stacks > 0 {
            let text = format!(
                "{} had more frames than are kept: the middle is left out; --max-depth raises it",
                numbers::of(sampling.cut_stacks, "stack"),
            );
            self.labelled("", &text, Style::new());
        }
    }

    fn notes(&mut self, summary: &Summary, left_out: u64) {
        for (number, note) in summary.notes.iter().enumerate() {
            let label = if number == 0 { "notes" } else { "" };
            let text = format!("{}: {}", numbers::seconds(note.at_s), note.text);
            self.labelled(label, &text, Style::new());
        }
        if left_out > 0 {
            self.labelled("", &format!("and {} more", numbers::count(left_out)), DIM);
        }
    }
}

/// What stands for the thing waited on where there is none to name: a sleep has none, and
/// the GIL may have changed hands while it was looked at.
fn unnamed(state: &str) -> &'static str {
    match state {
        "sleep" => "",
        "gil_wait" => "(holder not seen)",
        _ => "(not told)",
    }
}

fn endpoint_fields(row: &EndpointRow) -> Vec<Field> {
    let label = Field::new(&row.endpoint);
    let label = if row.method.is_none() { label.styled(DIM) } else { label };
    let mut fields = vec![
        label,
        Field::new(&numbers::seconds(row.seconds)).styled(BOLD),
        Field::new(&numbers::share(row.share)),
    ];
    let parts = SHARES.map(|(_, colour, states)| {
        let seconds: f64 = states.iter().map(|&state| row.states.seconds(state)).sum();
        (colour, seconds / row.seconds)
    });
    let most = parts.iter().map(|&(_, part)| part).fold(0.0, f64::max);
    fields.extend(parts.map(|(colour, part)| {
        let style = colour.on_default();
        let style = if part == most { style.bold() } else { style };
        Field::new(&numbers::short_share(part)).styled(if part > 0.0 { style } else { DIM })
    }));
    fields
}

fn function_text(time: &FunctionTime, files: &Files<'_>) -> String {
    let file = time.file.as_deref().unwrap_or_default();
    frame_text(&time.function, files.name(file), time.line.unwrap_or(0))
}

/// The processes in a line: `1 arbiter and 2 workers (gunicorn gthread), Python 3.11.7`.
fn processes(summary: &Summary) -> String {
    let count = |role| summary.processes.iter().filter(|row| row.role == role).count() as u64;
    let mut kinds = Vec::new();
    let words = [(Role::Arbiter, "arbiter"), (Role::Worker, "worker"), (Role::Other, "process")];
    for (role, word) in words {
        let count = count(role);
        if count > 0 {
            kinds.push(numbers::of(count, word));
        }
    }
    let mut text = kinds.join(" and ");
    // An arbiter has a server and no worker class.
    let first = |of: fn(&ProcessRow) -> Option<&str>| summary.processes.iter().find_map(of);
    let server = first(|row| row.server.as_deref());
    let class = first(|row| row.worker_class.as_deref());
    let kind: Vec<_> = server.into_iter().chain(class).collect();
    if !kind.is_empty() {
        text = format!("{text} ({})", kind.join(" "));
    }
    let mut pythons: Vec<_> = summary.processes.iter().map(|row| row.python.as_str()).collect();
    pythons.sort_unstable();
    pythons.dedup();
    if !pythons.is_empty() {
        text = format!("{text}, Python {}", pythons.join(" and "));
    }
    text
}
