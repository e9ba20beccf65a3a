//! Servers that call an ASGI application, and any such application.

use super::{Carrier, Known, Mark, Naming, Place, Serves, Standing, place, serves};
use crate::python::Step::Attribute;

/// A function that has the request in one place and the scope in another.
const fn scope(standing: Standing, request: Place, scope: Place) -> Serves {
    Serves {
        standing,
        request,
        mark: Mark::Carried,
        naming: Naming::Carried,
        carrier: Some((Carrier::Scope, scope)),
        suspends: true,
    }
}

/// `RequestResponseCycle.run_asgi` of both of Uvicorn's protocols, and those of its
/// WebSocket protocols (0.3 on); also below Gunicorn, by either worker.
const UVICORN: Serves =
    scope(Standing::Server, place("self", &[]), place("self", &[Attribute("scope")]));

/// `ASGIProtocol._handle_http_request` and its like for HTTP/2 (Gunicorn 24 to 27). They note
/// the start for the access log only, so that it cannot be relied on.
const GUNICORN: Serves = scope(Standing::Server, place("request", &[]), place("scope", &[]));

/// An application that is called as ASGI says (version 3): whatever server calls it.
pub(super) const APPLICATION: Serves =
    scope(Standing::Application, place("scope", &[]), place("scope", &[]));

pub(super) const KNOWN: &[Known] = &[
    Known { file: "/uvicorn/protocols/", functions: &["run_asgi"], says: serves(&UVICORN) },
    Known {
        file: "/gunicorn/asgi/protocol.py",
        functions: &["_handle_http_request", "_handle_http2_request"],
        says: serves(&GUNICORN),
    },
];
