//! Shares of a whole, and the order of rows.

use std::cmp::Ordering;

use super::summary::FunctionTime;
use crate::units::Nanos;

/// All non-idle thread-time of a profile, to take shares of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares(pub(super) Nanos);

impl Shares {
    pub(super) fn of(&self, part: Nanos) -> f64 {
        share(part, self.0)
    }
}

/// A part of a whole, from 0 to 1 and to a millionth; 0 of nothing.
pub(super) fn share(part: Nanos, whole: Nanos) -> f64 {
    if whole == Nanos::ZERO {
        return 0.0;
    }
    let share = part.as_nanos() as f64 / whole.as_nanos() as f64;
    ((share * 1e6).round() / 1e6).min(1.0)
}

/// The order of rows: most seconds first.
pub(super) fn by_seconds(one: f64, other: f64) -> Ordering {
    other.total_cmp(&one)
}

/// The order of functions: most time of their own first.
pub(super) fn by_own_time(one: &FunctionTime, other: &FunctionTime) -> Ordering {
    by_seconds(one.self_s, other.self_s)
        .then_with(|| by_seconds(one.total_s, other.total_s))
        .then_with(|| one.function.cmp(&other.function))
        .then_with(|| one.file.cmp(&other.file))
        .then_with(|| one.line.cmp(&other.line))
}
