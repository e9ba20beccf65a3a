//! Endpoints, their requests and their functions.

use serde::Serialize;

use super::StateSeconds;

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
    #[serde(skip_serializing_if = "super::is_false")]
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
