//! How many requests there are, and how long they take.

use super::{DIM, Page, ROWS};
use crate::analysis::{EndpointRow, Summary};
use crate::report::numbers;
use crate::report::table::{Column, Field, Table};

/// The titles of the columns.
pub(super) const TITLES: [&str; 3] = ["REQ/S", "P50", "P95"];
/// What they take.
pub(super) const WIDTH: usize = " 123.4 123 ms 123 ms".len();

/// Requests a second, and the latencies that half of them and 95 of 100 have at the most.
pub(super) fn fields(row: &EndpointRow) -> [Field; 3] {
    let latency = row.latency_ms.as_ref();
    let texts = [
        row.requests_per_s.map(numbers::rate),
        latency.map(|latency| numbers::latency(latency.p50)),
        latency.map(|latency| numbers::latency(latency.p95)),
    ];
    texts.map(|text| match text {
        Some(text) => Field::new(&text),
        None => Field::new(".").styled(DIM),
    })
}

impl Page<'_> {
    /// The same in a table of its own, where there is no room for the columns.
    pub(super) fn requests(&mut self, summary: &Summary) {
        let has_any = |row: &&EndpointRow| row.requests_per_s.is_some() && row.seconds > 0.0;
        let rows: Vec<_> = summary.endpoints.iter().filter(has_any).collect();
        let mut titles = vec![Column::filling("REQUESTS")];
        titles.extend(TITLES.map(Column::right));
        titles.extend(["P99", "MAX", "SEEN"].map(Column::right));
        let mut table = Table::new(titles);
        for row in rows.iter().take(ROWS) {
            let latency = row.latency_ms.as_ref();
            let more = [latency.map(|latency| latency.p99), latency.map(|latency| latency.max)];
            let mut line = vec![Field::new(&row.endpoint)];
            line.extend(fields(row));
            line.extend(more.map(|of| match of {
                Some(ms) => Field::new(&numbers::latency(ms)),
                None => Field::new(".").styled(DIM),
            }));
            line.push(Field::new(&numbers::count(row.requests_seen)));
            table.row(line);
        }
        self.table(&table, rows.len().saturating_sub(ROWS), "endpoint");
    }
}
