//! The summary, `farrier/summary/1`: the only place where its JSON names are spelled.
//!
//! Seconds are thread-seconds unless a name says otherwise: two threads that are
//! busy for a second make two. A share without another description is of all
//! **non-idle** thread-seconds in the profile. What was not measured is `null` or an
//! empty list.

mod endpoints;
mod waits;

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::model::{Evidence, Role, State};
use crate::units::Nanos;
pub use endpoints::{
    EndpointRow, EndpointWait, FunctionRow, FunctionTime, InFlight, LatencyMs, SlowPartRow, SlowRow,
};
pub use waits::{
    EndpointSeconds, Gil, GilBlocked, GilHolder, GilProcess, Listen, Statement, StatementEndpoint,
    StatementRow, WaitPlace, WaitRow,
};

/// All that a profile says, in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// `farrier/summary/1`.
    pub schema: &'static str,
    /// The version of farrier that recorded.
    pub farrier_version: String,
    /// The run.
    pub recorded: Recorded,
    /// The processes, in the order in which they joined.
    pub processes: Vec<ProcessRow>,
    /// What the sampling is worth.
    pub sampling: Sampling,
    /// What was served, by time.
    pub endpoints: Vec<EndpointRow>,
    /// The functions of all endpoints together, by their own time.
    pub functions: Vec<FunctionRow>,
    /// Time by state.
    pub states: StateSeconds,
    /// The GIL; `null` where no process has one.
    pub gil: Option<Gil>,
    /// What threads waited for, by time.
    pub waits: Vec<WaitRow>,
    /// What databases were asked, by time.
    pub statements: Vec<StatementRow>,
    /// Who held an event loop for 50 ms or more, longest first.
    pub loop_blocked: Vec<LoopBlockedRow>,
    /// The tasks of processes with an event loop.
    pub tasks: Vec<TasksRow>,
    /// The slowest requests of those that took longer than was asked for, slowest first; at
    /// the most ten.
    pub slow: Vec<SlowRow>,
    /// The sockets on which the servers listen.
    pub listen: Vec<Listen>,
    /// What a person should be told.
    pub notes: Vec<NoteRow>,
}

/// The run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recorded {
    /// When it began, RFC 3339 in UTC.
    pub start: String,
    /// How long it took, in seconds on the clock.
    pub duration_s: f64,
    /// The rate that was asked for, in ticks a second.
    pub rate_hz: f64,
    /// The machine.
    pub host: String,
    /// CPUs online there.
    pub cpus: u32,
    /// The control group's limit in CPUs, if there was one.
    pub cpu_quota: Option<f64>,
    /// How farrier was called.
    pub command: Vec<String>,
    /// Requests that take longer than so many milliseconds were to be kept; `null` if that
    /// was not asked for.
    pub slow_ms: Option<f64>,
    /// How many took longer; `null` likewise.
    pub slow_requests: Option<u64>,
    /// The target in words.
    pub target: String,
    /// Whether the recording reached its end; `false` if it was cut short.
    pub complete: bool,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProcessRow {
    /// Its number.
    pub pid: u32,
    /// What part it plays.
    pub role: Role,
    /// Its server, if one was recognised.
    pub server: Option<String>,
    /// How it serves.
    pub worker_class: Option<String>,
    /// The largest number of Python threads seen at one tick.
    pub threads: u32,
    /// The interpreter's version.
    pub python: String,
    /// Whether the interpreter has no GIL.
    pub free_threaded: bool,
    /// Requests that the server itself counted while its count was watched, where it keeps
    /// one.
    pub requests: Option<u64>,
    /// For how long that was watched, in seconds on the clock.
    pub requests_watched_s: Option<f64>,
    /// Requests a second by that count.
    pub requests_per_s: Option<f64>,
    /// Of its own thread-seconds, idle ones too, those that were not idle; `null`
    /// without any.
    pub busy_share: Option<f64>,
    /// CPU time of its sampled threads, from the kernel.
    pub cpu_s: f64,
    /// Time that they waited in the kernel's run queue, from the kernel.
    pub runqueue_s: f64,
    /// Resident memory when it joined.
    pub rss_bytes_first: u64,
    /// Resident memory when last looked at.
    pub rss_bytes_last: u64,
    /// Whether it left while recording.
    pub exited: bool,
}

/// A function that held a process' event loop.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoopBlockedRow {
    /// The process.
    pub pid: u32,
    /// What was served.
    pub endpoint: String,
    /// The topmost function that was on the stack all the time.
    pub function: String,
    /// Its file.
    pub file: Option<String>,
    /// Its first line.
    pub line: Option<u32>,
    /// The longest time for which one callback held it, in milliseconds on the clock: right
    /// to about one tick.
    pub longest_ms: f64,
    /// All of them together.
    pub seconds: f64,
    /// How many there were.
    pub times: u64,
    /// How many there were of so many milliseconds and more.
    pub times_over_ms: BTreeMap<u64, u64>,
}

/// The tasks of a process.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TasksRow {
    /// The process.
    pub pid: u32,
    /// How many there were on average, suspended or not.
    pub mean: f64,
    /// The most that there were at one look.
    pub most: u32,
    /// How often it was looked.
    pub looks: u64,
    /// Of all tasks at those looks, how many were read: these stand for all.
    pub looked_share: f64,
    /// Of those that were read, how many ran, had ended, or went on meanwhile.
    pub moved_share: f64,
    /// Task-seconds for which they were suspended, idle or not.
    pub suspended_s: f64,
}

/// What the sampling is worth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sampling {
    /// Instants at which the processes were looked at.
    pub ticks: u64,
    /// Instants that were due and passed over.
    pub missed_ticks: u64,
    /// Thread-samples kept, and then the same by grade.
    pub samples: u64,
    /// All reads agree.
    pub exact: u64,
    /// The functions hold, lines of the topmost frames may not.
    pub functions: u64,
    /// The callers hold, the leaf does not.
    pub partial: u64,
    /// Nothing held together.
    pub lost: u64,
    /// Thread-samples by what their state was told from.
    pub evidence: EvidenceCounts,
    /// The profiler's own CPU time.
    pub sampler_cpu_s: f64,
    /// Ticks a second that it came to on average; `null` for a recording of no length.
    pub rate_reached_hz: Option<f64>,
    /// The share of one CPU that the profiler was allowed to use, if there was a limit.
    pub cpu_budget: Option<f64>,
    /// Seconds on the clock for which ticks came less often than asked for, to keep to that.
    pub slowed_s: f64,
    /// Samples whose stacks were deeper than was kept, so that their middle is left out.
    pub cut_stacks: u64,
}

/// Something to tell a person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NoteRow {
    /// When, in seconds on the clock since the recording began.
    pub at_s: f64,
    /// The sentence.
    pub text: String,
}

/// Seconds by state. All states are there, in the order of [`State::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StateSeconds([Nanos; State::ALL.len()]);

impl StateSeconds {
    /// The seconds in this state.
    pub fn seconds(&self, state: State) -> f64 {
        self.0[state as usize].as_secs_f64()
    }

    pub(super) fn add(&mut self, state: State, weight: Nanos) {
        self.0[state as usize] += weight;
    }

    /// All states but `idle`.
    pub(super) fn busy(&self) -> Nanos {
        let busy = |state: &State| *state != State::Idle;
        State::ALL.into_iter().filter(busy).map(|state| self.0[state as usize]).sum()
    }

    /// All states.
    pub(super) fn all(&self) -> Nanos {
        self.0.into_iter().sum()
    }
}

impl Serialize for StateSeconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(State::ALL.len()))?;
        for state in State::ALL {
            map.serialize_entry(state.name(), &self.seconds(state))?;
        }
        map.end()
    }
}

/// Samples by what their state was told from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EvidenceCounts([u64; Evidence::ALL.len()]);

impl EvidenceCounts {
    /// The samples whose state was told from this.
    pub const fn count(&self, evidence: Evidence) -> u64 {
        self.0[evidence as usize]
    }

    pub(super) fn add(&mut self, evidence: Evidence, samples: u64) {
        self.0[evidence as usize] += samples;
    }
}

impl Serialize for EvidenceCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Evidence::ALL.len()))?;
        for evidence in Evidence::ALL {
            map.serialize_entry(evidence.name(), &self.count(evidence))?;
        }
        map.end()
    }
}

impl Summary {
    /// All non-idle thread-seconds: what shares are of.
    pub fn busy_seconds(&self) -> f64 {
        self.states.busy().as_secs_f64()
    }
}

/// Leaves out what is not so.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this form")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}
