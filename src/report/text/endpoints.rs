//! Where the time goes, by endpoint.

use anstyle::AnsiColor;

use super::{BOLD, DIM, Page, ROWS};
use crate::analysis::{EndpointRow, Summary};
use crate::model::State;
use crate::report::numbers;
use crate::report::table::{Column, Field, Table};

/// The share columns of the endpoints' table: a title, its colour, and what it adds.
pub(super) const SHARES: [(&str, AnsiColor, &[State]); 6] = [
    ("CPU", AnsiColor::Green, &[State::Running]),
    ("GIL", AnsiColor::Red, &[State::GilWait]),
    ("I/O", AnsiColor::Blue, &[State::Io]),
    ("LOCK", AnsiColor::Yellow, &[State::Lock]),
    ("SLEEP", AnsiColor::Cyan, &[State::Sleep]),
    ("OTHER", AnsiColor::Magenta, &[State::Runnable, State::Unknown]),
];

impl Page<'_> {
    pub(super) fn endpoints(&mut self, summary: &Summary) {
        let mut columns =
            vec![Column::filling("ENDPOINT"), Column::right("TIME"), Column::right("SHARE")];
        columns.extend(SHARES.map(|(title, ..)| Column::right(title)));
        let mut table = Table::new(columns);
        let busy: Vec<_> = summary.endpoints.iter().filter(|row| row.seconds > 0.0).collect();
        for row in busy.iter().take(ROWS) {
            table.row(endpoint_fields(row));
        }
        self.table(&table, busy.len().saturating_sub(ROWS), "endpoint");
    }
}

fn endpoint_fields(row: &EndpointRow) -> Vec<Field> {
    let label = Field::new(&row.endpoint);
    let label = if row.method.is_none() { label.styled(DIM) } else { label };
    let mut fields = vec![
        label,
        Field::new(&numbers::seconds(row.seconds)).styled(BOLD),
        Field::new(&numbers::share(row.share)),
    ];
    let parts = SHARES.map(|(_, colour, states)| {
        let seconds: f64 = states.iter().map(|&state| row.states.seconds(state)).sum();
        (colour, seconds / row.seconds)
    });
    let most = parts.iter().map(|&(_, part)| part).fold(0.0, f64::max);
    fields.extend(parts.map(|(colour, part)| {
        let style = colour.on_default();
        let style = if part == most { style.bold() } else { style };
        Field::new(&numbers::short_share(part)).styled(if part > 0.0 { style } else { DIM })
    }));
    fields
}
