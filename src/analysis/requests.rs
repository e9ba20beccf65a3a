//! How many requests there were, how long they took and how many were in flight.
//!
//! ```text
//! seen at ticks ─► latency.rs: of each endpoint a number ± error ─┐
//! the servers' own counts: exact, of all endpoints together ──────┴─► the numbers, adding up
//! ```
//!
//! An endpoint whose requests are all long enough to be seen has a number without an error;
//! what the sum of all lacks or exceeds is of those that are too short for that, so the
//! difference goes to each endpoint in proportion to its variance (a calibrated estimate), and
//! none gets fewer than were seen. Endpoints of which no request was ever seen have no number:
//! what they had is among that of the other short ones.

use rustc_hash::FxHashMap;

use super::summary::{InFlight, LatencyMs};
use crate::model::{EndpointId, ProcessFacts, ProcessId};
use crate::profile::{Estimate, Profile};

/// What is known of the requests under one endpoint.
#[derive(Debug, Clone, Default)]
pub(super) struct EndpointRequests {
    /// How many began while recording.
    pub(super) number: Option<f64>,
    pub(super) latency: Option<LatencyMs>,
    pub(super) most_in_flight: Option<u64>,
}

/// What is known of the requests under all endpoints.
pub(super) fn requests(profile: &Profile) -> FxHashMap<EndpointId, EndpointRequests> {
    let mut of: FxHashMap<EndpointId, EndpointRequests> = FxHashMap::default();
    let counts: FxHashMap<ProcessId, f64> = profile
        .processes()
        .iter()
        .filter_map(|(id, facts)| Some((*id, counted(profile, facts)?)))
        .collect();
    let is_counted = |process: ProcessId| counts.contains_key(&process);
    let mut estimates = profile.estimates(is_counted);
    calibrate(&mut estimates, counts.values().sum());
    let others = profile.estimates(|process| !is_counted(process));
    let whole = if others.is_empty() || estimates.is_empty() {
        None
    } else {
        Some(profile.estimates(|_| true))
    };
    for (endpoint, estimate) in estimates.iter().chain(&others) {
        let of = of.entry(*endpoint).or_default();
        of.number = Some(of.number.unwrap_or(0.0) + estimate.number);
        of.latency = latency(estimate);
    }
    for (endpoint, estimate) in whole.into_iter().flatten() {
        of.entry(endpoint).or_default().latency = latency(&estimate);
    }
    for &(endpoint, most) in profile.most_in_flight() {
        of.entry(endpoint).or_default().most_in_flight = Some(most);
    }
    of
}

/// How many requests a process' server has counted, for all the time that it was there; `None`
/// if the count was watched for less than half of that.
fn counted(profile: &Profile, facts: &ProcessFacts) -> Option<f64> {
    let rate = per_second(facts)?;
    let there = profile.observed(facts).as_secs_f64();
    (facts.requests_watched.as_secs_f64() >= there / 2.0).then_some(rate * there)
}

/// Requests a second by a process' own count.
pub(super) fn per_second(facts: &ProcessFacts) -> Option<f64> {
    let watched = facts.requests_watched.as_secs_f64();
    facts.requests.filter(|_| watched > 0.0).map(|requests| requests as f64 / watched)
}

/// Makes the numbers add up to what was counted, as far as their errors allow for it.
fn calibrate(estimates: &mut [(EndpointId, Estimate)], counted: f64) {
    // Each round fixes one endpoint at what was seen of it at the least.
    for _ in 0..estimates.len() {
        let sum: f64 = estimates.iter().map(|(_, of)| of.number).sum();
        let variance: f64 = estimates.iter().map(|(_, of)| of.variance).sum();
        if variance <= f64::EPSILON * sum {
            return;
        }
        let factor = (counted - sum) / variance;
        let mut is_fixed = false;
        for (_, of) in &mut *estimates {
            of.number += factor * of.variance;
            if of.number < of.begun as f64 && of.variance > 0.0 {
                (of.number, of.variance, is_fixed) = (of.begun as f64, 0.0, true);
            }
        }
        if !is_fixed {
            return;
        }
    }
}

fn latency(estimate: &Estimate) -> Option<LatencyMs> {
    let latency = estimate.latency?;
    // To a microsecond: an estimate has no more digits.
    let ms = |seconds: f64| (seconds * 1e6).round() / 1e3;
    Some(LatencyMs {
        p50: ms(latency.p50),
        p95: ms(latency.p95),
        p99: ms(latency.p99),
        max: ms(latency.max),
        n: latency.n,
    })
}

/// Requests in flight on average and at the most.
pub(super) fn in_flight(seconds: f64, duration: f64, most: Option<u64>) -> Option<InFlight> {
    let mean = (duration > 0.0).then(|| seconds / duration)?;
    most.map(|max| InFlight { mean, max })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tables;

    fn estimate(number: f64, variance: f64, begun: u64) -> Estimate {
        Estimate { number, variance, begun, latency: None }
    }

    #[test]
    fn the_difference_goes_to_those_that_may_be_wrong() {
        let mut tables = Tables::new();
        let mut endpoint = |name: &str| {
            let label = tables.intern_string(name);
            let framework = crate::model::Framework::None;
            tables.intern_endpoint(crate::model::Endpoint {
                label,
                method: None,
                route: None,
                framework,
                handler: None,
            })
        };
        let [long, short, rare] = ["long", "short", "rare"].map(&mut endpoint);
        let numbers = |counted: f64| {
            let mut all = [
                (long, estimate(100.0, 0.0, 100)),
                (short, estimate(1000.0, 300.0, 400)),
                (rare, estimate(20.0, 100.0, 5)),
            ];
            calibrate(&mut all, counted);
            all.map(|(_, of)| of.number)
        };
        assert_eq!(numbers(1120.0), [100.0, 1000.0, 20.0]);
        assert_eq!(numbers(1160.0), [100.0, 1030.0, 30.0]);
        // Not fewer than were seen, whatever was counted; the others take the rest.
        assert_eq!(numbers(1020.0), [100.0, 915.0, 5.0]);
        assert_eq!(numbers(0.0), [100.0, 400.0, 5.0]);
        let mut none = [(long, estimate(7.0, 0.0, 7))];
        calibrate(&mut none, 9.0);
        assert_eq!(none[0].1.number, 7.0);
    }
}
