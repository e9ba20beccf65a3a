//! How much of a thread's time was on a CPU, how much was spent waiting for one, and how
//! much blocked: told by the kernel's counters, and only shared out by samples.
//!
//! At one instant the kernel calls a thread `running` whether it has a CPU or wants one.
//! Its counters know better: of each interval between two looks at a thread they say how
//! long it was on a CPU and how long in the run queue, exactly; what is left it was blocked.
//! They say neither under which stack nor for whom. The looks do, but each for its own
//! instant only. So sums come from the counters, and proportions from the looks:
//!
//! ```text
//! look      idle        A           A           A          idle        idle
//!            ├───────────┼───────────┼───────────┼───────────┼───────────┤
//! counters      3 ms CPU    9 ms CPU    8 ms CPU    4 ms CPU    2 ms CPU
//! whose            ?           A           A           ?           ?
//! ```
//!
//! - An interval between two looks at **one request** (or at the same endpoint of a thread
//!   that serves none and is not idle) is that endpoint's, with all of its CPU time.
//! - Any other interval is a **boundary**: what was served in it may not have been seen at
//!   all. The boundaries' CPU time is shared out over those looks at their ends that found
//!   the thread running, by the time that these stand for. A request that is shorter than
//!   the time between two looks is found by one in so many and then stands for that many
//!   others; a long one is found by all, but has two boundaries only. So that both come out
//!   right on average, each boundary counts half for a running look at either end: the last
//!   look at a long request has one behind it, and not the interval before. Giving each boundary's CPU time to the look at its own end would not:
//!   short requests, mostly seen by none, would give their time to long ones.
//! - Within an endpoint, and within the boundaries, running looks share CPU and run-queue
//!   time (`running`, `runnable`), and the other looks share what remains of the wall time,
//!   each by the time it stands for. So a thread that wakes up for an instant between two
//!   looks at its sleep has its CPU time, and one that was found running only because the
//!   profiler kept it from its CPU does not get more than it had.
//! - Looks that are known to have found it in the run queue (waiters for the GIL, see
//!   `woken.rs`) have their part in the run-queue time and none in the CPU time. Running
//!   looks stand for the CPU time and the rest of the run-queue time.
//!
//! Counters lag: that of a running thread by up to one tick of the kernel (4 ms), and a wait
//! for a CPU is added only when it is over. Nothing is lost by that, it comes later. So sums
//! are made over a **window** of half a minute: long compared with the lag, and long enough
//! for some requests of each kind to be met at a boundary (a kind that is met in few windows
//! only would get too little, since in the others its CPU time goes to the rest). What a
//! window lacks or has too much is carried into the next one.
//! CPU time that found no running look in its window waits for one in a later window; if
//! there never is one, it goes to the heaviest stack of its endpoint, or else of its thread.
//!
//! Where the kernel keeps no counters, a look stands for the time since the one before, and
//! `runnable` is not told from `running`. How long the GIL was held is not shared out this
//! way: who holds it holds it whether running or not, so that each look stands for itself.
//!
//! After all that the time of all states of a thread adds up to the time for which it was
//! watched, that of `running` to its CPU time, and that of `runnable` to its run-queue time.

use rustc_hash::FxHashMap;

use super::cells::Cells;
use super::{Key, Last};
use crate::model::{EndpointId, Sample, State, ThreadId};
use crate::units::Nanos;

/// How long a window is at the least.
const WINDOW: Nanos = Nanos::from_millis(30_000);

/// The longest time, in nanoseconds, that the CPU time of a running thread lags: one tick of
/// a kernel with 250 of them a second.
const LAG: u64 = 4_000_000;

/// A window ends early if so many different looks have come together.
const MOST_LOOKS: usize = 4_096;

/// No counter and no weight is taken to be more than this at once (52 days), whatever a
/// damaged recording says, so that sums cannot overflow.
const MOST_AT_ONCE: u64 = 1 << 52;

/// Shares the counters of one thread out over its cells.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    last: Option<Last>,
    /// When that was.
    at: Nanos,
    /// Its cell, and what it said.
    cell: u32,
    kind: Kind,
    window: Nanos,
    looks: Vec<Look>,
    parts: Vec<Part>,
    /// By endpoint; the boundaries' has none.
    by_endpoint: FxHashMap<Option<EndpointId>, u32>,
    /// Wall time that is still to be given to a state; negative if too much was.
    owed: i64,
}

/// One or more looks in a row that found the same.
#[derive(Debug, Clone, Copy)]
struct Look {
    part: u32,
    cell: u32,
    /// The time that they stand for where counters are shared out.
    weight: u64,
    /// The time since the look before each.
    own: u64,
    kind: Kind,
}

/// What a look says of the thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    /// It has a CPU or wants one.
    Runs,
    /// It wants one.
    Queues,
    /// It is blocked, or nothing is known.
    #[default]
    Other,
}

impl Kind {
    const fn of(state: State) -> Self {
        match state {
            State::Running => Self::Runs,
            State::Runnable => Self::Queues,
            _ => Self::Other,
        }
    }
}

/// What all intervals of one endpoint, or all boundaries, add up to in this window.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    endpoint: Option<EndpointId>,
    /// CPU and run-queue time that no look was given so far, from earlier windows too.
    cpu: u64,
    runqueue: u64,
    /// Wall time less these.
    blocked: i64,
    /// The weight of all looks of each [`Kind`], and of those that had their share.
    looks: [u64; 3],
    done: [u64; 3],
}

impl Part {
    const fn looks(&self, kind: Kind) -> u64 {
        self.looks[kind as usize]
    }

    /// The run-queue time of its running looks, and that of those that are known to queue.
    fn runqueues(&self) -> [u64; 2] {
        let (runs, queues) = (self.looks(Kind::Runs), self.looks(Kind::Queues));
        let of_running = match (runs, queues) {
            (_, 0) => self.runqueue,
            (0, _) => 0,
            _ => {
                let wanted = runs.saturating_sub(self.cpu);
                portion(self.runqueue, wanted, wanted.saturating_add(queues))
            }
        };
        [of_running, self.runqueue - of_running]
    }
}

impl Sharing {
    /// Adds a look whose cell is `cell`. `at` is when it was.
    pub(super) fn add(&mut self, at: Nanos, sample: &Sample, cell: u32, cells: &mut Cells) {
        let weight = sample.weight.as_nanos().min(MOST_AT_ONCE);
        let (mut cpu, mut runqueue) = (sample.cpu.as_nanos(), sample.runqueue.as_nanos());
        let gap = at.saturating_sub(self.at).as_nanos();
        if self.last.is_some() && gap > weight.saturating_add(weight / 2) {
            // Nobody was watching for a while, and only `weight` of it counts.
            (cpu, runqueue) = (portion(cpu, weight, gap), portion(runqueue, weight, gap));
        }
        (cpu, runqueue) = (cpu.min(MOST_AT_ONCE), runqueue.min(MOST_AT_ONCE));
        let part = self.part(sample);
        let kind = Kind::of(sample.state);
        let sums = &mut self.parts[part as usize];
        sums.cpu = sums.cpu.saturating_add(cpu);
        sums.runqueue = sums.runqueue.saturating_add(runqueue);
        let blocked = weight.cast_signed() - cpu.cast_signed() - runqueue.cast_signed();
        sums.blocked = sums.blocked.saturating_add(blocked);
        let is_boundary = sums.endpoint.is_none();
        let half = |kind| if is_boundary && kind != Kind::Other { weight / 2 } else { 0 };
        let (before, after) = (half(self.kind), weight - half(kind));
        if before > 0 {
            self.look(Look { part, cell: self.cell, kind: self.kind, weight: before, own: 0 });
        }
        self.look(Look { part, cell, kind, weight: after, own: weight });
        self.last = Some(Last::of(sample));
        (self.at, self.cell, self.kind) = (at, cell, kind);
        self.window += Nanos::from_nanos(weight);
        let is_due = self.window >= WINDOW && (self.is_counted() || !self.was_seen_running());
        if is_due || self.looks.len() >= MOST_LOOKS {
            self.settle(cells);
        }
    }

    fn look(&mut self, look: Look) {
        let all = &mut self.parts[look.part as usize].looks[look.kind as usize];
        *all = all.saturating_add(look.weight);
        match self.looks.last_mut() {
            Some(last) if (last.part, last.cell) == (look.part, look.cell) => {
                last.weight = last.weight.saturating_add(look.weight);
                last.own = last.own.saturating_add(look.own);
            }
            _ => self.looks.push(look),
        }
    }

    /// The part that the interval before this look belongs to.
    fn part(&mut self, sample: &Sample) -> u32 {
        let now = Last::of(sample);
        // A thread's first look says nothing of before, but then its counters don't either.
        let whole = self.last.is_none_or(|last| last.is_one_with(&now));
        let endpoint = whole.then_some(sample.endpoint);
        let known = self.looks.last().map(|look| look.part);
        if let Some(known) = known.filter(|&it| self.parts[it as usize].endpoint == endpoint) {
            return known;
        }
        *self.by_endpoint.entry(endpoint).or_insert_with(|| {
            self.parts.push(Part { endpoint, ..Part::default() });
            (self.parts.len() - 1) as u32
        })
    }

    /// Whether the counters have moved.
    fn is_counted(&self) -> bool {
        self.parts.iter().any(|part| part.cpu > 0 || part.runqueue > 0)
    }

    fn was_seen_running(&self) -> bool {
        self.parts.iter().any(|part| part.looks(Kind::Runs) > 0 || part.looks(Kind::Queues) > 0)
    }

    /// Ends the window: gives all of its time to cells, as far as there are looks for it.
    fn settle(&mut self, cells: &mut Cells) {
        if self.was_seen_running() && !self.is_counted() {
            self.settle_as_seen(cells);
        } else {
            self.settle_as_counted(cells);
        }
        self.looks.clear();
        self.window = Nanos::ZERO;
    }

    /// There are no counters, or none so far: each look stands for its own time.
    fn settle_as_seen(&mut self, cells: &mut Cells) {
        for look in &self.looks {
            cells.add(look.cell, look.own);
        }
        for part in &mut self.parts {
            *part = Part { endpoint: part.endpoint, ..Part::default() };
        }
    }

    fn settle_as_counted(&mut self, cells: &mut Cells) {
        for part in self.parts.iter_mut().filter(|part| part.looks(Kind::Other) == 0) {
            self.owed = self.owed.saturating_add(std::mem::take(&mut part.blocked));
        }
        for part in self.parts.iter_mut().filter(|part| part.looks(Kind::Other) > 0) {
            let all = part.blocked.saturating_add(std::mem::take(&mut self.owed));
            part.blocked = all.max(0);
            self.owed = all.min(0);
        }
        for look in &self.looks {
            let part = &mut self.parts[look.part as usize];
            let (all, done) = (part.looks(look.kind), part.done[look.kind as usize]);
            let share = |sum| share(sum, done, look.weight, all);
            let [of_running, of_queueing] = part.runqueues();
            match look.kind {
                Kind::Runs => give(cells, look.cell, share(part.cpu), share(of_running)),
                Kind::Queues => cells.add(look.cell, share(of_queueing)),
                Kind::Other => cells.add(look.cell, share(part.blocked.cast_unsigned())),
            }
            part.done[look.kind as usize] = done.saturating_add(look.weight);
        }
        for part in &mut self.parts {
            let (runs, queues) = (part.looks(Kind::Runs) > 0, part.looks(Kind::Queues) > 0);
            let cpu = if runs { 0 } else { part.cpu };
            let runqueue = if runs || queues { 0 } else { part.runqueue };
            *part = Part { endpoint: part.endpoint, cpu, runqueue, ..Part::default() };
        }
    }

    /// Ends the last window. What no look was given is left in [`Rest`].
    pub(super) fn finish(mut self, thread: ThreadId, cells: &mut Cells, rest: &mut Vec<Rest>) {
        self.settle(cells);
        for part in self.parts.iter().filter(|part| part.cpu > 0 || part.runqueue > 0) {
            let Part { endpoint, cpu, runqueue, .. } = *part;
            rest.push(Rest { thread, endpoint, cpu, runqueue });
        }
        if self.last.is_none() {
            return;
        }
        let owed = self.owed.unsigned_abs();
        if self.owed < 0 {
            let cell = cells.get_mut(self.cell);
            cell.weight = cell.weight.saturating_sub(Nanos::from_nanos(owed));
            return;
        }
        // What a running thread's counters do not say yet: more than they lag is a wait for
        // a CPU that goes on.
        let key = cells.get(self.cell).key;
        let waits = if key.state == State::Running { owed.saturating_sub(LAG) } else { 0 };
        cells.add(self.cell, owed - waits);
        if waits > 0 {
            let runnable = cells.of(Key { state: State::Runnable, ..key });
            cells.add(runnable, waits);
        }
    }
}

/// CPU and run-queue time of a thread that was never seen running.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    thread: ThreadId,
    endpoint: Option<EndpointId>,
    cpu: u64,
    runqueue: u64,
}

impl Rest {
    /// Gives what is left to the heaviest cell of its endpoint, or else of its thread: one
    /// that runs, or else one that is not idle, or else any.
    pub(super) fn give(all: &[Self], cells: &mut Cells) {
        if all.is_empty() {
            return;
        }
        type Place = (ThreadId, Option<EndpointId>);
        let mut heaviest: FxHashMap<Place, ((u8, Nanos), u32)> = FxHashMap::default();
        for (position, cell) in cells.all().iter().enumerate() {
            let rank = match cell.key.state {
                State::Running => 2,
                State::Idle => 0,
                _ => 1,
            };
            let found = ((rank, cell.weight), position as u32);
            for endpoint in [None, Some(cell.key.endpoint)] {
                let best = heaviest.entry((cell.key.thread, endpoint)).or_insert(found);
                *best = (*best).max(found);
            }
        }
        for rest in all {
            let of_endpoint = heaviest.get(&(rest.thread, rest.endpoint));
            let Some(&(_, cell)) = of_endpoint.or_else(|| heaviest.get(&(rest.thread, None)))
            else {
                continue;
            };
            let key = cells.get(cell).key;
            let cell = cells.of(Key { state: State::Running, on: None, ..key });
            give(cells, cell, rest.cpu, rest.runqueue);
        }
    }
}

/// Gives CPU time to a running cell, and run-queue time to the same cell as runnable.
fn give(cells: &mut Cells, cell: u32, cpu: u64, runqueue: u64) {
    let running = cells.get_mut(cell);
    running.cpu += Nanos::from_nanos(cpu);
    running.weight += Nanos::from_nanos(cpu);
    if runqueue > 0 {
        let key = Key { state: State::Runnable, ..running.key };
        let runnable = cells.of(key);
        cells.add(runnable, runqueue);
    }
}

/// Of `sum`, what falls to `weight` out of `all` if `done` came before: so rounded that the
/// shares add up.
fn share(sum: u64, done: u64, weight: u64, all: u64) -> u64 {
    portion(sum, done.saturating_add(weight), all) - portion(sum, done, all)
}

/// `sum × part ÷ all`, at the most `sum`; nothing of nothing.
fn portion(sum: u64, part: u64, all: u64) -> u64 {
    if all == 0 {
        return 0;
    }
    let portion = u128::from(sum) * u128::from(part.min(all)) / u128::from(all);
    u64::try_from(portion).unwrap_or(sum)
}

#[cfg(test)]
mod tests;
