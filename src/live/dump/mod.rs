//! Every thread's stack at one instant.

mod text;

use std::io;

use serde::Serialize;

use super::seen::{Looking, Seen};
use crate::model::{FrameId, On, ProcessFacts, ProcessId, Role, State, Tables};
use crate::report::Files;
use crate::sampler::{RenderLimits, RenderedLocal, Session};

/// The threads of some processes. As JSON a list of [`DumpedThread`], in py-spy's words and
/// more.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Dump {
    /// What was found, process by process.
    pub threads: Vec<DumpedThread>,
    #[serde(skip)]
    processes: Vec<DumpedProcess>,
}

/// What is known of a process besides its threads.
#[derive(Debug)]
pub struct DumpedProcess {
    facts: ProcessFacts,
    threads: usize,
}

/// One thread. The first fields are those of py-spy's `dump --json`.
#[derive(Debug, Serialize)]
pub struct DumpedThread {
    /// Its process.
    pub pid: u32,
    /// `pthread_self()` of the thread: what `threading` calls its `ident`.
    pub thread_id: Option<u64>,
    /// What `threading`, or else the kernel, calls it.
    pub thread_name: Option<String>,
    /// Its number, where it could be told.
    pub os_thread_id: Option<u32>,
    /// Whether it ran or was ready to.
    pub active: bool,
    /// Whether it held its interpreter's GIL.
    pub owns_gil: bool,
    /// Its frames, the innermost first.
    pub frames: Vec<DumpedFrame>,
    /// What part its process plays.
    pub role: Role,
    /// The state: `running`, `io`, `lock` and so on.
    pub state: &'static str,
    /// What it waited on.
    pub on: Option<String>,
    /// What a database was being asked, without values.
    pub statement: Option<String>,
    /// What it served, or a label such as `(idle)`.
    pub endpoint: String,
    /// For how long it had served the request, in seconds: since the server itself noted its
    /// begin, or else since it was first seen.
    pub request_age_s: Option<f64>,
    /// The request's method.
    pub request_method: Option<String>,
    /// The request's path as the client sent it, without the query string.
    pub request_path: Option<String>,
    /// How far the reads agree: `exact`, `functions`, `partial` or `lost`.
    pub grade: &'static str,
}

/// One frame.
#[derive(Debug, Serialize)]
pub struct DumpedFrame {
    /// The function.
    pub name: String,
    /// Its file.
    pub filename: String,
    /// The library of a function that is not Python's; there are none.
    pub module: Option<String>,
    /// The package part of the file.
    pub short_filename: Option<String>,
    /// The line that was being executed; 0 where there is none.
    pub line: u32,
    /// Its locals, if they were asked for.
    pub locals: Option<Vec<DumpedLocal>>,
}

/// One local.
#[derive(Debug, Serialize)]
pub struct DumpedLocal {
    /// Its name.
    pub name: String,
    /// Where the object is that it refers to.
    pub addr: u64,
    /// Whether it is an argument.
    pub arg: bool,
    /// The value; `None` if it changed while it was read.
    pub repr: Option<String>,
}

impl From<RenderedLocal> for DumpedLocal {
    fn from(local: RenderedLocal) -> Self {
        let RenderedLocal { name, address, is_argument, repr } = local;
        Self { name, addr: address.get(), arg: is_argument, repr }
    }
}

impl Dump {
    /// Looks at all processes of a session, one after the other. With `locals`, the values of
    /// locals are read too, so much of each.
    ///
    /// # Errors
    /// None of its own.
    pub fn take(session: &mut Session, locals: Option<RenderLimits>) -> io::Result<Self> {
        let mut looking = Looking::begin(session)?;
        let mut found: Vec<(ProcessId, Vec<Seen>)> = Vec::new();
        for id in session.processes() {
            if let Some(seen) = looking.look_at(session, id, locals)? {
                found.push((id, seen));
            }
        }
        let tables = session.tables();
        let files = Files::of(tables, false);
        let mut dump = Self::default();
        for (id, seen) in found {
            let Some(facts) = looking.facts(id) else { continue };
            dump.processes.push(DumpedProcess { facts: facts.clone(), threads: seen.len() });
            let threads = seen.into_iter().map(|seen| thread(seen, facts, tables, &files));
            dump.threads.extend(threads);
        }
        Ok(dump)
    }
}

fn thread(seen: Seen, facts: &ProcessFacts, tables: &Tables, files: &Files<'_>) -> DumpedThread {
    let Seen { sample, request, ident, locals } = seen;
    let thread = tables.thread(sample.thread);
    let name = tables.string(thread.name);
    let stack: Vec<FrameId> =
        sample.stack.map(|stack| tables.frames_from_leaf(stack).collect()).unwrap_or_default();
    let with_locals = locals.is_some();
    let mut locals = locals.unwrap_or_default();
    // Root first, and markers at the end of a stack have none.
    locals.resize_with(stack.len(), Vec::new);
    let frames = stack.into_iter().zip(locals.into_iter().rev());
    DumpedThread {
        pid: facts.pid.get(),
        thread_id: ident.filter(|&ident| ident != 0),
        thread_name: Some(name.to_owned()).filter(|name| !name.is_empty()),
        os_thread_id: Some(thread.tid.get()).filter(|&tid| tid != 0),
        active: matches!(sample.state, State::Running | State::Runnable),
        owns_gil: sample.holds_gil,
        frames: frames
            .map(|(id, locals)| frame(id, with_locals.then_some(locals), tables, files))
            .collect(),
        role: facts.role,
        state: sample.state.name(),
        on: sample.on.map(|on| on_text(tables.on(on), tables)),
        statement: sample
            .statement
            .map(|statement| tables.string(tables.statement(statement).text).to_owned()),
        endpoint: tables.string(tables.endpoint(sample.endpoint).label).to_owned(),
        request_age_s: request.as_ref().map(|request| request.age.least().as_secs_f64()),
        request_method: request
            .as_ref()
            .and_then(|request| tables.endpoint(request.by_path).method)
            .map(|method| tables.string(method).to_owned()),
        request_path: request.map(|request| request.path),
        grade: sample.grade.name(),
    }
}

pub(super) fn frame(
    id: FrameId,
    locals: Option<Vec<RenderedLocal>>,
    tables: &Tables,
    files: &Files<'_>,
) -> DumpedFrame {
    let frame = tables.frame(id);
    let function = tables.function(frame.function);
    let path = tables.string(function.file);
    let short = files.name(path);
    DumpedFrame {
        name: tables.string(function.name).to_owned(),
        filename: path.to_owned(),
        module: None,
        short_filename: (!short.is_empty()).then(|| short.to_owned()),
        line: frame.line,
        locals: locals.map(|locals| locals.into_iter().map(DumpedLocal::from).collect()),
    }
}

/// What a wait is called: a name, or the function that holds the GIL.
pub(super) fn on_text(on: On, tables: &Tables) -> String {
    match on {
        On::Named(name) => tables.string(name).to_owned(),
        On::Holder { function, endpoint } => {
            let function = tables.string(tables.function(function).name);
            let endpoint = tables.string(tables.endpoint(endpoint).label);
            format!("{function} for {endpoint}")
        }
    }
}
