//! Durations in buckets: of 16 microseconds each up to a millisecond, and of a thirty-second
//! of their power of two above that, so that a distribution of any width takes bounded room.

use crate::units::Nanos;

/// Buckets in an octave.
const IN_OCTAVE: u64 = 32;

/// Nanoseconds in the shortest.
const SHORTEST: u64 = 16_000;

/// How many there are; the last one holds all from nine hours on.
pub(super) const BUCKETS: usize = 896;

/// The last one. The upper end of what has no known end.
pub(super) const LAST: u16 = BUCKETS as u16 - 1;

/// The bucket of a duration.
pub(super) fn bucket_of(duration: Nanos) -> u16 {
    let units = duration.as_nanos() / SHORTEST;
    let index = match units.checked_ilog2() {
        Some(octave @ 6..) => {
            let shift = octave - 5;
            u64::from(shift) * IN_OCTAVE + (units >> shift)
        }
        _ => units,
    };
    u16::try_from(index).unwrap_or(LAST).min(LAST)
}

/// Where a bucket begins, in seconds. That of the one behind the last is where that ends.
pub(super) fn start_of(bucket: usize) -> f64 {
    let bucket = bucket as u64;
    let units = if bucket < 2 * IN_OCTAVE {
        bucket
    } else {
        (bucket % IN_OCTAVE + IN_OCTAVE) << (bucket / IN_OCTAVE - 1)
    };
    (units * SHORTEST) as f64 / 1e9
}

/// The middle of a bucket, in seconds.
pub(super) fn middle_of(bucket: usize) -> f64 {
    (start_of(bucket) + start_of(bucket + 1)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another_without_a_gap() {
        for bucket in 0..BUCKETS {
            let nanos = |seconds: f64| (seconds * 1e9).round() as u64;
            let (start, end) = (nanos(start_of(bucket)), nanos(start_of(bucket + 1)));
            assert!(end > start);
            assert!((end - start) as f64 <= (start as f64 / 32.0).max(SHORTEST as f64));
            for inside in [start, end - 1] {
                assert_eq!(usize::from(bucket_of(Nanos::from_nanos(inside))), bucket);
            }
        }
        assert_eq!(bucket_of(Nanos::from_nanos(u64::MAX)), LAST);
    }
}
