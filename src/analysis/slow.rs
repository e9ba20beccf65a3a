//! The slowest requests, with what each did when.

use super::summary::{SlowPartRow, SlowRow};
use super::waits::{on_text, statement_text};
use crate::model::{FrameId, Tables};
use crate::profile::{Profile, SlowPart, SlowRequest};
use crate::units::Nanos;

/// As many are listed.
const LISTED: usize = 10;

pub(super) fn slow(profile: &Profile) -> Vec<SlowRow> {
    let log = profile.slow().into_iter();
    log.flat_map(|log| log.kept.iter().take(LISTED)).map(|one| row(profile.tables(), one)).collect()
}

fn row(tables: &Tables, slow: &SlowRequest) -> SlowRow {
    let thread = tables.thread(slow.thread);
    let first = slow.first.as_nanos() as f64 / 1e9;
    let start = slow.started.map_or(first, |started| started as f64 / 1e9);
    SlowRow {
        endpoint: tables.string(tables.endpoint(slow.endpoint).label).to_owned(),
        pid: tables.process(thread.process).pid.get(),
        thread: tables.string(thread.name).to_owned(),
        start_s: start,
        start_known: slow.started.is_some(),
        duration_ms: milliseconds(slow.duration.as_secs_f64()),
        ended: slow.ended,
        first_seen_s: slow.first.as_secs_f64(),
        last_seen_s: slow.last.as_secs_f64(),
        timeline: slow.parts.iter().map(|part| part_row(tables, part, start)).collect(),
    }
}

fn part_row(tables: &Tables, part: &SlowPart, start: f64) -> SlowPartRow {
    let function = |frame: FrameId| {
        let function = tables.function(tables.frame(frame).function);
        tables.string(function.name).to_owned()
    };
    let leaf = part.stack.and_then(|stack| tables.frames_from_leaf(stack).next());
    let from = (part.from.as_secs_f64() - start).max(0.0);
    let until = (part.until.as_secs_f64() - start).max(from);
    SlowPartRow {
        at_ms: milliseconds(from),
        duration_ms: milliseconds(until - from),
        state: part.state.name(),
        on: part.on.map(|on| on_text(tables, on)),
        statement: part.statement.map(|of| statement_text(tables, of).to_owned()),
        function: leaf.map(function),
        file: leaf.map(|leaf| file_of(tables, leaf)).filter(|file| !file.is_empty()),
        line: leaf.map(|leaf| tables.frame(leaf).line).filter(|&line| line > 0),
        joined: part.joined,
    }
}

fn file_of(tables: &Tables, frame: FrameId) -> String {
    tables.string(tables.function(tables.frame(frame).function).file).to_owned()
}

fn milliseconds(seconds: f64) -> f64 {
    (Nanos::from_secs_f64(seconds).as_nanos() / 1_000) as f64 / 1e3
}
