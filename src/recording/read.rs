//! Reading a recording back. The file may be cut, damaged or made to harm.

use std::io::{self, Read};

use prost::Message;

use super::block::{BlockReader, Kind, Next};
use super::columns::{Deltas, RawSample, from_flags};
use super::handles::{Handles, Impossible};
use super::v1::{self, Entries, Event, Events};
use super::{MAGIC, VERSION};
use crate::model::{
    ListenQueue, LoopBlocked, Note, Request, RequestId, Sample, Sink, Suspended, Tables, TaskLook,
    Tick,
};
use crate::units::Nanos;

/// Why a recording could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It does not begin as a recording does.
    #[error("this is not a farrier recording")]
    NotARecording,
    /// A later version of farrier wrote it.
    #[error(
        "this recording has format version {version}, which is newer than this farrier reads \
         (version {VERSION})"
    )]
    Newer {
        /// The version it has.
        version: u32,
    },
    /// It ends, or is damaged, before anything was saved.
    #[error("this recording was cut off before anything was saved in it")]
    Empty,
    /// The file could not be read.
    #[error("reading the recording: {0}")]
    Read(#[source] io::Error),
    /// The sink failed.
    #[error("{0}")]
    Sink(#[source] io::Error),
}

/// What a replay leaves behind.
#[derive(Debug)]
pub struct Replayed {
    /// What the handles that were given to the sink point into.
    pub tables: Tables,
    /// Whether the recording was read to its end; `false` if it was cut short or
    /// damaged, of which the sink was told in a note.
    pub complete: bool,
}

/// Gives a recording to a sink, call for call as it was recorded. It holds the tables
/// and one block at a time.
///
/// Of a recording that was cut or is damaged, everything up to the last whole block
/// is given, then a note that says so, and no `end`. What the file says is checked:
/// lengths are bounded and positions are inside their tables.
///
/// # Errors
/// If nothing of it can be used, or the sink fails.
pub fn replay(input: impl Read, sink: &mut dyn Sink) -> Result<Replayed, Error> {
    let mut blocks = BlockReader::new(input);
    let magic: Option<[u8; MAGIC.len()]> = blocks.raw().map_err(Error::Read)?;
    if magic != Some(MAGIC) {
        return Err(Error::NotARecording);
    }
    match blocks.raw().map_err(Error::Read)?.map(u32::from_le_bytes) {
        Some(VERSION) => {}
        Some(version) => return Err(Error::Newer { version }),
        None => return Err(Error::Empty),
    }
    let mut replay = Replay {
        sink,
        tables: Tables::new(),
        handles: Handles::default(),
        deltas: Deltas::default(),
        samples: Vec::new(),
        now: Nanos::ZERO,
        begun: false,
    };
    let why = replay.blocks(&mut blocks)?;
    if !replay.begun {
        return Err(Error::Empty);
    }
    if let Some(why) = why {
        let text =
            format!("{why} after {:.1} s; all before that is here", replay.now.as_secs_f64());
        let note = Note { at: replay.now, text };
        replay.sink.note(&replay.tables, &note).map_err(Error::Sink)?;
    }
    Ok(Replayed { tables: replay.tables, complete: why.is_none() })
}

/// Why a replay ended before the end, in words.
type Cut = Option<&'static str>;
const CUT: Cut = Some("the recording was cut short: it has no end");
const DAMAGED: Cut = Some("the recording is damaged");

/// Why a block could not be given to the sink.
enum Fault {
    Damaged,
    Sink(io::Error),
}

impl From<Impossible> for Fault {
    fn from(_: Impossible) -> Self {
        Self::Damaged
    }
}

impl From<prost::DecodeError> for Fault {
    fn from(_: prost::DecodeError) -> Self {
        Self::Damaged
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Sink(error)
    }
}

struct Replay<'a> {
    sink: &'a mut dyn Sink,
    tables: Tables,
    handles: Handles,
    deltas: Deltas,
    samples: Vec<Sample>,
    now: Nanos,
    begun: bool,
}

impl Replay<'_> {
    fn blocks<R: Read>(&mut self, blocks: &mut BlockReader<R>) -> Result<Cut, Error> {
        loop {
            let (kind, payload) = match blocks.next().map_err(Error::Read)? {
                Next::Block(kind, payload) => (Kind::from_number(kind), payload),
                Next::EndOfFile | Next::Cut => return Ok(CUT),
                Next::Damaged => return Ok(DAMAGED),
            };
            match self.block(kind, payload) {
                Ok(true) => return Ok(None),
                Ok(false) => {}
                Err(Fault::Damaged) => return Ok(DAMAGED),
                Err(Fault::Sink(error)) => return Err(Error::Sink(error)),
            }
        }
    }

    /// Gives one block to the sink; whether it was the last.
    fn block(&mut self, kind: Option<Kind>, payload: &[u8]) -> Result<bool, Fault> {
        match (kind, self.begun) {
            (Some(Kind::Session), false) => {
                self.begun = true;
                self.sink.begin(&v1::Session::decode(payload)?.into())?;
            }
            (Some(Kind::Entries), true) => {
                self.handles.add(&Entries::decode(payload)?, &mut self.tables)?;
            }
            (Some(Kind::Events), true) => self.events(&Events::decode(payload)?)?,
            (Some(Kind::End), true) => {
                let progress = v1::Progress::decode(payload)?.into();
                self.sink.end(&self.tables, &progress)?;
                return Ok(true);
            }
            (None, _) => {}
            (Some(_), _) => return Err(Fault::Damaged),
        }
        Ok(false)
    }

    fn events(&mut self, events: &Events) -> Result<(), Fault> {
        self.deltas.restart();
        let mut ticks = 0_usize;
        let mut samples = 0..events.sample_thread.len();
        let (mut facts, mut notes) = (events.facts.iter(), events.notes.iter());
        let (mut progress, mut listen) = (events.progress.iter(), events.listen.iter());
        let (mut executions, mut counts) =
            (events.executions.iter(), events.execution_counts.iter());
        let mut requests = events.requests.iter().peekable();
        let (mut task_looks, mut blocked) = (events.task_looks.iter(), events.loops_blocked.iter());
        for (index, &number) in events.order.iter().enumerate() {
            while let Some(stored) = requests.next_if(|stored| stored.after as usize <= index) {
                self.request(stored)?;
            }
            match Event::ALL.into_iter().find(|&event| event as u32 == number) {
                Some(Event::Tick) => {
                    self.tick(events, ticks, &mut samples)?;
                    ticks = ticks.saturating_add(1);
                }
                Some(Event::Process) => {
                    let facts = facts.next().ok_or(Fault::Damaged)?;
                    let facts = v1::Facts::decode(facts.as_slice())?;
                    let process = self.handles.process(facts.process)?;
                    self.sink.process(&self.tables, process, &facts.into())?;
                }
                Some(Event::Progress) => {
                    let progress = progress.next().ok_or(Fault::Damaged)?;
                    self.now = self.now.max(Nanos::from_nanos(progress.elapsed));
                    self.sink.progress(&self.tables, &(*progress).into())?;
                }
                Some(Event::Note) => {
                    let note = notes.next().ok_or(Fault::Damaged)?;
                    let at = Nanos::from_nanos(note.at);
                    self.sink.note(&self.tables, &Note { at, text: note.text.clone() })?;
                }
                Some(Event::Executions) => {
                    let count = counts.next().ok_or(Fault::Damaged)?;
                    let mut seen = Vec::new();
                    for _ in 0..*count {
                        let stored = executions.next().ok_or(Fault::Damaged)?;
                        seen.push(self.handles.executions(stored)?);
                    }
                    self.sink.executions(&self.tables, &seen)?;
                }
                Some(Event::Suspended) => {
                    self.suspended(task_looks.next().ok_or(Fault::Damaged)?)?;
                }
                Some(Event::LoopBlocked) => {
                    let stored = blocked.next().ok_or(Fault::Damaged)?;
                    let blocked = LoopBlocked {
                        thread: self.handles.thread(stored.thread.into())?,
                        at: Nanos::from_nanos(stored.at),
                        held: Nanos::from_nanos(stored.held),
                        endpoint: self.handles.endpoint(stored.endpoint.into())?,
                        function: self.handles.function(stored.function)?,
                    };
                    self.sink.loop_blocked(&self.tables, &blocked)?;
                }
                Some(Event::Listen) => {
                    let queue = listen.next().ok_or(Fault::Damaged)?;
                    let at = Nanos::from_nanos(queue.at);
                    let address = self.handles.string(queue.address)?;
                    let &v1::ListenQueue { looks, waiting, most, limit, .. } = queue;
                    let queue = ListenQueue { at, address, looks, waiting, most, limit };
                    self.sink.listen(&self.tables, &queue)?;
                }
                None => return Err(Fault::Damaged),
            }
        }
        requests.try_for_each(|stored| self.request(stored))
    }

    fn suspended(&mut self, stored: &[u8]) -> Result<(), Fault> {
        let stored = v1::TaskLook::decode(stored)?;
        let look = TaskLook {
            process: self.handles.process(stored.process)?,
            at: Nanos::from_nanos(stored.at),
            tasks: stored.tasks,
            looked: stored.looked,
            moved: stored.moved,
        };
        let mut tasks = Vec::new();
        for (index, &endpoint) in stored.endpoint.iter().enumerate() {
            let column = |column: &[u32]| column.get(index).copied().ok_or(Fault::Damaged);
            let long = |column: &[u64]| column.get(index).copied().ok_or(Fault::Damaged);
            let (state, ..) = from_flags(column(&stored.state)?);
            tasks.push(Suspended {
                stack: self.handles.stack(column(&stored.stack)?.into())?,
                endpoint: self.handles.endpoint(endpoint.into())?,
                on: self.handles.on(column(&stored.on)?.into())?,
                request: RequestId::new(long(&stored.request)?),
                state,
                weight: Nanos::from_nanos(long(&stored.weight)?),
            });
        }
        Ok(self.sink.suspended(&self.tables, &look, &tasks)?)
    }

    fn request(&mut self, stored: &v1::Request) -> Result<(), Fault> {
        let first_seen = stored.first_seen;
        let request = Request {
            id: RequestId::new(stored.id).ok_or(Fault::Damaged)?,
            process: self.handles.process(stored.process)?,
            thread: self.handles.thread(stored.thread.into())?,
            first_seen: Nanos::from_nanos(first_seen),
            started: stored
                .began_before
                .map(|before| first_seen.cast_signed().wrapping_sub(before)),
            by_path: self.handles.endpoint(stored.by_path.into())?,
            endpoint: self.handles.endpoint(stored.endpoint.into())?,
            path: None,
        };
        Ok(self.sink.request(&self.tables, &request)?)
    }

    fn tick(
        &mut self,
        events: &Events,
        index: usize,
        indices: &mut std::ops::Range<usize>,
    ) -> Result<(), Fault> {
        let column = |column: &[u32]| column.get(index).copied().ok_or(Fault::Damaged);
        let process = self.handles.process(column(&events.tick_process)?)?;
        let at = *events.tick_at.get(index).ok_or(Fault::Damaged)?;
        let lateness = *events.tick_lateness.get(index).ok_or(Fault::Damaged)?;
        let at = Nanos::from_nanos(self.deltas.take_at(at));
        self.samples.clear();
        for _ in 0..column(&events.tick_samples)? {
            let index = indices.next().ok_or(Fault::Damaged)?;
            let raw = self.deltas.take_sample(events, index, self.handles.threads());
            let sample = self.sample(&raw.ok_or(Fault::Damaged)?)?;
            self.samples.push(sample);
        }
        self.now = self.now.max(at);
        let tick = Tick { process, at, lateness: Nanos::from_nanos(lateness) };
        self.sink.tick(&self.tables, &tick, &self.samples)?;
        Ok(())
    }

    fn sample(&self, raw: &RawSample) -> Result<Sample, Impossible> {
        let (state, evidence, grade, holds_gil) = from_flags(raw.flags);
        Ok(Sample {
            thread: self.handles.thread(raw.thread)?,
            stack: self.handles.stack(raw.stack)?,
            endpoint: self.handles.endpoint(raw.endpoint)?,
            on: self.handles.on(raw.on)?,
            statement: self.handles.statement(raw.statement)?,
            request: RequestId::new(raw.request),
            weight: Nanos::from_nanos(raw.weight),
            cpu: Nanos::from_nanos(raw.cpu),
            runqueue: Nanos::from_nanos(raw.runqueue),
            state,
            evidence,
            grade,
            holds_gil,
        })
    }
}
