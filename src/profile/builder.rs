//! Adding samples up as they come.

use std::io;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::cells::Cells;
use super::flights::{Flights, Followed};
use super::requests::Requests;
use super::sharing::{Rest, Sharing};
use super::suspended::SuspendedTasks;
use super::woken::Woken;
use super::{Cell, Key, LoopHolder, Profile, loops, routings};
use crate::model::{
    EndpointId, Executions, Frame, FunctionId, Grade, ListenQueue, LoopBlocked, Note, OnId,
    ProcessFacts, ProcessId, Progress, Request, RequestId, Sample, Session, Sink, StackId,
    StackNode, State, StatementId, Suspended, Tables, TaskLook, ThreadId, Tick,
};
use crate::units::Nanos;

/// Notes kept; later ones are only counted, so that a recording of weeks stays
/// bounded.
const NOTES_KEPT: usize = 1000;

/// Addresses at which servers listen that are told apart.
const ADDRESSES_KEPT: usize = 256;

/// Adds samples up into a [`Profile`]. A sample whose key is known allocates nothing.
#[derive(Debug, Default)]
pub struct Builder {
    session: Session,
    processes: Vec<(ProcessId, ProcessFacts)>,
    progress: Progress,
    complete: bool,
    notes: Vec<Note>,
    notes_left_out: u64,
    cells: Cells,
    threads: Vec<LastSeen>,
    requests: Requests,
    flights: Flights,
    executions: Vec<Executions>,
    executions_index: FxHashMap<ExecutionsKey, usize>,
    listen: Vec<ListenQueue>,
    suspended: SuspendedTasks,
    loop_holders: Vec<LoopHolder>,
}

/// What executions have in common that are added up.
type ExecutionsKey = (ThreadId, EndpointId, State, Option<OnId>, StatementId);

/// What a thread was last seen with.
#[derive(Debug, Default)]
struct LastSeen {
    /// Its cell. Most samples repeat it, and then no hash has to be computed.
    cell: Option<u32>,
    request: Option<(RequestId, EndpointId)>,
    sharing: Sharing,
    woken: Woken,
}

impl LastSeen {
    /// Adds a sample to its cell.
    fn add(&mut self, at: Nanos, sample: &Sample, cells: &mut Cells) {
        let key = Key {
            thread: sample.thread,
            endpoint: sample.endpoint,
            stack: sample.stack,
            on: sample.on,
            statement: sample.statement,
            state: sample.state,
            evidence: sample.evidence,
            grade: sample.grade,
            holds_gil: sample.holds_gil,
        };
        let known = self.cell.filter(|&cell| cells.get(cell).key == key);
        let number = known.unwrap_or_else(|| cells.of(key));
        self.cell = Some(number);
        let cell = cells.get_mut(number);
        cell.samples += 1;
        if sample.holds_gil {
            cell.gil_held += sample.weight;
        }
        self.sharing.add(at, sample, number, cells);
    }
}

impl Builder {
    /// A builder that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many samples were added.
    pub fn samples(&self) -> u64 {
        self.cells.all().iter().map(|cell| cell.samples).sum()
    }

    /// The profile of all that was added. `tables` must be those of the calls.
    ///
    /// Samples whose reads did not hold together are made visible here, so that
    /// every report shows them alike: a `partial` stack ends in `(unsettled)`, and a
    /// `lost` sample stands under `(lost)`.
    pub fn finish(self, mut tables: Tables) -> Profile {
        let (mut cells, mut rest) = (self.cells, Vec::new());
        for mut seen in self.threads {
            let mut woken = std::mem::take(&mut seen.woken);
            woken.decide(None, &mut |at, sample| seen.add(at, sample, &mut cells));
            if let Some(cell) = seen.cell {
                let thread = cells.get(cell).key.thread;
                seen.sharing.finish(thread, &mut cells, &mut rest);
            }
        }
        Rest::give(&rest, &mut cells);
        let (mut cells, mut requests) = (cells.into_all(), self.requests.finish());
        let mut followed = self.flights.finish();
        mark_grades(&mut cells, &mut tables);
        let mut executions = self.executions;
        let SuspendedTasks { cells: mut suspended, seen: tasks_seen, .. } = self.suspended;
        let mut loop_holders = self.loop_holders;
        let endpoints = suspended.iter_mut().map(|cell| &mut cell.endpoint);
        let endpoints = endpoints.chain(loop_holders.iter_mut().map(|it| &mut it.endpoint));
        let endpoints = endpoints.chain(executions.iter_mut().map(|of| &mut of.endpoint));
        let endpoints = endpoints.chain(followed.endpoints());
        routings::follow(&mut cells, &mut requests, endpoints, &mut tables);
        followed.join();
        let Followed { times, gaps, most_in_flight, slow } = followed;
        Profile {
            tables: Arc::new(tables),
            session: self.session,
            processes: self.processes,
            progress: self.progress,
            complete: self.complete,
            notes: self.notes,
            notes_left_out: self.notes_left_out,
            cells,
            requests,
            times,
            gaps,
            most_in_flight,
            slow,
            executions,
            listen: self.listen,
            suspended,
            tasks_seen,
            loop_holders,
        }
    }

    fn add(&mut self, at: Nanos, sample: &Sample) {
        let thread = sample.thread.index();
        if self.threads.len() <= thread {
            self.threads.resize_with(thread + 1, LastSeen::default);
        }
        let last = &mut self.threads[thread];
        if let Some(request) = sample.request {
            self.requests.seen(sample.thread, &mut last.request, request, sample.endpoint);
        }
        let mut woken = std::mem::take(&mut last.woken);
        woken.push(at, sample, |at, sample| last.add(at, sample, &mut self.cells));
        last.woken = woken;
    }

    fn take_progress(&mut self, progress: &Progress) {
        let elapsed = self.progress.elapsed.max(progress.elapsed);
        self.progress = Progress { elapsed, ..*progress };
    }
}

impl Sink for Builder {
    fn begin(&mut self, session: &Session) -> io::Result<()> {
        self.session = session.clone();
        self.flights.begin(session);
        Ok(())
    }

    fn process(&mut self, _: &Tables, id: ProcessId, facts: &ProcessFacts) -> io::Result<()> {
        self.flights.process(id, facts);
        match self.processes.iter_mut().find(|(known, _)| *known == id) {
            Some((_, known)) => known.clone_from(facts),
            None => self.processes.push((id, facts.clone())),
        }
        Ok(())
    }

    fn request(&mut self, _: &Tables, request: &Request<'_>) -> io::Result<()> {
        self.flights.request(request);
        Ok(())
    }

    fn tick(&mut self, tables: &Tables, tick: &Tick, samples: &[Sample]) -> io::Result<()> {
        self.flights.tick(tables, tick, samples);
        self.progress.elapsed = self.progress.elapsed.max(tick.at);
        for sample in samples {
            self.add(tick.at, sample);
        }
        Ok(())
    }

    fn suspended(&mut self, _: &Tables, look: &TaskLook, tasks: &[Suspended]) -> io::Result<()> {
        self.flights.has_tasks(look.process);
        self.progress.elapsed = self.progress.elapsed.max(look.at);
        self.suspended.add(look, tasks);
        Ok(())
    }

    fn loop_blocked(&mut self, tables: &Tables, blocked: &LoopBlocked) -> io::Result<()> {
        loops::add(&mut self.loop_holders, blocked, tables);
        Ok(())
    }

    fn executions(&mut self, _: &Tables, executions: &[Executions]) -> io::Result<()> {
        for of in executions {
            let key = (of.thread, of.endpoint, of.state, of.on, of.statement);
            match self.executions_index.get(&key) {
                Some(&index) => self.executions[index].add(of),
                None => {
                    self.executions_index.insert(key, self.executions.len());
                    self.executions.push(*of);
                }
            }
        }
        Ok(())
    }

    fn progress(&mut self, _: &Tables, progress: &Progress) -> io::Result<()> {
        self.take_progress(progress);
        Ok(())
    }

    fn listen(&mut self, _: &Tables, queue: &ListenQueue) -> io::Result<()> {
        let room = self.listen.len() < ADDRESSES_KEPT;
        match self.listen.iter_mut().find(|known| known.address == queue.address) {
            Some(known) => {
                known.at = known.at.max(queue.at);
                known.looks = known.looks.saturating_add(queue.looks);
                known.waiting = known.waiting.saturating_add(queue.waiting);
                known.most = known.most.max(queue.most);
                known.limit = queue.limit.or(known.limit);
            }
            None if room => self.listen.push(*queue),
            None => {}
        }
        Ok(())
    }

    fn note(&mut self, _: &Tables, note: &Note) -> io::Result<()> {
        if self.notes.len() < NOTES_KEPT {
            self.notes.push(note.clone());
        } else {
            self.notes_left_out += 1;
        }
        Ok(())
    }

    fn end(&mut self, _: &Tables, progress: &Progress) -> io::Result<()> {
        self.take_progress(progress);
        self.complete = true;
        Ok(())
    }
}

/// Puts `(unsettled)` on top of partial stacks and `(lost)` for lost ones, unless
/// whoever sampled has done so. Cells that become alike stay apart: reports add
/// them up anyway.
fn mark_grades(cells: &mut [Cell], tables: &mut Tables) {
    let has = |grade| cells.iter().any(|cell| cell.key.grade == grade);
    let (partial, lost) = (has(Grade::Partial), has(Grade::Lost));
    if partial {
        let unsettled = tables.intern_function_named("(unsettled)", "", 0);
        let frame = tables.intern_frame(Frame { function: unsettled, line: 0 });
        for cell in cells.iter_mut().filter(|cell| cell.key.grade == Grade::Partial) {
            if leaf_function(tables, cell.key.stack) != Some(unsettled) {
                let parent = cell.key.stack;
                cell.key.stack = Some(tables.intern_stack(StackNode { parent, frame }));
            }
        }
    }
    if lost {
        let lost = tables.intern_function_named("(lost)", "", 0);
        let frame = tables.intern_frame(Frame { function: lost, line: 0 });
        let alone = tables.intern_stack(StackNode { parent: None, frame });
        for cell in cells.iter_mut().filter(|cell| cell.key.grade == Grade::Lost) {
            if leaf_function(tables, cell.key.stack) != Some(lost) {
                cell.key.stack = Some(alone);
            }
        }
    }
}

fn leaf_function(tables: &Tables, stack: Option<StackId>) -> Option<FunctionId> {
    stack.map(|stack| tables.frame(tables.stack(stack).frame).function)
}

#[cfg(test)]
mod tests;
