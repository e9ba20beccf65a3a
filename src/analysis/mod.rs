//! Answers, worked out from a profile alone: no clock, no file, nothing of the
//! machine that it runs on.

mod build;
mod gil;
mod places;
mod requests;
mod shares;
mod slow;
mod statements;
mod summary;
mod totals;
mod waits;

pub use summary::{
    EndpointRow, EndpointSeconds, EndpointWait, EvidenceCounts, FunctionRow, FunctionTime, Gil,
    GilBlocked, GilHolder, GilProcess, InFlight, LatencyMs, Listen, LoopBlockedRow, NoteRow,
    ProcessRow, Recorded, Sampling, SlowPartRow, SlowRow, StateSeconds, Statement,
    StatementEndpoint, StatementRow, Summary, TasksRow, WaitPlace, WaitRow,
};

#[cfg(test)]
mod tests;
