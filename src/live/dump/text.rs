//! A dump as a page for a person.

use anstyle::{AnsiColor, Style};

use super::{Dump, DumpedFrame, DumpedLocal, DumpedProcess, DumpedThread};
use crate::model::Role;
use crate::report::{numbers, paint, visible};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

impl Dump {
    /// The page, line by line, as py-spy draws it and with what is known beyond that.
    /// Control characters are made visible.
    pub fn lines(&self, full_filenames: bool, colour: bool) -> Vec<String> {
        let mut page = Page { lines: Vec::new(), full_filenames, colour };
        let mut rest = self.threads.as_slice();
        for process in &self.processes {
            if !page.lines.is_empty() {
                page.lines.push(String::new());
            }
            page.process(process);
            let (threads, others) = rest.split_at(process.threads.min(rest.len()));
            rest = others;
            // A process' first thread is listed last by the interpreter.
            for thread in threads.iter().rev() {
                page.lines.push(String::new());
                page.thread(thread);
            }
        }
        page.lines
    }
}

struct Page {
    lines: Vec<String>,
    full_filenames: bool,
    colour: bool,
}

impl Page {
    fn process(&mut self, process: &DumpedProcess) {
        let facts = &process.facts;
        let role = match facts.role {
            Role::Arbiter => Some("arbiter"),
            Role::Worker => Some("worker"),
            Role::Other => None,
        };
        let server = match (facts.server.as_deref(), role) {
            (Some(server), Some(role)) => Some(format!("{server} {role}")),
            (server, role) => server.or(role).map(str::to_owned),
        };
        let class = facts.worker_class.as_deref().filter(|_| facts.role == Role::Worker);
        let gil = if facts.free_threaded { " without a GIL" } else { "" };
        let python = format!("CPython {}{gil}", facts.python);
        let words = [server.as_deref(), class, Some(&python)];
        let words = words.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let title = format!("Process {}: {}", facts.pid, visible(&words));
        self.lines.push(paint(&title, BOLD, self.colour));
    }

    fn thread(&mut self, thread: &DumpedThread) {
        let number = thread.os_thread_id.map_or_else(|| "?".to_owned(), |tid| tid.to_string());
        let name = visible(thread.thread_name.as_deref().unwrap_or("")).into_owned();
        let gil = if thread.owns_gil { "+gil" } else { "" };
        let style = match thread.state {
            "running" | "runnable" => AnsiColor::Red.on_default().bold(),
            "idle" => DIM,
            _ => AnsiColor::Yellow.on_default().bold(),
        };
        let state = paint(&format!("{}{gil}", thread.state), style, self.colour);
        self.lines.push(format!("Thread {number} ({state}): \"{name}\""));
        if let Some(on) = &thread.on {
            self.fact("waits for", on);
        }
        if let Some(statement) = &thread.statement {
            self.fact("statement", statement);
        }
        // What is in parentheses is no request.
        if !thread.endpoint.starts_with('(') {
            let age = thread.request_age_s.map(numbers::seconds);
            let age = age.map(|age| format!(", {age} old")).unwrap_or_default();
            self.fact("serves", &format!("{}{age}", thread.endpoint));
        }
        match thread.grade {
            "partial" => self.fact("note", "it went on while it was read: the callers hold"),
            "lost" => self.fact("note", "it went on while it was read: nothing holds"),
            _ => {}
        }
        for frame in &thread.frames {
            self.frame(frame);
        }
    }

    fn fact(&mut self, label: &str, text: &str) {
        let label = paint(&format!("{label:<10}"), DIM, self.colour);
        self.lines.push(format!("  {label}{}", visible(text)));
    }

    fn frame(&mut self, frame: &DumpedFrame) {
        let short = frame.short_filename.as_deref().filter(|_| !self.full_filenames);
        let file = short.unwrap_or(&frame.filename);
        let (name, file) = (visible(&frame.name), visible(file));
        let place = match (file.is_empty(), frame.line) {
            (true, _) => String::new(),
            (false, 0) => format!(" ({file})"),
            (false, line) => format!(" ({file}:{line})"),
        };
        self.lines.push(format!("    {name}{}", paint(&place, DIM, self.colour)));
        let locals = frame.locals.as_deref().unwrap_or_default();
        self.locals("Arguments:", locals.iter().filter(|local| local.arg));
        self.locals("Locals:", locals.iter().filter(|local| !local.arg));
    }

    fn locals<'l>(&mut self, title: &str, locals: impl Iterator<Item = &'l DumpedLocal>) {
        for (position, local) in locals.enumerate() {
            if position == 0 {
                self.lines.push(format!("        {}", paint(title, DIM, self.colour)));
            }
            let value = local.repr.as_deref().unwrap_or("(changed while it was read)");
            self.lines.push(format!("            {}: {}", visible(&local.name), visible(value)));
        }
    }
}
