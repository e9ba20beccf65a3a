//! What is known of a request besides its samples.

use super::sample::RequestId;
use super::tables::{EndpointId, ProcessId, ThreadId};
use crate::units::Nanos;

/// A request in progress, told when it is first seen and again whenever what is known of it
/// has changed: mostly once, when the framework has found its route. The last one counts.
///
/// Paths have no bound in number, so they are in no table. A recording keeps the two
/// endpoints; the path itself is there for who listens while it is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// Its number, as samples have it.
    pub id: RequestId,
    /// The process that serves it.
    pub process: ProcessId,
    /// The thread that serves it.
    pub thread: ThreadId,
    /// The first tick at which it was seen, since the recording began.
    pub first_seen: Nanos,
    /// When the server itself noted that it began, in nanoseconds since the recording began:
    /// negative if that was before. It may be a little after `first_seen`, since a tick takes
    /// its time. `None` where the server notes no such thing, or in words that make no sense.
    pub started: Option<i64>,
    /// The endpoint by its method and its folded path.
    pub by_path: EndpointId,
    /// The endpoint as far as it is known by now.
    pub endpoint: EndpointId,
    /// The path as the client sent it, without the query string and at most
    /// [`Request::LONGEST_PATH`] bytes of it; `None` in a replayed recording.
    pub path: Option<&'a str>,
}

/// How long a request has been going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Age {
    /// For so long, by the server's own note of its start.
    Exactly(Nanos),
    /// For so long or longer: since it was first seen.
    AtLeast(Nanos),
}

impl Age {
    /// The time, or the least that it can be.
    pub const fn least(self) -> Nanos {
        match self {
            Self::Exactly(time) | Self::AtLeast(time) => time,
        }
    }
}

impl Request<'_> {
    /// The most bytes of a path that are kept.
    pub const LONGEST_PATH: usize = 512;

    /// How long it had been going on at this time since the recording began.
    pub fn age(&self, now: Nanos) -> Age {
        match self.started {
            Some(started) => {
                let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
                let age = now.saturating_sub(started).max(0);
                Age::Exactly(Nanos::from_nanos(age.unsigned_abs()))
            }
            None => Age::AtLeast(now.saturating_sub(self.first_seen)),
        }
    }
}
