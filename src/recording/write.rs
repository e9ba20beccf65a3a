//! Writing a recording as it goes.

use std::io::{self, Write};

use prost::Message;

use super::block::{BlockWriter, Kind, MAX_INFLATED};
use super::columns::{Deltas, RawSample, optional, position};
use super::v1::{self, Entries, Event, Events};
use super::{MAGIC, VERSION};
use crate::model::{
    Executions, ListenQueue, LoopBlocked, Note, On, ProcessFacts, ProcessId, Progress, Request,
    RequestId, Sample, Session, Sink, Suspended, Tables, TaskLook, Tick,
};
use crate::units::Nanos;

/// A block is written once its first event is this old: what a killed profiler
/// loses at the most.
const BLOCK_TIME: Nanos = Nanos::from_millis(1000);
/// Or once it holds so many samples; far below what a block may hold.
const BLOCK_SAMPLES: usize = 1 << 15;
/// Or so many bytes of notes and facts.
const BLOCK_BYTES: usize = 1 << 20;
/// Entries of tables in one block, as an estimate of their encoded bytes.
const ENTRY_BYTES: usize = 1 << 20;
/// Longer strings are cut when written. No honest name comes near.
const MAX_STRING: usize = 1 << 16;

/// Writes a recording: give it to whoever samples as their [`Sink`].
///
/// About once a second of recording it writes what came since in whole blocks and
/// flushes, so that the file can be read up to there whatever happens next. Samples
/// that name nothing new allocate nothing.
#[derive(Debug)]
pub struct Writer<W> {
    out: BlockWriter<W>,
    written: Written,
    events: Events,
    entries: Entries,
    deltas: Deltas,
    block_began: Option<Nanos>,
    /// The latest time that an event told.
    now: Nanos,
    /// Bytes of notes, facts and looks at tasks waiting to be written.
    pending_bytes: usize,
    /// Room to put one look in.
    task_look: v1::TaskLook,
    encoded: Vec<u8>,
}

/// How far each table has been written.
#[derive(Debug, Default)]
struct Written {
    strings: usize,
    functions: usize,
    frames: usize,
    stacks: usize,
    endpoints: usize,
    ons: usize,
    processes: usize,
    threads: usize,
    routings: usize,
    statements: usize,
}

impl<W: Write> Writer<W> {
    /// A writer that has written nothing yet.
    pub fn new(out: W) -> Self {
        Self {
            out: BlockWriter::new(out),
            written: Written::default(),
            events: Events::default(),
            entries: Entries::default(),
            deltas: Deltas::default(),
            block_began: None,
            now: Nanos::ZERO,
            pending_bytes: 0,
            task_look: v1::TaskLook::default(),
            encoded: Vec::new(),
        }
    }

    fn block(&mut self, kind: Kind, message: &impl Message) -> io::Result<()> {
        self.encoded.clear();
        message.encode(&mut self.encoded).map_err(io::Error::other)?;
        self.out.block(kind, &self.encoded)
    }

    fn event(&mut self, event: Event, at: Nanos) {
        self.begin_block(at);
        self.events.order.push(event as u32);
    }

    /// Begins a block with what happened at this time, unless one has begun.
    fn begin_block(&mut self, at: Nanos) {
        self.now = self.now.max(at);
        if self.block_began.is_none() {
            self.deltas.restart();
            self.block_began = Some(self.now);
        }
    }

    /// Writes what is waiting if it has become old or large.
    fn flush_if_due(&mut self, tables: &Tables) -> io::Result<()> {
        let age = |began| self.now.saturating_sub(began);
        let old = self.block_began.is_some_and(|began| age(began) >= BLOCK_TIME);
        let large = self.events.sample_thread.len() >= BLOCK_SAMPLES
            || self.events.order.len() >= BLOCK_SAMPLES
            || self.events.requests.len() >= BLOCK_SAMPLES
            || self.pending_bytes >= BLOCK_BYTES;
        if old || large { self.flush(tables) } else { Ok(()) }
    }

    /// Writes the tables' new entries and then the events that may name them.
    fn flush(&mut self, tables: &Tables) -> io::Result<()> {
        let mut entries = std::mem::take(&mut self.entries);
        while self.written.take_new(tables, &mut entries) {
            self.block(Kind::Entries, &entries)?;
            entries.clear();
        }
        self.entries = entries;
        let mut events = std::mem::take(&mut self.events);
        if self.block_began.is_some() {
            self.block(Kind::Events, &events)?;
            events.clear();
        }
        self.events = events;
        self.block_began = None;
        self.pending_bytes = 0;
        Ok(())
    }
}

impl<W: Write> Sink for Writer<W> {
    fn begin(&mut self, session: &Session) -> io::Result<()> {
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&VERSION.to_le_bytes());
        self.out.raw(&header)?;
        self.block(Kind::Session, &v1::Session::from(session))
    }

    fn process(&mut self, tables: &Tables, id: ProcessId, facts: &ProcessFacts) -> io::Result<()> {
        self.event(Event::Process, facts.left.unwrap_or(facts.joined));
        let facts = v1::Facts::new(narrow(position(id.index())), facts).encode_to_vec();
        self.pending_bytes = self.pending_bytes.saturating_add(facts.len());
        self.events.facts.push(facts);
        self.flush_if_due(tables)
    }

    fn request(&mut self, tables: &Tables, request: &Request<'_>) -> io::Result<()> {
        self.begin_block(request.first_seen);
        let handle = |index: usize| narrow(position(index));
        let first_seen = request.first_seen.as_nanos();
        self.events.requests.push(v1::Request {
            after: handle(self.events.order.len()),
            id: request.id.get(),
            process: handle(request.process.index()),
            thread: handle(request.thread.index()),
            first_seen,
            began_before: request
                .started
                .map(|started| first_seen.cast_signed().wrapping_sub(started)),
            by_path: handle(request.by_path.index()),
            endpoint: handle(request.endpoint.index()),
        });
        self.flush_if_due(tables)
    }

    fn tick(&mut self, tables: &Tables, tick: &Tick, samples: &[Sample]) -> io::Result<()> {
        self.event(Event::Tick, tick.at);
        let at = self.deltas.put_at(tick.at.as_nanos());
        let events = &mut self.events;
        events.tick_process.push(narrow(position(tick.process.index())));
        events.tick_at.push(at);
        events.tick_lateness.push(tick.lateness.as_nanos());
        let before = events.sample_thread.len();
        for sample in samples {
            self.deltas.put_sample(&RawSample::from(sample), events);
        }
        let count = events.sample_thread.len().saturating_sub(before);
        events.tick_samples.push(narrow(position(count)));
        self.flush_if_due(tables)
    }

    fn suspended(
        &mut self,
        tables: &Tables,
        look: &TaskLook,
        tasks: &[Suspended],
    ) -> io::Result<()> {
        self.event(Event::Suspended, look.at);
        let handle = |index: usize| narrow(position(index));
        let stored = &mut self.task_look;
        stored.clear();
        stored.process = handle(look.process.index());
        stored.at = look.at.as_nanos();
        (stored.tasks, stored.looked, stored.moved) = (look.tasks, look.looked, look.moved);
        for task in tasks {
            stored.stack.push(narrow(optional(task.stack.map(|stack| stack.index()))));
            stored.endpoint.push(handle(task.endpoint.index()));
            stored.on.push(narrow(optional(task.on.map(|on| on.index()))));
            stored.request.push(task.request.map_or(0, RequestId::get));
            stored.state.push(task.state as u32);
            stored.weight.push(task.weight.as_nanos());
        }
        let encoded = stored.encode_to_vec();
        self.pending_bytes = self.pending_bytes.saturating_add(encoded.len());
        self.events.task_looks.push(encoded);
        self.flush_if_due(tables)
    }

    fn loop_blocked(&mut self, tables: &Tables, blocked: &LoopBlocked) -> io::Result<()> {
        self.event(Event::LoopBlocked, blocked.at);
        let handle = |index: usize| narrow(position(index));
        self.events.loops_blocked.push(v1::LoopBlocked {
            thread: handle(blocked.thread.index()),
            at: blocked.at.as_nanos(),
            held: blocked.held.as_nanos(),
            endpoint: handle(blocked.endpoint.index()),
            function: handle(blocked.function.index()),
        });
        self.flush_if_due(tables)
    }

    fn executions(&mut self, tables: &Tables, executions: &[Executions]) -> io::Result<()> {
        self.event(Event::Executions, self.now);
        let handle = |index: usize| narrow(position(index));
        let stored = executions.iter().map(|of| v1::Executions {
            thread: handle(of.thread.index()),
            endpoint: handle(of.endpoint.index()),
            on: narrow(optional(of.on.map(|on| on.index()))),
            statement: handle(of.statement.index()),
            seen: of.seen,
            samples: of.samples,
            weight: of.weight.as_nanos(),
            looks: of.looks,
            looked: of.looked.as_nanos(),
            waited: of.waited.as_nanos(),
            ended: of.ended,
            estimate: of.estimate,
            variance: of.variance,
            state: of.state as u32,
        });
        self.events.executions.extend(stored);
        self.events.execution_counts.push(handle(executions.len()));
        let bytes = executions.len().saturating_mul(size_of::<v1::Executions>());
        self.pending_bytes = self.pending_bytes.saturating_add(bytes);
        self.flush_if_due(tables)
    }

    fn progress(&mut self, tables: &Tables, progress: &Progress) -> io::Result<()> {
        self.event(Event::Progress, progress.elapsed);
        self.events.progress.push(v1::Progress::from(progress));
        self.flush_if_due(tables)
    }

    fn listen(&mut self, tables: &Tables, queue: &ListenQueue) -> io::Result<()> {
        self.event(Event::Listen, queue.at);
        self.events.listen.push(v1::ListenQueue {
            at: queue.at.as_nanos(),
            address: narrow(position(queue.address.index())),
            looks: queue.looks,
            waiting: queue.waiting,
            most: queue.most,
            limit: queue.limit,
        });
        self.flush_if_due(tables)
    }

    fn note(&mut self, tables: &Tables, note: &Note) -> io::Result<()> {
        self.event(Event::Note, note.at);
        let text = clipped(&note.text).to_owned();
        self.pending_bytes = self.pending_bytes.saturating_add(text.len());
        self.events.notes.push(v1::Note { at: note.at.as_nanos(), text });
        self.flush_if_due(tables)
    }

    fn end(&mut self, tables: &Tables, progress: &Progress) -> io::Result<()> {
        self.flush(tables)?;
        self.block(Kind::End, &v1::Progress::from(progress))
    }
}

impl Written {
    /// Moves entries that are new into `into`, until it is large; `false` if there
    /// are none.
    fn take_new(&mut self, tables: &Tables, into: &mut Entries) -> bool {
        let mut room = ENTRY_BYTES;
        let stacks_before = self.stacks;
        let strings = fresh(tables.strings(), &mut self.strings, &mut room, |string| string.len());
        into.strings.extend(strings.iter().map(|string| clipped(string).to_owned()));
        for function in fresh(tables.functions(), &mut self.functions, &mut room, |_| 0) {
            into.function_name.push(narrow(position(function.name.index())));
            into.function_file.push(narrow(position(function.file.index())));
            into.function_line.push(function.first_line);
        }
        for frame in fresh(tables.frames(), &mut self.frames, &mut room, |_| 0) {
            into.frame_function.push(narrow(position(frame.function.index())));
            into.frame_line.push(frame.line);
        }
        let nodes = fresh(tables.stacks(), &mut self.stacks, &mut room, |_| 0);
        for (index, node) in (stacks_before..).zip(nodes) {
            // A parent was interned before its child.
            let distance = node.parent.map_or(0, |parent| index.saturating_sub(parent.index()));
            into.stack_parent_distance.push(narrow(position(distance)));
            into.stack_frame.push(narrow(position(node.frame.index())));
        }
        for endpoint in fresh(tables.endpoints(), &mut self.endpoints, &mut room, |_| 0) {
            let string = |id: Option<crate::model::StringId>| optional(id.map(|id| id.index()));
            into.endpoint_label.push(narrow(position(endpoint.label.index())));
            into.endpoint_method.push(narrow(string(endpoint.method)));
            into.endpoint_route.push(narrow(string(endpoint.route)));
            into.endpoint_framework.push(v1::framework_number(endpoint.framework));
            into.endpoint_handler.push(narrow(string(endpoint.handler)));
        }
        for on in fresh(tables.ons(), &mut self.ons, &mut room, |_| 0) {
            let (name, function, endpoint) = match on {
                On::Named(name) => (optional(Some(name.index())), 0, 0),
                On::Holder { function, endpoint } => (0, function.index(), endpoint.index()),
            };
            into.on_name.push(narrow(name));
            into.on_function.push(narrow(position(function)));
            into.on_endpoint.push(narrow(position(endpoint)));
        }
        for process in fresh(tables.processes(), &mut self.processes, &mut room, |_| 0) {
            into.process_pid.push(process.pid.get());
            into.process_start_time.push(process.start_time);
        }
        for thread in fresh(tables.threads(), &mut self.threads, &mut room, |_| 0) {
            into.thread_process.push(narrow(position(thread.process.index())));
            into.thread_tid.push(thread.tid.get());
            into.thread_name.push(narrow(position(thread.name.index())));
        }
        for routing in fresh(tables.routings(), &mut self.routings, &mut room, |_| 0) {
            into.routing_path.push(narrow(position(routing.path.index())));
            into.routing_route.push(narrow(position(routing.route.index())));
        }
        for statement in fresh(tables.statements(), &mut self.statements, &mut room, |_| 0) {
            into.statement_text.push(narrow(position(statement.text.index())));
        }
        room < ENTRY_BYTES
    }
}

/// The entries that were not written yet, as many as there is room for. A table
/// gets its turn only when those before it are written out, since its entries name
/// theirs.
fn fresh<'a, T>(
    table: &'a [T],
    written: &mut usize,
    room: &mut usize,
    extra_bytes: impl Fn(&T) -> usize,
) -> &'a [T] {
    /// About what the fields of an entry take.
    const FIELDS: usize = 16;
    let new = table.get(*written..).unwrap_or_default();
    let mut count = 0_usize;
    for entry in new {
        if *room == 0 {
            break;
        }
        *room = room.saturating_sub(extra_bytes(entry).min(MAX_STRING).saturating_add(FIELDS));
        count = count.saturating_add(1);
    }
    *written = written.saturating_add(count);
    new.get(..count).unwrap_or_default()
}

/// A table position as a 32-bit number. Handles are 32 bits wide, so nothing is lost.
fn narrow(position: u64) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

/// The string, cut if it is out of all proportion.
fn clipped(string: &str) -> &str {
    if string.len() <= MAX_STRING {
        return string;
    }
    (0..=MAX_STRING).rev().find_map(|end| string.get(..end)).unwrap_or_default()
}

const _: () = assert!(ENTRY_BYTES + MAX_STRING + BLOCK_BYTES < MAX_INFLATED as usize);
