//! What threads waited for.

use super::endpoints::SHARES;
use super::{BOLD, DIM, Page, ROWS};
use crate::analysis::{Summary, WaitRow};
use crate::profile::Profile;
use crate::report::files::Files;
use crate::report::frames::frame_text;
use crate::report::numbers;
use crate::report::table::{Column, Field, Table};

impl Page<'_> {
    pub(super) fn waits(&mut self, summary: &Summary, profile: &Profile) {
        if summary.waits.is_empty() {
            return;
        }
        let files = Files::of(profile.tables(), self.text.full_filenames);
        let mut table = Table::new(vec![
            Column::left("WAIT"),
            Column::filling("ON"),
            Column::right("TIME"),
            Column::right("SHARE"),
        ]);
        for row in summary.waits.iter().take(ROWS) {
            let (_, colour, _) = SHARES
                .into_iter()
                .find(|(.., states)| states.iter().any(|state| state.name() == row.state))
                .unwrap_or(SHARES[SHARES.len() - 1]);
            table.row(vec![
                Field::new(&named(row)).styled(colour.on_default()),
                Field::new(row.on.as_deref().unwrap_or(unnamed(row.state))),
                Field::new(&numbers::seconds(row.seconds)).styled(BOLD),
                Field::new(&numbers::share(row.share)),
            ]);
            table.below(Field::new(&whence(row, &files)).styled(DIM));
        }
        self.table(&table, summary.waits.len().saturating_sub(ROWS), "wait");
    }
}

/// Which line of the application waits, and under which endpoints, of each as much as fits
/// on a line: `at fetch (shop/db.py:41), under GET /a 62%, GET /b 38%`.
fn whence(row: &WaitRow, files: &Files<'_>) -> String {
    /// As many endpoints; the rest is counted.
    const ENDPOINTS: usize = 2;
    let part = |seconds: f64| numbers::short_share(seconds / row.seconds);
    let mut words: Vec<String> = row
        .endpoints
        .iter()
        .take(ENDPOINTS)
        .map(|place| match row.endpoints.len() {
            1 => place.endpoint.clone(),
            _ => format!("{} {}", place.endpoint, part(place.seconds)),
        })
        .collect();
    let more = row.endpoints.len().saturating_sub(ENDPOINTS);
    if more > 0 {
        words.push(format!("{more} more"));
    }
    let under = format!("under {}", words.join(", "));
    match row.at.first() {
        Some(place) => {
            let frame =
                frame_text(&place.function, files.name(&place.file), place.line.unwrap_or(0));
            format!("at {frame}, {under}")
        }
        None => under,
    }
}

/// The state, and whether it was tasks that waited and not threads.
fn named(row: &WaitRow) -> String {
    if row.suspended { format!("{} (task)", row.state) } else { row.state.to_owned() }
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
