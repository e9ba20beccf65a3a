//! Event loops that were held up.

use super::tables::{EndpointId, FunctionId, ThreadId};
use crate::units::Nanos;

/// A callback that ran for long without giving its event loop back, so that nothing else of
/// that loop could go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopBlocked {
    /// The thread that the loop runs on.
    pub thread: ThreadId,
    /// When it was over, since the recording began.
    pub at: Nanos,
    /// For how long: right to about one tick.
    pub held: Nanos,
    /// What was served.
    pub endpoint: EndpointId,
    /// The topmost of the functions that were on the stack all the time.
    pub function: FunctionId,
}

impl LoopBlocked {
    /// What takes less is not worth telling.
    pub const SHORTEST: Nanos = Nanos::from_millis(50);
}
