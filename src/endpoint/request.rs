//! The request a thread serves: told apart from all others, and routed.

use super::shared::{Shared, endpoint, other_paths};
use super::{ENVIRON_ROUTES, EnvironRoute, RequestLocals};
use crate::model::{EndpointId, Framework, RequestId, Routing, Tables};
use crate::python::{FoundFrame, Local, Locals};
use crate::units::RemoteAddress;

/// A request in progress.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) key: Key,
    pub(super) id: RequestId,
    method: String,
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
        Some(Self { key, id, method, endpoint, is_other_path, settled: false })
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

/// Whether this can be an HTTP method: what else was read is not a request's.
fn is_method(text: &str) -> bool {
    (1..=20).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-' || byte == b'_')
}
