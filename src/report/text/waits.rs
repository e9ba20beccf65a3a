//! What threads waited for.

use super::endpoints::SHARES;
use super::{BOLD, Page, ROWS};
use crate::analysis::Summary;
use crate::report::numbers;
use crate::report::table::{Column, Field, Table, cut};

impl Page<'_> {
    pub(super) fn waits(&mut self, summary: &Summary) {
        if summary.waits.is_empty() {
            return;
        }
        let mut table = Table::new(vec![
            Column::left("WAIT"),
            Column::filling("ON"),
            Column::right("TIME"),
            Column::right("SHARE"),
            Column::left("MOSTLY UNDER"),
        ]);
        for row in summary.waits.iter().take(ROWS) {
            let (_, colour, _) = SHARES
                .into_iter()
                .find(|(.., states)| states.iter().any(|state| state.name() == row.state))
                .unwrap_or(SHARES[SHARES.len() - 1]);
            let under = row.endpoints.first().map_or("", |place| &place.endpoint);
            table.row(vec![
                Field::new(row.state).styled(colour.on_default()),
                Field::new(row.on.as_deref().unwrap_or(unnamed(row.state))),
                Field::new(&numbers::seconds(row.seconds)).styled(BOLD),
                Field::new(&numbers::share(row.share)),
                Field::new(&cut(under, 26)),
            ]);
        }
        self.table(&table, summary.waits.len().saturating_sub(ROWS), "wait");
    }
}

/// What stands for the thing waited on where there is none to name: a sleep has none, and
/// the GIL may have changed hands while it was looked at.
fn unnamed(state: &str) -> &'static str {
    match state {
        "sleep" => "",
        "gil_wait" => "(holder not seen)",
        _ => "(not told)",
    }
}
