//! What threads waited for.

use rustc_hash::FxHashMap;

use super::places::Places;
use super::shares::{Shares, by_seconds, share};
use super::statements::Statements;
use super::summary::{EndpointSeconds, EndpointWait, Statement, WaitPlace, WaitRow};
use crate::model::{EndpointId, FrameId, On, OnId, State, StatementId, Tables};
use crate::profile::Profile;
use crate::units::Nanos;

/// The states in which a thread waits for something outside itself that has a name.
const WAITING: [State; 4] = [State::GilWait, State::Io, State::Lock, State::Sleep];

/// Whether it was tasks that waited comes first: their time is not that of threads.
type Key = (bool, EndpointId, State, Option<OnId>, Option<StatementId>);

/// Time by endpoint, state, what was waited on, and the statement.
#[derive(Debug)]
pub(super) struct Waits {
    seconds: FxHashMap<Key, Nanos>,
    /// The application's lines that waited, by the same without the endpoint.
    places: FxHashMap<(bool, State, Option<OnId>), FxHashMap<FrameId, Nanos>>,
    /// The time of all tasks that waited.
    suspended: Nanos,
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
            // Who waits for the GIL does not wait for what it asked meanwhile.
            let statement = key.statement.filter(|_| key.state != State::GilWait);
            let wait = (false, key.endpoint, key.state, key.on, statement);
            *seconds.entry(wait).or_default() += cell.weight;
            if let Some(line) = key.stack.and_then(|stack| lines.of(stack, profile.tables())) {
                let places = places.entry((false, key.state, key.on)).or_default();
                *places.entry(line).or_default() += cell.weight;
            }
        }
        let mut suspended = Nanos::ZERO;
        for cell in profile.suspended() {
            if cell.state == State::Idle {
                continue;
            }
            suspended += cell.weight;
            let wait = (true, cell.endpoint, cell.state, cell.on, None);
            *seconds.entry(wait).or_default() += cell.weight;
            if let Some(line) = cell.stack.and_then(|stack| lines.of(stack, profile.tables())) {
                let places = places.entry((true, cell.state, cell.on)).or_default();
                *places.entry(line).or_default() += cell.weight;
            }
        }
        Self { seconds, places, suspended }
    }

    /// Each endpoint's waits, longest first.
    pub(super) fn by_endpoint(&self, tables: &Tables) -> FxHashMap<EndpointId, Vec<EndpointWait>> {
        let mut rows: FxHashMap<_, Vec<EndpointWait>> = FxHashMap::default();
        for (&(suspended, endpoint, state, on, statement), weight) in &self.seconds {
            rows.entry(endpoint).or_default().push(EndpointWait {
                state: state.name(),
                on: on.map(|on| on_text(tables, on)),
                seconds: weight.as_secs_f64(),
                suspended,
                statement: statement.map(|it| statement_text(tables, it).to_owned()),
            });
        }
        for rows in rows.values_mut() {
            rows.sort_by(|one, other| {
                by_seconds(one.seconds, other.seconds)
                    .then_with(|| (one.state, &one.on).cmp(&(other.state, &other.on)))
                    .then_with(|| one.statement.cmp(&other.statement))
            });
        }
        rows
    }

    /// All waits, longest first.
    pub(super) fn all(
        &self,
        tables: &Tables,
        shares: &Shares,
        executions: &Statements,
    ) -> Vec<WaitRow> {
        let mut places = FxHashMap::<(bool, State, Option<OnId>), Parts>::default();
        for (&(suspended, endpoint, state, on, statement), &weight) in &self.seconds {
            let places = places.entry((suspended, state, on)).or_default();
            *places.endpoints.entry(endpoint).or_default() += weight;
            if let Some(statement) = statement {
                *places.statements.entry(statement).or_default() += weight;
            }
        }
        let mut rows: Vec<_> = places
            .into_iter()
            .map(|((suspended, state, on), places)| {
                let Parts { endpoints: places, statements } = places;
                let total: Nanos = places.values().copied().sum();
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
                    share: if suspended { share(total, self.suspended) } else { shares.of(total) },
                    suspended,
                    endpoints,
                    at: self.at(suspended, state, on, tables),
                    statements: statements_of(tables, executions, state, on, statements),
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

/// The two ways in which one wait is taken apart.
#[derive(Debug, Default)]
struct Parts {
    endpoints: FxHashMap<EndpointId, Nanos>,
    statements: FxHashMap<StatementId, Nanos>,
}

/// The statements of one wait, longest first.
fn statements_of(
    tables: &Tables,
    executions: &Statements,
    state: State,
    on: Option<OnId>,
    statements: FxHashMap<StatementId, Nanos>,
) -> Vec<Statement> {
    let mut rows: Vec<_> = statements
        .into_iter()
        .map(|(statement, weight)| {
            let calls = executions.in_wait(state, on, statement);
            Statement {
                statement: statement_text(tables, statement).to_owned(),
                seconds: weight.as_secs_f64(),
                calls_seen: calls.map_or(0, |calls| calls.seen),
                calls_est: calls.and_then(|calls| calls.estimated).map(super::statements::rounded),
            }
        })
        .collect();
    rows.sort_by(|one, other| {
        by_seconds(one.seconds, other.seconds).then_with(|| one.statement.cmp(&other.statement))
    });
    rows
}

/// A statement as it is printed.
pub(super) fn statement_text(tables: &Tables, statement: StatementId) -> &str {
    tables.string(tables.statement(statement).text)
}

impl Waits {
    /// The application's lines that waited on something, longest first.
    fn at(
        &self,
        suspended: bool,
        state: State,
        on: Option<OnId>,
        tables: &Tables,
    ) -> Vec<WaitPlace> {
        let lines = self.places.get(&(suspended, state, on)).into_iter().flatten();
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
pub(super) fn on_text(tables: &Tables, on: OnId) -> String {
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
