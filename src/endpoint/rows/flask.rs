//! Flask: the URL rule of the request object that werkzeug puts into the WSGI environment.
//! The rule is there as soon as the request's context is pushed, so `before_request`
//! functions, error handlers and the writing of the response count for their endpoint too.

use super::{Carrier, Carries};
use crate::model::Framework;
use crate::python::Step::{Attribute, Item};

/// `werkzeug.wrappers.Request.__init__` puts itself there;
/// `flask.ctx.RequestContext.match_request` sets either `url_rule` or
/// `routing_exception`. So since Flask 0.7; the rule is `werkzeug.routing.Rule`.
pub(super) const ROUTE: Carries = Carries {
    framework: Framework::Flask,
    carrier: Carrier::Environ,
    package: "/flask/",
    route: &[Item("werkzeug.request"), Attribute("url_rule"), Attribute("rule")],
    handler: &[Item("werkzeug.request"), Attribute("url_rule"), Attribute("endpoint")],
    no_route: &[Item("werkzeug.request"), Attribute("routing_exception")],
};
