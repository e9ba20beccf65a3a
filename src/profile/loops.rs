//! Event loops that were held up, added up.

use crate::model::{EndpointId, FunctionId, LoopBlocked, ProcessId, Tables};
use crate::units::Nanos;

/// All the times that one function of one endpoint held a process' event loop for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopHolder {
    /// The process.
    pub process: ProcessId,
    /// What was served.
    pub endpoint: EndpointId,
    /// The topmost function that was on the stack all the time.
    pub function: FunctionId,
    /// The longest of them.
    pub longest: Nanos,
    /// All of them together.
    pub total: Nanos,
    /// How often it was held for at least so long as each of [`LoopHolder::LIMITS`].
    pub times: [u64; LoopHolder::LIMITS.len()],
}

impl LoopHolder {
    /// In milliseconds; the first is [`LoopBlocked::SHORTEST`].
    pub const LIMITS: [u64; 6] = [50, 100, 250, 500, 1000, 5000];
}

/// The most holders that are told apart.
const MOST_HOLDERS: usize = 4096;

/// Adds one up.
pub(super) fn add(holders: &mut Vec<LoopHolder>, blocked: &LoopBlocked, tables: &Tables) {
    let &LoopBlocked { thread, endpoint, function, held, .. } = blocked;
    let process = tables.thread(thread).process;
    let is_same = |holder: &LoopHolder| {
        (holder.process, holder.endpoint, holder.function) == (process, endpoint, function)
    };
    let place = holders.iter().position(is_same).or_else(|| {
        (holders.len() < MOST_HOLDERS).then(|| {
            let (longest, total, times) = (Nanos::ZERO, Nanos::ZERO, Default::default());
            holders.push(LoopHolder { process, endpoint, function, longest, total, times });
            holders.len() - 1
        })
    });
    let Some(holder) = place.and_then(|place| holders.get_mut(place)) else { return };
    holder.longest = holder.longest.max(held);
    holder.total += held;
    for (times, limit) in holder.times.iter_mut().zip(LoopHolder::LIMITS) {
        *times += u64::from(held >= Nanos::from_millis(limit));
    }
}
