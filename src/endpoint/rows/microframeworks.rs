//! Smaller frameworks, some of them with a server of their own. Where a framework's frames do
//! not hold the route (Tornado), it stays at the method and the folded path.

use super::{
    Carrier, Carries, Known, Mark, Naming, Routes, Serves, Standing, both, place, routes, serves,
};
use crate::model::Framework;
use crate::python::Step::{self, Attribute, Item};

/// `Bottle._handle` puts the route there (since 0.9).
pub(super) const BOTTLE: Carries = Carries {
    framework: Framework::Bottle,
    carrier: Carrier::Environ,
    package: "/bottle.py",
    route: &[Item("bottle.route"), Attribute("rule")],
    handler: &[Item("bottle.route"), Attribute("name")],
    no_route: &[],
};

/// `ASGIRouter.__call__` puts both there (since 2.6).
pub(super) const LITESTAR: Carries = Carries {
    framework: Framework::Litestar,
    carrier: Carrier::Scope,
    package: "/litestar/",
    route: &[Item("path_template")],
    handler: &[Item("route_handler"), Attribute("handler_name")],
    no_route: &[],
};

const fn route(framework: Framework, route: &'static [super::Place]) -> Routes {
    Routes { framework, route, handler: None, actions: None, whole_if: None, no_route_if: None }
}

/// `Router.handle_request` sets it on the request (since 1.0).
const PYRAMID: Routes = Routes {
    handler: Some(place("request", &[Attribute("matched_route"), Attribute("name")])),
    ..route(
        Framework::Pyramid,
        &[place("request", &[Attribute("matched_route"), Attribute("pattern")])],
    )
};

/// `App.__call__`, of WSGI and of ASGI (since 0.3): a slot of the request.
const FALCON: Routes = route(Framework::Falcon, &[place("req", &[Attribute("uri_template")])]);

/// The request of `RequestHandler._handle_request` (`aiohttp.web`, since 3.7). Its path is a
/// `yarl.URL`'s, whose parts are slots since 1.9.
const AIOHTTP: Serves = Serves {
    standing: Standing::Server,
    request: place("request", &[]),
    mark: Mark::Attributes(["_message", "_rel_url", "_payload"]),
    naming: Naming::Http {
        method: place("request", &[Attribute("_method")]),
        paths: &[place("request", &[Attribute("_rel_url"), Attribute("_path")])],
    },
    carrier: None,
    suspends: true,
};

const RESOURCE: [Step; 3] = [Attribute("_match_info"), Attribute("_route"), Attribute("_resource")];

/// A plain resource has a path, a dynamic one a formatter.
const AIOHTTP_ROUTE: Routes = Routes {
    no_route_if: Some((place("request", &[Attribute("_match_info")]), "MatchInfoError")),
    ..route(
        Framework::Aiohttp,
        &[
            place("request", &[RESOURCE[0], RESOURCE[1], RESOURCE[2], Attribute("_path")]),
            place("request", &[RESOURCE[0], RESOURCE[1], RESOURCE[2], Attribute("_formatter")]),
        ],
    )
};

/// `Sanic.handle_request` (since 21.3): slots of the request.
const SANIC: Serves = Serves {
    standing: Standing::Server,
    request: place("request", &[]),
    mark: Mark::Attributes(["raw_url", "head", "headers"]),
    naming: Naming::Http {
        method: place("request", &[Attribute("method")]),
        paths: &[place("request", &[Attribute("raw_url")])],
    },
    carrier: None,
    suspends: true,
};

const SANIC_ROUTE: Routes = Routes {
    handler: Some(place("request", &[Attribute("route"), Attribute("name")])),
    ..route(Framework::Sanic, &[place("request", &[Attribute("route"), Attribute("path")])])
};

/// `tornado.web.RequestHandler._execute` (since 3.1). Its application's routes are regular
/// expressions that the handler does not know of.
const TORNADO: Serves = Serves {
    standing: Standing::Server,
    request: place("self", &[Attribute("request")]),
    mark: Mark::Seconds(place("self", &[Attribute("request"), Attribute("_start_time")])),
    naming: Naming::Http {
        method: place("self", &[Attribute("request"), Attribute("method")]),
        paths: &[place("self", &[Attribute("request"), Attribute("path")])],
    },
    carrier: None,
    suspends: true,
};

/// `tornado.wsgi.WSGIContainer`: Gunicorn's `tornado` worker with an application of WSGI. Up to
/// 6.2 it is `__call__`.
const TORNADO_WSGI: Serves = Serves {
    request: place("request", &[]),
    mark: Mark::Seconds(place("request", &[Attribute("_start_time")])),
    naming: Naming::Http {
        method: place("request", &[Attribute("method")]),
        paths: &[place("request", &[Attribute("path")])],
    },
    ..TORNADO
};

pub(super) const KNOWN: &[Known] = &[
    Known { file: "/pyramid/router.py", functions: &["handle_request"], says: routes(&PYRAMID) },
    Known { file: "/pyramid/router.py", functions: &["invoke_request"], says: routes(&PYRAMID) },
    Known {
        file: "/aiohttp/web_protocol.py",
        functions: &["_handle_request"],
        says: both(&AIOHTTP, &AIOHTTP_ROUTE),
    },
    Known {
        file: "/sanic/app.py",
        functions: &["handle_request"],
        says: both(&SANIC, &SANIC_ROUTE),
    },
    // Sanic compiles it anew at its start, under this name.
    Known {
        file: "handle_request",
        functions: &["handle_request"],
        says: both(&SANIC, &SANIC_ROUTE),
    },
    Known { file: "/tornado/web.py", functions: &["_execute"], says: serves(&TORNADO) },
    Known {
        file: "/tornado/wsgi.py",
        functions: &["handle_request", "__call__"],
        says: serves(&TORNADO_WSGI),
    },
    Known {
        file: "/falcon/app.py",
        functions: &["__call__"],
        says: both(&super::wsgi::APPLICATION_ENV, &FALCON),
    },
    Known {
        file: "/falcon/asgi/app.py",
        functions: &["__call__"],
        says: both(&super::asgi::APPLICATION, &FALCON),
    },
];
