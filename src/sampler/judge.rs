//! Gathers what [`crate::state`] wants to know of a blocked thread. What its verdict is
//! called is for [`super::names`].

use std::net::SocketAddr;

use super::thread::Seen;
use crate::model::{Evidence, FunctionId, State, Tables};
use crate::process::{Batch, Call, Descriptor, Descriptors, Process, ReadMemory, Syscall, Watched};
use crate::python::{Gil, Runtime};
use crate::state::{self, Marks, POLLED_SIZE, Restarts, Waiting, Wanted};

/// What is known of functions, whatever the process: filled as functions are seen.
#[derive(Debug, Default)]
pub(super) struct KnownMarks {
    by_function: Vec<Option<Marks>>,
}

impl KnownMarks {
    pub(super) fn of(&mut self, function: FunctionId, tables: &Tables) -> Marks {
        let index = function.index();
        if self.by_function.len() <= index {
            self.by_function.resize(index + 1, None);
        }
        *self.by_function[index].get_or_insert_with(|| {
            let function = tables.function(function);
            Marks::of(tables.string(function.name), tables.string(function.file))
        })
    }
}

/// What one process' waits are judged with.
#[derive(Debug, Default)]
pub(super) struct Judge {
    restarts: Restarts,
    batch: Batch,
    resolved: Vec<Descriptor>,
}

/// Where a target is read.
pub(super) struct Place<'a> {
    pub(super) process: &'a Process,
    pub(super) memory: &'a dyn ReadMemory,
    pub(super) runtime: &'a mut Runtime,
    pub(super) descriptors: &'a mut Descriptors,
}

/// What a tick has found of one thread.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) seen: &'a Seen,
    /// Its topmost frames, leaf first.
    pub(super) top: &'a [Marks],
    /// Whether its stack can be used to tell.
    pub(super) stack_holds: bool,
    /// The GIL that it needs.
    pub(super) gil: Option<Gil>,
}

/// What a thread was doing. For [`State::GilWait`] the holder is not looked for here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) state: State,
    pub(super) waiting: Waiting,
    pub(super) evidence: Evidence,
    /// Whether another look would say the same: a socket may be too new to be known.
    pub(super) settled: bool,
}

/// What was read for a call, besides the descriptors.
#[derive(Debug, Default)]
struct Read {
    watched: Option<Watched>,
    connecting_to: Option<SocketAddr>,
    lock_type: Option<String>,
}

impl Judge {
    /// Judges one thread by what this tick has found of it.
    pub(super) fn judge(&mut self, found: &Found<'_>, place: &mut Place<'_>) -> Verdict {
        let &Found { seen, top, stack_holds, gil } = found;
        let syscall = seen.syscall.map(|syscall| match syscall {
            Syscall::In(call) => Syscall::In(self.restarts.settle(call)),
            other => other,
        });
        let gil = gil.map(|gil| (gil.address, gil.size));
        let frames = stack_holds.then_some(top);
        self.resolved.clear();
        let read = match syscall {
            Some(Syscall::In(call)) => self.fetch(&call, frames, place).unwrap_or_default(),
            _ => Read::default(),
        };
        let judged = state::classify(&state::Seen {
            syscall,
            run_flag: seen.run_flag,
            gil,
            frames,
            descriptors: &self.resolved,
            watched: read.watched,
            connecting_to: read.connecting_to,
            lock_type: read.lock_type.as_deref(),
        });
        let too_new = (self.resolved.contains(&Descriptor::Socket) && read.connecting_to.is_none())
            || read.watched.is_some_and(|set| set.upstream.contains(&Some(Descriptor::Socket)));
        Verdict {
            state: judged.state,
            waiting: judged.on,
            evidence: judged.evidence,
            settled: !too_new,
        }
    }

    /// Reads what a call names, and resolves the descriptors among that.
    fn fetch(
        &mut self,
        call: &Call,
        frames: Option<&[Marks]>,
        place: &mut Place<'_>,
    ) -> Option<Read> {
        let Self { resolved, batch, .. } = self;
        let Place { process, memory, runtime, descriptors } = place;
        let mut read = Read::default();
        match state::wanted(call, frames) {
            Wanted::Nothing => {}
            Wanted::Descriptor(number) => resolved.push(descriptors.resolve(process, number)),
            Wanted::Connection { descriptor, address, length } => {
                batch.clear();
                let slot = batch.ask(address, length);
                memory.read(batch).ok()?;
                read.connecting_to = batch.bytes(slot).and_then(state::connecting_to);
                if read.connecting_to.is_none() {
                    resolved.push(descriptors.resolve(process, descriptor));
                }
            }
            Wanted::PollArray { address, count } => {
                batch.clear();
                let slot = batch.ask(address, count.saturating_mul(POLLED_SIZE));
                memory.read(batch).ok()?;
                let bytes = batch.prefix(slot).unwrap_or_default();
                resolved.extend(
                    state::polled(bytes).map(|number| descriptors.resolve(process, number)),
                );
            }
            Wanted::SelectSets { sets, length } => {
                batch.clear();
                let slots = sets.map(|set| (!set.is_null()).then(|| batch.ask(set, length)));
                memory.read(batch).ok()?;
                let bytes = slots.into_iter().flatten().filter_map(|slot| batch.prefix(slot));
                resolved.extend(
                    state::selected(bytes).map(|number| descriptors.resolve(process, number)),
                );
            }
            Wanted::Epoll(number) => read.watched = descriptors.watched(process, number).ok(),
            Wanted::Lock { pointer } => read.lock_type = runtime.type_of_locked(*memory, pointer),
        }
        Some(read)
    }
}
