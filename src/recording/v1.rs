//! The messages of format version 1.
//!
//! Numbers that name a table's entry are its position. Where an entry may be
//! missing, the position is one higher and 0 means none.

mod convert;

pub(super) use convert::{framework, framework_number};

use prost::Message;

/// What is known at the beginning.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Session {
    #[prost(string, tag = "1")]
    pub(super) farrier_version: String,
    #[prost(sint64, tag = "2")]
    pub(super) start_unix_ns: i64,
    #[prost(double, tag = "3")]
    pub(super) rate_hz: f64,
    #[prost(string, tag = "4")]
    pub(super) host: String,
    #[prost(uint32, tag = "5")]
    pub(super) cpus: u32,
    #[prost(double, optional, tag = "6")]
    pub(super) cpu_quota: Option<f64>,
    #[prost(string, repeated, tag = "7")]
    pub(super) command: Vec<String>,
    #[prost(string, tag = "8")]
    pub(super) target: String,
    #[prost(double, optional, tag = "9")]
    pub(super) cpu_budget: Option<f64>,
    #[prost(uint64, optional, tag = "60")]
    pub(super) slow: Option<u64>,
}

/// Entries that the tables have gained, one column for each field.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Entries {
    #[prost(string, repeated, tag = "1")]
    pub(super) strings: Vec<String>,
    #[prost(uint32, repeated, tag = "2")]
    pub(super) function_name: Vec<u32>,
    #[prost(uint32, repeated, tag = "3")]
    pub(super) function_file: Vec<u32>,
    #[prost(uint32, repeated, tag = "4")]
    pub(super) function_line: Vec<u32>,
    #[prost(uint32, repeated, tag = "5")]
    pub(super) frame_function: Vec<u32>,
    #[prost(uint32, repeated, tag = "6")]
    pub(super) frame_line: Vec<u32>,
    /// How far before the node itself its parent stands; 0 for a root.
    #[prost(uint32, repeated, tag = "7")]
    pub(super) stack_parent_distance: Vec<u32>,
    #[prost(uint32, repeated, tag = "8")]
    pub(super) stack_frame: Vec<u32>,
    #[prost(uint32, repeated, tag = "9")]
    pub(super) endpoint_label: Vec<u32>,
    #[prost(uint32, repeated, tag = "10")]
    pub(super) endpoint_method: Vec<u32>,
    #[prost(uint32, repeated, tag = "11")]
    pub(super) endpoint_route: Vec<u32>,
    #[prost(uint32, repeated, tag = "12")]
    pub(super) endpoint_framework: Vec<u32>,
    #[prost(uint32, repeated, tag = "13")]
    pub(super) endpoint_handler: Vec<u32>,
    /// A string's position plus one, or 0 where the function and endpoint that
    /// held the GIL stand in the next two columns.
    #[prost(uint32, repeated, tag = "14")]
    pub(super) on_name: Vec<u32>,
    #[prost(uint32, repeated, tag = "15")]
    pub(super) on_function: Vec<u32>,
    #[prost(uint32, repeated, tag = "16")]
    pub(super) on_endpoint: Vec<u32>,
    #[prost(uint32, repeated, tag = "17")]
    pub(super) process_pid: Vec<u32>,
    #[prost(uint64, repeated, tag = "18")]
    pub(super) process_start_time: Vec<u64>,
    #[prost(uint32, repeated, tag = "19")]
    pub(super) thread_process: Vec<u32>,
    #[prost(uint32, repeated, tag = "20")]
    pub(super) thread_tid: Vec<u32>,
    #[prost(uint32, repeated, tag = "21")]
    pub(super) thread_name: Vec<u32>,
    #[prost(uint32, repeated, tag = "22")]
    pub(super) routing_path: Vec<u32>,
    #[prost(uint32, repeated, tag = "23")]
    pub(super) routing_route: Vec<u32>,
    #[prost(uint32, repeated, tag = "40")]
    pub(super) statement_text: Vec<u32>,
}

/// Which kind of event comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Tick = 0,
    Process = 1,
    Progress = 2,
    Note = 3,
    Executions = 10,
    Suspended = 20,
    LoopBlocked = 21,
    Listen = 4,
}

impl Event {
    pub(super) const ALL: [Self; 8] = [
        Self::Tick,
        Self::Process,
        Self::Progress,
        Self::Note,
        Self::Listen,
        Self::Executions,
        Self::Suspended,
        Self::LoopBlocked,
    ];
}

/// What happened, in `order`; each kind of event takes its fields from its own
/// columns in turn.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Events {
    #[prost(uint32, repeated, tag = "1")]
    pub(super) order: Vec<u32>,
    #[prost(uint32, repeated, tag = "2")]
    pub(super) tick_process: Vec<u32>,
    /// Nanoseconds since the tick before in this block.
    #[prost(sint64, repeated, tag = "3")]
    pub(super) tick_at: Vec<i64>,
    #[prost(uint64, repeated, tag = "4")]
    pub(super) tick_lateness: Vec<u64>,
    #[prost(uint32, repeated, tag = "5")]
    pub(super) tick_samples: Vec<u32>,
    /// Less the thread of the sample before in this block.
    #[prost(sint64, repeated, tag = "6")]
    pub(super) sample_thread: Vec<i64>,
    // The next five are each less what the same thread's sample before in this
    // block has: a thread that stays as it is costs zeros.
    #[prost(sint64, repeated, tag = "7")]
    pub(super) sample_stack: Vec<i64>,
    #[prost(sint64, repeated, tag = "8")]
    pub(super) sample_endpoint: Vec<i64>,
    #[prost(sint64, repeated, tag = "9")]
    pub(super) sample_on: Vec<i64>,
    #[prost(sint64, repeated, tag = "10")]
    pub(super) sample_request: Vec<i64>,
    #[prost(sint64, repeated, tag = "11")]
    pub(super) sample_weight: Vec<i64>,
    #[prost(uint64, repeated, tag = "12")]
    pub(super) sample_cpu: Vec<u64>,
    #[prost(uint64, repeated, tag = "13")]
    pub(super) sample_runqueue: Vec<u64>,
    /// State, evidence, grade and GIL; see `columns.rs`.
    #[prost(uint32, repeated, tag = "14")]
    pub(super) sample_flags: Vec<u32>,
    /// Encoded [`Facts`], decoded one at a time: a hostile file may claim millions.
    #[prost(bytes = "vec", repeated, tag = "15")]
    pub(super) facts: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "16")]
    pub(super) progress: Vec<Progress>,
    #[prost(message, repeated, tag = "17")]
    pub(super) notes: Vec<Note>,
    #[prost(message, repeated, tag = "18")]
    pub(super) listen: Vec<ListenQueue>,
    /// Like the others of a sample; empty in a recording of before there were statements.
    #[prost(sint64, repeated, tag = "40")]
    pub(super) sample_statement: Vec<i64>,
    /// One for each thread, endpoint, statement and what was waited on, all of one event.
    #[prost(message, repeated, tag = "41")]
    pub(super) executions: Vec<Executions>,
    /// How many of them each event has.
    #[prost(uint32, repeated, tag = "42")]
    pub(super) execution_counts: Vec<u32>,
    /// Beside `order`, so that whoever does not know of them skips them.
    #[prost(message, repeated, tag = "60")]
    pub(super) requests: Vec<Request>,
    /// Encoded [`TaskLook`]s, like the facts.
    #[prost(bytes = "vec", repeated, tag = "80")]
    pub(super) task_looks: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "81")]
    pub(super) loops_blocked: Vec<LoopBlocked>,
}

/// An event loop that was held up; see [`model::LoopBlocked`].
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct LoopBlocked {
    #[prost(uint32, tag = "1")]
    pub(super) thread: u32,
    #[prost(uint64, tag = "2")]
    pub(super) at: u64,
    #[prost(uint64, tag = "3")]
    pub(super) held: u64,
    #[prost(uint32, tag = "4")]
    pub(super) endpoint: u32,
    #[prost(uint32, tag = "5")]
    pub(super) function: u32,
}

/// A look at suspended tasks, with a column for each of their fields; see
/// [`model::TaskLook`] and [`model::Suspended`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct TaskLook {
    #[prost(uint32, tag = "1")]
    pub(super) process: u32,
    #[prost(uint64, tag = "2")]
    pub(super) at: u64,
    #[prost(uint32, tag = "3")]
    pub(super) tasks: u32,
    #[prost(uint32, tag = "4")]
    pub(super) looked: u32,
    #[prost(uint32, tag = "5")]
    pub(super) moved: u32,
    #[prost(uint32, repeated, tag = "6")]
    pub(super) stack: Vec<u32>,
    #[prost(uint32, repeated, tag = "7")]
    pub(super) endpoint: Vec<u32>,
    #[prost(uint32, repeated, tag = "8")]
    pub(super) on: Vec<u32>,
    #[prost(uint64, repeated, tag = "9")]
    pub(super) request: Vec<u64>,
    /// As in the flags of a sample.
    #[prost(uint32, repeated, tag = "10")]
    pub(super) state: Vec<u32>,
    #[prost(uint64, repeated, tag = "11")]
    pub(super) weight: Vec<u64>,
}

/// What is known of a request; see [`model::Request`].
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Request {
    /// How many events of the block's `order` came before it.
    #[prost(uint32, tag = "1")]
    pub(super) after: u32,
    #[prost(uint64, tag = "2")]
    pub(super) id: u64,
    #[prost(uint32, tag = "3")]
    pub(super) process: u32,
    #[prost(uint32, tag = "4")]
    pub(super) thread: u32,
    #[prost(uint64, tag = "5")]
    pub(super) first_seen: u64,
    /// How long before that it began.
    #[prost(sint64, optional, tag = "6")]
    pub(super) began_before: Option<i64>,
    #[prost(uint32, tag = "7")]
    pub(super) by_path: u32,
    #[prost(uint32, tag = "8")]
    pub(super) endpoint: u32,
}

/// Executions of a statement; see [`model::Executions`].
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Executions {
    #[prost(uint32, tag = "1")]
    pub(super) thread: u32,
    #[prost(uint32, tag = "2")]
    pub(super) endpoint: u32,
    /// One higher; 0 for none.
    #[prost(uint32, tag = "3")]
    pub(super) on: u32,
    #[prost(uint32, tag = "4")]
    pub(super) statement: u32,
    #[prost(uint64, tag = "5")]
    pub(super) seen: u64,
    #[prost(uint64, tag = "6")]
    pub(super) samples: u64,
    #[prost(uint64, tag = "7")]
    pub(super) weight: u64,
    #[prost(uint64, tag = "8")]
    pub(super) looks: u64,
    #[prost(uint64, tag = "9")]
    pub(super) looked: u64,
    #[prost(uint64, tag = "10")]
    pub(super) waited: u64,
    #[prost(uint64, tag = "11")]
    pub(super) ended: u64,
    #[prost(double, tag = "12")]
    pub(super) estimate: f64,
    #[prost(double, tag = "13")]
    pub(super) variance: f64,
    /// As in the flags of a sample.
    #[prost(uint32, tag = "14")]
    pub(super) state: u32,
}

/// What is known of a process.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Facts {
    #[prost(uint32, tag = "1")]
    pub(super) process: u32,
    #[prost(uint32, tag = "2")]
    pub(super) pid: u32,
    /// 0 other, 1 arbiter, 2 worker.
    #[prost(uint32, tag = "3")]
    pub(super) role: u32,
    #[prost(string, optional, tag = "4")]
    pub(super) server: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub(super) worker_class: Option<String>,
    #[prost(uint32, tag = "6")]
    pub(super) threads: u32,
    #[prost(string, tag = "7")]
    pub(super) python: String,
    #[prost(bool, tag = "8")]
    pub(super) free_threaded: bool,
    #[prost(uint64, tag = "9")]
    pub(super) cpu: u64,
    #[prost(uint64, tag = "10")]
    pub(super) runqueue: u64,
    #[prost(uint64, tag = "11")]
    pub(super) rss_bytes_first: u64,
    #[prost(uint64, tag = "12")]
    pub(super) rss_bytes_last: u64,
    #[prost(uint64, optional, tag = "13")]
    pub(super) requests: Option<u64>,
    #[prost(uint64, tag = "14")]
    pub(super) joined: u64,
    #[prost(uint64, optional, tag = "15")]
    pub(super) left: Option<u64>,
    #[prost(uint64, optional, tag = "20")]
    pub(super) gil_switches: Option<u64>,
    #[prost(uint64, tag = "21")]
    pub(super) gil_watched: u64,
    #[prost(uint64, tag = "60")]
    pub(super) requests_watched: u64,
}

/// How the sampling goes.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Progress {
    #[prost(uint64, tag = "1")]
    pub(super) elapsed: u64,
    #[prost(uint64, tag = "2")]
    pub(super) ticks: u64,
    #[prost(uint64, tag = "3")]
    pub(super) missed_ticks: u64,
    #[prost(uint64, tag = "4")]
    pub(super) sampler_cpu: u64,
    #[prost(uint64, tag = "5")]
    pub(super) system_calls: u64,
    #[prost(uint64, tag = "6")]
    pub(super) bytes_read: u64,
    #[prost(uint64, tag = "7")]
    pub(super) slowed: u64,
    #[prost(uint64, tag = "8")]
    pub(super) cut_stacks: u64,
}

/// Something to tell a person.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Note {
    #[prost(uint64, tag = "1")]
    pub(super) at: u64,
    #[prost(string, tag = "2")]
    pub(super) text: String,
}

/// Connections that waited to be accepted.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ListenQueue {
    #[prost(uint64, tag = "1")]
    pub(super) at: u64,
    /// A string's position.
    #[prost(uint32, tag = "2")]
    pub(super) address: u32,
    #[prost(uint64, tag = "3")]
    pub(super) looks: u64,
    #[prost(uint64, tag = "4")]
    pub(super) waiting: u64,
    #[prost(uint64, tag = "5")]
    pub(super) most: u64,
    #[prost(uint64, optional, tag = "6")]
    pub(super) limit: Option<u64>,
}
