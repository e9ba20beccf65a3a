//! Our own CPU time, kept within a share of one CPU.
//!
//! ```text
//! rate asked ─┐   too dear: as many steps down as it takes, at once
//!     × 0.8   ├─►
//!     × 0.64  ┘   ◄─ a step up would fit, with room to spare, for a whole window
//!     …
//! ```
//!
//! What ticks cost changes with the target, so the rate is found by measuring. Samples
//! weigh the time that passed between them: a lower rate bends nothing, it only sees less.

use std::collections::VecDeque;

use crate::units::Nanos;

/// How often our CPU time is looked at.
const INTERVAL: Nanos = Nanos::from_millis(100);

/// Over how many intervals it is averaged.
const WINDOW: usize = 10;

/// From one step to the next, the rate is this much lower.
const STEP: f64 = 0.8;

/// No budget makes ticks rarer than this, unless rarer ones were asked for.
const LOWEST_HZ: f64 = 1.0;

/// What a lower rate may use of the budget, so that it is kept.
const WITHIN: f64 = 0.95;

/// What a higher one may, so that it is not left again at once.
const ROOM: f64 = 0.85;

/// What had been used up at one time.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    at: Nanos,
    cpu: Nanos,
    ticks: u64,
}

/// Lowers the rate of ticks while they cost more than they may, and raises it again.
#[derive(Debug)]
pub(super) struct Budget {
    /// Of one CPU; `None` without a limit.
    share: Option<f64>,
    asked_hz: f64,
    /// How many steps below the rate that was asked for.
    step: i32,
    /// Since the rate was last changed, oldest first.
    marks: VecDeque<Mark>,
    slowed: Nanos,
}

impl Budget {
    /// A budget of this share of one CPU, for ticks that are to come at this rate. `cpu` is
    /// what we have used until now.
    pub(super) fn new(share: Option<f64>, asked_hz: f64, cpu: Nanos) -> Self {
        let mut marks = VecDeque::with_capacity(WINDOW + 1);
        marks.push_back(Mark { cpu, ..Mark::default() });
        Self { share, asked_hz, step: 0, marks, slowed: Nanos::ZERO }
    }

    /// Whether [`Budget::renew`] is to be called.
    pub(super) fn is_due(&self, now: Nanos) -> bool {
        let last = self.marks.back().map_or(Nanos::ZERO, |mark| mark.at);
        self.share.is_some() && now.saturating_sub(last) >= INTERVAL
    }

    /// Takes note of what was used until now: our CPU time and the ticks so far. A new rate in
    /// ticks a second, if it is to change.
    pub(super) fn renew(&mut self, at: Nanos, cpu: Nanos, ticks: u64) -> Option<f64> {
        let share = self.share?;
        let now = Mark { at, cpu, ticks };
        let (first, last) = (*self.marks.front()?, *self.marks.back()?);
        if self.step > 0 {
            self.slowed += at.saturating_sub(last.at);
        }
        let seconds = at.saturating_sub(first.at).as_secs_f64();
        let used = cpu.saturating_sub(first.cpu).as_secs_f64() / seconds;
        let rate = ticks.saturating_sub(first.ticks) as f64 / seconds;
        // As if all that we use were used by ticks: what is not shows at the new rate.
        let affordable = |part: f64| rate * share * part / used;
        let step = if used > share {
            let most = affordable(WITHIN);
            (self.step + 1..).find(|&step| self.rate_at(step) <= most.max(self.lowest()))?
        } else if self.step > 0
            && self.marks.len() == WINDOW
            && self.rate_at(self.step - 1) <= affordable(ROOM)
        {
            self.step - 1
        } else {
            self.step
        };
        let changed = step != self.step && self.rate_at(step) != self.rate_at(self.step);
        if changed {
            self.step = step;
            self.marks.clear();
        } else if self.marks.len() == WINDOW {
            self.marks.pop_front();
        }
        self.marks.push_back(now);
        changed.then(|| self.rate_at(step))
    }

    /// For how long ticks came at a lower rate than was asked for.
    pub(super) const fn slowed(&self) -> Nanos {
        self.slowed
    }

    fn rate_at(&self, step: i32) -> f64 {
        (self.asked_hz * STEP.powi(step)).max(self.lowest())
    }

    fn lowest(&self) -> f64 {
        self.asked_hz.min(LOWEST_HZ)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sampler on simulated time.
    struct World {
        budget: Budget,
        now: f64,
        cpu: f64,
        ticks: u64,
        rate: f64,
        changes: u32,
    }

    impl World {
        fn new(share: Option<f64>, rate: f64) -> Self {
            let budget = Budget::new(share, rate, Nanos::ZERO);
            Self { budget, now: 0.0, cpu: 0.0, ticks: 0, rate, changes: 0 }
        }

        /// Goes on for so long with ticks of this cost, and so much that is used without any:
        /// the share of a CPU that this came to.
        fn run(&mut self, seconds: f64, tick_cost: f64, always: f64) -> f64 {
            let (end, before) = (self.now + seconds, self.cpu);
            while self.now < end {
                self.now += 1.0 / self.rate;
                self.cpu += tick_cost + always / self.rate;
                self.ticks += 1;
                let now = Nanos::from_secs_f64(self.now);
                if self.budget.is_due(now) {
                    let cpu = Nanos::from_secs_f64(self.cpu);
                    if let Some(rate) = self.budget.renew(now, cpu, self.ticks) {
                        self.changes += 1;
                        self.rate = rate;
                    }
                }
            }
            (self.cpu - before) / seconds
        }
    }

    #[test]
    fn what_fits_is_left_alone() {
        let mut world = World::new(Some(0.05), 1000.0);
        let used = world.run(60.0, 40e-6, 0.005);
        assert!((0.044..0.046).contains(&used), "{used}");
        assert_eq!((world.rate, world.changes), (1000.0, 0));
        assert_eq!(world.budget.slowed(), Nanos::ZERO);
    }

    #[test]
    fn without_a_limit_there_is_none() {
        let mut world = World::new(None, 1000.0);
        assert!(world.run(10.0, 900e-6, 0.0) > 0.85);
        assert_eq!(world.changes, 0);
    }

    #[test]
    fn what_is_too_dear_is_made_rarer_at_once_and_settles() {
        for (cost, always) in [(100e-6, 0.0), (1e-3, 0.0), (20e-3, 0.0), (100e-6, 0.03)] {
            let mut world = World::new(Some(0.05), 1000.0);
            world.run(2.0, cost, always);
            let settled = world.changes;
            let used = world.run(60.0, cost, always);
            // Not above the budget, and not far below: a step, and what a step up leaves.
            assert!((0.03..=0.05).contains(&used), "{used} for {cost} and {always}");
            assert_eq!(world.changes, settled, "it does not swing");
            assert!(world.budget.slowed() > Nanos::from_millis(61_000));
        }
    }

    #[test]
    fn the_rate_comes_back_when_ticks_are_cheap_again() {
        let mut world = World::new(Some(0.05), 1000.0);
        world.run(5.0, 500e-6, 0.0);
        assert!(world.rate < 110.0, "{}", world.rate);
        world.run(60.0, 10e-6, 0.0);
        assert_eq!(world.rate, 1000.0);
        let slowed = world.budget.slowed();
        world.run(5.0, 10e-6, 0.0);
        assert_eq!(world.budget.slowed(), slowed);
    }

    #[test]
    fn there_is_a_lowest_rate() {
        let mut world = World::new(Some(0.01), 100.0);
        world.run(20.0, 0.5, 0.0);
        assert_eq!(world.rate, LOWEST_HZ);
        let mut world = World::new(Some(0.01), 0.5);
        world.run(20.0, 0.5, 0.0);
        assert_eq!((world.rate, world.changes), (0.5, 0));
    }
}
