//! What a thread is attributed to at a tick.

use super::request::{Current, InProgress, Key};
use super::roles::{Roles, Telling};
use super::shared::{Shared, label};
use crate::model::{EndpointId, Grade, RequestId, State, Tables};
use crate::python::Stack;

/// What a sample is attributed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributed {
    /// The endpoint, or a label.
    pub endpoint: EndpointId,
    /// The request, where one could be told from all others.
    pub request: Option<RequestId>,
}

/// What is known of one process.
#[derive(Debug, Default)]
pub struct Attribution {
    roles: Roles,
    /// Whether a framework whose routes are known was ever on a stack: without one there
    /// is none to look for.
    routes_seen: bool,
}

/// What is known of one thread.
#[derive(Debug, Default)]
pub struct ThreadRequest {
    current: Option<Current>,
    /// Whether it was ever seen in the server's own functions.
    of_server: bool,
    /// The label for when it serves nothing, and the name that it was made of.
    background: Option<(String, EndpointId)>,
}

impl Attribution {
    /// Tells what a thread served at the last look. `name` is what it is called.
    pub fn attribute(
        &mut self,
        stack: &mut Stack<'_>,
        thread: &mut ThreadRequest,
        state: State,
        name: &str,
        shared: &mut Shared,
        tables: &mut Tables,
    ) -> Attributed {
        let telling = self.roles.telling(stack, tables);
        thread.of_server |= telling.of_server;
        self.routes_seen |= telling.of_framework;
        let none = |endpoint| Attributed { endpoint, request: None };
        if telling.request.is_some() {
            return match self.serve(stack, thread, &telling, shared, tables) {
                Served::Request(current) => {
                    Attributed { endpoint: current.endpoint, request: Some(current.id) }
                }
                // The server has not come so far as to note the start.
                Served::NotBegun => none(label(tables, "(server)")),
                Served::Torn => none(label(tables, "(unsettled)")),
            };
        }
        if thread.current.is_some() && matches!(stack.grade(), Grade::Partial | Grade::Lost) {
            // The frame that has the request may be among those that were not found.
            return none(label(tables, "(unsettled)"));
        }
        thread.current = None;
        none(thread.unserved(state, name, shared, tables))
    }

    /// The request in the frame that serves one: the one known already, or a new one.
    fn serve<'t>(
        &mut self,
        stack: &mut Stack<'_>,
        thread: &'t mut ThreadRequest,
        telling: &Telling,
        shared: &mut Shared,
        tables: &mut Tables,
    ) -> Served<'t> {
        let Some((frame, locals, [Some(request), Some(started), environ])) = telling.request else {
            return Served::NotBegun;
        };
        let mut reader = stack.locals();
        let Some(key) = Key::read(&mut reader, &frame, request, started) else {
            return Served::NotBegun;
        };
        let is_new = thread.current.as_ref().is_none_or(|current| current.key != key);
        if is_new {
            thread.current = Current::read(&mut reader, key, locals, shared, tables);
        }
        if let Some(current) = &mut thread.current
            && (is_new || (self.routes_seen && !current.settled))
        {
            let route =
                if self.routes_seen { current.route(&mut reader, &frame, environ) } else { None };
            // What was read is this request's only if the frame still serves it: not just
            // the same addresses, which the next request may have again.
            if key.still_holds(&mut reader, &frame, request, started) {
                if let Some(route) = route {
                    current.settle(route, tables);
                }
            } else {
                thread.current = None;
            }
        }
        match &thread.current {
            Some(current) => Served::Request(current),
            None => Served::Torn,
        }
    }
}

/// What the frame that serves a request said.
enum Served<'t> {
    Request(&'t Current),
    NotBegun,
    Torn,
}

impl ThreadRequest {
    /// The request that the thread served when it was last looked at.
    pub fn in_progress(&self) -> Option<InProgress<'_>> {
        self.current.as_ref().map(Current::in_progress)
    }

    /// The label of a thread that serves no request.
    fn unserved(
        &mut self,
        state: State,
        name: &str,
        shared: &mut Shared,
        tables: &mut Tables,
    ) -> EndpointId {
        if state == State::Idle {
            return label(tables, "(idle)");
        }
        if self.of_server {
            return label(tables, "(server)");
        }
        match &self.background {
            Some((known, endpoint)) if known == name => *endpoint,
            _ => {
                let endpoint = shared.background(name, tables);
                self.background = Some((name.to_owned(), endpoint));
                endpoint
            }
        }
    }
}
