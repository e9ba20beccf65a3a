//! Joins an endpoint named by its path with the route that the path turned out to have.
//!
//! ```text
//! one request   ──(parsed)──┬──────(routed)──────┬──(let go of)──► time
//! looked at         here: GET /users/{int}    here: GET /users/<int:uid>
//! ```
//!
//! A short request may only ever be looked at where the framework does not say its
//! route. If all requests for the same folded path that did say one had the same, it is
//! theirs too. A path with two routes, or with none, stays as it is.

use rustc_hash::FxHashMap;

use super::{Cell, RequestsSeen};
use crate::model::{EndpointId, On, OnId, Tables};

/// Follows the routings of `tables` in cells, requests and other endpoints. What becomes alike
/// stays apart, but for requests.
pub(super) fn follow<'a>(
    cells: &mut [Cell],
    requests: &mut Vec<RequestsSeen>,
    others: impl Iterator<Item = &'a mut EndpointId>,
    tables: &mut Tables,
) {
    let routes = only_routes(tables);
    if routes.is_empty() {
        return;
    }
    let ons = reroute_holders(&routes, tables);
    for cell in cells {
        let key = &mut cell.key;
        key.endpoint = routes.get(&key.endpoint).copied().unwrap_or(key.endpoint);
        key.on = key.on.map(|on| ons.get(&on).copied().unwrap_or(on));
    }
    for endpoint in others {
        *endpoint = routes.get(endpoint).copied().unwrap_or(*endpoint);
    }
    for seen in requests.iter_mut() {
        seen.endpoint = routes.get(&seen.endpoint).copied().unwrap_or(seen.endpoint);
    }
    requests.sort_unstable_by_key(|seen| (seen.thread, seen.endpoint));
    requests.dedup_by(|next, seen| {
        let same = (next.thread, next.endpoint) == (seen.thread, seen.endpoint);
        if same {
            seen.count += next.count;
        }
        same
    });
}

/// The route of each path that has only one, or that has the same name.
fn only_routes(tables: &Tables) -> FxHashMap<EndpointId, EndpointId> {
    let mut routes: FxHashMap<EndpointId, Option<EndpointId>> = FxHashMap::default();
    for routing in tables.routings() {
        routes
            .entry(routing.path)
            .and_modify(|route| *route = route.filter(|&route| route == routing.route))
            .or_insert(Some(routing.route));
    }
    let mut only: FxHashMap<_, _> =
        routes.into_iter().filter_map(|(path, route)| Some((path, route?))).collect();
    // Two endpoints that read the same are the same to whoever reads them.
    let label = |endpoint| tables.endpoint(endpoint).label;
    for routing in tables.routings() {
        if label(routing.path) == label(routing.route) {
            only.insert(routing.path, routing.route);
        }
    }
    only
}

/// What stands for each wait behind a holder whose endpoint is joined.
fn reroute_holders(
    routes: &FxHashMap<EndpointId, EndpointId>,
    tables: &mut Tables,
) -> FxHashMap<OnId, OnId> {
    let held: Vec<(On, On)> = tables
        .ons()
        .iter()
        .filter_map(|&on| {
            let On::Holder { function, endpoint } = on else { return None };
            let endpoint = *routes.get(&endpoint)?;
            Some((on, On::Holder { function, endpoint }))
        })
        .collect();
    held.into_iter()
        .map(|(before, after)| (tables.intern_on(before), tables.intern_on(after)))
        .collect()
}
