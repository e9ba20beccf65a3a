//! What is waited for: the GIL, peers, statements, connections to be accepted.

use serde::Serialize;

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
    #[serde(skip_serializing_if = "super::is_false")]
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
