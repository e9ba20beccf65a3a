//! Django: the pattern that the resolver matched, with the prefixes of all `include`s
//! (`ResolverMatch.route`, since 2.2; before that the folded path stays). The request is a
//! local of every layer of middleware, so their time counts for the endpoint too, and that of
//! synchronous views below ASGI, which run on threads of their own.
//!
//! The handler is the view as Django names it; that of a view set of the REST framework with
//! its action (`shop.views.OrderViewSet.list`).

use super::{Known, Mark, Naming, Routes, Serves, Standing, both, place, routes};
use crate::model::Framework;
use crate::python::Step::{self, Attribute};

/// `WSGIRequest` and `ASGIRequest` set these in `__init__`.
const REQUEST: Serves = Serves {
    standing: Standing::Framework,
    request: place("request", &[]),
    mark: Mark::Attributes(["META", "path", "path_info"]),
    naming: Naming::Http {
        method: place("request", &[Attribute("method")]),
        paths: &[place("request", &[Attribute("path")])],
    },
    carrier: None,
    suspends: true,
};

const MATCH: Step = Attribute("resolver_match");

const ROUTE: Routes = Routes {
    framework: Framework::Django,
    route: &[place("request", &[MATCH, Attribute("route")])],
    handler: Some(place("request", &[MATCH, Attribute("_func_path")])),
    // `ViewSetMixin.as_view` puts it on the view (REST framework 3.9 on).
    actions: Some(place("request", &[MATCH, Attribute("func"), Attribute("actions")])),
    whole_if: None,
    no_route_if: None,
};

/// What the resolver raises if nothing matches.
const NO_ROUTE: Routes = Routes { no_route_if: Some((place("exc", &[]), "Resolver404")), ..ROUTE };

pub(super) const KNOWN: &[Known] = &[
    Known {
        file: "/django/core/handlers/wsgi.py",
        functions: &["__call__"],
        says: both(&REQUEST, &ROUTE),
    },
    Known {
        file: "/django/core/handlers/asgi.py",
        functions: &["handle", "run_get_response"],
        says: both(&REQUEST, &ROUTE),
    },
    Known {
        file: "/django/core/handlers/base.py",
        functions: &["get_response", "_get_response", "get_response_async", "_get_response_async"],
        says: both(&REQUEST, &ROUTE),
    },
    // Around each layer of middleware and the view.
    Known {
        file: "/django/core/handlers/exception.py",
        functions: &["inner"],
        says: both(&REQUEST, &ROUTE),
    },
    Known {
        file: "/django/core/handlers/exception.py",
        functions: &["response_for_exception"],
        says: routes(&NO_ROUTE),
    },
];
