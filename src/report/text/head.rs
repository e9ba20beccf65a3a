//! What was recorded: where, when and of whom.

use anstyle::Style;

use super::{BOLD, Page};
use crate::analysis::{ProcessRow, Summary};
use crate::model::{Role, State};
use crate::report::numbers;

impl Page<'_> {
    pub(super) fn head(&mut self, summary: &Summary) {
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
