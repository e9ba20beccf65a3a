//! The requests in flight, as `pg_stat_activity` shows a database's queries.

mod text;

use std::io;

use serde::Serialize;

use super::dump::{DumpedFrame, frame, on_text};
use super::seen::{Looking, Seen, SuspendedRequest};
use crate::model::{Age, Endpoint, Framework, Grade, ProcessFacts, Role, StackId, State, Tables};
use crate::report::{Files, Origin};
use crate::sampler::{Heartbeat, Session};
use crate::units::Nanos;
pub use text::PsPage;

/// The requests in flight at one instant, and who serves them. As JSON: `farrier/ps/1`.
#[derive(Debug, Serialize)]
pub struct Ps {
    schema: &'static str,
    /// The requests, the oldest first.
    pub requests: Vec<InFlight>,
    /// The processes that were looked at, but for arbiters.
    pub workers: Vec<WorkerNow>,
    /// Threads that ran, but whose stacks moved on too fast to tell whether for a request.
    pub untold: usize,
    /// Tasks of event loops that were not looked at, because there are so many.
    pub tasks_left_out: u64,
}

/// One request.
#[derive(Debug, Serialize)]
pub struct InFlight {
    /// The worker.
    pub pid: u32,
    /// The thread's number, where it could be told.
    pub os_thread_id: Option<u32>,
    /// The thread's name.
    pub thread_name: String,
    /// For how long it has been served, in seconds.
    pub age_s: f64,
    /// Whether the server itself noted its begin: if not, it is at least so old.
    pub age_is_exact: bool,
    /// That begin, in RFC 3339 and UTC.
    pub began: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// The path as the client sent it, without the query string; not of a suspended task's.
    pub path: Option<String>,
    /// The framework's route, once it has found it.
    pub route: Option<String>,
    /// The method and the route, or the folded path.
    pub endpoint: String,
    /// Whether it is a task's that waits while no thread runs it.
    pub suspended: bool,
    /// The state of its thread or task: `running`, `io`, `lock` and so on.
    pub state: &'static str,
    /// What that waits on.
    pub on: Option<String>,
    /// What a database is being asked, without values.
    pub statement: Option<String>,
    /// The innermost frame of the application's own code.
    pub frame: Option<DumpedFrame>,
    /// How far the reads agree; a task is only shown if they do.
    pub grade: &'static str,
}

/// One process that serves.
#[derive(Debug, Serialize)]
pub struct WorkerNow {
    /// Its number.
    pub pid: u32,
    /// How it serves, if known.
    pub worker_class: Option<String>,
    /// How many requests it serves.
    pub in_flight: usize,
    /// For how long it has not told its arbiter that it lives, in seconds.
    pub silent_s: Option<f64>,
    /// After how long of that its arbiter kills it.
    pub timeout_s: Option<f64>,
    /// Whether that is near: it has been silent for longer than it ever is when all is well.
    pub near_timeout: bool,
}

/// What is shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct PsOptions {
    /// Only requests that are older.
    pub slower_than: Nanos,
}

/// An idle worker tells that it lives after half of its timeout at the latest: one that has
/// been silent for this share of it does something else.
const NEAR: f64 = 0.6;

impl Ps {
    /// Looks at all processes of a session, one after the other.
    ///
    /// # Errors
    /// None of its own.
    pub fn take(
        session: &mut Session,
        looking: &mut Looking,
        options: PsOptions,
    ) -> io::Result<Self> {
        let mut found = Vec::new();
        let mut tasks_left_out = 0;
        for id in session.processes() {
            if let Some(seen) = looking.look_at(session, id, None)? {
                let (suspended, left_out) = looking.suspended(&seen);
                tasks_left_out += left_out;
                found.push((id, seen, suspended, session.heartbeat(id)));
            }
        }
        let tables = session.tables();
        let files = Files::of(tables, false);
        let (mut requests, mut workers, mut untold) = (Vec::new(), Vec::new(), 0);
        for (id, seen, suspended, heartbeat) in found {
            let Some(facts) = looking.facts(id) else { continue };
            let on_threads = seen.iter().filter(|seen| seen.request.is_some()).count();
            let serves = on_threads + suspended.len();
            untold += seen.iter().filter(|seen| could_serve(seen)).count();
            if facts.role != Role::Arbiter {
                workers.push(worker(facts, serves, heartbeat));
            }
            let mine = seen.iter().filter_map(|seen| request(seen, facts, tables, &files));
            requests.extend(mine);
            let waiting = |one: &SuspendedRequest| suspended_request(one, facts, tables, &files);
            requests.extend(suspended.iter().map(waiting));
        }
        requests.retain(|request| request.age_s >= options.slower_than.as_secs_f64());
        requests.sort_by(|one, other| other.age_s.total_cmp(&one.age_s));
        Ok(Self { schema: "farrier/ps/1", requests, workers, untold, tasks_left_out })
    }
}

/// Whether a thread may serve a request that could not be told.
fn could_serve(seen: &Seen) -> bool {
    seen.request.is_none()
        && matches!(seen.sample.grade, Grade::Partial | Grade::Lost)
        && seen.sample.state != State::Idle
}

fn worker(facts: &ProcessFacts, in_flight: usize, heartbeat: Option<Heartbeat>) -> WorkerNow {
    let silent_s = heartbeat.map(|heartbeat| heartbeat.silent.as_secs_f64());
    let timeout_s = heartbeat.and_then(|heartbeat| heartbeat.timeout).map(Nanos::as_secs_f64);
    WorkerNow {
        pid: facts.pid.get(),
        worker_class: facts.worker_class.clone(),
        in_flight,
        silent_s,
        timeout_s,
        near_timeout: silent_s.zip(timeout_s).is_some_and(|(silent, most)| silent > most * NEAR),
    }
}

fn request(
    seen: &Seen,
    facts: &ProcessFacts,
    tables: &Tables,
    files: &Files<'_>,
) -> Option<InFlight> {
    let Seen { sample, request, .. } = seen;
    let request = request.as_ref()?;
    let thread = tables.thread(sample.thread);
    let endpoint = tables.endpoint(sample.endpoint);
    let text = |id| tables.string(id).to_owned();
    Some(InFlight {
        pid: facts.pid.get(),
        os_thread_id: Some(thread.tid.get()).filter(|&tid| tid != 0),
        thread_name: text(thread.name),
        age_s: request.age.least().as_secs_f64(),
        age_is_exact: matches!(request.age, Age::Exactly(_)),
        began: request.began_unix_ns.and_then(rfc_3339),
        method: tables.endpoint(request.by_path).method.map(text),
        path: Some(request.path.clone()),
        route: route(&endpoint, tables),
        endpoint: text(endpoint.label),
        suspended: false,
        state: sample.state.name(),
        on: sample.on.map(|on| on_text(tables.on(on), tables)),
        statement: sample.statement.map(|statement| text(tables.statement(statement).text)),
        frame: own_frame(seen.sample.stack, tables, files),
        grade: sample.grade.name(),
    })
}

/// Of a task nothing says when it began, or on which thread it will go on.
fn suspended_request(
    one: &SuspendedRequest,
    facts: &ProcessFacts,
    tables: &Tables,
    files: &Files<'_>,
) -> InFlight {
    let SuspendedRequest { task, seen_for } = one;
    let endpoint = tables.endpoint(task.endpoint);
    let text = |id| tables.string(id).to_owned();
    InFlight {
        pid: facts.pid.get(),
        os_thread_id: None,
        thread_name: "(task)".to_owned(),
        age_s: seen_for.as_secs_f64(),
        age_is_exact: false,
        began: None,
        method: endpoint.method.map(text),
        path: None,
        route: route(&endpoint, tables),
        endpoint: text(endpoint.label),
        suspended: true,
        state: task.state.name(),
        on: task.on.map(|on| on_text(tables.on(on), tables)),
        statement: None,
        frame: own_frame(task.stack, tables, files),
        grade: Grade::Exact.name(),
    }
}

fn route(endpoint: &Endpoint, tables: &Tables) -> Option<String> {
    let named = endpoint.route.filter(|_| endpoint.framework != Framework::None);
    named.map(|route| tables.string(route).to_owned())
}

fn rfc_3339(unix_ns: i64) -> Option<String> {
    let instant = jiff::Timestamp::from_nanosecond(unix_ns.into()).ok()?;
    Some(instant.to_string())
}

/// The innermost frame of code that is no library's, and that a library has called: a script
/// that starts the server has not.
fn own_frame(stack: Option<StackId>, tables: &Tables, files: &Files<'_>) -> Option<DumpedFrame> {
    let path = |id| tables.string(tables.function(tables.frame(id).function).file);
    let mut own = None;
    for id in tables.frames_from_leaf(stack?) {
        match files.origin(path(id)) {
            Origin::Application => own = own.or(Some(id)),
            Origin::Package if own.is_some() => {
                return own.map(|id| frame(id, None, tables, files));
            }
            Origin::Package | Origin::Standard | Origin::Synthetic => {}
        }
    }
    None
}
