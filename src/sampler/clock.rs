//! When to sample.
//!
//! The time line is cut into periods and each has one deadline at a random place around
//! its middle: the mean rate is exact and never drifts, and a target that does something
//! at a fixed interval cannot fall into step with the sampling. A thread that works 2.6 ms
//! of each 10 ms was measured at 8 % with a fixed 100 Hz and at 24 % with jitter.

use std::time::{Duration, Instant, SystemTime};

use crate::units::Nanos;

/// One due sampling instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deadline {
    /// When it is due, since the start.
    pub(super) at: Nanos,
    /// How many periods were passed over before it, their deadlines being gone.
    pub(super) missed: u64,
}

/// The time since the start, and the deadlines.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    start_unix: Duration,
    period: Nanos,
    /// The period whose deadline comes next.
    next: u64,
    random: fastrand::Rng,
}

impl Clock {
    /// How far from its middle a deadline may lie, as a share of the period.
    const JITTER: f64 = 0.4;

    /// A clock that starts now and ticks `rate` times a second on average.
    pub(super) fn start(rate_hz: f64) -> Self {
        Self {
            start: Instant::now(),
            start_unix: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
            period: Nanos::from_secs_f64(1.0 / rate_hz),
            next: 0,
            random: fastrand::Rng::new(),
        }
    }

    /// The start in nanoseconds since 1970 (UTC).
    pub(super) fn start_unix_ns(&self) -> i64 {
        i64::try_from(self.start_unix.as_nanos()).unwrap_or(i64::MAX)
    }

    /// The time since the start.
    pub(super) fn now(&self) -> Nanos {
        self.start.elapsed().into()
    }

    /// The mean time between two ticks.
    pub(super) const fn period(&self) -> Nanos {
        self.period
    }

    /// The next deadline that is not already a whole period old.
    pub(super) fn next_deadline(&mut self) -> Deadline {
        let current = self.now().as_nanos() / self.period.as_nanos().max(1);
        self.deadline_in(current)
    }

    /// The same, with the period that is running now given.
    fn deadline_in(&mut self, current: u64) -> Deadline {
        let due = self.next.max(current);
        let missed = due - self.next;
        self.next = due + 1;
        let place = 0.5 + Self::JITTER * (2.0 * self.random.f64() - 1.0);
        let within = self.period.as_nanos() as f64 * place;
        let start = self.period.as_nanos().saturating_mul(due);
        Deadline { at: Nanos::from_nanos(start.saturating_add(within as u64)), missed }
    }

    /// Sleeps until `at`, or until `stop` says so; looks at it ten times a second.
    pub(super) fn sleep_until(&self, at: Nanos, stop: impl Fn() -> bool) {
        const SLICE: Nanos = Nanos::from_millis(100);
        while !stop() {
            let left = at.saturating_sub(self.now());
            if left == Nanos::ZERO {
                return;
            }
            std::thread::sleep(left.min(SLICE).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_stay_in_their_period_are_irregular_and_late_ones_are_counted() {
        let mut clock = Clock::start(100.0);
        let period = clock.period().as_nanos();
        assert_eq!(period, 10_000_000);
        let mut gaps = Vec::new();
        let mut last = None;
        for index in 0..1000 {
            let deadline = clock.deadline_in(0);
            assert_eq!((deadline.at.as_nanos() / period, deadline.missed), (index, 0));
            if let Some(last) = last.replace(deadline.at) {
                gaps.push(deadline.at.saturating_sub(last).as_nanos() / 1_000_000);
            }
        }
        assert!(gaps.iter().any(|&gap| gap < 5) && gaps.iter().any(|&gap| gap > 15));
        let late = clock.deadline_in(1007);
        assert_eq!((late.at.as_nanos() / period, late.missed), (1007, 7));
    }
}
