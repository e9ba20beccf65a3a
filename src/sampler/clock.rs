//! When to sample.
//!
//! The time line is cut into periods and each has one deadline, anywhere in it: the mean
//! rate is exact and never drifts, and a target that does something at a fixed interval
//! cannot fall into step with the sampling. Every moment of a period must be as likely as
//! any other: a thread that works 2.6 ms of each 10 ms would be seen working always or never
//! by a fixed 100 Hz, and 7 to 33 % of the time by deadlines that keep away from the
//! period's ends by a tenth of it.

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

/// The deadlines of one time line.
#[derive(Debug)]
struct Deadlines {
    period: Nanos,
    /// Where the periods are counted from.
    origin: Nanos,
    /// The period whose deadline comes next.
    next: u64,
    random: fastrand::Rng,
}

impl Deadlines {
    /// The next one that is not already a whole period old.
    fn next(&mut self, now: Nanos) -> Deadline {
        let current = now.saturating_sub(self.origin).as_nanos() / self.period.as_nanos().max(1);
        let due = self.next.max(current);
        let missed = due - self.next;
        self.next = due + 1;
        let within = self.period.as_nanos() as f64 * self.random.f64();
        Deadline { at: self.start_of(due).saturating_add(Nanos::from_nanos(within as u64)), missed }
    }

    fn start_of(&self, period: u64) -> Nanos {
        self.origin.saturating_add(Nanos::from_nanos(self.period.as_nanos().saturating_mul(period)))
    }

    /// From the end of the period of the last deadline on, they come at another rate.
    fn set_period(&mut self, period: Nanos) {
        (self.origin, self.next) = (self.start_of(self.next), 0);
        self.period = period;
    }
}

/// The time since the start, and the deadlines.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    start_unix: Duration,
    deadlines: Deadlines,
}

impl Clock {
    /// A clock that starts now and ticks `rate` times a second on average.
    pub(super) fn start(rate_hz: f64) -> Self {
        Self {
            start: Instant::now(),
            start_unix: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
            deadlines: Deadlines {
                period: period_of(rate_hz),
                origin: Nanos::ZERO,
                next: 0,
                random: fastrand::Rng::new(),
            },
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

    /// What the machine's clock says now, and the time since the start at which it does: one
    /// may be set while the other runs on.
    pub(super) fn unix_micros(&self) -> (i64, Nanos) {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (i64::try_from(unix.as_micros()).unwrap_or(i64::MAX), self.now())
    }

    /// The mean time between two ticks.
    pub(super) const fn period(&self) -> Nanos {
        self.deadlines.period
    }

    /// Ticks at another rate from the next deadline on.
    pub(super) fn set_rate(&mut self, rate_hz: f64) {
        self.deadlines.set_period(period_of(rate_hz));
    }

    /// The next deadline that is not already a whole period old.
    pub(super) fn next_deadline(&mut self) -> Deadline {
        let now = self.now();
        self.deadlines.next(now)
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

fn period_of(rate_hz: f64) -> Nanos {
    Nanos::from_secs_f64(1.0 / rate_hz)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: u64 = 10_000_000;

    fn deadlines() -> Deadlines {
        let random = fastrand::Rng::with_seed(7);
        Deadlines { period: period_of(100.0), origin: Nanos::ZERO, next: 0, random }
    }

    /// When a sampler whose ticks take so long looks, with what it missed before each look.
    fn looks(deadlines: &mut Deadlines, cost: u64, count: usize) -> Vec<(u64, u64)> {
        let mut now = 0;
        let mut look = || {
            let deadline = deadlines.next(Nanos::from_nanos(now));
            let at = now.max(deadline.at.as_nanos());
            now = at + cost;
            (at, deadline.missed)
        };
        (0..count).map(|_| look()).collect()
    }

    #[test]
    fn there_is_one_deadline_in_every_period_at_irregular_places() {
        let looks = looks(&mut deadlines(), 0, 100_000);
        for (index, &(at, missed)) in looks.iter().enumerate() {
            assert_eq!((at / PERIOD, missed), (index as u64, 0), "it drifts");
        }
        let gaps: Vec<u64> = looks.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(gaps.iter().any(|&gap| gap < PERIOD / 2));
        assert!(gaps.iter().any(|&gap| gap > PERIOD * 3 / 2));
    }

    #[test]
    fn a_target_in_step_with_the_rate_is_seen_as_it_is() {
        // It works for 2.6 ms of each 10 ms.
        for phase in 0..20 {
            let start = phase * PERIOD / 20;
            let looks = looks(&mut deadlines(), 0, 50_000);
            let works = |at: u64| (at + start) % PERIOD < PERIOD * 26 / 100;
            let seen = looks.iter().filter(|(at, _)| works(*at)).count() as f64 / 50_000.0;
            assert!((0.25..0.27).contains(&seen), "{seen} at phase {phase}");
        }
    }

    #[test]
    fn late_ticks_and_missed_ones_add_up_to_the_time_that_passed() {
        // From a look that is over at once to one that takes two periods and a half.
        for cost in [0, PERIOD / 2, PERIOD, PERIOD * 5 / 2] {
            let looks = looks(&mut deadlines(), cost, 10_000);
            let missed: u64 = looks.iter().map(|(_, missed)| missed).sum();
            let &(last, _) = looks.last().unwrap();
            let periods = last / PERIOD + 1;
            assert!(periods.abs_diff(10_000 + missed) <= 1, "{periods} with {missed} missed");
            // What is late is not put off for ever, and never comes twice.
            assert!(looks.windows(2).all(|pair| pair[1].0 - pair[0].0 >= cost));
            assert!(looks.windows(2).all(|pair| pair[1].0 - pair[0].0 < cost + 2 * PERIOD));
        }
    }

    #[test]
    fn another_rate_goes_on_where_the_last_one_was() {
        let mut deadlines = deadlines();
        let mut last = Nanos::ZERO;
        for (rate, count) in [(100.0, 10), (50.0, 5), (1000.0, 100)] {
            deadlines.set_period(period_of(rate));
            for _ in 0..count {
                let deadline = deadlines.next(last);
                assert!(deadline.at > last && deadline.missed == 0);
                last = deadline.at;
            }
        }
        // 0.1 s at each of the rates: the last deadline is in the last millisecond.
        assert_eq!(last.as_nanos() / 1_000_000, 299);
    }
}
