//! Event loops that were held up.

use super::{Page, ROWS};
use crate::analysis::Summary;
use crate::report::numbers;

impl Page<'_> {
    /// One line each: `loop     blocked 412 ms by GET /export in dumps, 12 times, 3.2 s in all`.
    pub(super) fn loops(&mut self, summary: &Summary) {
        if summary.loop_blocked.is_empty() {
            return;
        }
        self.lines.push(String::new());
        for row in summary.loop_blocked.iter().take(ROWS) {
            let times = match row.times {
                1 => "once".to_owned(),
                times => format!("{times} times, {} in all", numbers::seconds(row.seconds)),
            };
            let longest = row.longest_ms.round();
            let text =
                format!("blocked {longest} ms by {} in {}, {times}", row.endpoint, row.function);
            self.labelled("loop", &text, super::BOLD);
        }
    }
}
