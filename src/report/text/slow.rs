//! The slowest requests, and what each of them did when.

use anstyle::Style;

use super::{DIM, Page};
use crate::analysis::{SlowPartRow, SlowRow, Summary};
use crate::report::numbers;

/// How many parts of a time line are printed: the longest, in the order of time.
const PARTS: usize = 8;

impl Page<'_> {
    pub(super) fn slow(&mut self, summary: &Summary) {
        let Some(threshold) = summary.recorded.slow_ms else { return };
        let limit = numbers::latency(threshold);
        let count = summary.recorded.slow_requests.unwrap_or(0);
        if count == 0 {
            self.section(&format!("No request took longer than {limit}."));
            return;
        }
        let listed = summary.slow.len() as u64;
        let which = if listed < count { format!("; the slowest {listed}") } else { String::new() };
        let many = numbers::of(count, "request");
        self.section(&format!("{many} took longer than {limit}{which}:"));
        for slow in &summary.slow {
            self.labelled("", &head(slow), Style::new());
            let mut longest: Vec<usize> = (0..slow.timeline.len()).collect();
            longest.sort_by(|&one, &other| {
                let of = |index: usize| slow.timeline[index].duration_ms;
                of(other).total_cmp(&of(one))
            });
            longest.truncate(PARTS);
            longest.sort_unstable();
            for &index in &longest {
                self.labelled("", &part(&slow.timeline[index]), DIM);
            }
            if let Some(more @ 1..) = slow.timeline.len().checked_sub(PARTS) {
                let text = format!("  and {}", numbers::of(more as u64, "shorter part"));
                self.labelled("", &text, DIM);
            }
        }
    }
}

/// `1.24 s GET /report, pid 4711 MainThread, from 3.1 s on`
fn head(slow: &SlowRow) -> String {
    let duration = numbers::latency(slow.duration_ms);
    let least = if slow.ended && slow.start_known { "" } else { "at least " };
    let start = if slow.start_s < 0.0 {
        format!("since {} before the recording", numbers::seconds(-slow.start_s))
    } else {
        format!("from {} on", numbers::seconds(slow.start_s))
    };
    let going = if slow.ended { "" } else { ", still going on at the end" };
    format!("{least}{duration} {}, pid {} {}, {start}{going}", slow.endpoint, slow.pid, slow.thread)
}

/// `  at 120 ms for 912 ms: io on postgresql 10.0.0.5:5432, in do_execute`
fn part(part: &SlowPartRow) -> String {
    let on = part.on.as_deref().map_or(String::new(), |on| format!(" on {on}"));
    let function = part.function.as_deref().map_or(String::new(), |name| format!(", in {name}"));
    format!(
        "  at {} for {}: {}{on}{function}",
        numbers::latency(part.at_ms),
        numbers::latency(part.duration_ms),
        part.state,
    )
}
