//! What databases were asked: how long, how often, and how often for each request.

use anstyle::Style;

use super::{BOLD, Page, ROWS};
use crate::analysis::Summary;
use crate::report::numbers;
use crate::report::table::{Column, Field, Table, cut};

/// From so many executions in each request on, a line says so: one that asks for many rows
/// at once would do.
const MANY_FOR_A_REQUEST: f64 = 5.0;

/// How many such lines there are.
const LINES: usize = 5;

/// How wide an endpoint may be.
const ENDPOINT_WIDTH: usize = 20;

impl Page<'_> {
    pub(super) fn statements(&mut self, summary: &Summary) {
        if summary.statements.is_empty() {
            return;
        }
        let mut table = Table::new(vec![
            Column::filling("STATEMENT"),
            Column::right("TIME"),
            Column::right("SHARE"),
            Column::right("CALLS"),
            Column::right("MEAN"),
            Column::left("MOSTLY UNDER"),
        ]);
        for row in summary.statements.iter().take(ROWS) {
            // Of what cannot be estimated, there were at least as many as were seen.
            let calls = match row.calls_est {
                Some(calls) => numbers::count(calls.round() as u64),
                None => format!(">{}", numbers::count(row.calls_seen)),
            };
            let mean = row.mean_ms.map_or_else(String::new, |mean| numbers::seconds(mean / 1e3));
            let under = row.endpoints.first().map_or("", |place| &place.endpoint);
            table.row(vec![
                Field::new(&row.statement),
                Field::new(&numbers::seconds(row.seconds)).styled(BOLD),
                Field::new(&numbers::share(row.share)),
                Field::new(&calls),
                Field::new(&mean),
                Field::new(&cut(under, ENDPOINT_WIDTH)),
            ]);
        }
        self.table(&table, summary.statements.len().saturating_sub(ROWS), "statement");
        let mut many: Vec<_> = summary
            .statements
            .iter()
            .flat_map(|row| row.endpoints.iter().map(move |place| (row, place)))
            .filter_map(|(row, place)| Some((row, place, place.calls_per_request?)))
            .filter(|&(.., calls)| calls >= MANY_FOR_A_REQUEST)
            .collect();
        many.sort_by(|(.., one), (.., other)| other.total_cmp(one));
        for (number, (row, place, calls)) in many.into_iter().take(LINES).enumerate() {
            let label = if number == 0 { "often" } else { "" };
            let text = format!(
                "{}: {} executions per request of {}",
                place.endpoint,
                numbers::plain(if calls < 20.0 { calls } else { calls.round() }),
                row.statement,
            );
            self.labelled(label, &text, Style::new());
        }
    }
}
