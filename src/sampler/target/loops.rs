//! For how long one callback holds an event loop.
//!
//! ```text
//! BaseEventLoop._run_once    end_time, i, handle: which round of the loop, which callback
//!   Handle._run              something is being called
//!     …
//! ```
//!
//! A round sets `end_time` anew and `i` counts its callbacks (`Lib/asyncio/base_events.py`,
//! the same from 3.8 to 3.15), so as long as both are the same it is one and the same
//! callback. Loops that are not written in Python (uvloop) do not show that, and nothing is
//! told of them.

use rustc_hash::FxHashMap;

use super::{Common, Target};
use crate::model::{EndpointId, FunctionId, LoopBlocked, Sample, StackId, Tables, ThreadId};
use crate::python::{Local, Locals, Stack};
use crate::units::{Nanos, RemoteAddress};

/// The event loops of one process, by the position of their thread.
#[derive(Debug, Default)]
pub(super) struct Loops {
    held: FxHashMap<RemoteAddress, Held>,
    /// Where `_run_once` has its locals, by its code object.
    locals: FxHashMap<usize, [Option<Local>; 3]>,
    generation: u64,
    blocked: Vec<LoopBlocked>,
    /// When it was last looked.
    looked: Nanos,
}

/// The locals of `_run_once` that tell one callback from all others.
const LOCALS: [&str; 3] = ["end_time", "i", "handle"];

/// Which callback it is: the time at which the round began, in bits, and two addresses.
type Callback = (u64, [RemoteAddress; 2]);

/// A callback that is running.
#[derive(Debug)]
struct Held {
    callback: Callback,
    began: Nanos,
    /// When it was last seen.
    last: Nanos,
    thread: ThreadId,
    endpoint: EndpointId,
    stacks: OnStack,
}

/// What several stacks have in common, but for the first and the last: a callback is on its
/// way to what takes it long, and back.
#[derive(Debug, Default)]
struct OnStack {
    first: Option<StackId>,
    middle: Option<StackId>,
    last: Option<StackId>,
}

impl OnStack {
    fn add(&mut self, stack: Option<StackId>, tables: &Tables) {
        if self.first.is_none() {
            self.first = stack;
            return;
        }
        let Some(before) = std::mem::replace(&mut self.last, stack) else { return };
        self.middle = match self.middle {
            Some(middle) => common_part(Some(middle), Some(before), tables),
            None => Some(before),
        };
    }

    fn of_most(&self) -> Option<StackId> {
        self.middle.or(self.last).or(self.first)
    }
}

/// What a function is to an event loop, for all processes.
#[derive(Debug, Default)]
pub(in crate::sampler) struct KnownLoops {
    by_function: Vec<Option<Part>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Round,
    Call,
    Other,
}

impl KnownLoops {
    fn of(&mut self, function: FunctionId, tables: &Tables) -> Part {
        let index = function.index();
        if self.by_function.len() <= index {
            self.by_function.resize(index + 1, None);
        }
        *self.by_function[index].get_or_insert_with(|| {
            let function = tables.function(function);
            let name = tables.string(function.name);
            let file = tables.string(function.file);
            match name.rsplit('.').next().unwrap_or(name) {
                "_run_once" if file.ends_with("/asyncio/base_events.py") => Part::Round,
                "_run" if file.ends_with("/asyncio/events.py") => Part::Call,
                _ => Part::Other,
            }
        })
    }
}

impl Target {
    /// What came to an end since this was last called.
    pub(in crate::sampler) fn take_blocked(&mut self) -> std::vec::Drain<'_, LoopBlocked> {
        self.loops.blocked.drain(..)
    }

    /// What is being held when the recording ends.
    pub(in crate::sampler) fn end_loops(&mut self, now: Nanos, tables: &Tables) {
        let Loops { held, blocked, .. } = &mut self.loops;
        blocked.extend(held.drain().filter_map(|(_, held)| held.end(now, tables)));
    }

    /// Follows the callbacks of this tick's samples.
    pub(super) fn follow_loops(&mut self, now: Nanos, common: &mut Common, samples: &[Sample]) {
        let before = std::mem::replace(&mut self.loops.looked, now);
        for (position, sample) in samples.iter().enumerate() {
            let Some(&index) = self.sampled.get(position) else { continue };
            let Some(address) = self.tracks.get(index).map(|track| track.address) else { continue };
            if !self.wanted.contains(&index) {
                // It has not run, and is where it was.
                if let Some(held) = self.loops.held.get_mut(&address) {
                    held.last = now;
                }
                continue;
            }
            if self.tracks[index].was_torn {
                continue;
            }
            let callback = self.callback(index, common);
            let known = self.loops.held.get_mut(&address);
            match (known, callback) {
                (Some(held), Some(callback)) if held.callback == callback => {
                    held.last = now;
                    held.stacks.add(sample.stack, &common.tables);
                    if sample.request.is_some() {
                        held.endpoint = sample.endpoint;
                    }
                }
                (known, callback) => {
                    let over = (now, &common.tables);
                    if known.is_some() {
                        let held = self.loops.held.remove(&address);
                        let ended = held.and_then(|held| held.end(over.0, over.1));
                        self.loops.blocked.extend(ended);
                    }
                    if let Some(callback) = callback {
                        let Sample { thread, endpoint, stack, .. } = *sample;
                        let began = between(before, now);
                        let mut stacks = OnStack::default();
                        stacks.add(stack, &common.tables);
                        let held = Held { callback, began, last: now, thread, endpoint, stacks };
                        self.loops.held.insert(address, held);
                    }
                }
            }
        }
    }

    /// The callback that a thread's event loop runs.
    fn callback(&mut self, index: usize, common: &mut Common) -> Option<Callback> {
        let frames = self.runtime.threads().get(index)?.frames();
        let mut parts = frames.iter().map(|frame| common.loops.of(frame.function, &common.tables));
        let place = parts.position(|part| part == Part::Round)?;
        if parts.next() != Some(Part::Call) {
            return None;
        }
        let frame = *frames.get(place)?;
        if self.loops.generation != self.runtime.code_generation() {
            self.loops.generation = self.runtime.code_generation();
            self.loops.locals.clear();
        }
        let mut stack = Stack::of_thread(&mut self.runtime, &self.memory, index);
        let mut locals: Locals<'_> = stack.locals();
        let [end_time, number, handle] = match self.loops.locals.get(&frame.code_index()) {
            Some(known) => *known,
            None => {
                let found = LOCALS.map(|name| locals.find(&frame, name));
                self.loops.locals.insert(frame.code_index(), found);
                found
            }
        };
        let end_time = locals.value(&frame, end_time?)?;
        let time = locals.float_bits(end_time)?;
        let addresses = [locals.value(&frame, number?)?, locals.value(&frame, handle?)?];
        Some((time, addresses))
    }
}

impl Held {
    /// What it comes to if it was no longer there at `now`.
    fn end(self, now: Nanos, tables: &Tables) -> Option<LoopBlocked> {
        let at = between(self.last, now);
        let held = at.saturating_sub(self.began);
        let leaf = tables.frames_from_leaf(self.stacks.of_most()?).next()?;
        let function = tables.frame(leaf).function;
        let Self { thread, endpoint, .. } = self;
        let blocked = LoopBlocked { thread, at, held, endpoint, function };
        (held >= LoopBlocked::SHORTEST).then_some(blocked)
    }
}

/// The moment half way between two.
fn between(one: Nanos, other: Nanos) -> Nanos {
    let half = other.saturating_sub(one).as_nanos() / 2;
    one.saturating_add(Nanos::from_nanos(half))
}

/// What two stacks have in common, from the root up.
fn common_part(one: Option<StackId>, other: Option<StackId>, tables: &Tables) -> Option<StackId> {
    if one == other {
        return one;
    }
    let depth =
        |stack: Option<StackId>| stack.map_or(0, |stack| tables.frames_from_leaf(stack).count());
    let parent = |stack: Option<StackId>| tables.stack(stack?).parent;
    let (mut one, mut other, mut depths) = (one, other, (depth(one), depth(other)));
    while one != other {
        if depths.0 >= depths.1 {
            (one, depths.0) = (parent(one), depths.0.saturating_sub(1));
        } else {
            (other, depths.1) = (parent(other), depths.1.saturating_sub(1));
        }
        if depths == (0, 0) {
            return None;
        }
    }
    one
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Frame;

    #[test]
    fn stacks_have_their_callers_in_common() {
        let mut tables = Tables::new();
        let mut stack = |names: &[&str]| {
            let frames: Vec<_> = names
                .iter()
                .map(|name| {
                    let function = tables.intern_function_named(name, "app.py", 1);
                    tables.intern_frame(Frame { function, line: 1 })
                })
                .collect();
            tables.intern_stack_of(frames)
        };
        let (deep, wide) =
            (stack(&["run", "view", "dumps", "encode"]), stack(&["run", "view", "f"]));
        let (view, other, run) = (stack(&["run", "view"]), stack(&["other"]), stack(&["run"]));
        for (one, two, common) in [
            (deep, wide, view),
            (wide, deep, view),
            (deep, deep, deep),
            (deep, run, run),
            (deep, other, None),
            (deep, None, None),
        ] {
            assert_eq!(common_part(one, two, &tables), common);
        }
    }
}
