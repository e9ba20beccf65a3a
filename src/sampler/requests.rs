//! What is told of requests besides their samples: when they began, under which endpoint, and
//! how many the server has counted.

use super::clock::Clock;
use crate::endpoint::{InProgress, RequestCounter};
use crate::model::{EndpointId, ProcessFacts, ProcessId, Request, RequestId, ThreadId};
use crate::units::Nanos;

/// The offset between a process' local time and UTC, found from the requests that it serves.
///
/// Servers note a request's start as a naive local time (Gunicorn's `datetime.now()`), in the
/// zone that the target has: not ours, and it may change in the middle (daylight saving).
/// Offsets are multiples of a quarter of an hour, so one request whose age is known to less
/// than that tells it:
///
/// ```text
///        thread seen without it          seen with it
/// ──────────────┴───────── began ──────────────┴──────► the machine's clock
///                            └─ noted as 21:07:31.5: the offset is what brings it in between
/// ```
///
/// Each request that begins between two looks at its thread fixes the offset anew. Before
/// the first of them, a request has begun before it is seen: the offset is the least that
/// allows for that, and the ages are right if the youngest request of the process is not a
/// quarter of an hour old; otherwise they are too short by a multiple of that.
///
/// A start that fits with no offset (the target's clock is another) is no start.
#[derive(Debug, Default)]
pub(super) struct LocalTime {
    /// In microseconds; what is to be taken off a noted time to have it in UTC.
    offset: Option<i64>,
    /// Whether a request that began between two looks has told it.
    is_sure: bool,
}

/// All offsets in use are multiples of this, in microseconds.
const QUARTER_HOUR: i64 = 900_000_000;

/// No place on earth is further from UTC.
const FURTHEST: i64 = 15 * 4 * QUARTER_HOUR;

/// By how much clocks that are read one after the other may disagree, in microseconds.
const TOLERANCE: i64 = 5_000;

impl LocalTime {
    /// When a request began by the machine's clock, in microseconds since 1970. `now` is when
    /// it was seen for the first time, `before` when its thread was last seen without it, if
    /// it was.
    fn in_utc(&mut self, noted: i64, now: i64, before: Option<i64>) -> Option<i64> {
        let began_by = now.saturating_add(TOLERANCE);
        if let Some(before) = before {
            let ahead = noted.saturating_sub(now).saturating_add(QUARTER_HOUR / 2);
            let offset = ahead.div_euclid(QUARTER_HOUR).saturating_mul(QUARTER_HOUR);
            let began = noted.saturating_sub(offset);
            let is_between = began >= before.saturating_sub(TOLERANCE) && began <= began_by;
            if is_between && offset.abs() <= FURTHEST {
                (self.offset, self.is_sure) = (Some(offset), true);
                return Some(began);
            }
        }
        // The least offset with which it has begun by now.
        let ahead = noted.saturating_sub(began_by);
        let least = ahead.saturating_add(QUARTER_HOUR - 1).div_euclid(QUARTER_HOUR);
        let least = least.saturating_mul(QUARTER_HOUR);
        if least.abs() > FURTHEST {
            return None;
        }
        let offset = match self.offset {
            // The local time was put forward, or the first requests were old ones.
            Some(known) if known >= least => known,
            _ => {
                self.is_sure = false;
                least
            }
        };
        self.offset = Some(offset);
        Some(noted.saturating_sub(offset))
    }
}

/// A server's own count of its requests, over the recording.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) counter: RequestCounter,
    /// When it was first read, and what it was then; of a process that was started while
    /// recording, when that joined, and nothing.
    first: Option<(Nanos, u64)>,
    last: u64,
    read: Option<Nanos>,
}

/// How often it is read. What a process counts after the last time, and before it ends, is
/// not known.
const COUNT_INTERVAL: Nanos = Nanos::from_millis(100);

impl Counted {
    /// The process was started while recording: it has counted from nothing.
    pub(super) const fn begin_at_nothing(&mut self, joined: Nanos) {
        self.first = Some((joined, 0));
    }

    /// Whether it is time to read it.
    pub(super) fn is_due(&self, now: Nanos) -> bool {
        let since = |read| now.saturating_sub(read) >= COUNT_INTERVAL;
        self.counter.is_found() && self.read.is_none_or(since)
    }

    /// It was read.
    pub(super) fn take(&mut self, now: Nanos, count: u64, facts: &mut ProcessFacts) {
        self.read = Some(now);
        // Two threads that count at the same time may even take one back.
        self.last = self.last.max(count);
        let &mut (began, first) = self.first.get_or_insert((now, count));
        if now > began {
            facts.requests = Some(self.last.saturating_sub(first));
            facts.requests_watched = now.saturating_sub(began);
        }
    }
}

/// What was told of a thread's request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    id: RequestId,
    endpoint: EndpointId,
    first_seen: Nanos,
    started: Option<i64>,
}

/// What a thread was last known to do.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LastRequest {
    told: Option<Told>,
    /// When it was last looked at with a result.
    known: Option<Nanos>,
}

/// A tick's news of one request.
#[derive(Debug)]
pub(super) struct News {
    request: Request<'static>,
    path: String,
}

impl News {
    /// The request, with its path.
    pub(super) fn request(&self) -> Request<'_> {
        Request { path: Some(&self.path), ..self.request }
    }
}

impl LastRequest {
    /// The thread has not run since it was last looked at.
    pub(super) const fn stands(&mut self, now: Nanos) {
        self.known = Some(now);
    }

    /// Takes note of what a look at this time has found; news, if there are any. `is_known` is
    /// whether a thread without a request really serves none.
    pub(super) fn look(
        &mut self,
        now: Nanos,
        (process, thread): (ProcessId, ThreadId),
        (found, is_known): (Option<InProgress<'_>>, bool),
        local_time: &mut LocalTime,
        clock: &Clock,
    ) -> Option<News> {
        let Some(found) = found else {
            if is_known {
                *self = Self { told: None, known: Some(now) };
            }
            return None;
        };
        let before = self.known.replace(now);
        let told = match self.told.filter(|told| told.id == found.id) {
            Some(told) if told.endpoint == found.endpoint => return None,
            Some(told) => Told { endpoint: found.endpoint, ..told },
            None => {
                let started = found.noted.and_then(|noted| began(noted, before, local_time, clock));
                let (id, endpoint) = (found.id, found.endpoint);
                Told { id, endpoint, first_seen: now, started }
            }
        };
        self.told = Some(told);
        let Told { id, endpoint, first_seen, started } = told;
        let by_path = found.by_path;
        let request =
            Request { id, process, thread, first_seen, started, by_path, endpoint, path: None };
        Some(News { request, path: found.path.to_owned() })
    }
}

/// When a request began, in nanoseconds since the recording did.
fn began(
    noted: i64,
    before: Option<Nanos>,
    local_time: &mut LocalTime,
    clock: &Clock,
) -> Option<i64> {
    let (unix, now) = clock.unix_micros();
    let since_micros = |then: Nanos| {
        i64::try_from(now.saturating_sub(then).as_nanos() / 1_000).unwrap_or(i64::MAX)
    };
    let before = before.map(|before| unix.saturating_sub(since_micros(before)));
    let began = local_time.in_utc(noted, unix, before)?;
    let age = unix.saturating_sub(began).saturating_mul(1_000);
    Some(i64::try_from(now.as_nanos()).unwrap_or(i64::MAX).saturating_sub(age))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3_600 * SECOND;
    /// Some time in 2026.
    const NOW: i64 = 1_795_290_804 * SECOND;

    #[test]
    fn a_request_that_begins_between_two_looks_tells_the_zone() {
        // Kathmandu, New York, UTC, Kiritimati; a long gap between two looks, and a short one.
        for offset in [5 * HOUR + 3 * QUARTER_HOUR, -5 * HOUR, 0, 14 * HOUR] {
            for gap in [10_000, 60 * SECOND] {
                let mut local = LocalTime::default();
                let began = NOW - gap / 3;
                let found = local.in_utc(began + offset, NOW, Some(NOW - gap));
                assert_eq!(found, Some(began));
                // From then on old ones are told too.
                let began = NOW - 7 * HOUR;
                assert_eq!(local.in_utc(began + offset, NOW, None), Some(began));
            }
        }
    }

    #[test]
    fn without_one_a_request_is_taken_to_be_young() {
        let mut local = LocalTime::default();
        assert_eq!(local.in_utc(NOW - 30 * SECOND + HOUR, NOW, None), Some(NOW - 30 * SECOND));
        // Right before the clocks were read, by a clock that is a little ahead.
        let mut local = LocalTime::default();
        assert_eq!(local.in_utc(NOW + 1_000 - 3 * HOUR, NOW, None), Some(NOW + 1_000));
        // Half an hour old: said to be younger, until one that is new tells.
        let mut local = LocalTime::default();
        let old = NOW - 1_800 * SECOND - 7;
        assert_eq!(local.in_utc(old, NOW, None), Some(NOW - 7));
        assert_eq!(local.in_utc(NOW - 5, NOW, Some(NOW - 10)), Some(NOW - 5));
        assert_eq!(local.in_utc(old, NOW, None), Some(old));
    }

    #[test]
    fn summer_time_begins_and_ends() {
        let mut local = LocalTime::default();
        for offset in [HOUR, 2 * HOUR, HOUR] {
            let began = NOW - 4_000;
            assert_eq!(local.in_utc(began + offset, NOW, Some(NOW - 10_000)), Some(began));
        }
        // It begins while a request is only seen late.
        assert_eq!(local.in_utc(NOW - 90 + 2 * HOUR, NOW, None), Some(NOW - 90));
    }

    #[test]
    fn a_clock_of_its_own_tells_nothing() {
        let mut local = LocalTime::default();
        for noted in [i64::MIN, i64::MAX, 0, NOW + 50 * HOUR] {
            assert_eq!(local.in_utc(noted, NOW, Some(NOW - 10)), None);
            assert_eq!(local.in_utc(noted, NOW, None), None);
        }
    }
}
