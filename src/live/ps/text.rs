//! The requests in flight as a page for a person.

use anstyle::{AnsiColor, Style};

use super::{InFlight, Ps, WorkerNow};
use crate::report::{Column, Field, Table, cut, numbers, paint};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const RED: Style = AnsiColor::Red.on_default().bold();

/// How a page is drawn.
#[derive(Debug, Clone, Copy)]
pub struct PsPage {
    /// How wide it may be, in columns.
    pub width: usize,
    /// Whether to colour it.
    pub colour: bool,
    /// Whether routes are shown instead of paths.
    pub route: bool,
}

impl Ps {
    /// The page, line by line. Control characters are made visible.
    pub fn lines(&self, page: &PsPage) -> Vec<String> {
        let mut lines = vec![paint(&cut(&self.headline(), page.width), BOLD, page.colour)];
        if !self.requests.is_empty() {
            let mut table = Table::new(vec![
                Column::right("AGE"),
                Column::right("WORKER"),
                Column::right("THREAD"),
                Column::left("STATE"),
                Column::filling("REQUEST"),
            ]);
            for request in &self.requests {
                row(request, page, &mut table);
            }
            lines.push(String::new());
            lines.extend(table.lines(page.width, page.colour));
        }
        let near: Vec<_> = self.workers.iter().filter(|worker| worker.near_timeout).collect();
        if !near.is_empty() || self.untold > 0 || self.tasks_left_out > 0 {
            lines.push(String::new());
        }
        for worker in near {
            lines.push(paint(&cut(&warning(worker), page.width), RED, page.colour));
        }
        if self.untold > 0 {
            let threads = numbers::of(self.untold as u64, "thread");
            let text = format!("of {threads} more it could not be told whether for a request");
            lines.push(paint(&cut(&text, page.width), DIM, page.colour));
        }
        if self.tasks_left_out > 0 {
            let tasks = numbers::of(self.tasks_left_out, "task");
            let text = format!("{tasks} more of event loops were not looked at");
            lines.push(paint(&cut(&text, page.width), DIM, page.colour));
        }
        lines
    }

    fn headline(&self) -> String {
        let busy = self.workers.iter().filter(|worker| worker.in_flight > 0).count();
        let of = numbers::of(self.workers.len() as u64, "worker");
        let all: usize = self.workers.iter().map(|worker| worker.in_flight).sum();
        let shown = match self.requests.len() {
            0 if all == 0 => return format!("no requests in flight; {of}"),
            shown if shown == all => numbers::of(shown as u64, "request"),
            shown => format!(
                "{} of {}",
                numbers::count(shown as u64),
                numbers::of(all as u64, "request")
            ),
        };
        format!("{shown} in flight; {} of {of} busy", numbers::count(busy as u64))
    }
}

fn row(request: &InFlight, page: &PsPage, table: &mut Table) {
    let age = numbers::seconds(request.age_s);
    let age = if request.age_is_exact { age } else { format!(">{age}") };
    let method = request.method.as_deref().unwrap_or("");
    let what = match &request.path {
        Some(path) if !page.route => format!("{method} {path}"),
        _ => request.endpoint.clone(),
    };
    let state = match request.state {
        "running" | "runnable" => RED,
        _ => AnsiColor::Yellow.on_default(),
    };
    let thread = match request.os_thread_id {
        Some(tid) => tid.to_string(),
        None if request.suspended => "task".to_owned(),
        None => "?".to_owned(),
    };
    table.row(vec![
        Field::new(&age).styled(BOLD),
        Field::new(&request.pid.to_string()),
        Field::new(&thread).styled(DIM),
        Field::new(request.state).styled(state),
        Field::new(&what),
    ]);
    let frame = request.frame.as_ref().map(|frame| {
        let file = frame.short_filename.as_deref().unwrap_or(&frame.filename);
        format!("in {} ({file}:{})", frame.name, frame.line)
    });
    let on = request.on.as_ref().map(|on| format!("on {on}"));
    let details: Vec<String> = [on, frame].into_iter().flatten().collect();
    if !details.is_empty() {
        table.below(Field::new(&details.join(" ")));
    }
    if let Some(statement) = &request.statement {
        table.below(Field::new(statement).styled(DIM));
    }
}

fn warning(worker: &WorkerNow) -> String {
    let (silent, timeout) =
        (worker.silent_s.unwrap_or_default(), worker.timeout_s.unwrap_or_default());
    let pid = worker.pid;
    let left = timeout - silent;
    let silent = numbers::seconds(silent);
    let timeout = numbers::seconds(timeout);
    if left > 0.0 {
        let left = numbers::seconds(left);
        format!("worker {pid} is killed in {left}: silent for {silent}, timeout {timeout}")
    } else {
        format!("worker {pid} is being killed: silent for {silent}, timeout {timeout}")
    }
}
