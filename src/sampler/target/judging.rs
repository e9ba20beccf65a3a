//! A sample of one thread, from what a tick has found of it.

use super::super::clock::Clock;
use super::super::judge::{Found, Place, Verdict};
use super::{Common, Target};
use crate::model::{
    Evidence, Frame, Grade, On, OnId, ProcessFacts, Sample, StackId, StackNode, State, Tables,
    Thread,
};
use crate::python::{self, FoundFrame, Stack};
use crate::server::worker_class_of_file;
use crate::state::Marks;
use crate::units::{Nanos, Tid};

impl Target {
    /// What the last look found of one thread; weight and counters are left to the caller.
    pub(super) fn sample(
        &mut self,
        index: usize,
        now: Nanos,
        clock: &Clock,
        common: &mut Common,
    ) -> Option<Sample> {
        let for_task = self.served_by_pool(index, common);
        let (thread, track) = (self.runtime.threads().get(index)?, self.tracks.get_mut(index)?);
        let mut grade = thread.grade();
        let stack_holds = matches!(grade, Grade::Exact | Grade::Functions);
        let gil = self.runtime.gil(thread.gil());
        let mut marks = [Marks::default(); Marks::FRAMES];
        let leaves = thread.frames().iter().rev().zip(&mut marks);
        let mark = |(frame, mark): (&FoundFrame, &mut Marks)| {
            *mark = common.marks.of(frame.function, &common.tables);
        };
        let count = leaves.map(mark).count();
        let top = marks.get(..count).unwrap_or_default();
        common.cut_stacks += u64::from(thread.frames().len() > common.max_depth);
        let holds_gil = gil.is_some_and(|gil| gil.holder == Some(track.address));
        let mut stack = track.stacks.intern(thread, common.max_depth, &mut common.tables);
        if holds_gil && stack_holds && self.runtime.is_collecting(thread) {
            stack = Some(collecting(stack, &mut common.tables));
        }
        if !self.worker_class_known {
            self.worker_class_known = note_worker_class(&mut self.facts, thread, &common.tables);
        }
        let found = Found { seen: &track.seen, top, stack_holds, gil };
        let mut place = Place {
            process: &self.process,
            memory: &self.memory,
            runtime: &mut self.runtime,
            descriptors: &mut common.names.descriptors,
        };
        let verdict = self.judge.judge(&found, &mut place);
        let Verdict { state, waiting, evidence, settled } = verdict;
        let blocked = !matches!(state, State::Running | State::Unknown);
        if blocked && !track.seen.stood_still && track.tid.is_some() && grade == Grade::Exact {
            // It went on after its call was read: the stack may be of a later moment.
            grade = Grade::Functions;
        }
        let main = self.process.pid().get();
        let name = match (&track.name, track.tid) {
            (Some(name), _) => name,
            (None, Some(tid)) if tid.get() == main => "MainThread",
            _ => "thread",
        };
        let mut read = Stack::of_thread(&mut self.runtime, &self.memory, index);
        let top = if stack_holds { top } else { &[] };
        let tables = &mut common.tables;
        let on = common.names.on(waiting, top, self.net_namespace, &mut read, tables);
        let attributed = self.attribution.attribute(
            &mut read,
            &mut track.request,
            state,
            name,
            &mut common.requests,
            &mut common.tables,
        );
        let attributed = match for_task {
            Some(task) if state != State::Idle => task,
            _ => attributed,
        };
        let name = common.tables.intern_string(name);
        let tid = track.tid.unwrap_or(Tid::new(0));
        let thread = common.tables.intern_thread(Thread { process: self.id, tid, name });
        let request = attributed.request.and_then(|_| self.attribution.in_progress(&track.request));
        let found = (request, stack_holds);
        let place = (self.id, thread);
        let local_time = &mut self.local_time;
        common.news.extend(track.last_request.look(now, place, found, local_time, clock));
        let sample = Sample {
            thread,
            stack,
            endpoint: attributed.endpoint,
            on,
            statement: track.read.map(|(execution, _)| execution.statement),
            request: attributed.request,
            weight: Nanos::ZERO,
            cpu: Nanos::ZERO,
            runqueue: Nanos::ZERO,
            state,
            evidence,
            grade,
            holds_gil,
        };
        track.was_torn = !stack_holds;
        let stands = track.seen.stood_still && stack_holds && settled && state != State::Unknown;
        track.standing = stands.then_some(Sample { evidence: Evidence::Unchanged, ..sample });
        Some(sample)
    }

    /// Says of each thread that waits for the GIL who holds it. Interpreters of one process
    /// may each have their own.
    pub(super) fn name_holders(&self, common: &mut Common, samples: &mut [Sample]) {
        let gil_of = |position: usize| {
            let track = self.tracks.get(*self.sampled.get(position)?)?;
            Some(track.gil)
        };
        for holder in 0..samples.len() {
            if !samples[holder].holds_gil {
                continue;
            }
            let Some(on) = holder_of(&samples[holder], &mut common.tables) else { continue };
            let gil = gil_of(holder);
            for (position, sample) in samples.iter_mut().enumerate() {
                if sample.state == State::GilWait && gil_of(position) == gil {
                    sample.on = Some(on);
                }
            }
        }
    }
}

/// The stack of a thread that is in the cyclic garbage collector.
fn collecting(stack: Option<StackId>, tables: &mut Tables) -> StackId {
    let function = tables.intern_function_named("(gc)", "", 0);
    let frame = tables.intern_frame(Frame { function, line: 0 });
    tables.intern_stack(StackNode { parent: stack, frame })
}

/// The topmost function of a thread that holds the GIL, and what it serves.
fn holder_of(holder: &Sample, tables: &mut Tables) -> Option<OnId> {
    let leaf = tables.frames_from_leaf(holder.stack?).next()?;
    let function = tables.frame(leaf).function;
    Some(tables.intern_on(On::Holder { function, endpoint: holder.endpoint }))
}

/// Takes the worker class from the file of a frame; whether it is known now.
fn note_worker_class(
    facts: &mut ProcessFacts,
    thread: &python::PythonThread,
    tables: &Tables,
) -> bool {
    let class = thread.frames().iter().find_map(|found| {
        let function = tables.function(found.function);
        worker_class_of_file(tables.string(function.file))
    });
    if let Some(class) = class {
        facts.worker_class = Some(class.to_owned());
    }
    class.is_some()
}
