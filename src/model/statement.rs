//! What databases were asked, and how often.

use super::state::State;
use super::tables::{EndpointId, OnId, StatementId, StringId, ThreadId};
use crate::units::Nanos;

/// What a database was asked, without the values: a normalised SQL statement, the name of
/// another kind of command, or in parentheses what stands for those that are not told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Statement {
    /// As it is printed.
    pub text: StringId,
}

/// What was seen of the executions of a statement by one thread under one endpoint: an
/// execution is one call of a driver, from when it is entered until it returns.
///
/// Most executions are shorter than the time between two ticks, so that ticks see only some
/// of them. Their number is estimated from a second look, a moment after the tick:
///
/// ```text
/// ──[══════ S ══════]──[═════ S ═════]──[═════ S ═══   an execution that is seen at a random
///              tick ↑ ↑ second look, d later           time ends within d with probability
///                                                      d / duration, if none is shorter
/// ```
///
/// so that a sample of weight `w` whose execution has ended by then stands for `w / d`
/// executions, and one whose execution goes on for none. That is right on average whatever
/// the durations are, as long as none is shorter than `d`; shorter ones are counted for less
/// than they are. On a machine where everybody waits for a CPU estimates were measured up to a
/// fifth off either way, beyond the stated error; why is not known.
///
/// One execution is told from the next by where it was called from, by the words in the frames
/// of the call and its callers, and by its parameters. Two in a row that differ in none of
/// these, such as the same statement with the same parameters in a `while` loop, count as one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Executions {
    /// The thread.
    pub thread: ThreadId,
    /// What it served.
    pub endpoint: EndpointId,
    /// What it was doing when the execution was seen.
    pub state: State,
    /// What it waited on then, if it did; not who held the GIL.
    pub on: Option<OnId>,
    /// The statement.
    pub statement: StatementId,
    /// How many executions were seen that were not the one seen at the tick before: at the
    /// most as many as there were.
    pub seen: u64,
    /// Ticks at which one was seen.
    pub samples: u64,
    /// The time that these stand for.
    pub weight: Nanos,
    /// Ticks after which a second look told whether the same execution went on.
    pub looks: u64,
    /// The time that these stand for.
    pub looked: Nanos,
    /// For how long the second looks came after the ticks, all together.
    pub waited: Nanos,
    /// Second looks at which the execution had ended.
    pub ended: u64,
    /// The executions that these stand for, `w / d` each.
    pub estimate: f64,
    /// The sum of their squares: the estimate's variance.
    pub variance: f64,
}

impl Executions {
    /// Nothing seen yet.
    pub const fn none(
        thread: ThreadId,
        endpoint: EndpointId,
        (state, on): (State, Option<OnId>),
        statement: StatementId,
    ) -> Self {
        Self {
            thread,
            endpoint,
            state,
            on,
            statement,
            seen: 0,
            samples: 0,
            weight: Nanos::ZERO,
            looks: 0,
            looked: Nanos::ZERO,
            waited: Nanos::ZERO,
            ended: 0,
            estimate: 0.0,
            variance: 0.0,
        }
    }

    /// Adds what was seen of the same, or what is to count as the same.
    pub fn add(&mut self, other: &Self) {
        self.seen = self.seen.saturating_add(other.seen);
        self.samples = self.samples.saturating_add(other.samples);
        self.weight += other.weight;
        self.looks = self.looks.saturating_add(other.looks);
        self.looked += other.looked;
        self.waited += other.waited;
        self.ended = self.ended.saturating_add(other.ended);
        self.estimate += other.estimate;
        self.variance += other.variance;
    }
}
