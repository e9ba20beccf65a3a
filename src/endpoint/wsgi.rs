//! Servers that call a WSGI application, one request at a time on a thread.

use super::{Known, Part, RequestLocals};

/// Gunicorn's own request object. `handle_request` has these locals in every worker class
/// and every version since 19.
const GUNICORN: RequestLocals = RequestLocals {
    request: "req",
    started: "request_start",
    environ: "environ",
    method: "method",
    path: "path",
};

pub(super) const KNOWN: &[Known] = &[
    Known {
        file: "/gunicorn/workers/sync.py",
        function: "handle_request",
        part: Part::Request(&GUNICORN),
    },
    Known {
        file: "/gunicorn/workers/gthread.py",
        function: "handle_request",
        part: Part::Request(&GUNICORN),
    },
    Known {
        file: "/gunicorn/workers/base_async.py",
        function: "handle_request",
        part: Part::Request(&GUNICORN),
    },
];

/// Packages whose frames mean that the thread belongs to the server.
pub(super) const PACKAGES: &[&str] = &["/gunicorn/"];
