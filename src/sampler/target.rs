//! One process being sampled.

mod attach;
mod heartbeat;
mod judging;
mod locals;
mod loops;
mod pools;
mod statements;
mod tasks;
mod threads;

use super::clock::Clock;
use super::executions::{Counts, Second};
use super::judge::{Judge, KnownMarks};
use super::names::Names;
use super::requests::{Counted, LocalTime, News};
use super::thread::{Glance, Track};
use crate::endpoint::{Attribution, Declared, Shared};
use crate::model::{ProcessFacts, ProcessId, Sample, Tables};
use crate::process::{Affinity, Images, LiveMemory, Process, Syscall};
use crate::python::{self, Runtime, Stack};
use crate::statement::{self, Statements};
use crate::units::{Nanos, RemoteAddress};

/// What all targets of a recording share.
#[derive(Debug, Default)]
pub(super) struct Common {
    pub(super) tables: Tables,
    pub(super) images: Images,
    pub(super) requests: Shared,
    /// What this tick has found out of requests.
    pub(super) news: Vec<News>,
    marks: KnownMarks,
    awaits: tasks::KnownAwaits,
    loops: loops::KnownLoops,
    pools: pools::KnownPools,
    /// What waits are called.
    pub(super) names: Names,
    /// System calls made on threads' files so far, and to be on the right CPU.
    pub(super) calls: u64,
    /// How many frames of one stack are kept at the most.
    pub(super) max_depth: usize,
    /// Samples whose stacks had more.
    pub(super) cut_stacks: u64,
    /// Functions that serve requests, as a person declared them.
    pub(super) declared: Declared,
    /// Whether it is read what databases are asked.
    pub(super) statements: bool,
    /// When the recording began, in kernel clock ticks since boot, once it has.
    pub(super) began: Option<u64>,
    pub(super) known_statements: statement::Shared,
    pub(super) executions: Counts,
    /// Where we run, if busy threads are to be read from their own CPUs.
    pub(super) affinity: Option<Affinity>,
}

/// A process being sampled.
#[derive(Debug)]
pub(super) struct Target {
    process: Process,
    memory: LiveMemory,
    runtime: Runtime,
    pub(super) id: ProcessId,
    pub(super) facts: ProcessFacts,
    attribution: Attribution,
    local_time: LocalTime,
    counted: Counted,
    judge: Judge,
    statements: Statements,
    /// The number of its network namespace.
    net_namespace: Option<u64>,
    /// In the order of the runtime's threads.
    tracks: Vec<Track>,
    /// Threads whose stacks this tick reads.
    wanted: Vec<usize>,
    /// Threads whose stacks the second look reads.
    again: Vec<usize>,
    /// Whose sample each of the last tick's samples is.
    sampled: Vec<usize>,
    /// When the list of threads was last read.
    listed: Nanos,
    /// How long that list holds if nothing seems to have changed.
    list_interval: Nanos,
    /// When the count of the GIL's switches was first read, and what it was then.
    first_switches: Option<(Nanos, u64)>,
    /// When the process was last ticked.
    ticked: Option<Nanos>,
    /// Whether a frame has told the worker class.
    worker_class_known: bool,
    tasks: tasks::TaskSampling,
    loops: loops::Loops,
    /// Whether it was told what of it is not seen.
    told_unseen: bool,
    /// The file that a worker touches, once looked for.
    heartbeat_descriptor: Option<Option<i32>>,
    /// How long it may be silent, once known; zero for ever.
    timeout: Option<Nanos>,
}

/// The process cannot be sampled any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// Whether there is an interpreter in a process that could be sampled.
///
/// # Errors
/// See [`python::Error`].
pub(super) fn try_locate(process: &Process, common: &mut Common) -> Result<(), python::Error> {
    let images = common.images.of_process(process)?;
    Runtime::locate(&images, &LiveMemory::new(process.clone())).map(drop)
}

/// How often the list of threads is read anew even if nothing seems to have changed:
/// a thread may leave the interpreter and live on.
const LIST_INTERVAL: Nanos = Nanos::from_millis(1000);

/// How soon it is read again after a thread was listed that has no number yet; later and
/// later as long as that stays so.
const FIRST_RETRY: Nanos = Nanos::from_millis(10);

impl Target {
    /// The process.
    pub(super) const fn process(&self) -> &Process {
        &self.process
    }

    /// System calls made and bytes read of its memory.
    pub(super) const fn costs(&self) -> (u64, u64) {
        self.runtime.costs()
    }

    /// Looks at all threads at this instant, into `samples`. `longest` is the longest time
    /// that one sample may stand for; after a longer gap it stands for one `period`.
    pub(super) fn tick(
        &mut self,
        now: Nanos,
        period: Nanos,
        longest: Nanos,
        clock: &Clock,
        common: &mut Common,
        samples: &mut Vec<Sample>,
    ) -> Result<(), Gone> {
        samples.clear();
        self.wanted.clear();
        let mut gone = 0;
        for (index, track) in self.tracks.iter_mut().enumerate() {
            match track.glance(&mut common.calls) {
                Glance::Stands => {}
                Glance::Look => self.wanted.push(index),
                Glance::Gone => gone += 1,
            }
        }
        if gone == self.tracks.len() {
            // Not even the main thread: or its Python threads have all been replaced.
            return self.relist(now);
        }
        let mut threads_changed = gone > 0;
        if !self.wanted.is_empty() {
            let here = self.join_running(common);
            for &index in &self.wanted {
                let track = &self.tracks[index];
                let runs = !matches!(track.seen.syscall, Some(Syscall::In(_)));
                self.runtime.set_moves(index, runs && here != Some(track.address));
            }
            let look = self.runtime.look(&self.memory, &mut common.tables, &self.wanted);
            threads_changed |= look.map_err(|_| Gone)?.threads_changed;
            // Before the counters: they vouch for what is read here too.
            self.read_statements(clock, common);
            self.count_switches(now);
            self.find_counter(common);
            for &index in &self.wanted {
                self.tracks[index].glance_again(&mut common.calls);
            }
        }
        if self.counted.is_due(now) {
            self.count_requests(now);
        }
        self.follow_beginners();
        self.collect(now, (period, longest), clock, common, samples);
        self.name_holders(common, samples);
        self.follow_loops(now, common, samples);
        self.look_at_tasks(now, (period, longest), common);
        self.ticked = Some(now);
        if threads_changed || now.saturating_sub(self.listed) >= self.list_interval {
            self.relist(now)?;
        }
        Ok(())
    }

    /// Keeps how often the GIL has changed hands since it was first looked at.
    fn count_switches(&mut self, now: Nanos) {
        let Some(switches) = self.runtime.gil_switches() else { return };
        let &mut (first, count) = self.first_switches.get_or_insert((now, switches));
        if let (Some(since), true) = (switches.checked_sub(count), now > first) {
            self.facts.gil_switches = Some(since);
            self.facts.gil_watched = now.saturating_sub(first);
        }
    }

    /// Looks for the server's own count of requests.
    fn find_counter(&mut self, common: &Common) {
        for &index in &self.wanted {
            if self.counted.counter.is_found() {
                return;
            }
            let mut look = Stack::of_thread(&mut self.runtime, &self.memory, index);
            self.counted.counter.find(&mut look, &common.tables);
        }
    }

    /// Reads it.
    fn count_requests(&mut self, now: Nanos) {
        if let Some(count) = self.counted.counter.read(&mut self.runtime, &self.memory) {
            self.counted.take(now, count, &mut self.facts);
        }
    }

    /// Moves us to the CPU of the thread that runs Python code: it cannot run while we do,
    /// so nothing of it can change while it is read. Its thread state's address.
    fn join_running(&mut self, common: &mut Common) -> Option<RemoteAddress> {
        let affinity = common.affinity.as_mut()?;
        let is_running = |track: &&Track| track.seen.syscall == Some(Syscall::Running);
        let wanted = self.wanted.iter().filter_map(|&index| self.tracks.get(index));
        let mut running = wanted.filter(is_running);
        let (first, second) = (running.next()?, running.next());
        let holder = second.and_then(|second| {
            // Of several that run, the one with the GIL can change its frames.
            common.calls += 1;
            let holder = self.runtime.gil_holder(&self.memory, first.gil)?;
            let mut candidates = [first, second].into_iter().chain(running);
            candidates.find(|track| track.address == holder)
        });
        let address = holder.unwrap_or(first).address;
        let track = self.tracks.iter_mut().find(|track| track.address == address)?;
        let cpu = track.cpu(affinity.here(), &mut common.calls)?;
        affinity.move_to(cpu).then_some(address)
    }

    /// A sample of every thread.
    fn collect(
        &mut self,
        now: Nanos,
        (period, longest): (Nanos, Nanos),
        clock: &Clock,
        common: &mut Common,
        samples: &mut Vec<Sample>,
    ) {
        let mut wanted = 0;
        self.sampled.clear();
        for index in 0..self.tracks.len() {
            let looked = self.wanted.get(wanted) == Some(&index);
            if !self.runs_on_its_thread(index) {
                wanted += usize::from(looked);
                let track = &mut self.tracks[index];
                (track.sampled, track.standing) = (Some(now), None);
                continue;
            }
            let sample = if looked {
                wanted += 1;
                self.sample(index, now, clock, common)
            } else {
                self.tracks[index].last_request.stands(now);
                // Neither looked at nor standing: it ended in this tick.
                self.tracks[index].standing
            };
            let Some(mut sample) = sample else { continue };
            let track = &mut self.tracks[index];
            let since = now.saturating_sub(track.sampled.or(self.ticked).unwrap_or(now));
            sample.weight = if since == Nanos::ZERO || since > longest { period } else { since };
            sample.cpu = track.seen.cpu;
            sample.runqueue = track.seen.runqueue;
            track.sampled = Some(now);
            let (execution, at, is_new) = match track.read {
                Some((execution, at)) => (Some(execution), at, track.last != Some(execution)),
                // It stands, and so does its execution.
                None if !looked => (track.last, now, false),
                None => (None, now, false),
            };
            track.last = execution.filter(|_| sample.statement.is_some());
            track.in_progress =
                track.last.map(|execution| common.executions.seen(&sample, execution, is_new, at));
            self.facts.cpu += sample.cpu;
            self.facts.runqueue += sample.runqueue;
            samples.push(sample);
            self.sampled.push(index);
        }
        let threads = u32::try_from(samples.len()).unwrap_or(u32::MAX);
        self.facts.threads = self.facts.threads.max(threads);
    }

    /// What is suspended in this process and cannot be seen, in a sentence, once.
    pub(super) fn tell_unseen(&mut self) -> Option<String> {
        /// Worker classes whose requests wait in greenlets (`greenlet` keeps no list of them).
        const OF_GREENLETS: [&str; 2] = ["gevent", "eventlet"];
        let class = self.facts.worker_class.as_deref()?;
        if self.told_unseen || !OF_GREENLETS.contains(&class) {
            return None;
        }
        self.told_unseen = true;
        Some(format!(
            "{class} worker {}: what its suspended greenlets wait for is not seen, only the one \
             that runs",
            self.process.pid()
        ))
    }

    /// The facts that cost a read, for a report about once a second.
    pub(super) fn update_facts(&mut self, now: Nanos) {
        self.count_requests(now);
        if let Ok(resident) = self.process.resident_bytes() {
            self.facts.rss_bytes_last = resident;
        }
    }
}
