//! Live sampling: ticks that read, judge and emit to a [`Sink`].
//!
//! ```text
//! Session ─ fleet (who is there) ─ clock (when) ─► Target::tick, one process at a time
//!   glance   each thread's counters; unchanged and blocked: its last sample stands
//!   look     the others' stacks, all in one batch, and the GIL around them
//!   glance   counters again: did it stand still meanwhile?
//!   judge    state, peer, endpoint ─► Sample ─► Sink
//!   tasks    some of the suspended ones, as often as that costs little ─► Sink
//!   again    a moment later, threads in a statement: has its execution ended?
//! ```
//!
//! A process that cannot be read never stops the others: it is noted, and tried again
//! when it may have changed.

mod attach;
mod awaited;
mod budget;
mod clock;
mod error;
mod executions;
mod judge;
mod listen;
mod look;
mod names;
mod requests;
mod stacks;
mod target;
mod thread;

use std::time::Duration;

pub use error::Error;
pub use look::Heartbeat;

pub use crate::python::{RenderLimits, RenderedLocal};

use crate::endpoint::Declared;
use crate::model::{Note, ProcessId, Progress, Role, Sample, Session as Facts, Sink, Tables, Tick};
use crate::process::{Process, own_cpu};
use crate::server::{Change, Fleet};
use crate::units::Nanos;
use budget::Budget;
use clock::Clock;
use listen::ListenLog;
use target::{Common, Gone, Target};

/// What to sample, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The processes to begin with.
    pub roots: Vec<Process>,
    /// Whether their children are sampled too, as they come and go.
    pub follow_children: bool,
    /// Ticks a second, on average.
    pub rate_hz: f64,
    /// The share of one CPU that farrier itself may use: if ticks at the rate cost more, they
    /// come less often. `None` for no limit.
    pub max_cpu: Option<f64>,
    /// How long to sample; `None` until stopped or until all targets are gone.
    pub duration: Option<Duration>,
    /// Requests that take longer than this are to be kept with all that they do.
    pub slow: Option<Duration>,
    /// How farrier was called, for the recording.
    pub command: Vec<String>,
    /// Whether the target was only just started, so that an interpreter may still come
    /// up in it or below it. Otherwise each of the roots must be Python now.
    pub just_started: bool,
    /// Whether a busy thread is read from the CPU that it runs on: what is read then is of
    /// one moment. If not, a thread that calls a lot is seen in part only.
    pub same_cpu: bool,
    /// How many frames of one stack are kept at the most.
    pub max_depth: usize,
    /// Whether it is read what databases are asked; if not, nothing of it is.
    pub statements: bool,
    /// Functions that serve requests, as a person declared them.
    pub declared: Declared,
}

/// A running recording.
#[derive(Debug)]
pub struct Session {
    options: Options,
    fleet: Fleet,
    /// The fleet's own: it began before the recording.
    fleet_clock: Clock,
    targets: Vec<Target>,
    common: Common,
    clock: Clock,
    budget: Budget,
    facts: Facts,
    progress: Progress,
    /// Calls and bytes of targets that have left.
    left_costs: (u64, u64),
    own_cpu_before: Nanos,
    listen: ListenLog,
    notes: Vec<Note>,
    samples: Vec<Sample>,
}

/// What following the fleet came to.
#[derive(Debug, Default)]
struct Followed {
    joined: Vec<ProcessId>,
    left: Vec<Target>,
    /// The most telling reason why one could not be attached to.
    failure: Option<Error>,
}

/// How often the fleet is looked through for processes that came or left.
const FLEET_INTERVAL: Nanos = Nanos::from_millis(100);

/// How often facts and progress are sent.
const PROGRESS_INTERVAL: Nanos = Nanos::from_millis(1000);

/// The longest time that one sample stands for: beyond, nobody was watching.
const LONGEST_WEIGHT: Nanos = Nanos::from_millis(1000);

impl Session {
    /// What is known of the recording before its first tick.
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Samples until the duration is over, `stop` says so, or all targets are gone.
    ///
    /// # Errors
    /// The sink's. What was given to it before stays valid.
    pub fn run(
        &mut self,
        sink: &mut dyn Sink,
        stop: impl Fn() -> bool,
    ) -> std::io::Result<Progress> {
        let end = self.options.duration.map(Nanos::from);
        sink.begin(&self.facts)?;
        for target in &self.targets {
            sink.process(&self.common.tables, target.id, &target.facts)?;
        }
        let (mut next_fleet, mut next_progress) = (FLEET_INTERVAL, PROGRESS_INTERVAL);
        let mut deadline = self.clock.next_deadline();
        loop {
            let next = deadline.at.min(next_fleet);
            self.clock.sleep_until(end.map_or(next, |end| next.min(end)), &stop);
            let now = self.clock.now();
            if stop() || end.is_some_and(|end| now >= end) {
                break;
            }
            if now >= deadline.at {
                self.progress.missed_ticks += deadline.missed;
                self.progress.ticks += 1;
                self.tick(deadline.at, sink)?;
                deadline = self.clock.next_deadline();
                self.look_again(deadline.at, &stop);
                self.keep_to_budget();
            }
            if (now >= next_fleet || now >= next_progress)
                && let Some(affinity) = &mut self.common.affinity
            {
                // What takes longer is not to be done at a target's expense.
                affinity.release();
            }
            if now >= next_fleet {
                next_fleet = now.saturating_add(FLEET_INTERVAL);
                self.renew_fleet(sink)?;
                self.listen.look(self.common.names.queues(false));
                if self.targets.is_empty() && self.fleet.all_gone() {
                    break;
                }
            }
            if now >= next_progress {
                next_progress = now.saturating_add(PROGRESS_INTERVAL);
                self.report(sink)?;
            }
        }
        let now = self.clock.now();
        for target in &mut self.targets {
            target.end_loops(now, &self.common.tables);
            for blocked in target.take_blocked() {
                sink.loop_blocked(&self.common.tables, &blocked)?;
            }
        }
        self.report(sink)?;
        sink.end(&self.common.tables, &self.progress)?;
        Ok(self.progress)
    }

    /// Ticks less often if they cost too much, and more often if they no longer do.
    fn keep_to_budget(&mut self) {
        let now = self.clock.now();
        if self.budget.is_due(now)
            && let Some(rate) = self.budget.renew(now, own_cpu(), self.progress.ticks)
        {
            self.clock.set_rate(rate);
        }
    }

    /// One instant: every target in turn.
    fn tick(&mut self, due: Nanos, sink: &mut dyn Sink) -> std::io::Result<()> {
        let mut index = 0;
        while index < self.targets.len() {
            if self.tick_target(index, due, sink)? {
                index += 1;
            }
        }
        Ok(())
    }

    /// One target at this instant; whether it is still there.
    fn tick_target(
        &mut self,
        index: usize,
        due: Nanos,
        sink: &mut dyn Sink,
    ) -> std::io::Result<bool> {
        let Some(target) = self.targets.get_mut(index) else { return Ok(false) };
        let period = self.clock.period();
        let longest = LONGEST_WEIGHT.max(Nanos::from_nanos(period.as_nanos().saturating_mul(10)));
        let at = self.clock.now();
        let (clock, samples) = (&self.clock, &mut self.samples);
        let outcome = target.tick(at, period, longest, clock, &mut self.common, samples);
        for news in self.common.news.drain(..) {
            sink.request(&self.common.tables, &news.request())?;
        }
        if !self.samples.is_empty() {
            let lateness = at.saturating_sub(due);
            let tick = Tick { process: target.id, at, lateness };
            sink.tick(&self.common.tables, &tick, &self.samples)?;
        }
        for blocked in target.take_blocked() {
            sink.loop_blocked(&self.common.tables, &blocked)?;
        }
        if let Some((look, tasks)) = target.suspended() {
            sink.suspended(&self.common.tables, look, tasks)?;
        }
        if outcome == Err(Gone) {
            let mut target = self.targets.swap_remove(index);
            // If it still runs it is another program by now, or its interpreter is
            // being taken down; the fleet finds out.
            self.fleet.refused(target.process().pid(), true);
            self.take_leave(&mut target, sink)?;
        }
        Ok(outcome.is_ok())
    }

    /// The second look at threads that were in a statement at this tick: not so late that
    /// the next tick would be.
    fn look_again(&mut self, next: Nanos, stop: impl Fn() -> bool) {
        /// What a second look may take.
        const TAKES: Nanos = Nanos::from_micros(60);
        /// Sooner than this it says nothing.
        const SOONEST: Nanos = Nanos::from_micros(20);
        let due = self.targets.iter().filter_map(|target| target.second_look(&self.common)).min();
        let Some(due) = due else { return };
        let due = due.min(next.saturating_sub(TAKES));
        if due < self.clock.now().saturating_add(SOONEST) && due == next.saturating_sub(TAKES) {
            return;
        }
        self.clock.sleep_until(due, stop);
        for target in &mut self.targets {
            target.look_again(&self.clock, &mut self.common);
        }
    }

    /// Says what there is to say of a target that is no more.
    fn take_leave(&mut self, target: &mut Target, sink: &mut dyn Sink) -> std::io::Result<()> {
        target.facts.left = Some(self.clock.now());
        let (calls, bytes) = target.costs();
        self.left_costs = (self.left_costs.0 + calls, self.left_costs.1 + bytes);
        sink.process(&self.common.tables, target.id, &target.facts)
    }

    /// Lets in who came and lets go who left.
    fn renew_fleet(&mut self, sink: &mut dyn Sink) -> std::io::Result<()> {
        let followed = self.follow_fleet();
        for mut target in followed.left {
            self.take_leave(&mut target, sink)?;
        }
        for target in &self.targets {
            if followed.joined.contains(&target.id) {
                sink.process(&self.common.tables, target.id, &target.facts)?;
            }
        }
        for note in self.notes.drain(..) {
            sink.note(&self.common.tables, &note)?;
        }
        Ok(())
    }

    /// Attaches to new processes and lets go of those that left: one that runs another
    /// program now leaves and joins again.
    fn follow_fleet(&mut self) -> Followed {
        let now = self.fleet_clock.now();
        let at = self.clock.now();
        let mut followed = Followed::default();
        for change in self.fleet.poll(now) {
            let position =
                |pid| self.targets.iter().position(|target| target.process().pid() == pid);
            let (process, membership) = match change {
                Change::Candidate(process, membership) => (process, membership),
                Change::Changed(pid, membership) => {
                    if let Some(index) = position(pid) {
                        self.targets[index].change_membership(&membership);
                    }
                    continue;
                }
                Change::Left(pid) => {
                    if let Some(index) = position(pid) {
                        followed.left.push(self.targets.swap_remove(index));
                    }
                    continue;
                }
            };
            let pid = process.pid();
            match Target::attach(process.clone(), &membership, at, &mut self.common) {
                Ok(target) => {
                    self.fleet.attached(pid);
                    followed.joined.push(target.id);
                    self.targets.push(target);
                }
                Err(error) => {
                    let error = Error::of_process(&process, error);
                    self.fleet.refused(pid, error.is_passing());
                    if error.is_worth_a_note() {
                        self.notes.push(Note { at, text: error.to_string() });
                    }
                    let nearest = &mut followed.failure;
                    if nearest.as_ref().is_none_or(|nearest| error.is_nearer_than(nearest)) {
                        *nearest = Some(error);
                    }
                }
            }
        }
        followed
    }

    /// Looks who listens where, for the names of peers and the queues of the targets.
    fn refresh_names(&mut self) {
        // An arbiter has what its workers listen on too, and beside that what it is itself
        // told by.
        let is_worker = |target: &&Target| target.facts.role != Role::Arbiter;
        let all = self.targets.iter();
        let serving = all.clone().filter(is_worker).map(Target::process);
        self.common.names.refresh(all.map(Target::process), serving);
    }

    /// Sends what changes slowly.
    fn report(&mut self, sink: &mut dyn Sink) -> std::io::Result<()> {
        let (mut calls, mut bytes) = self.left_costs;
        for target in &mut self.targets {
            target.update_facts(self.clock.now());
            let costs = target.costs();
            calls += costs.0;
            bytes += costs.1;
            sink.process(&self.common.tables, target.id, &target.facts)?;
            if let Some(text) = target.tell_unseen() {
                let at = self.clock.now();
                sink.note(&self.common.tables, &Note { at, text })?;
            }
        }
        let Common { executions, tables, .. } = &mut self.common;
        let executions = executions.take();
        if !executions.is_empty() {
            sink.executions(tables, executions)?;
        }
        self.refresh_names();
        self.listen.look(self.common.names.queues(true));
        let at = self.clock.now();
        for queue in self.listen.take(at, &mut self.common.tables) {
            sink.listen(&self.common.tables, &queue)?;
        }
        self.progress.elapsed = self.clock.now();
        self.progress.sampler_cpu = own_cpu().saturating_sub(self.own_cpu_before);
        self.progress.slowed = self.budget.slowed();
        self.progress.cut_stacks = self.common.cut_stacks;
        self.progress.system_calls = calls + self.common.calls;
        self.progress.bytes_read = bytes;
        sink.progress(&self.common.tables, &self.progress)
    }

    /// The tables that all samples of this session refer to.
    pub const fn tables(&self) -> &Tables {
        &self.common.tables
    }

    /// The same, for whoever goes on with them.
    pub fn into_tables(self) -> Tables {
        self.common.tables
    }
}
