//! Facts about a run and its processes that are not samples.

use serde::{Deserialize, Serialize};

use super::tables::StringId;
use crate::units::{Nanos, Pid};

/// What is known when a recording begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Session {
    /// The version of farrier that recorded.
    pub farrier_version: String,
    /// When, in nanoseconds since 1970 (UTC).
    pub start_unix_ns: i64,
    /// The sampling rate that was asked for, in ticks a second.
    pub rate_hz: f64,
    /// The share of one CPU that farrier itself was allowed to use, if there was a limit.
    pub cpu_budget: Option<f64>,
    /// The machine's name.
    pub host: String,
    /// CPUs online.
    pub cpus: u32,
    /// The control group's limit in CPUs, if there is one.
    pub cpu_quota: Option<f64>,
    /// How farrier was called.
    pub command: Vec<String>,
    /// Requests that take longer than this are kept with all that they did, if that was
    /// asked for.
    pub slow: Option<Nanos>,
    /// The target in words, such as `gunicorn app:app (pid 4711)`.
    pub target: String,
}

/// What part a process plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Gunicorn's word for the master.
    Arbiter,
    /// A process that serves.
    Worker,
    /// Any other.
    Other,
}

/// What is known of a process. Sent again whenever it changes; the last one counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessFacts {
    /// Its number.
    pub pid: Pid,
    /// What part it plays.
    pub role: Role,
    /// The server it belongs to (`gunicorn`), if one was recognised.
    pub server: Option<String>,
    /// The server's word for how it serves (`sync`, `gthread`), once seen.
    pub worker_class: Option<String>,
    /// The largest number of Python threads seen at one tick.
    pub threads: u32,
    /// The interpreter's version, such as `3.11.7`.
    pub python: String,
    /// Whether the interpreter has no GIL.
    pub free_threaded: bool,
    /// CPU time of the sampled threads since the process joined.
    pub cpu: Nanos,
    /// Time that its sampled threads waited in the kernel's run queue since then.
    pub runqueue: Nanos,
    /// How often its GIL went from one thread to another while it was watched: the
    /// interpreter's own count. `None` where there is no GIL, or it was read once at most.
    pub gil_switches: Option<u64>,
    /// For how long that was watched: from the first to the last reading.
    pub gil_watched: Nanos,
    /// Resident memory when it joined, in bytes.
    pub rss_bytes_first: u64,
    /// Resident memory when last looked at, in bytes.
    pub rss_bytes_last: u64,
    /// Requests that the server itself counted while its count was watched, where it keeps
    /// one.
    pub requests: Option<u64>,
    /// For how long that was watched: from the first to the last reading, or since the process
    /// was started if that was later than the recording.
    pub requests_watched: Nanos,
    /// When it joined, since the recording began.
    pub joined: Nanos,
    /// When it left, since the recording began; `None` while it is there.
    pub left: Option<Nanos>,
}

/// How the sampling itself goes: totals since the recording began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Time since the recording began.
    pub elapsed: Nanos,
    /// Instants at which the processes were looked at.
    pub ticks: u64,
    /// Instants that were due but passed over because an earlier one took too long.
    pub missed_ticks: u64,
    /// The profiler's own CPU time.
    pub sampler_cpu: Nanos,
    /// For how long ticks came less often than asked for, to keep to the CPU budget.
    pub slowed: Nanos,
    /// Samples whose stacks were deeper than was kept, so that their middle is left out.
    pub cut_stacks: u64,
    /// System calls made at ticks: on threads' files and on memory.
    pub system_calls: u64,
    /// Bytes of targets' memory read.
    pub bytes_read: u64,
}

/// Connections that waited to be accepted at one address, over some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenQueue {
    /// Until when, since the recording began.
    pub at: Nanos,
    /// Where the servers listen: `0.0.0.0:8000`, or `unix:/run/app.sock`.
    pub address: StringId,
    /// How often it was looked, about ten times a second; 0 where the kernel does not tell.
    pub looks: u64,
    /// How many waited, added up over the looks.
    pub waiting: u64,
    /// The most that waited at one look.
    pub most: u64,
    /// The most that may wait, where the kernel tells.
    pub limit: Option<u64>,
}
