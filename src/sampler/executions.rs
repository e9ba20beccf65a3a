//! How often statements are executed: what ticks see of executions, and the second look
//! shortly after a tick that tells which of them have ended. See [`Executions`].
//!
//! ```text
//! tick ─► samples in a statement ─► sleep d ─► counters ─ unchanged: it goes on
//!                                                 └ changed: stack ─► the same execution?
//! ```

use rustc_hash::FxHashMap;

use crate::model::{EndpointId, Executions, OnId, Sample, State, StatementId, ThreadId};
use crate::statement::Execution;
use crate::units::Nanos;

/// How long after a tick the second look comes if nothing is known of the statements.
const USUAL_DELAY: Nanos = Nanos::from_micros(300);

/// The bounds of that time. Sleeping takes some 60 us at the least; and some executions of a
/// statement are far shorter than the average.
const DELAYS: (Nanos, Nanos) = (Nanos::from_micros(40), Nanos::from_micros(1_000));

/// A second look that comes later than an execution takes on average, and this, counts for
/// nothing.
const LATENESS: Nanos = Nanos::from_micros(200);

/// From so many ended executions on, a statement's mean duration is taken to be known.
const ENOUGH_ENDED: u64 = 8;

/// An execution is given so many times the delay to end in, on average: of those that are
/// shorter than the delay too few are counted.
const DELAYS_IN_ONE: u64 = 4;

/// A thread in an execution at this tick.
#[derive(Debug, Clone, Copy)]
pub(super) struct InProgress {
    pub(super) execution: Execution,
    /// When it was seen to be under way.
    pub(super) at: Nanos,
    key: Key,
    weight: Nanos,
}

/// What executions have in common that are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    thread: ThreadId,
    endpoint: EndpointId,
    state: State,
    on: Option<OnId>,
    statement: StatementId,
}

/// What a second look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Second {
    /// The same execution.
    GoesOn,
    /// Another one, or none.
    Ended,
}

/// What is known of a statement's duration.
#[derive(Debug, Clone, Copy, Default)]
struct Typical {
    looked: Nanos,
    estimate: f64,
    ended: u64,
}

/// Counts of all processes since they were last sent.
#[derive(Debug, Default)]
pub(super) struct Counts {
    counts: FxHashMap<Key, Executions>,
    /// By statement.
    typical: Vec<Typical>,
    sent: Vec<Executions>,
}

impl Counts {
    /// A sample in a statement; `is_new` if the thread's execution is not the one that it
    /// had at the tick before.
    pub(super) fn seen(
        &mut self,
        sample: &Sample,
        execution: Execution,
        is_new: bool,
        at: Nanos,
    ) -> InProgress {
        let key = Key {
            thread: sample.thread,
            endpoint: sample.endpoint,
            state: sample.state,
            on: sample.on,
            statement: execution.statement,
        };
        let counts = self.of(key);
        counts.samples += 1;
        counts.seen += u64::from(is_new);
        counts.weight += sample.weight;
        InProgress { execution, at, key, weight: sample.weight }
    }

    /// What a second look at this time found.
    pub(super) fn looked_again(&mut self, first: &InProgress, at: Nanos, found: Second) {
        let delay = at.saturating_sub(first.at);
        let planned = self.delay(first).as_nanos();
        let latest = planned.saturating_mul(DELAYS_IN_ONE).saturating_add(LATENESS.as_nanos());
        if delay == Nanos::ZERO || delay.as_nanos() > latest {
            // The machine has no time for us: most executions are shorter than that.
            return;
        }
        let counts = self.of(first.key);
        counts.looks += 1;
        counts.looked += first.weight;
        counts.waited += delay;
        let stands_for = first.weight.as_nanos() as f64 / delay.as_nanos() as f64;
        let ended = found == Second::Ended;
        if ended {
            counts.ended += 1;
            counts.estimate += stands_for;
            counts.variance += stands_for * stands_for;
        }
        let index = first.key.statement.index();
        if self.typical.len() <= index {
            self.typical.resize(index + 1, Typical::default());
        }
        let typical = &mut self.typical[index];
        typical.looked += first.weight;
        if ended {
            typical.ended += 1;
            typical.estimate += stands_for;
        }
    }

    /// How long after a tick with an execution of this statement the second look is due:
    /// soon enough for few executions to be shorter, late enough for some to end.
    pub(super) fn delay(&self, first: &InProgress) -> Nanos {
        let known = self.typical.get(first.key.statement.index());
        let Some(known) = known.filter(|known| known.ended >= ENOUGH_ENDED) else {
            return USUAL_DELAY;
        };
        let mean = known.looked.as_nanos() as f64 / known.estimate;
        Nanos::from_nanos(mean as u64 / DELAYS_IN_ONE).clamp(DELAYS.0, DELAYS.1)
    }

    fn of(&mut self, key: Key) -> &mut Executions {
        let wait = (key.state, key.on);
        let none = || Executions::none(key.thread, key.endpoint, wait, key.statement);
        self.counts.entry(key).or_insert_with(none)
    }

    /// All counts since this was last called.
    pub(super) fn take(&mut self) -> &[Executions] {
        self.sent.clear();
        self.sent.extend(self.counts.drain().map(|(_, counts)| counts));
        // The order of a hash table is no order to write down.
        self.sent
            .sort_unstable_by_key(|of| (of.thread, of.statement, of.endpoint, of.state, of.on));
        &self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Endpoint, Evidence, Framework, Grade, Statement, Tables, TargetProcess, Thread,
    };
    use crate::units::{Pid, Tid};

    fn sample(tables: &mut Tables) -> (Sample, StatementId) {
        let process = tables.intern_process(TargetProcess { pid: Pid::new(7), start_time: 1 });
        let name = tables.intern_string("SELECT ?");
        let thread = tables.intern_thread(Thread { process, tid: Tid::new(7), name });
        let (method, route, handler, framework) = (None, None, None, Framework::None);
        let endpoint =
            tables.intern_endpoint(Endpoint { label: name, method, route, framework, handler });
        let statement = tables.intern_statement(Statement { text: name });
        let sample = Sample {
            thread,
            stack: None,
            endpoint,
            on: None,
            statement: Some(statement),
            request: None,
            weight: Nanos::from_millis(10),
            cpu: Nanos::ZERO,
            runqueue: Nanos::ZERO,
            state: State::Io,
            evidence: Evidence::Syscall,
            grade: Grade::Exact,
            holds_gil: false,
        };
        (sample, statement)
    }

    /// Executions whose durations come from `duration`, one after the other with a gap
    /// between them, sampled at random times: true number, estimate, its standard error.
    fn simulate(duration: impl Fn(&mut fastrand::Rng) -> f64, gap: f64) -> (f64, f64, f64) {
        let mut random = fastrand::Rng::with_seed(11);
        let (mut ends, mut now) = (Vec::new(), 0.0);
        const LENGTH: f64 = 60e9;
        while now < LENGTH {
            let start = now + gap;
            now = start + duration(&mut random);
            ends.push((start, now));
        }
        let mut tables = Tables::new();
        let (sample, statement) = sample(&mut tables);
        let mut counts = Counts::default();
        let period = 10e6;
        for tick in 0..(LENGTH / period) as u64 {
            let at = (tick as f64 + random.f64()) * period;
            let index = ends.partition_point(|&(_, end)| end <= at);
            let Some(&(start, end)) = ends.get(index) else { break };
            if start > at {
                continue;
            }
            let execution = Execution { statement, digest: index as u64 };
            let now = Nanos::from_nanos(at as u64);
            let first = counts.seen(&sample, execution, true, now);
            // Nobody wakes up to the microsecond.
            let late = Nanos::from_micros(random.u64(5..90));
            let then = now.saturating_add(counts.delay(&first)).saturating_add(late);
            let found = if end <= then.as_nanos() as f64 { Second::Ended } else { Second::GoesOn };
            counts.looked_again(&first, then, found);
        }
        let [counts] = counts.take() else { panic!("one key") };
        (ends.len() as f64, counts.estimate, counts.variance.sqrt())
    }

    #[test]
    fn the_estimate_is_the_number_of_executions() {
        let gap = 0.2e6;
        for milliseconds in [0.5, 1.0, 5.0, 20.0] {
            let constant = |_: &mut fastrand::Rng| milliseconds * 1e6;
            let spread = |random: &mut fastrand::Rng| milliseconds * 1e6 * (0.5 + random.f64());
            for (number, estimate, error) in [simulate(constant, gap), simulate(spread, gap)] {
                println!("{milliseconds} ms: {number} executions, {estimate:.0} ± {error:.0}");
                assert!((estimate - number).abs() < 3.0 * error, "{estimate} of {number}");
                assert!(error / number < 0.08, "{error} of {number}");
            }
        }
    }

    #[test]
    fn what_was_sent_is_not_sent_again() {
        let mut tables = Tables::new();
        let (sample, statement) = sample(&mut tables);
        let mut counts = Counts::default();
        let execution = Execution { statement, digest: 1 };
        counts.seen(&sample, execution, true, Nanos::ZERO);
        counts.seen(&sample, execution, false, Nanos::ZERO);
        let [sent] = counts.take() else { panic!("one key") };
        assert_eq!((sent.seen, sent.samples, sent.weight), (1, 2, Nanos::from_millis(20)));
        assert_eq!(counts.take().len(), 0);
    }
}
