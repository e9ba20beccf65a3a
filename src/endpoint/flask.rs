//! Flask: the URL rule of the request in the context that `wsgi_app` made. It is there
//! as soon as the context is pushed, so `before_request` functions and error handlers
//! count for their endpoint too.

use super::{Known, Part, RouteLocals};
use crate::model::Framework;

/// `RequestContext.request`, and from 3.2 on `AppContext._request`; the rule is
/// werkzeug's.
const RULE: RouteLocals = RouteLocals {
    framework: Framework::Flask,
    local: "ctx",
    ways: &[&["request", "url_rule"], &["_request", "url_rule"]],
    route: "rule",
    handler: "endpoint",
};

pub(super) const KNOWN: &[Known] = &[
    Known { file: "/flask/app.py", function: "wsgi_app", part: Part::Route(&RULE) },
    Known { file: "/flask/app.py", function: "full_dispatch_request", part: Part::Routed },
];
