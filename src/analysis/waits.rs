//! What threads waited for.

use rustc_hash::FxHashMap;

use super::places::Places;
use super::shares::{Shares, by_seconds};
use super::summary::{EndpointSeconds, EndpointWait, WaitPlace, WaitRow};
use crate::model::{EndpointId, FrameId, On, OnId, State, Tables};
use crate::profile::Profile;
use crate::units::Nanos;

/// The states in which a thread waits for something outside itself that has a name.
const WAITING: [State; 4] = [State::GilWait, State::Io, State::Lock, State::Sleep];

/// Time by endpoint, state and what was waited on.
#[derive(Debug)]
pub(super) struct Waits {
    seconds: FxHashMap<(EndpointId, State, Option<OnId>), Nanos>,
    /// The application's lines that waited, by the same without the endpoint.
    places: FxHashMap<(State, Option<OnId>), FxHashMap<FrameId, Nanos>>,
}

/// As many of the application's lines are named for one thing waited on.
const MOST_PLACES: usize = 10;

impl Waits {
    pub(super) fn of(profile: &Profile) -> Self {
        let mut seconds: FxHashMap<_, Nanos> = FxHashMap::default();
        let mut places: FxHashMap<_, FxHashMap<FrameId, Nanos>> = FxHashMap::default();
        let mut lines = Places::default();
        for cell in profile.cells() {
            let key = &cell.key;
            if !WAITING.contains(&key.state) {
                continue;
            }
            *seconds.entry((key.endpoint, key.state, key.on)).or_default() += cell.weight;
            if let Some(line) = key.stack.and_then(|stack| lines.of(stack, profile.tables())) {
                let places = places.entry((key.state, key.on)).or_default();
                *places.entry(line).or_default() += cell.weight;
            }
        }
        Self { seconds, places }
    }

    /// Each endpoint's waits, longest first.
    pub(super) fn by_endpoint(&self, tables: &Tables) -> FxHashMap<EndpointId, Vec<EndpointWait>> {
        let mut rows: FxHashMap<_, Vec<EndpointWait>> = FxHashMap::default();
        for (&(endpoint, state, on), weight) in &self.seconds {
            rows.entry(endpoint).or_default().push(EndpointWait {
                state: state.name(),
                on: on.map(|on| on_text(tables, on)),
                seconds: weight.as_secs_f64(),
                statement: None,
            });
        }
        for rows in rows.values_mut() {
            rows.sort_by(|one, other| {
                by_seconds(one.seconds, other.seconds)
                    .then_with(|| (one.state, &one.on).cmp(&(other.state, &other.on)))
            });
        }
        rows
    }

    /// All waits, longest first.
    pub(super) fn all(&self, tables: &Tables, shares: &Shares) -> Vec<WaitRow> {
        let mut places = FxHashMap::<(State, Option<OnId>), Vec<_>>::default();
        for (&(endpoint, state, on), &weight) in &self.seconds {
            places.entry((state, on)).or_default().push((endpoint, weight));
        }
        let mut rows: Vec<_> = places
            .into_iter()
            .map(|((state, on), places)| {
                let total: Nanos = places.iter().map(|&(_, weight)| weight).sum();
                let mut endpoints: Vec<_> = places
                    .into_iter()
                    .map(|(endpoint, weight)| EndpointSeconds {
                        endpoint: tables.string(tables.endpoint(endpoint).label).to_owned(),
                        seconds: weight.as_secs_f64(),
                    })
                    .collect();
                endpoints.sort_by(|one, other| {
                    by_seconds(one.seconds, other.seconds)
                        .then_with(|| one.endpoint.cmp(&other.endpoint))
                });
                WaitRow {
                    state: state.name(),
                    on: on.map(|on| on_text(tables, on)),
                    seconds: total.as_secs_f64(),
                    share: shares.of(total),
                    endpoints,
                    at: self.at(state, on, tables),
                    statements: Vec::new(),
                }
            })
            .collect();
        rows.sort_by(|one, other| {
            by_seconds(one.seconds, other.seconds)
                .then_with(|| (one.state, &one.on).cmp(&(other.state, &other.on)))
        });
        rows
    }
}

impl Waits {
    /// The application's lines that waited on something, longest first.
    fn at(&self, state: State, on: Option<OnId>, tables: &Tables) -> Vec<WaitPlace> {
        let lines = self.places.get(&(state, on)).into_iter().flatten();
        let mut places: Vec<_> = lines
            .map(|(&line, weight)| {
                let frame = tables.frame(line);
                let function = tables.function(frame.function);
                WaitPlace {
                    function: tables.string(function.name).to_owned(),
                    file: tables.string(function.file).to_owned(),
                    line: Some(frame.line).filter(|&line| line > 0),
                    seconds: weight.as_secs_f64(),
                }
            })
            .collect();
        places.sort_by(|one, other| {
            by_seconds(one.seconds, other.seconds)
                .then_with(|| (&one.file, one.line).cmp(&(&other.file, other.line)))
        });
        places.truncate(MOST_PLACES);
        places
    }
}

/// What was waited on, in words: the peer or lock as it was named, or the function
/// that held the GIL and, in parentheses, what it served.
fn on_text(tables: &Tables, on: OnId) -> String {
    match tables.on(on) {
        On::Named(name) => tables.string(name).to_owned(),
        On::Holder { function, endpoint } => {
            let function = tables.string(tables.function(function).name);
            let label = tables.string(tables.endpoint(endpoint).label);
            if label.starts_with('(') {
                format!("{function} {label}")
            } else {
                format!("{function} ({label})")
            }
        }
    }
}
