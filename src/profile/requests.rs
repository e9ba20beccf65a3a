//! Requests seen, counted once each.

use rustc_hash::FxHashMap;

use crate::model::{EndpointId, RequestId, ThreadId};

/// How many requests one thread was seen to serve under one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestsSeen {
    /// The thread.
    pub thread: ThreadId,
    /// The endpoint that the requests were last seen with.
    pub endpoint: EndpointId,
    /// How many. A request shorter than the time between two ticks may have gone
    /// by unseen, so this is at the most the true number.
    pub count: u64,
}

/// Counts each request once, under the endpoint it was last seen with: before the
/// framework has matched a route, a request has a provisional one. It remembers one
/// request a thread, since a thread goes from one request to the next.
#[derive(Debug, Default)]
pub(super) struct Requests {
    counts: FxHashMap<(ThreadId, EndpointId), u64>,
}

impl Requests {
    /// A thread was seen serving `request` under `endpoint`; `last` is what the same
    /// thread was seen with before.
    pub(super) fn seen(
        &mut self,
        thread: ThreadId,
        last: &mut Option<(RequestId, EndpointId)>,
        request: RequestId,
        endpoint: EndpointId,
    ) {
        match *last {
            Some(known) if known == (request, endpoint) => return,
            Some((known, before)) if known == request => {
                if let Some(count) = self.counts.get_mut(&(thread, before)) {
                    *count = count.saturating_sub(1);
                }
            }
            _ => {}
        }
        *self.counts.entry((thread, endpoint)).or_default() += 1;
        *last = Some((request, endpoint));
    }

    /// The counts, by thread and endpoint.
    pub(super) fn finish(self) -> Vec<RequestsSeen> {
        let mut seen: Vec<_> = self
            .counts
            .into_iter()
            .filter(|&(_, count)| count > 0)
            .map(|((thread, endpoint), count)| RequestsSeen { thread, endpoint, count })
            .collect();
        seen.sort_unstable_by_key(|seen| (seen.thread, seen.endpoint));
        seen
    }
}
