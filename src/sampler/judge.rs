//! Gathers what [`crate::state`] wants to know of a blocked thread, and puts its verdict
//! into the tables' words.

use rustc_hash::FxHashMap;

use crate::model::{Evidence, FunctionId, On, OnId, State, Tables};
use crate::process::{Batch, Call, Descriptor, Descriptors, Process, ReadMemory, Syscall, Watched};
use crate::python::{Gil, PythonThread};
use crate::state::{self, Marks, POLLED_SIZE, Restarts, Waiting, Wanted, peers};

use super::thread::Seen;

/// What is known of functions, whatever the process: filled as functions are seen.
#[derive(Debug, Default)]
pub(super) struct KnownMarks {
    by_function: Vec<Option<Marks>>,
}

impl KnownMarks {
    fn of(&mut self, function: FunctionId, tables: &Tables) -> Marks {
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
    descriptors: Descriptors,
    restarts: Restarts,
    ons: FxHashMap<Waiting, OnId>,
    batch: Batch,
    resolved: Vec<Descriptor>,
}

/// What a tick has found of one thread.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) seen: &'a Seen,
    pub(super) thread: &'a PythonThread,
    /// Whether its stack can be used to tell.
    pub(super) stack_holds: bool,
    /// The GIL that it needs.
    pub(super) gil: Option<Gil>,
}

/// What a thread was doing. For [`State::GilWait`] the holder is not looked for here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) state: State,
    pub(super) on: Option<OnId>,
    pub(super) evidence: Evidence,
    /// Whether another look would say the same: a socket may be too new to be known.
    pub(super) settled: bool,
}

impl Judge {
    /// Judges one thread by what this tick has found of it.
    pub(super) fn judge(
        &mut self,
        found: &Found<'_>,
        process: &Process,
        memory: &dyn ReadMemory,
        marks: &mut KnownMarks,
        tables: &mut Tables,
    ) -> Verdict {
        let &Found { seen, thread, stack_holds, gil } = found;
        let mut top = [Marks::default(); Marks::FRAMES];
        let leaves = thread.frames().iter().rev().take(Marks::FRAMES);
        let count = leaves
            .zip(&mut top)
            .map(|(frame, mark)| *mark = marks.of(frame.function, tables))
            .count();
        let syscall = seen.syscall.map(|syscall| match syscall {
            Syscall::In(call) => Syscall::In(self.restarts.settle(call)),
            other => other,
        });
        self.resolved.clear();
        let watched = match syscall {
            Some(Syscall::In(call)) => self.fetch(&call, process, memory),
            _ => None,
        };
        let judged = state::classify(&state::Seen {
            syscall,
            run_flag: seen.run_flag,
            gil: gil.map(|gil| (gil.address, gil.size)),
            frames: stack_holds.then(|| &top[..count]),
            descriptors: &self.resolved,
            watched,
        });
        let too_new = self.resolved.contains(&Descriptor::Socket)
            || watched.is_some_and(|set| set.upstream.contains(&Some(Descriptor::Socket)));
        Verdict {
            state: judged.state,
            on: self.on(judged.on, tables),
            evidence: judged.evidence,
            settled: !too_new,
        }
    }

    /// Reads and resolves the descriptors that a call names.
    fn fetch(
        &mut self,
        call: &Call,
        process: &Process,
        memory: &dyn ReadMemory,
    ) -> Option<Watched> {
        let Self { descriptors, resolved, batch, .. } = self;
        match state::wanted(call) {
            Wanted::Nothing => {}
            Wanted::Descriptor(number) => resolved.push(descriptors.resolve(process, number)),
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
            Wanted::Epoll(number) => return descriptors.watched(process, number).ok(),
        }
        None
    }

    fn on(&mut self, waiting: Waiting, tables: &mut Tables) -> Option<OnId> {
        if matches!(waiting, Waiting::Nothing | Waiting::Gil) {
            return None;
        }
        if let Some(&known) = self.ons.get(&waiting) {
            return Some(known);
        }
        let words = match waiting {
            Waiting::Nothing | Waiting::Gil => return None,
            Waiting::Kind(kind) => kind.to_owned(),
            Waiting::Peer(peer) => peers::describe(peer),
            Waiting::UnixPeer(path) => peers::describe_path(self.descriptors.path(path)),
            Waiting::File(path) => format!("disk {}", self.descriptors.path(path)),
        };
        let named = On::Named(tables.intern_string(&words));
        let on = tables.intern_on(named);
        self.ons.insert(waiting, on);
        Some(on)
    }
}
