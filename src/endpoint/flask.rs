//! Flask: the URL rule of the request object that werkzeug puts into the WSGI environment.
//! The rule is there as soon as the request's context is pushed, so `before_request`
//! functions, error handlers and the writing of the response count for their endpoint too.

use super::EnvironRoute;
use crate::model::Framework;

/// `werkzeug.wrappers.Request.__init__` puts itself there;
/// `flask.ctx.RequestContext.match_request` sets either `url_rule` or
/// `routing_exception`. So since Flask 0.7; the rule is `werkzeug.routing.Rule`.
pub(super) const ROUTE: EnvironRoute = EnvironRoute {
    framework: Framework::Flask,
    package: "/flask/",
    key: "werkzeug.request",
    rule: "url_rule",
    no_route: "routing_exception",
    route: "rule",
    handler: "endpoint",
};
