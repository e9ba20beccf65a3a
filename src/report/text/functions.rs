//! The functions, by their own time.

use super::{BOLD, Page, ROWS};
use crate::analysis::{FunctionTime, Summary};
use crate::profile::Profile;
use crate::report::files::Files;
use crate::report::frames::frame_text;
use crate::report::numbers;
use crate::report::table::{Column, Field, Table};

impl Page<'_> {
    pub(super) fn functions(&mut self, summary: &Summary, profile: &Profile) {
        let files = Files::of(profile.tables(), self.text.full_filenames);
        let mut table = Table::new(vec![
            Column::filling("FUNCTION"),
            Column::right("SELF"),
            Column::right("SHARE"),
            Column::right("TOTAL"),
        ]);
        let own: Vec<_> = summary.functions.iter().filter(|row| row.time.self_s > 0.0).collect();
        for row in own.iter().take(ROWS) {
            table.row(vec![
                Field::new(&function_text(&row.time, &files)),
                Field::new(&numbers::seconds(row.time.self_s)).styled(BOLD),
                Field::new(&numbers::share(row.self_share)),
                Field::new(&numbers::seconds(row.time.total_s)),
            ]);
        }
        self.table(&table, own.len().saturating_sub(ROWS), "function");
    }
}

fn function_text(time: &FunctionTime, files: &Files<'_>) -> String {
    let file = time.file.as_deref().unwrap_or_default();
    frame_text(&time.function, files.name(file), time.line.unwrap_or(0))
}
