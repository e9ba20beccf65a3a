//! Quantities with their unit in the type, so that a PID is never a TID and a
//! nanosecond never a tick.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A process identifier in the profiler's own PID namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pid(u32);

impl Pid {
    /// The process with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number, as `ps` prints it.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A kernel thread identifier in the profiler's own PID namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tid(u32);

impl Tid {
    /// The thread with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number, as `ps -L` prints it.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Tid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// An address in a target's memory. It is never dereferenced here, only asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RemoteAddress(u64);

impl RemoteAddress {
    /// The null address.
    pub const NULL: Self = Self(0);

    /// The address with this value.
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// The value.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether this is the null address.
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The address `bytes` further on. Addresses come from a target and may be
    /// anything, so the sum wraps: a nonsense address fails to be read, it does
    /// not panic.
    #[must_use]
    pub const fn plus(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// The distance in bytes from `start` to this address, if it is not before it.
    pub const fn bytes_since(self, start: Self) -> Option<u64> {
        self.0.checked_sub(start.0)
    }

    /// Whether a user-space structure with 8-byte alignment could start here.
    pub const fn is_plausible(self) -> bool {
        self.0 >= 4096 && self.0 < 1 << 56 && self.0.is_multiple_of(8)
    }
}

impl fmt::Display for RemoteAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}", self.0)
    }
}

/// A duration, or a moment as a duration since the recording began, in nanoseconds.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Nanos(u64);

impl Nanos {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// So many nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// So many microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros.saturating_mul(1_000))
    }

    /// So many milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// So many seconds; negative or not-a-number is taken as zero.
    pub fn from_secs_f64(seconds: f64) -> Self {
        Self((seconds * 1e9) as u64)
    }

    /// The number of nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The same in seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The sum, at the most the largest value there is.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, at the least zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl std::ops::AddAssign for Nanos {
    fn add_assign(&mut self, other: Self) {
        *self = self.saturating_add(other);
    }
}

impl std::iter::Sum for Nanos {
    fn sum<I: Iterator<Item = Self>>(iterator: I) -> Self {
        iterator.fold(Self::ZERO, Self::saturating_add)
    }
}

impl From<std::time::Duration> for Nanos {
    fn from(duration: std::time::Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Nanos> for std::time::Duration {
    fn from(nanos: Nanos) -> Self {
        Self::from_nanos(nanos.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_addresses_wrap_instead_of_panicking() {
        assert_eq!(RemoteAddress::new(u64::MAX).plus(2), RemoteAddress::new(1));
        assert!(!RemoteAddress::new(u64::MAX).is_plausible());
        assert!(!RemoteAddress::NULL.is_plausible());
        assert!(RemoteAddress::new(0x7f00_0000_1000).is_plausible());
    }

    #[test]
    fn durations_saturate() {
        let longest = Nanos::from_nanos(u64::MAX);
        assert_eq!(longest.saturating_add(Nanos::from_millis(1)), longest);
        assert_eq!(Nanos::ZERO.saturating_sub(longest), Nanos::ZERO);
        assert_eq!(Nanos::from_secs_f64(-1.0), Nanos::ZERO);
        assert_eq!(Nanos::from_secs_f64(1.5).as_nanos(), 1_500_000_000);
    }
}
