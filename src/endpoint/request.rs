//! The request a thread serves: told apart from all others, and routed.

use super::shared::{Shared, endpoint, other_paths};
use super::{ENVIRON_ROUTES, EnvironRoute, RequestLocals};
use crate::model::{EndpointId, Framework, Request, RequestId, Routing, Tables};
use crate::python::{FoundFrame, Local, Locals};
use crate::units::RemoteAddress;

/// A request in progress.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) key: Key,
    pub(super) id: RequestId,
    method: String,
    /// As the client sent it, without the query string.
    path: String,
    by_path: EndpointId,
    pub(super) endpoint: EndpointId,
    /// Whether its path is one of the many that share an endpoint.
    is_other_path: bool,
    /// Whether the endpoint will not change any more.
    pub(super) settled: bool,
}

/// What tells one request from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) request: RemoteAddress,
    pub(super) started: RemoteAddress,
    /// The ten bytes of the `datetime` at which it began.
    moment: [u8; 10],
}

/// A request in progress, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct InProgress<'a> {
    /// Its number.
    pub id: RequestId,
    /// What the server noted as its start: the microseconds since 1970 that the naive local
    /// time would have in UTC. `None` where it notes none, or no date.
    pub noted: Option<i64>,
    /// The endpoint by its method and its folded path.
    pub by_path: EndpointId,
    /// The endpoint as far as it is known by now.
    pub endpoint: EndpointId,
    /// The path without the query string, of bounded length.
    pub path: &'a str,
}

/// `data` of `PyDateTime_DateTime` (`Include/datetime.h`): after the object's head, the
/// hash and one byte. The same from 3.8 to 3.15.
const DATETIME_DATA: u64 = 25;

impl Key {
    pub(super) fn read(
        reader: &mut Locals<'_>,
        frame: &FoundFrame,
        request: Local,
        started: Local,
    ) -> Option<Self> {
        let request = reader.value(frame, request)?;
        let started = reader.value(frame, started)?;
        let moment = reader.bytes(started.plus(DATETIME_DATA))?;
        Some(Self { request, started, moment })
    }

    /// The moment in microseconds since 1970, taken as if it were in UTC
    /// (`PyDateTime_GET_*` in `Include/datetime.h`); `None` if it is no date.
    fn noted(&self) -> Option<i64> {
        let [year, of_year, month, day, hour, minute, second, micros @ ..] = self.moment;
        let year = i64::from(u16::from_be_bytes([year, of_year]));
        let is_date = (1..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        let [high, middle, low] = micros;
        let micros = i64::from(u32::from_be_bytes([0, high, middle, low]));
        (is_date && micros < 1_000_000).then(|| {
            let of_day = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
            (days_since_1970(year, month, day) * 86_400 + of_day) * 1_000_000 + micros
        })
    }

    /// Whether the frame serves this very request now.
    pub(super) fn still_holds(
        &self,
        reader: &mut Locals<'_>,
        frame: &FoundFrame,
        request: Local,
        started: Local,
    ) -> bool {
        let moment = self.started.plus(DATETIME_DATA);
        let (locals, moment) = reader.reread(frame, [request, started], moment);
        locals == [Some(self.request), Some(self.started)] && moment == Some(self.moment)
    }
}

impl Current {
    /// A request that was not seen before: its method and its path.
    pub(super) fn read(
        reader: &mut Locals<'_>,
        key: Key,
        locals: &RequestLocals,
        shared: &mut Shared,
        tables: &mut Tables,
    ) -> Option<Self> {
        let parts = reader.attributes(key.request, [locals.method, locals.path]);
        let [Some(method), Some(path)] = reader.strings(parts) else { return None };
        if !is_method(&method) {
            return None;
        }
        let id = shared.next_request()?;
        let folded = shared.folded_endpoint(&method, &path, tables);
        let is_other_path = folded.is_none();
        let endpoint = folded.unwrap_or_else(|| other_paths(&method, tables));
        let path = raw_path(path);
        let by_path = endpoint;
        Some(Self { key, id, method, path, by_path, endpoint, is_other_path, settled: false })
    }

    /// What is known of it by now.
    pub(super) fn in_progress(&self) -> InProgress<'_> {
        InProgress {
            id: self.id,
            noted: self.key.noted(),
            by_path: self.by_path,
            endpoint: self.endpoint,
            path: &self.path,
        }
    }

    /// The framework's route, if it has one by now.
    pub(super) fn route(
        &self,
        reader: &mut Locals<'_>,
        frame: &FoundFrame,
        environ: Option<Local>,
    ) -> Option<FoundRoute> {
        let environ = reader.value(frame, environ?)?;
        ENVIRON_ROUTES.into_iter().find_map(|known| {
            let request = reader.dict_item(environ, known.key)?;
            let (route, handler) = route(reader, request, known)?;
            Some(FoundRoute { framework: known.framework, route, handler })
        })
    }

    /// Takes the framework's route for good.
    pub(super) fn settle(&mut self, found: FoundRoute, tables: &mut Tables) {
        let FoundRoute { framework, route, handler } = found;
        let path = self.endpoint;
        self.endpoint = endpoint(tables, &self.method, &route, framework, handler.as_deref());
        self.settled = true;
        if !self.is_other_path {
            tables.intern_routing(Routing { path, route: self.endpoint });
        }
    }
}

/// A route as a framework names it.
#[derive(Debug)]
pub(super) struct FoundRoute {
    framework: Framework,
    route: String,
    handler: Option<String>,
}

/// The framework's route and its handler, from the framework's request object; `None` as
/// long as it has not looked for one.
fn route(
    reader: &mut Locals<'_>,
    request: RemoteAddress,
    known: &EnvironRoute,
) -> Option<(String, Option<String>)> {
    let [Some(rule)] = reader.attributes(request, [known.rule]) else {
        let [no_route] = reader.attributes(request, [known.no_route]);
        return no_route.map(|_| ("(no route)".to_owned(), None));
    };
    let parts = reader.attributes(rule, [known.route, known.handler]);
    let [route, handler] = reader.strings(parts);
    Some((route?, handler))
}

/// The path without its query string, and no longer than is kept.
fn raw_path(mut path: String) -> String {
    let end = path.find(['?', '#']).unwrap_or(path.len());
    let most = (0..=end.min(Request::LONGEST_PATH)).rev();
    path.truncate(most.into_iter().find(|&end| path.is_char_boundary(end)).unwrap_or(0));
    path.shrink_to_fit();
    path
}

/// Days from the first of January 1970 to a day of the Gregorian calendar, counted from the
/// first of March of the year 0, so that a leap day is a year's last.
fn days_since_1970(year: i64, month: u8, day: u8) -> i64 {
    let (month, day) = (i64::from(month), i64::from(day));
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

/// Whether this can be an HTTP method: what else was read is not a request's.
fn is_method(text: &str) -> bool {
    (1..=20).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(moment: [u8; 10]) -> Key {
        let nowhere = RemoteAddress::NULL;
        Key { request: nowhere, started: nowhere, moment }
    }

    #[test]
    fn a_noted_moment_is_what_python_says_of_it() {
        // datetime(Y, M, D, h, m, s, us, tzinfo=utc).timestamp(), as Python computes it.
        for (moment, micros) in [
            ([7, 178, 1, 1, 0, 0, 0, 0, 0, 0], 0),
            ([7, 234, 11, 21, 19, 53, 24, 1, 226, 64], 1_795_290_804_123_456),
            ([7, 208, 2, 29, 23, 59, 59, 15, 66, 63], 951_868_799_999_999),
            ([7, 232, 3, 1, 0, 0, 0, 0, 0, 1], 1_709_251_200_000_001),
            ([0, 1, 1, 1, 0, 0, 0, 0, 0, 0], -62_135_596_800_000_000),
        ] {
            assert_eq!(key(moment).noted(), Some(micros), "{moment:?}");
        }
        for impossible in [[0; 10], [255; 10], [7, 234, 13, 1, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(key(impossible).noted(), None);
        }
    }

    #[test]
    fn a_path_has_a_bound_and_no_query() {
        assert_eq!(raw_path("/a/7?token=secret".to_owned()), "/a/7");
        assert_eq!(raw_path("/\u{e4}".repeat(400)).len(), 511);
        assert_eq!(raw_path(String::new()), "");
    }
}
