//! What databases were asked, and how often.
//!
//! There are two ways to count executions, and each is right where the other is not:
//!
//! - Those that are longer than the time between two ticks are all seen: `seen` is their
//!   number.
//! - Of the others some are seen, and their number is estimated from second looks (see
//!   [`Executions`]); the longer they take, the fewer of them end until then, and the more
//!   that estimate scatters.
//!
//! Which is the case is told by the samples: a thread that is seen in the same execution
//! at several ticks in a row is in a long one.

use rustc_hash::FxHashMap;

use super::shares::{Shares, by_seconds};
use super::summary::{StatementEndpoint, StatementRow};
use super::waits::statement_text;
use crate::model::{EndpointId, Executions, OnId, State, StatementId};
use crate::profile::Profile;
use crate::units::Nanos;

/// An execution that is seen at so many ticks on average is long: no tick comes later than
/// two periods after the one before, so that hardly any went by unseen.
const LONG_SAMPLES: u64 = 4;

/// How many executions there were.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Calls {
    /// At the least.
    pub(super) seen: u64,
    /// Estimated.
    pub(super) estimated: Option<f64>,
    /// The standard error of that.
    error: f64,
}

impl Calls {
    /// Of all that was seen of the same executions.
    fn of(executions: &Executions) -> Self {
        let seen = executions.seen as f64;
        let exact = Self { seen: executions.seen, estimated: Some(seen), error: 0.0 };
        if executions.looks == 0 {
            // All that is known is how many there were at the least.
            let is_long = executions.samples >= LONG_SAMPLES * executions.seen;
            return Self { estimated: exact.estimated.filter(|_| is_long), ..exact };
        }
        // What was not looked at again is like what was.
        let scale =
            executions.weight.as_nanos() as f64 / executions.looked.as_nanos().max(1) as f64;
        let estimate = executions.estimate * scale;
        let error = executions.variance.sqrt() * scale;
        // If every execution were as long as the time between two ticks, so many would have
        // ended until the second look, give or take.
        let mean_weight = executions.looked.as_nanos() as f64 / executions.looks as f64;
        let expected = executions.waited.as_nanos() as f64 / mean_weight.max(1.0);
        let most = expected + 2.0 * expected.sqrt() + 1.0;
        let is_long = executions.samples >= LONG_SAMPLES * executions.seen;
        let is_short = executions.ended as f64 > most || !is_long;
        if is_short && estimate > seen {
            return Self { estimated: Some(estimate), error, ..exact };
        }
        exact
    }
}

/// Everything said of statements in a profile.
#[derive(Debug)]
pub(super) struct Statements<'a> {
    profile: &'a Profile,
    /// Time by statement and endpoint, in whatever state.
    seconds: FxHashMap<(StatementId, EndpointId), Nanos>,
    executions: FxHashMap<(StatementId, EndpointId), Executions>,
    in_waits: FxHashMap<(State, Option<OnId>, StatementId), Executions>,
    requests: FxHashMap<EndpointId, Requests>,
}

/// An endpoint's requests.
#[derive(Debug, Clone, Copy, Default)]
struct Requests {
    seen: u64,
    samples: u64,
}

impl Requests {
    /// How many there were, if that can be said: where each was seen twice on average, few
    /// went by unseen.
    fn number(self) -> Option<f64> {
        (self.seen > 0 && self.samples >= 2 * self.seen).then_some(self.seen as f64)
    }
}

impl<'a> Statements<'a> {
    pub(super) fn of(profile: &'a Profile) -> Self {
        let mut seconds: FxHashMap<_, Nanos> = FxHashMap::default();
        let mut requests: FxHashMap<_, Requests> = FxHashMap::default();
        for cell in profile.cells() {
            let endpoint = cell.key.endpoint;
            if let Some(statement) = cell.key.statement {
                *seconds.entry((statement, endpoint)).or_default() += cell.weight;
            }
            requests.entry(endpoint).or_default().samples += cell.samples;
        }
        for seen in profile.requests() {
            requests.entry(seen.endpoint).or_default().seen += seen.count;
        }
        let (mut executions, mut in_waits) = (FxHashMap::default(), FxHashMap::default());
        for of in profile.executions() {
            let wait = (of.state, of.on);
            let none = || Executions::none(of.thread, of.endpoint, wait, of.statement);
            executions.entry((of.statement, of.endpoint)).or_insert_with(none).add(of);
            in_waits.entry((of.state, of.on, of.statement)).or_insert_with(none).add(of);
        }
        Self { profile, seconds, executions, in_waits, requests }
    }

    /// The executions that were seen while this was waited on.
    pub(super) fn in_wait(
        &self,
        state: State,
        on: Option<OnId>,
        statement: StatementId,
    ) -> Option<Calls> {
        self.in_waits.get(&(state, on, statement)).map(Calls::of)
    }

    /// All statements, longest first.
    pub(super) fn all(&self, shares: &Shares) -> Vec<StatementRow> {
        let mut by_statement: FxHashMap<StatementId, Vec<(EndpointId, Nanos)>> =
            FxHashMap::default();
        for (&(statement, endpoint), &weight) in &self.seconds {
            by_statement.entry(statement).or_default().push((endpoint, weight));
        }
        let mut rows: Vec<_> =
            by_statement.iter().map(|(&of, endpoints)| self.row(of, endpoints, shares)).collect();
        rows.sort_by(|one, other| {
            by_seconds(one.seconds, other.seconds).then_with(|| one.statement.cmp(&other.statement))
        });
        rows
    }

    fn row(
        &self,
        statement: StatementId,
        endpoints: &[(EndpointId, Nanos)],
        shares: &Shares,
    ) -> StatementRow {
        let total: Nanos = endpoints.iter().map(|&(_, weight)| weight).sum();
        let mut rows: Vec<_> = endpoints
            .iter()
            .map(|&(endpoint, weight)| self.under(statement, endpoint, weight))
            .collect();
        rows.sort_by(|one, other| {
            by_seconds(one.seconds, other.seconds).then_with(|| one.endpoint.cmp(&other.endpoint))
        });
        let estimates = rows.iter().map(|row| row.calls_est);
        let calls_est: Option<f64> = estimates.sum();
        let seconds = total.as_secs_f64();
        StatementRow {
            statement: statement_text(self.profile.tables(), statement).to_owned(),
            seconds,
            share: shares.of(total),
            calls_seen: rows.iter().map(|row| row.calls_seen).sum(),
            calls_est,
            mean_ms: calls_est
                .filter(|&calls| calls >= 1.0)
                .map(|calls| rounded(seconds * 1e3 / calls)),
            endpoints: rows,
        }
    }

    fn under(
        &self,
        statement: StatementId,
        endpoint: EndpointId,
        weight: Nanos,
    ) -> StatementEndpoint {
        let tables = self.profile.tables();
        let of = tables.endpoint(endpoint);
        let calls = self.executions.get(&(statement, endpoint)).map(Calls::of);
        let Calls { seen, estimated, error } = calls.unwrap_or_default();
        let requests = self.requests.get(&endpoint).filter(|_| of.is_request());
        let requests = requests.and_then(|requests| requests.number());
        StatementEndpoint {
            endpoint: tables.string(of.label).to_owned(),
            seconds: weight.as_secs_f64(),
            calls_seen: seen,
            calls_est: estimated.map(rounded),
            calls_est_error: estimated.map(|_| rounded(error)),
            calls_per_request: estimated
                .zip(requests)
                .map(|(calls, number)| rounded(calls / number)),
        }
    }
}

/// To a thousandth: an estimate has no more digits.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, Framework, Statement, Tables, TargetProcess, Thread};
    use crate::units::{Pid, Tid};

    fn none() -> Executions {
        let mut tables = Tables::new();
        let process = tables.intern_process(TargetProcess { pid: Pid::new(7), start_time: 1 });
        let label = tables.intern_string("SELECT ?");
        let thread = tables.intern_thread(Thread { process, tid: Tid::new(7), name: label });
        let (method, route, handler, framework) = (None, None, None, Framework::None);
        let endpoint =
            tables.intern_endpoint(Endpoint { label, method, route, framework, handler });
        let statement = tables.intern_statement(Statement { text: label });
        Executions::none(thread, endpoint, (State::Io, None), statement)
    }

    /// Ten seconds of executions that take so many milliseconds each, looked at 100 times a
    /// second and again 0.3 ms later.
    fn executions(milliseconds: f64) -> (f64, Calls) {
        let number = 10_000.0 / milliseconds;
        let ended = (1000.0 * (0.3 / milliseconds).min(1.0)).round();
        let stands_for = 10.0 / 0.3;
        let executions = Executions {
            seen: (1000.0 * (10.0 / milliseconds).min(1.0)).round() as u64,
            samples: 1000,
            weight: Nanos::from_millis(10_000),
            looks: 900,
            looked: Nanos::from_millis(9_000),
            waited: Nanos::from_micros(900 * 300),
            ended: (ended * 0.9) as u64,
            estimate: (ended * 0.9).floor() * stands_for,
            variance: (ended * 0.9).floor() * stands_for * stands_for,
            ..none()
        };
        (number, Calls::of(&executions))
    }

    #[test]
    fn short_executions_are_estimated_and_long_ones_counted() {
        for milliseconds in [0.5, 1.0, 2.0, 5.0] {
            let (number, calls) = executions(milliseconds);
            let estimated = calls.estimated.unwrap();
            assert!((estimated / number - 1.0).abs() < 0.05, "{estimated} of {number}");
            assert!(calls.error > 0.0 && calls.seen as f64 <= estimated);
        }
        for milliseconds in [40.0, 100.0, 1000.0] {
            let (number, calls) = executions(milliseconds);
            assert_eq!((calls.estimated, calls.error), (Some(number), 0.0));
        }
    }

    #[test]
    fn without_a_second_look_only_long_ones_are_known() {
        let of = |seen| Calls::of(&Executions { seen, samples: 30, ..none() }).estimated;
        assert_eq!(of(3), Some(3.0));
        assert_eq!(of(30), None);
    }
}
