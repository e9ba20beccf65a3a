//! Starlette and FastAPI: the paths of the mounts that the request went through and that of
//! its route, in the order of the stack. They are functions that await what they call, so they
//! are on it for as long as the endpoint, its dependencies and its response are.

use super::{Known, Place, Routes, place, routes};
use crate::model::Framework;
use crate::python::Step::Attribute;

/// Only routes have it; mounts and hosts have an `app`.
const ENDPOINT: Place = place("self", &[Attribute("endpoint")]);

/// `handle` of `Route`, `WebSocketRoute` and `Mount` (since 0.1).
const STARLETTE: Routes = Routes {
    framework: Framework::Starlette,
    route: &[place("self", &[Attribute("path")])],
    handler: Some(place("self", &[Attribute("name")])),
    actions: None,
    whole_if: Some(ENDPOINT),
    no_route_if: None,
};

/// `APIRoute.handle` (since 0.120 or so): what `include_router` made of the route is apart from
/// it.
const FASTAPI: Routes = Routes {
    framework: Framework::FastApi,
    route: &[place("effective_context", &[Attribute("path")]), place("self", &[Attribute("path")])],
    ..STARLETTE
};

/// What a `Router` answers with if no route matches.
const NOT_FOUND: Routes = Routes { no_route_if: Some((place("self", &[]), "")), ..STARLETTE };

pub(super) const KNOWN: &[Known] = &[
    Known { file: "/starlette/routing.py", functions: &["handle"], says: routes(&STARLETTE) },
    Known { file: "/starlette/routing.py", functions: &["not_found"], says: routes(&NOT_FOUND) },
    Known { file: "/fastapi/routing.py", functions: &["handle"], says: routes(&FASTAPI) },
    Known { file: "/fastapi/routing.py", functions: &["not_found"], says: routes(&NOT_FOUND) },
];
