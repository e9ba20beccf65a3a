//! The best of a few looks at a process.

use std::io;

use rustc_hash::FxHashMap;

use crate::model::{
    Age, EndpointId, Grade, ListenQueue, Note, ProcessFacts, ProcessId, Progress, Request,
    RequestId, Sample, Session as Facts, Sink, Suspended, Tables, TaskLook, Tick,
};
use crate::sampler::{RenderLimits, RenderedLocal, Session};
use crate::units::Nanos;

/// How often a process is looked at until all stacks hold together: what a busy thread runs
/// for the first time is known only after a look, and a thread may be in the middle of a call.
const TRIES: u32 = 12;

/// Looks at processes and keeps what is known of them.
#[derive(Debug, Default)]
pub struct Looking {
    facts: FxHashMap<ProcessId, ProcessFacts>,
    /// The requests in flight, as far as is known, and some that have ended.
    requests: FxHashMap<RequestId, Known>,
    /// When the session began, in nanoseconds since 1970.
    start_unix_ns: i64,
    /// The samples of the last tick.
    samples: Vec<Sample>,
    /// When that was.
    at: Nanos,
    /// The suspended tasks of the process that is being looked at, at the last look at any.
    tasks: Vec<Suspended>,
    /// How many of its tasks that look passed over.
    tasks_left_out: u64,
    /// When the requests of suspended tasks were first seen.
    suspended_since: FxHashMap<RequestId, Nanos>,
    notes: Vec<String>,
}

/// What is known of a request.
#[derive(Debug, Clone)]
struct Known {
    process: ProcessId,
    started: Option<i64>,
    first_seen: Nanos,
    by_path: EndpointId,
    endpoint: EndpointId,
    path: String,
}

/// A request at the instant at which its thread was seen.
#[derive(Debug, Clone)]
pub(super) struct InFlight {
    pub(super) age: Age,
    /// When the server noted its begin, in nanoseconds since 1970.
    pub(super) began_unix_ns: Option<i64>,
    /// The method, with the path folded.
    pub(super) by_path: EndpointId,
    /// As the client sent it, without the query string.
    pub(super) path: String,
}

/// A request whose task waits while no thread runs it.
#[derive(Debug, Clone, Copy)]
pub(super) struct SuspendedRequest {
    pub(super) task: Suspended,
    /// Since when it was seen: nothing says when it began.
    pub(super) seen_for: Nanos,
}

/// One thread as it was seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) sample: Sample,
    pub(super) request: Option<InFlight>,
    pub(super) ident: Option<u64>,
    /// For each frame, root first.
    pub(super) locals: Option<Vec<Vec<RenderedLocal>>>,
}

impl Looking {
    /// Begins with what there is.
    ///
    /// # Errors
    /// None of its own; those of [`Session::begin`].
    pub fn begin(session: &Session) -> io::Result<Self> {
        let mut looking = Self::default();
        session.begin(&mut looking)?;
        Ok(looking)
    }

    /// What is known of a process.
    pub(super) fn facts(&self, id: ProcessId) -> Option<&ProcessFacts> {
        self.facts.get(&id)
    }

    /// The notes that came since this was last called.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// All threads of a process at one instant: that of the look at which most held together.
    /// Unlike a profile, which must not favour what stands still, this is to show what can be
    /// shown. `None` if the process is gone.
    pub(super) fn look_at(
        &mut self,
        session: &mut Session,
        id: ProcessId,
        locals: Option<RenderLimits>,
    ) -> io::Result<Option<Vec<Seen>>> {
        let mut best: Option<(u32, Vec<Seen>)> = None;
        self.tasks.clear();
        self.tasks_left_out = 0;
        for _ in 0..TRIES {
            self.samples.clear();
            if !session.look(id, self)? {
                return Ok(best.map(|(_, seen)| seen));
            }
            let missing = self.samples.iter().map(|sample| missing(sample.grade)).sum();
            if best.as_ref().is_none_or(|(least, _)| missing < *least) {
                let seen = self.samples.iter().enumerate().map(|(position, &sample)| Seen {
                    sample,
                    request: sample.request.and_then(|id| self.in_flight(id)),
                    ident: session.thread_ident(id, position),
                    locals: locals.map(|limits| session.locals(id, position, limits)),
                });
                best = Some((missing, seen.collect()));
            }
            if missing == 0 {
                break;
            }
        }
        self.forget(id);
        Ok(best.map(|(_, seen)| seen))
    }

    /// The requests of the suspended tasks of the process that was looked at last, each once,
    /// but for those that its threads serve; and how many of its tasks were not looked at.
    pub(super) fn suspended(&mut self, threads: &[Seen]) -> (Vec<SuspendedRequest>, u64) {
        let mut found: Vec<SuspendedRequest> = Vec::new();
        for &task in &self.tasks {
            let Some(request) = task.request else { continue };
            let is_known = threads.iter().any(|seen| seen.sample.request == Some(request))
                || found.iter().any(|known| known.task.request == Some(request));
            if !is_known {
                let since = *self.suspended_since.entry(request).or_insert(self.at);
                found.push(SuspendedRequest { task, seen_for: self.at.saturating_sub(since) });
            }
        }
        (found, self.tasks_left_out)
    }

    /// What is known of a request at the last tick.
    fn in_flight(&self, id: RequestId) -> Option<InFlight> {
        let Known { process, started, first_seen, by_path, endpoint, ref path } =
            *self.requests.get(&id)?;
        let thread = self.samples.iter().find(|sample| sample.request == Some(id))?.thread;
        let request =
            Request { id, process, thread, first_seen, started, by_path, endpoint, path: None };
        let began_unix_ns = started.map(|started| self.start_unix_ns.saturating_add(started));
        Some(InFlight { age: request.age(self.at), began_unix_ns, by_path, path: path.clone() })
    }

    /// Drops the requests of a process that the last tick had no more, once there are many:
    /// one that could not be told for a moment is not told anew when it can.
    fn forget(&mut self, process: ProcessId) {
        /// More than all workers of a host serve at a time.
        const MANY: usize = 8192;
        let Self { requests, samples, suspended_since, .. } = self;
        if suspended_since.len() >= MANY {
            suspended_since.clear();
        }
        if requests.len() < MANY {
            return;
        }
        let goes_on = |id| samples.iter().any(|sample| sample.request == Some(id));
        requests.retain(|&id, known| known.process != process || goes_on(id));
    }
}

/// How much of a stack does not hold.
const fn missing(grade: Grade) -> u32 {
    match grade {
        Grade::Exact | Grade::Functions => 0,
        Grade::Partial => 1,
        Grade::Lost => 4,
    }
}

impl Sink for Looking {
    fn begin(&mut self, facts: &Facts) -> io::Result<()> {
        self.start_unix_ns = facts.start_unix_ns;
        Ok(())
    }

    fn process(&mut self, _: &Tables, id: ProcessId, facts: &ProcessFacts) -> io::Result<()> {
        self.facts.insert(id, facts.clone());
        Ok(())
    }

    fn request(&mut self, _: &Tables, request: &Request<'_>) -> io::Result<()> {
        let &Request { process, started, first_seen, by_path, endpoint, path, .. } = request;
        let path = path.unwrap_or_default().to_owned();
        let known = Known { process, started, first_seen, by_path, endpoint, path };
        self.requests.insert(request.id, known);
        Ok(())
    }

    fn tick(&mut self, _: &Tables, tick: &Tick, samples: &[Sample]) -> io::Result<()> {
        self.at = tick.at;
        self.samples.clear();
        self.samples.extend_from_slice(samples);
        Ok(())
    }

    fn suspended(&mut self, _: &Tables, look: &TaskLook, tasks: &[Suspended]) -> io::Result<()> {
        self.tasks.clear();
        self.tasks.extend_from_slice(tasks);
        self.tasks_left_out = u64::from(look.tasks.saturating_sub(look.looked));
        Ok(())
    }

    fn progress(&mut self, _: &Tables, _: &Progress) -> io::Result<()> {
        Ok(())
    }

    fn listen(&mut self, _: &Tables, _: &ListenQueue) -> io::Result<()> {
        Ok(())
    }

    fn note(&mut self, _: &Tables, note: &Note) -> io::Result<()> {
        self.notes.push(note.text.clone());
        Ok(())
    }

    fn end(&mut self, _: &Tables, _: &Progress) -> io::Result<()> {
        Ok(())
    }
}
