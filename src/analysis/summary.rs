//! The summary, `farrier/summary/1`: the only place where its JSON names are spelled.
//!
//! Seconds are thread-seconds unless a name says otherwise: two threads that are
//! busy for a second make two. A share without another description is of all
//! **non-idle** thread-seconds in the profile. What was not measured is `null` or an
//! empty list.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::model::{Evidence, Role, State};
use crate::units::Nanos;

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

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EndpointRow {
    /// As it is printed.
    pub endpoint: String,
    /// The HTTP method; `null` for a `(label)`.
    pub method: Option<String>,
    /// The route; `null` for a `(label)`.
    pub route: Option<String>,
    /// Who named the route.
    pub framework: Option<&'static str>,
    /// The framework's name for what serves it.
    pub handler: Option<String>,
    /// Task-seconds for which its tasks were suspended and not idle: beside `seconds`, not
    /// among them.
    pub suspended_s: f64,
    /// Time of the threads while they were at it, in all states but `idle`.
    pub seconds: f64,
    /// Of all non-idle thread-seconds.
    pub share: f64,
    /// CPU time charged to its threads, from the kernel, idle or not.
    pub cpu_s: f64,
    /// Time for which its threads held the GIL.
    pub gil_held_s: f64,
    /// Requests that were seen at one tick or more.
    pub requests_seen: u64,
    /// How many there were in truth, estimated: those that began while recording, short ones
    /// that no tick saw too. If the server counts its requests, all endpoints together come to
    /// that. `null` where a thread has many requests at a time, and where none is served.
    pub requests_est: Option<f64>,
    /// `requests_est` by the duration of the recording.
    pub requests_per_s: Option<f64>,
    /// `seconds` by `requests_est`.
    pub seconds_per_request: Option<f64>,
    /// `cpu_s` by `requests_est`.
    pub cpu_per_request_s: Option<f64>,
    /// Requests that were in flight at the same time.
    pub in_flight: Option<InFlight>,
    /// Time by state, `idle` too: all but that add up to `seconds`.
    pub states: StateSeconds,
    /// What its threads waited for, by time.
    pub waits: Vec<EndpointWait>,
    /// How long its requests took, of all that began while recording: those that were too
    /// short to be seen have their part by the estimate.
    pub latency_ms: Option<LatencyMs>,
    /// Its functions, by their own time.
    pub functions: Vec<FunctionTime>,
}

/// How long requests took, in milliseconds on the clock.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LatencyMs {
    /// Half took at the most this.
    pub p50: f64,
    /// 95 of 100 took at the most this.
    pub p95: f64,
    /// 99 of 100 took at the most this.
    pub p99: f64,
    /// The longest seen.
    pub max: f64,
    /// From how many requests this was worked out.
    pub n: u64,
}

/// Requests in flight at the same time, in all processes together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InFlight {
    /// On average over the recording.
    pub mean: f64,
    /// The most at one tick.
    pub max: u64,
}

/// A slow request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlowRow {
    /// What was asked for.
    pub endpoint: String,
    /// The process that served it.
    pub pid: u32,
    /// The thread's name.
    pub thread: String,
    /// When it began, in seconds since the recording did: negative if before that.
    pub start_s: f64,
    /// Whether that is the server's own account; otherwise it is when it was first seen, and
    /// it may have begun before.
    pub start_known: bool,
    /// How long it took, in milliseconds on the clock; until the end of the recording if it
    /// did not end.
    pub duration_ms: f64,
    /// Whether it was seen to end.
    pub ended: bool,
    /// The first tick that saw it, in seconds since the recording began.
    pub first_seen_s: f64,
    /// The last one.
    pub last_seen_s: f64,
    /// What it did, in the order of time.
    pub timeline: Vec<SlowPartRow>,
}

/// A part of a slow request: ticks one after the other that found the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlowPartRow {
    /// From when, in milliseconds since `start_s`.
    pub at_ms: f64,
    /// How long.
    pub duration_ms: f64,
    /// What the thread was doing.
    pub state: &'static str,
    /// What it waited on, where that is known.
    pub on: Option<String>,
    /// What a database was being asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// The topmost function.
    pub function: Option<String>,
    /// Its file, in full.
    pub file: Option<String>,
    /// The line in it at the first of the ticks.
    pub line: Option<u32>,
    /// Whether shorter parts beside it were joined to it, for want of room.
    pub joined: bool,
}

/// Something waited for under one endpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EndpointWait {
    /// `gil_wait`, `io`, `lock` or `sleep`.
    pub state: &'static str,
    /// What was waited on, where that is known.
    pub on: Option<String>,
    /// How long.
    pub seconds: f64,
    /// Whether tasks waited, on no thread: then these are task-seconds, and not among those
    /// of the endpoint's states.
    #[serde(skip_serializing_if = "is_false")]
    pub suspended: bool,
    /// The statement that was being carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
}

/// A function's non-idle time under one endpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FunctionTime {
    /// Its qualified name.
    pub function: String,
    /// Its file, in full; `null` for a synthetic one such as `(lost)`.
    pub file: Option<String>,
    /// Its first line.
    pub line: Option<u32>,
    /// While it was on top of the stack.
    pub self_s: f64,
    /// While it was on the stack, recursion counted once.
    pub total_s: f64,
}

/// A function's non-idle time under all endpoints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FunctionRow {
    /// The function and its time.
    #[serde(flatten)]
    pub time: FunctionTime,
    /// `self_s` of all non-idle thread-seconds.
    pub self_share: f64,
    /// `total_s` of all non-idle thread-seconds.
    pub total_share: f64,
}

/// The GIL.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gil {
    /// Of the time for which processes with a GIL were there, how much it was held.
    pub held_share: f64,
    /// Of all non-idle thread-seconds, how many waited for it: in `gil_wait`, and in
    /// `runnable` after having been woken up in that wait.
    pub wait_share: f64,
    /// The same for each process.
    pub by_process: Vec<GilProcess>,
    /// Who held it, by how long others were blocked meanwhile.
    pub holders: Vec<GilHolder>,
    /// Which endpoint was blocked behind which function of which endpoint, by time. Waits
    /// of which the holder was not seen are left out.
    pub blocked: Vec<GilBlocked>,
}

/// One process' GIL.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GilProcess {
    /// The process.
    pub pid: u32,
    /// Of the time for which it was there.
    pub held_share: f64,
    /// Of its own non-idle thread-seconds.
    pub wait_share: f64,
    /// How often the GIL went from one thread to another, each second, by the interpreter's
    /// own count.
    pub switches_per_s: Option<f64>,
}

/// A function that held the GIL.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GilHolder {
    /// What it served.
    pub endpoint: String,
    /// The topmost function.
    pub function: String,
    /// Its file.
    pub file: Option<String>,
    /// Its first line.
    pub line: Option<u32>,
    /// How long it held the GIL.
    pub held_s: f64,
    /// Thread-seconds of others that waited for it.
    pub blocked_others_s: f64,
}

/// An endpoint that waited for the GIL while a function held it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GilBlocked {
    /// What waited.
    pub endpoint: String,
    /// What the thread with the GIL served.
    pub holder_endpoint: String,
    /// Its topmost function.
    pub function: String,
    /// That function's file.
    pub file: Option<String>,
    /// Its first line.
    pub line: Option<u32>,
    /// Thread-seconds that waited.
    pub seconds: f64,
    /// Of all non-idle thread-seconds of the endpoint that waited.
    pub share: f64,
}

/// Something waited for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WaitRow {
    /// `gil_wait`, `io`, `lock` or `sleep`.
    pub state: &'static str,
    /// What was waited on, where that is known.
    pub on: Option<String>,
    /// How long.
    pub seconds: f64,
    /// Of all non-idle thread-seconds; of those of tasks, if it was tasks that waited.
    pub share: f64,
    /// Whether tasks waited, on no thread: then these are task-seconds.
    #[serde(skip_serializing_if = "is_false")]
    pub suspended: bool,
    /// Who waited.
    pub endpoints: Vec<EndpointSeconds>,
    /// The lines of the application that waited, longest first; at the most ten.
    pub at: Vec<WaitPlace>,
    /// The statements that were being carried out.
    pub statements: Vec<Statement>,
}

/// A line of the application that waited: its topmost one, whichever libraries it called.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WaitPlace {
    /// The function's qualified name.
    pub function: String,
    /// Its file, in full.
    pub file: String,
    /// The line that waited; `null` where that is not known.
    pub line: Option<u32>,
    /// How long.
    pub seconds: f64,
}

/// An endpoint's part in something.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EndpointSeconds {
    /// The endpoint.
    pub endpoint: String,
    /// Its part.
    pub seconds: f64,
}

/// A database statement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statement {
    /// Its text, without values.
    pub statement: String,
    /// How long threads waited for it.
    pub seconds: f64,
    /// How many executions were seen to begin in this wait: each counted once, and at the
    /// most as many as there were.
    pub calls_seen: u64,
    /// How many executions there were, estimated.
    pub calls_est: Option<f64>,
}

/// A statement, whatever its threads did while it was carried out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatementRow {
    /// Its text, without values.
    pub statement: String,
    /// How long threads were in it, from when a driver's call began until it returned.
    pub seconds: f64,
    /// Of all non-idle thread-seconds.
    pub share: f64,
    /// How many executions were seen.
    pub calls_seen: u64,
    /// How many there were, estimated.
    pub calls_est: Option<f64>,
    /// How long one takes on average, in milliseconds on the clock: `seconds` by `calls_est`.
    pub mean_ms: Option<f64>,
    /// Under which endpoints, by time.
    pub endpoints: Vec<StatementEndpoint>,
}

/// A statement under one endpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatementEndpoint {
    /// The endpoint.
    pub endpoint: String,
    /// How long its threads were in it.
    pub seconds: f64,
    /// How many executions were seen.
    pub calls_seen: u64,
    /// How many there were, estimated.
    pub calls_est: Option<f64>,
    /// The estimate's standard error; 0 where each was seen.
    pub calls_est_error: Option<f64>,
    /// Executions for each request that was seen. `null` where requests are so short that
    /// many went by unseen, and where none is served.
    pub calls_per_request: Option<f64>,
}

/// A listening socket.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listen {
    /// Where it listens.
    pub address: String,
    /// Connections that waited to be accepted, on average over the recording; `null`
    /// where the kernel does not tell.
    pub backlog_mean: Option<f64>,
    /// The most that were seen to wait.
    pub backlog_max: Option<u64>,
    /// The most that may wait.
    pub backlog_limit: Option<u64>,
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
