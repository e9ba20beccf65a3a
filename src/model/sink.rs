//! How samples leave the sampler.

use std::io;

use super::event_loop::LoopBlocked;
use super::request::Request;
use super::sample::{Sample, Tick};
use super::session::{ListenQueue, ProcessFacts, Progress, Session};
use super::statement::Executions;
use super::suspended::{Suspended, TaskLook};
use super::tables::{ProcessId, Tables};
use crate::units::Nanos;

/// Something that happened and that a person should be told, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// When, since the recording began.
    pub at: Nanos,
    /// The sentence.
    pub text: String,
}

/// Where samples go: a profile, a recording, a screen, a test's list. Live sampling
/// and the replay of a recording call the same methods in the same order: `begin`
/// once; then `process` before a process' first tick and again when its facts
/// change, `request` before the first tick with it and again when what is known of it changes,
/// `tick`, `suspended`, `loop_blocked`, `executions`, `progress` and `listen` about once a second and `note` as they come;
/// `end` once.
///
/// `tables` is always the same growing object within one run. An error ends the
/// recording; what was given before stays valid.
pub trait Sink {
    /// The recording begins.
    fn begin(&mut self, session: &Session) -> io::Result<()>;

    /// A process joined, or what is known of it changed.
    fn process(&mut self, tables: &Tables, id: ProcessId, facts: &ProcessFacts) -> io::Result<()>;

    /// What is known of a request that the next tick has, for the first time or anew. Whoever
    /// has no use for that need not listen.
    fn request(&mut self, tables: &Tables, request: &Request<'_>) -> io::Result<()> {
        let _ = (tables, request);
        Ok(())
    }

    /// All threads of one process at one instant.
    fn tick(&mut self, tables: &Tables, tick: &Tick, samples: &[Sample]) -> io::Result<()>;

    /// The suspended tasks of one process, after the tick at which they were looked at. Whoever
    /// has no use for them need not listen.
    fn suspended(
        &mut self,
        tables: &Tables,
        look: &TaskLook,
        tasks: &[Suspended],
    ) -> io::Result<()> {
        let _ = (tables, look, tasks);
        Ok(())
    }

    /// A callback has held its event loop for long. Whoever has no use for that need not listen.
    fn loop_blocked(&mut self, tables: &Tables, blocked: &LoopBlocked) -> io::Result<()> {
        let _ = (tables, blocked);
        Ok(())
    }

    /// Executions of statements that were seen since this was last called. Whoever has no use
    /// for their number need not listen.
    fn executions(&mut self, tables: &Tables, executions: &[Executions]) -> io::Result<()> {
        let _ = (tables, executions);
        Ok(())
    }

    /// How the sampling goes so far.
    fn progress(&mut self, tables: &Tables, progress: &Progress) -> io::Result<()>;

    /// How many connections waited to be accepted at an address, since that was last told.
    fn listen(&mut self, tables: &Tables, queue: &ListenQueue) -> io::Result<()>;

    /// Something to tell a person.
    fn note(&mut self, tables: &Tables, note: &Note) -> io::Result<()>;

    /// The recording is complete.
    fn end(&mut self, tables: &Tables, progress: &Progress) -> io::Result<()>;
}

/// Two sinks as one.
#[derive(Debug)]
pub struct Tee<'a, A, B>(
    /// Served first.
    pub &'a mut A,
    /// Served second.
    pub &'a mut B,
);

macro_rules! both {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method(&mut self, $($argument: $type),*) -> io::Result<()> {
            self.0.$method($($argument),*)?;
            self.1.$method($($argument),*)
        }
    )*};
}

impl<A: Sink, B: Sink> Sink for Tee<'_, A, B> {
    both! {
        begin(session: &Session);
        process(tables: &Tables, id: ProcessId, facts: &ProcessFacts);
        request(tables: &Tables, request: &Request<'_>);
        tick(tables: &Tables, tick: &Tick, samples: &[Sample]);
        suspended(tables: &Tables, look: &TaskLook, tasks: &[Suspended]);
        loop_blocked(tables: &Tables, blocked: &LoopBlocked);
        executions(tables: &Tables, executions: &[Executions]);
        progress(tables: &Tables, progress: &Progress);
        listen(tables: &Tables, queue: &ListenQueue);
        note(tables: &Tables, note: &Note);
        end(tables: &Tables, progress: &Progress);
    }
}
