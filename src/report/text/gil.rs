//! The GIL: how long it was held and waited for, and who waited behind whom.

use anstyle::{AnsiColor, Style};

use super::{BOLD, DIM, Page, ROWS};
use crate::analysis::{Gil, GilBlocked, Summary};
use crate::report::numbers;
use crate::report::table::{Column, Field, Table};

/// How many sentences on who waited behind whom there are at the most.
const SENTENCES: usize = 5;
/// Of an endpoint's time, what is not worth a sentence.
const NEGLIGIBLE: f64 = 0.01;

impl Page<'_> {
    pub(super) fn gil(&mut self, summary: &Summary) {
        let Some(gil) = &summary.gil else { return };
        let is_used = |share: f64| share >= 0.001;
        let mut rows: Vec<_> = gil
            .by_process
            .iter()
            .filter(|row| is_used(row.held_share) || is_used(row.wait_share))
            .collect();
        if rows.is_empty() {
            return;
        }
        rows.sort_by(|one, other| {
            let key = |share: f64, held: f64| (share, held);
            let (one, other) =
                (key(one.wait_share, one.held_share), key(other.wait_share, other.held_share));
            other.0.total_cmp(&one.0).then_with(|| other.1.total_cmp(&one.1))
        });
        let mut table = Table::new(vec![
            Column::filling("GIL OF"),
            Column::right("HELD"),
            Column::right("WAITED FOR"),
            Column::right("SWITCHES/S"),
        ]);
        for row in rows.iter().take(ROWS) {
            let switches = row.switches_per_s.map_or("-".to_owned(), |rate| {
                if rate < 10.0 { format!("{rate:.1}") } else { numbers::count(rate.round() as u64) }
            });
            table.row(vec![
                Field::new(&format!("pid {}", row.pid)),
                Field::new(&numbers::share(row.held_share)).styled(BOLD),
                Field::new(&numbers::share(row.wait_share)).styled(AnsiColor::Red.on_default()),
                Field::new(&switches),
            ]);
        }
        self.table(&table, rows.len().saturating_sub(ROWS), "process");
        self.who_waited(gil);
    }

    fn who_waited(&mut self, gil: &Gil) {
        let told: Vec<_> = gil.blocked.iter().filter(|row| row.share >= NEGLIGIBLE).collect();
        for row in told.iter().take(SENTENCES) {
            self.labelled("", &sentence(row), Style::new());
        }
        if let Some(more @ 1..) = told.len().checked_sub(SENTENCES) {
            let text = format!("and {}", numbers::of(more as u64, "more pair"));
            self.labelled("", &text, DIM);
        }
    }
}

/// `GET /report waited 31.0% of its time behind GET /export in json.dumps`.
fn sentence(row: &GilBlocked) -> String {
    let behind = if row.endpoint == row.holder_endpoint {
        "other threads of its own"
    } else {
        &row.holder_endpoint
    };
    let share = numbers::share(row.share);
    format!("{} waited {share} of its time behind {behind} in {}", row.endpoint, row.function)
}
