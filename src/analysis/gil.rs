//! Who held the GIL, and who waited for it.

use rustc_hash::FxHashMap;

use super::shares::{Shares, by_seconds, share};
use super::summary::{Gil, GilBlocked, GilHolder, GilProcess};
use crate::model::{EndpointId, FunctionId, On, ProcessId, State, Tables};
use crate::profile::{Key, Profile};
use crate::units::Nanos;

#[derive(Debug, Default, Clone, Copy)]
struct Held {
    held: Nanos,
    waited: Nanos,
    busy: Nanos,
}

/// Who holds the GIL that a thread waits for, where that was seen.
fn holder(key: &Key, tables: &Tables) -> Option<(FunctionId, EndpointId)> {
    match (key.state, tables.on(key.on?)) {
        (State::GilWait | State::Runnable, On::Holder { function, endpoint }) => {
            Some((function, endpoint))
        }
        _ => None,
    }
}

/// Whether a thread waits for the GIL: blocked, or woken up and without a CPU to find that
/// it still has to wait.
fn wants_gil(key: &Key, tables: &Tables) -> bool {
    key.state == State::GilWait || holder(key, tables).is_some()
}

/// The GIL's part in a profile; `None` where no process has one.
pub(super) fn gil(profile: &Profile, shares: &Shares) -> Option<Gil> {
    let with_gil: Vec<_> =
        profile.processes().iter().filter(|(_, facts)| !facts.free_threaded).collect();
    if with_gil.is_empty() {
        return None;
    }
    let tables = profile.tables();
    let mut by_process: FxHashMap<ProcessId, Held> = FxHashMap::default();
    for cell in profile.cells() {
        let process = by_process.entry(tables.thread(cell.key.thread).process).or_default();
        process.held += cell.gil_held;
        if cell.key.state == State::Idle {
            continue;
        }
        if wants_gil(&cell.key, tables) {
            process.waited += cell.weight;
        }
        process.busy += cell.weight;
    }
    let (mut held, mut waited, mut observed) = (Nanos::ZERO, Nanos::ZERO, Nanos::ZERO);
    let rows = with_gil
        .into_iter()
        .map(|(id, facts)| {
            let there = profile.observed(facts);
            let process = by_process.get(id).copied().unwrap_or_default();
            held += process.held;
            waited += process.waited;
            observed += there;
            GilProcess {
                pid: facts.pid.get(),
                held_share: share(process.held, there),
                wait_share: share(process.waited, process.busy),
                switches_per_s: facts
                    .gil_switches
                    .filter(|_| facts.gil_watched > Nanos::ZERO)
                    .map(|switches| switches as f64 / facts.gil_watched.as_secs_f64()),
            }
        })
        .collect();
    Some(Gil {
        held_share: share(held, observed),
        wait_share: shares.of(waited),
        by_process: rows,
        holders: holders(profile),
        blocked: blocked(profile),
    })
}

/// Functions that held the GIL, by what they did to others and then by how long.
fn holders(profile: &Profile) -> Vec<GilHolder> {
    let tables = profile.tables();
    let mut sums: FxHashMap<(EndpointId, FunctionId), (Nanos, Nanos)> = FxHashMap::default();
    for cell in profile.cells() {
        if let (true, Some(stack)) = (cell.key.holds_gil, cell.key.stack) {
            let function = tables.frame(tables.stack(stack).frame).function;
            sums.entry((cell.key.endpoint, function)).or_default().0 += cell.gil_held;
        }
        if let Some((function, endpoint)) = holder(&cell.key, tables) {
            sums.entry((endpoint, function)).or_default().1 += cell.weight;
        }
    }
    let mut rows: Vec<_> = sums
        .into_iter()
        .map(|((endpoint, function), (held, blocked))| {
            let function = tables.function(function);
            GilHolder {
                endpoint: tables.string(tables.endpoint(endpoint).label).to_owned(),
                function: tables.string(function.name).to_owned(),
                file: Some(tables.string(function.file).to_owned()).filter(|file| !file.is_empty()),
                line: Some(function.first_line).filter(|&line| line > 0),
                held_s: held.as_secs_f64(),
                blocked_others_s: blocked.as_secs_f64(),
            }
        })
        .collect();
    rows.sort_by(|one, other| {
        by_seconds(one.blocked_others_s, other.blocked_others_s)
            .then_with(|| by_seconds(one.held_s, other.held_s))
            .then_with(|| (&one.endpoint, &one.function).cmp(&(&other.endpoint, &other.function)))
    });
    rows
}

/// Who was blocked behind whom.
fn blocked(profile: &Profile) -> Vec<GilBlocked> {
    let tables = profile.tables();
    let mut behind: FxHashMap<(EndpointId, EndpointId, FunctionId), Nanos> = FxHashMap::default();
    let mut busy: FxHashMap<EndpointId, Nanos> = FxHashMap::default();
    for cell in profile.cells() {
        let waits = cell.key.endpoint;
        if cell.key.state != State::Idle {
            *busy.entry(waits).or_default() += cell.weight;
        }
        if let Some((function, endpoint)) = holder(&cell.key, tables) {
            *behind.entry((waits, endpoint, function)).or_default() += cell.weight;
        }
    }
    let label = |endpoint| tables.string(tables.endpoint(endpoint).label).to_owned();
    let row = |((waits, holds, function), seconds): ((EndpointId, _, _), Nanos)| {
        let function = tables.function(function);
        GilBlocked {
            endpoint: label(waits),
            holder_endpoint: label(holds),
            function: tables.string(function.name).to_owned(),
            file: Some(tables.string(function.file).to_owned()).filter(|file| !file.is_empty()),
            line: Some(function.first_line).filter(|&line| line > 0),
            seconds: seconds.as_secs_f64(),
            share: share(seconds, busy.get(&waits).copied().unwrap_or_default()),
        }
    };
    let mut rows: Vec<_> = behind.into_iter().map(row).collect();
    let names = |row: &GilBlocked| {
        (row.endpoint.clone(), row.holder_endpoint.clone(), row.function.clone(), row.file.clone())
    };
    rows.sort_by(|one, other| {
        by_seconds(one.seconds, other.seconds).then_with(|| names(one).cmp(&names(other)))
    });
    rows
}
