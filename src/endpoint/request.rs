//! A request in progress: what it is called, and under which route.

use super::key::Key;
use super::roles::Telling;
use super::routing::FoundRoute;
use super::rows::{Carrier, Naming, Serves};
use super::shared::{Shared, other_paths};
use crate::model::{EndpointId, Framework, Request, RequestId, Routing, Tables};
use crate::python::Locals;
use crate::units::RemoteAddress;

/// A request in progress.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) id: RequestId,
    /// When its server noted that it began; see [`InProgress::noted`].
    noted: Option<i64>,
    pub(super) method: String,
    /// As the client sent it, without the query string.
    path: String,
    by_path: EndpointId,
    pub(super) endpoint: EndpointId,
    /// Whether its path is one of the many that share an endpoint.
    is_other_path: bool,
    /// Whether the endpoint will not change any more.
    pub(super) settled: bool,
    /// Whether it may be off the stack and go on later.
    pub(super) suspends: bool,
    /// At which look it was last seen.
    pub(super) seen: u64,
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

/// What a frame that serves something turned out to serve.
#[derive(Debug)]
pub(super) enum Read {
    Request(Box<Current>),
    /// No request: ASGI's `lifespan`, say.
    Nothing,
    /// What was read makes no sense.
    Torn,
}

/// What a request is called by its server.
struct Named {
    method: String,
    path: String,
    /// Whether that is final, and by whom.
    work: Option<Framework>,
}

impl Current {
    /// A request that was not seen before: its method and its path.
    pub(super) fn read(
        reader: &mut Locals<'_>,
        telling: &Telling<Serves>,
        key: &Key,
        shared: &mut Shared,
        tables: &mut Tables,
    ) -> Read {
        let named = match telling.named(reader) {
            Ok(Some(named)) => named,
            Ok(None) => return Read::Nothing,
            Err(Torn) => return Read::Torn,
        };
        let Named { method, path, work } = named;
        let Some(id) = shared.next_request() else { return Read::Torn };
        let (by_path, is_other_path) = match work {
            Some(framework) => (shared.work_endpoint(&method, &path, framework, tables), true),
            None => match shared.folded_endpoint(&method, &path, tables) {
                Some(folded) => (folded, false),
                None => (other_paths(&method, tables), true),
            },
        };
        let current = Self {
            id,
            noted: key.noted(),
            method,
            path: raw_path(path),
            by_path,
            endpoint: by_path,
            is_other_path,
            settled: work.is_some(),
            suspends: telling.row.suspends,
            seen: 0,
        };
        Read::Request(Box::new(current))
    }

    /// What is known of it by now.
    pub(super) fn in_progress(&self) -> InProgress<'_> {
        InProgress {
            id: self.id,
            noted: self.noted,
            by_path: self.by_path,
            endpoint: self.endpoint,
            path: &self.path,
        }
    }

    /// Takes the framework's route for good.
    pub(super) fn settle(&mut self, found: &FoundRoute, shared: &mut Shared, tables: &mut Tables) {
        let path = self.endpoint;
        self.endpoint = shared.routed_endpoint(&self.method, found, tables);
        self.settled = true;
        if !self.is_other_path {
            tables.intern_routing(Routing { path, route: self.endpoint });
        }
    }
}

/// What was read makes no sense.
struct Torn;

impl Telling<Serves> {
    /// What the request is called; `None` if it is none.
    fn named(&self, reader: &mut Locals<'_>) -> Result<Option<Named>, Torn> {
        let mut text = |place| {
            let object = self.object(reader, place, false);
            object.and_then(|object| reader.text_of(object))
        };
        let (method, path) = match self.row.naming {
            Naming::Http { .. } => (text(2), text(3).or_else(|| text(4))),
            Naming::Declared { .. } => {
                let (Some(method), Some(path)) = (text(2), text(3)) else { return Err(Torn) };
                return Ok(Some(Named { method, path, work: Some(Framework::Declared) }));
            }
            Naming::Work { kind, framework, .. } => {
                let path = text(3).ok_or(Torn)?;
                let method = kind.to_owned();
                return Ok(Some(Named { method, path, work: Some(framework) }));
            }
            Naming::Carried => {
                let Some((carrier, _)) = self.row.carrier else { return Ok(None) };
                let Some(dict) = self.object(reader, 5, false) else { return Ok(None) };
                match carried(reader, carrier, dict) {
                    Some(both) => both,
                    None => return Ok(None),
                }
            }
        };
        match (method, path) {
            (Some(method), Some(path)) if is_method(&method) => {
                Ok(Some(Named { method, path, work: None }))
            }
            _ => Err(Torn),
        }
    }
}

/// The method and the path in a carrier; `None` if it is not of a request.
fn carried(
    reader: &mut Locals<'_>,
    carrier: Carrier,
    dict: RemoteAddress,
) -> Option<(Option<String>, Option<String>)> {
    match carrier {
        Carrier::Environ => {
            let [method, path] = reader.dict_items(dict, ["REQUEST_METHOD", "PATH_INFO"])?;
            let mut text = |object: Option<RemoteAddress>| reader.text_of(object?);
            Some((text(method), text(path)))
        }
        Carrier::Scope => {
            let [kind, method, raw_path, path] =
                reader.dict_items(dict, ["type", "method", "raw_path", "path"])?;
            let mut text = |object: Option<RemoteAddress>| reader.text_of(object?);
            let method = match text(kind)?.as_str() {
                "http" => text(method),
                "websocket" => Some("WEBSOCKET".to_owned()),
                _ => return None,
            };
            let raw_path = text(raw_path).filter(|path| path.starts_with('/'));
            Some((method, raw_path.or_else(|| text(path))))
        }
    }
}

/// The path without its query string, and no longer than is kept.
fn raw_path(mut path: String) -> String {
    let end = path.find(['?', '#']).unwrap_or(path.len());
    let most = (0..=end.min(Request::LONGEST_PATH)).rev();
    path.truncate(most.into_iter().find(|&end| path.is_char_boundary(end)).unwrap_or(0));
    path.shrink_to_fit();
    path
}

/// Whether this can be an HTTP method: what else was read is not a request's.
fn is_method(text: &str) -> bool {
    (1..=20).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_bound_and_no_query() {
        assert_eq!(raw_path("/a/7?token=secret".to_owned()), "/a/7");
        assert_eq!(raw_path("/\u{e4}".repeat(400)).len(), 511);
        assert_eq!(raw_path(String::new()), "");
    }
}
