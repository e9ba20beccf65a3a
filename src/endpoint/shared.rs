//! The names of endpoints, for all processes of a recording together: requests are
//! numbered, paths are folded, and there is an end to the number of names.

use rustc_hash::FxHashMap;

use super::route::fold;
use super::routing::FoundRoute;
use crate::model::{Endpoint, EndpointId, Framework, RequestId, StringId, Tables};

/// The most endpoints named by raw paths. Beyond that a crawler's thousand paths are
/// one: `GET (other paths)`.
const MOST_FOLDED_PATHS: usize = 500;

/// The most endpoints named by tasks, and the longest names of those, in characters.
const MOST_WORK: usize = 1000;
const LONGEST_KIND: usize = 20;
const LONGEST_NAME: usize = 200;

/// The methods of RFC 9110 and RFC 5789. A client may send any word.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// What all processes of a recording share.
#[derive(Debug, Default)]
pub struct Shared {
    requests: u64,
    /// Endpoints named by their path, by label.
    folded: FxHashMap<String, EndpointId>,
    /// Endpoints named by a framework's route, by label.
    routed: FxHashMap<(StringId, Framework), EndpointId>,
    /// Endpoints of tasks, by label.
    work: FxHashMap<String, EndpointId>,
    /// The labels of threads and tasks that serve no request, by their names.
    backgrounds: FxHashMap<String, EndpointId>,
}

impl Shared {
    /// A number for a request that was not seen before.
    pub(super) fn next_request(&mut self) -> Option<RequestId> {
        self.requests += 1;
        RequestId::new(self.requests)
    }

    /// The endpoint of a folded path; `None` for a new one once there are too many.
    pub(super) fn folded_endpoint(
        &mut self,
        method: &str,
        path: &str,
        tables: &mut Tables,
    ) -> Option<EndpointId> {
        let route = fold(path);
        let key = format!("{method} {route}");
        if let Some(&known) = self.folded.get(&key) {
            return Some(known);
        }
        if self.folded.len() >= MOST_FOLDED_PATHS {
            return None;
        }
        let new = endpoint(tables, method, &route, Framework::None, None);
        self.folded.insert(key, new);
        Some(new)
    }

    /// The endpoint of a piece of work that is not an HTTP request. There is an end to the
    /// number of names here too.
    pub(super) fn work_endpoint(
        &mut self,
        kind: &str,
        name: &str,
        framework: Framework,
        tables: &mut Tables,
    ) -> EndpointId {
        let kind: String = kind.chars().take(LONGEST_KIND).collect();
        let name: String = name.chars().take(LONGEST_NAME).collect();
        let key = format!("{kind} {name}");
        if let Some(&known) = self.work.get(&key) {
            return known;
        }
        if self.work.len() >= MOST_WORK {
            return endpoint(tables, "task", "(other tasks)", framework, None);
        }
        let new = endpoint(tables, &kind, &name, framework, None);
        self.work.insert(key, new);
        new
    }

    /// The endpoint of a route that a framework has named: the same for all its requests, with
    /// the handler of the first. Another handler, or none, may be what is read while it changes.
    pub(super) fn routed_endpoint(
        &mut self,
        method: &str,
        found: &FoundRoute,
        tables: &mut Tables,
    ) -> EndpointId {
        let FoundRoute { framework, route, handler } = found;
        let key = (tables.intern_string(&format!("{method} {route}")), *framework);
        *self
            .routed
            .entry(key)
            .or_insert_with(|| endpoint(tables, method, route, *framework, handler.as_deref()))
    }

    /// The label of a thread that serves no request. A server that makes a thread for
    /// each task has no end of names.
    pub(super) fn background(&mut self, name: &str, tables: &mut Tables) -> EndpointId {
        const MOST_NAMES: usize = 200;
        if let Some(&known) = self.backgrounds.get(name) {
            return known;
        }
        if self.backgrounds.len() >= MOST_NAMES {
            return label(tables, "(background other threads)");
        }
        let new = label(tables, &format!("(background {name})"));
        self.backgrounds.insert(name.to_owned(), new);
        new
    }
}

/// The endpoint of a path beyond the bound. Its method is bounded too.
pub(super) fn other_paths(method: &str, tables: &mut Tables) -> EndpointId {
    let method = if METHODS.contains(&method) { method } else { "OTHER" };
    endpoint(tables, method, "(other paths)", Framework::None, None)
}

/// The endpoint of a method and a route.
pub(super) fn endpoint(
    tables: &mut Tables,
    method: &str,
    route: &str,
    framework: Framework,
    handler: Option<&str>,
) -> EndpointId {
    let label = tables.intern_string(&format!("{method} {route}"));
    let method = Some(tables.intern_string(method));
    let route = Some(tables.intern_string(route));
    let handler = handler.map(|handler| tables.intern_string(handler));
    tables.intern_endpoint(Endpoint { label, method, route, framework, handler })
}

/// The endpoint that stands for no request.
pub(super) fn label(tables: &mut Tables, text: &str) -> EndpointId {
    let label = tables.intern_string(text);
    tables.intern_endpoint(Endpoint {
        label,
        method: None,
        route: None,
        framework: Framework::None,
        handler: None,
    })
}
