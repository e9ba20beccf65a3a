//! The processes and how busy each is, and how many connections waited for them.

use super::{BOLD, DIM, Page, ROWS};
use crate::analysis::{Listen, ProcessRow, Summary};
use crate::model::Role;
use crate::report::numbers;
use crate::report::table::{Column, Field, Table};

impl Page<'_> {
    pub(super) fn workers(&mut self, summary: &Summary) {
        let mut rows: Vec<&ProcessRow> = summary.processes.iter().collect();
        // An arbiter serves nothing; those that do come in the order of their work.
        let busy = |row: &ProcessRow| row.busy_share.unwrap_or(0.0);
        rows.sort_by(|one, other| {
            (one.role == Role::Arbiter)
                .cmp(&(other.role == Role::Arbiter))
                .then(busy(other).total_cmp(&busy(one)))
                .then(one.pid.cmp(&other.pid))
        });
        if !rows.is_empty() {
            let mut table = Table::new(vec![
                Column::filling("PROCESS"),
                Column::right("THREADS"),
                Column::right("BUSY"),
                Column::right("REQUESTS"),
                Column::right("REQ/S"),
                Column::right("CPU"),
                Column::right("CPU WAIT"),
                Column::right("MEMORY"),
            ]);
            for row in rows.iter().take(ROWS) {
                table.row(process_fields(row));
            }
            self.table(&table, rows.len().saturating_sub(ROWS), "process");
        }
        if !summary.listen.is_empty() {
            self.lines.push(String::new());
        }
        for (number, listen) in summary.listen.iter().enumerate() {
            let label = if number == 0 { "queue" } else { "" };
            self.labelled(label, &listen_text(listen), anstyle::Style::new());
        }
    }
}

fn process_fields(row: &ProcessRow) -> Vec<Field> {
    let role = match row.role {
        Role::Arbiter => "arbiter",
        Role::Worker => "worker",
        Role::Other => "process",
    };
    let class = row.worker_class.as_deref().map_or(String::new(), |class| format!(" {class}"));
    let exited = if row.exited { ", ended" } else { "" };
    let name = Field::new(&format!("{role} {}{class}{exited}", row.pid));
    let or_none = |text: Option<String>| match text {
        Some(text) => Field::new(&text),
        None => Field::new(".").styled(DIM),
    };
    vec![
        if row.role == Role::Arbiter { name.styled(DIM) } else { name },
        Field::new(&numbers::count(u64::from(row.threads))),
        or_none(row.busy_share.map(numbers::share)).styled(BOLD),
        or_none(row.requests.map(numbers::count)),
        or_none(row.requests_per_s.map(numbers::rate)),
        Field::new(&numbers::seconds(row.cpu_s)),
        Field::new(&numbers::seconds(row.runqueue_s)),
        Field::new(&numbers::bytes(row.rss_bytes_last)),
    ]
}

/// `0.0.0.0:8000: 3.2 connections waited on average, 6 at the most, of 2,048 that may`
fn listen_text(listen: &Listen) -> String {
    let address = &listen.address;
    let limit = listen
        .backlog_limit
        .map_or(String::new(), |limit| format!(", of {} that may", numbers::count(limit)));
    match (listen.backlog_mean, listen.backlog_max) {
        (Some(mean), Some(most)) => format!(
            "{address}: {} connections waited on average, {} at the most{limit}",
            numbers::plain(mean),
            numbers::count(most),
        ),
        _ => format!("{address}: how many connections waited could not be seen"),
    }
}
