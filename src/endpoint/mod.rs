//! Which request a thread serves, and under which endpoint: told from the frames on its
//! stack and from locals of a few well-known functions of servers and frameworks.
//!
//! ```text
//! gunicorn handle_request   locals req, request_start ─► which request, method, path
//!                           local environ ─► "werkzeug.request" ─► url_rule ─► rule
//!   …the application…                        "/users/<int:uid>"
//! ```
//!
//! What is known of a server or a framework is data: a known function, and what to do
//! with its locals. One file holds one framework's rows. Without a framework's route
//! the endpoint is the method and the path with identifiers folded.
//!
//! A request is told by the server's own request object *and* the moment the server
//! wrote down as its start. Both are compared again at every tick, so that an address
//! that is reused is never taken for the request that had it before.

mod attribution;
mod flask;
mod request;
mod roles;
mod route;
mod shared;
mod wsgi;

pub use attribution::{Attributed, Attribution, ThreadRequest};
pub use request::InProgress;
pub use shared::Shared;

use crate::model::Framework;

/// A function whose frame says something about the request.
struct Known {
    /// The end of its file's path.
    file: &'static str,
    /// Its name without the class.
    function: &'static str,
    part: Part,
}

/// What a known function's frame says.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// One request is served from entry to exit.
    Request(&'static RequestLocals),
}

/// Where a server keeps the request.
#[derive(Debug)]
struct RequestLocals {
    /// The local with the server's request object.
    request: &'static str,
    /// The local with the `datetime` at which the server began to serve it.
    started: &'static str,
    /// The local with the WSGI environment, a dict.
    environ: &'static str,
    /// The request's attributes with method and path.
    method: &'static str,
    path: &'static str,
}

/// Where a framework keeps the route, from what it left in the WSGI environment. That is
/// there from before the first of the application's functions until after the last byte of
/// the response, whatever is on the stack.
#[derive(Debug)]
struct EnvironRoute {
    framework: Framework,
    /// A part of the path of its files: none of them on any stack, no route.
    package: &'static str,
    /// The key of the environment.
    key: &'static str,
    /// The attribute with the rule, once the request was routed.
    rule: &'static str,
    /// An attribute that is there if it was routed in vain.
    no_route: &'static str,
    /// The rule's attributes with the route's text and the handler's name.
    route: &'static str,
    handler: &'static str,
}

/// The frameworks whose routes are known; the first that left its mark counts.
const ENVIRON_ROUTES: [&EnvironRoute; 1] = [&flask::ROUTE];

/// What a function is known for, by its name (qualified or not) and its file.
fn part_of(name: &str, file: &str) -> Option<Part> {
    let plain = name.rsplit('.').next().unwrap_or(name);
    wsgi::KNOWN
        .iter()
        .find(|row| row.function == plain && file.ends_with(row.file))
        .map(|row| row.part)
}

/// Whether a file is a server's own, so that a thread in it that serves no request is the
/// server's.
fn is_of_server(file: &str) -> bool {
    wsgi::PACKAGES.iter().any(|package| file.contains(package))
}

/// Whether a file is of a framework whose routes are known.
fn is_of_framework(file: &str) -> bool {
    ENVIRON_ROUTES.iter().any(|known| file.contains(known.package))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_known_with_and_without_their_class() {
        let sync = "/venv/lib/python3.8/site-packages/gunicorn/workers/sync.py";
        assert!(matches!(part_of("handle_request", sync), Some(Part::Request(_))));
        assert!(matches!(part_of("SyncWorker.handle_request", sync), Some(Part::Request(_))));
        assert!(part_of("handle_request", "/app/gunicorn_sync.py").is_none());
        assert!(part_of("SyncWorker.handle", sync).is_none());
        assert!(is_of_server(sync));
        assert!(!is_of_server("/app/views.py"));
    }
}
