//! What is known of servers and frameworks: the shape of the rows. Each of the other files
//! has the rows of a few that belong together.

mod asgi;
mod django;
mod flask;
mod microframeworks;
mod starlette;
mod tasks;
mod wsgi;

use crate::model::Framework;
use crate::python::Step;

/// An object by a local of a frame, and steps from there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) local: &'static str,
    pub(super) steps: &'static [Step],
}

const fn place(local: &'static str, steps: &'static [Step]) -> Place {
    Place { local, steps }
}

/// A function whose frame says something about a request.
#[derive(Debug)]
pub(super) struct Known {
    /// The file: the end of its path, or with a `/` at its end a part of it.
    pub(super) file: &'static str,
    /// Its names, without their class.
    pub(super) functions: &'static [&'static str],
    pub(super) says: Says,
}

impl Known {
    /// Whether a function is the one that a person declared, with its class or without; up to
    /// 3.10 functions do not tell theirs.
    pub(super) fn is_declared_of(&self, name: &str, file: &str) -> bool {
        let is_it = |function: &&str| {
            name == *function
                || name.strip_suffix(function).is_some_and(|rest| rest.ends_with('.'))
                || (!name.contains('.') && function.rsplit('.').next() == Some(name))
        };
        file.ends_with(self.file) && self.functions.iter().any(is_it)
    }
}

/// What a known function's frame says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Says {
    /// It serves one request from entry to exit.
    pub(super) serves: Option<&'static Serves>,
    /// It knows the request's route.
    pub(super) routes: Option<&'static Routes>,
}

const fn serves(row: &'static Serves) -> Says {
    Says { serves: Some(row), routes: None }
}

const fn routes(row: &'static Routes) -> Says {
    Says { serves: None, routes: Some(row) }
}

const fn both(serves: &'static Serves, routes: &'static Routes) -> Says {
    Says { serves: Some(serves), routes: Some(routes) }
}

/// How near a function is to the server. The nearest on a stack tells the request from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// What a person declared.
    Declared,
    /// The server itself.
    Server,
    /// What the server calls: an application by WSGI or ASGI, whatever it is.
    Application,
    /// A framework's own function, on a thread where the server is not on the stack.
    Framework,
}

impl Standing {
    pub(super) const COUNT: usize = 4;
}

/// A function that serves one request from entry to exit.
#[derive(Debug)]
pub(super) struct Serves {
    pub(super) standing: Standing,
    /// The object that stands for the request: another for each that is in progress.
    pub(super) request: Place,
    /// What marks it, so that it is not taken for the one that had its address before.
    pub(super) mark: Mark,
    pub(super) naming: Naming,
    /// The dict that server and frameworks share.
    pub(super) carrier: Option<(Carrier, Place)>,
    /// Whether it may be off the stack and go on later: a coroutine, or on a greenlet.
    pub(super) suspends: bool,
}

impl Serves {
    /// All its places: the request, its mark, its method, its path twice, the carrier.
    pub(super) const fn places(&self) -> [Option<Place>; 6] {
        let mark = match self.mark {
            Mark::Moment(place) | Mark::Seconds(place) => Some(place),
            Mark::Own | Mark::Carried | Mark::Attributes(_) | Mark::Named => None,
        };
        let [method, path, other] = match self.naming {
            Naming::Http { method, paths: &[path, other, ..] } => {
                [Some(method), Some(path), Some(other)]
            }
            Naming::Http { method, paths: &[path] } => [Some(method), Some(path), None],
            Naming::Http { method, paths: &[] } => [Some(method), None, None],
            Naming::Carried => [None; 3],
            Naming::Work { name, .. } => [None, Some(name), None],
            Naming::Declared { method, name } => [Some(method), Some(name), None],
        };
        let carrier = match self.carrier {
            Some((_, place)) => Some(place),
            None => None,
        };
        [Some(self.request), mark, method, path, other, carrier]
    }
}

impl Routes {
    /// All its places: the route twice, the handler, its actions, and what is looked at.
    pub(super) const fn places(&self) -> [Option<Place>; 6] {
        let [route, other] = match *self.route {
            [route, other, ..] => [Some(route), Some(other)],
            [route] => [Some(route), None],
            [] => [None; 2],
        };
        let no_route = match self.no_route_if {
            Some((place, _)) => Some(place),
            None => None,
        };
        [route, other, self.handler, self.actions, self.whole_if, no_route]
    }
}

/// What marks a request besides the address of its object.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mark {
    /// The `datetime` at which the server began to serve it. Safe: no two requests of a process
    /// have the object's address and the microsecond in common.
    Moment(Place),
    /// The `float` with the seconds at which it began, by whatever clock. As safe.
    Seconds(Place),
    /// The text that the object is, an identifier of its own. Safe.
    Own,
    /// A few values of the carrier, by their addresses and first characters: what is made anew
    /// for each request, and the client's port. Two requests for the same over one connection,
    /// one right after the other, may have all of them in common: they are then one.
    Carried,
    /// The same of attributes of the request.
    Attributes([&'static str; 3]),
    /// The same of what names it, besides what it is itself if that is a text. Two of the same
    /// name, one right after the other, are one if the second's object has the place in memory
    /// that the first's had.
    Named,
}

/// The dicts that servers and frameworks share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    /// PEP 3333's `environ`.
    Environ,
    /// ASGI's `scope`.
    Scope,
}

impl Carrier {
    /// What is another for each request, mostly: see [`Mark::Carried`].
    pub(super) const fn marks(self) -> [&'static str; 5] {
        match self {
            Self::Environ => {
                ["wsgi.input", "REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "REMOTE_PORT"]
            }
            Self::Scope => ["headers", "method", "raw_path", "query_string", "client"],
        }
    }
}

/// What an endpoint is called as long as no framework has named its route.
#[derive(Debug, Clone, Copy)]
pub(super) enum Naming {
    /// An HTTP request's method, and the first of these paths that is a text.
    Http { method: Place, paths: &'static [Place] },
    /// An HTTP request's method and path, from the carrier.
    Carried,
    /// A piece of work: a word for what it is, and its name, which is final.
    Work { kind: &'static str, name: Place, framework: Framework },
    /// What a person declared, by a method and a name.
    Declared { method: Place, name: Place },
}

/// A function that knows the request's route.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) framework: Framework,
    /// The route's text: the first of these that is one.
    pub(super) route: &'static [Place],
    /// The name of what serves it.
    pub(super) handler: Option<Place>,
    /// A dict from methods in lower case to the names of the handler's functions.
    pub(super) actions: Option<Place>,
    /// What must be there for this to be the last part of the route; without it, it is a
    /// prefix of what functions further from the root say.
    pub(super) whole_if: Option<Place>,
    /// It was routed in vain if this is of this type.
    pub(super) no_route_if: Option<(Place, &'static str)>,
}

/// Where a framework leaves the route in the carrier. That is there from before the first
/// of the application's functions until after the last byte of the response, whatever is on
/// the stack.
#[derive(Debug)]
pub(super) struct Carries {
    pub(super) framework: Framework,
    pub(super) carrier: Carrier,
    /// A part of the path of its files: none of them on any stack, no route.
    pub(super) package: &'static str,
    pub(super) route: &'static [Step],
    pub(super) handler: &'static [Step],
    /// What is there if it was routed in vain.
    pub(super) no_route: &'static [Step],
}

/// All tables of known functions; the first row that fits counts.
const TABLES: [&[Known]; 6] = [
    wsgi::KNOWN,
    asgi::KNOWN,
    tasks::KNOWN,
    django::KNOWN,
    starlette::KNOWN,
    microframeworks::KNOWN,
];

/// The frameworks that leave their route in the carrier; the first that did counts.
pub(super) const CARRIED: [&Carries; 3] =
    [&flask::ROUTE, &microframeworks::BOTTLE, &microframeworks::LITESTAR];

/// Functions that are known by the names of their arguments, whoever wrote them: what servers
/// call. All of the names must be there.
pub(super) const BY_ARGUMENTS: [(&[&str], Says); 3] = [
    (&["start_response", "environ"], serves(&wsgi::APPLICATION)),
    (&["receive", "send", "scope"], serves(&asgi::APPLICATION)),
    (&["start_response", "env"], serves(&wsgi::APPLICATION_ENV)),
];

/// Packages whose frames mean that the thread belongs to the server.
const SERVERS: &[&str] = &[
    "/gunicorn/",
    "/uvicorn/",
    "/uvicorn_worker/",
    "/hypercorn/",
    "/waitress/",
    "/werkzeug/serving.py",
    "/wsgiref/",
    "/gevent/pywsgi.py",
    "/eventlet/wsgi.py",
    "/tornado/http",
    "/aiohttp/web_protocol.py",
    "/sanic/server/",
    "/celery/worker/",
    "/celery/concurrency/",
    "/billiard/pool.py",
    "/rq/worker",
    "/grpc/_server.py",
];

/// What a function is known for, by its name (qualified or not) and its file.
pub(super) fn says(name: &str, file: &str) -> Option<Says> {
    let plain = name.rsplit('.').next().unwrap_or(name);
    let is_in = |row: &Known| {
        if row.file.ends_with('/') { file.contains(row.file) } else { file.ends_with(row.file) }
    };
    let mut rows = TABLES.into_iter().flatten();
    rows.find(|row| row.functions.contains(&plain) && is_in(row)).map(|row| row.says)
}

/// Whether a file is a server's own, so that a thread in it that serves no request is the
/// server's.
pub(super) fn is_of_server(file: &str) -> bool {
    SERVERS.iter().any(|package| file.contains(package))
}

/// The frameworks that leave their routes in the carrier whose file this is, as bits in the
/// order of [`CARRIED`].
pub(super) fn carriers_of(file: &str) -> u8 {
    let found = CARRIED.iter().enumerate().filter(|(_, known)| file.contains(known.package));
    found.map(|(index, _)| 1 << index).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_known_with_and_without_their_class() {
        let sync = "/venv/lib/python3.8/site-packages/gunicorn/workers/sync.py";
        let serves =
            |name: &str, file: &str| says(name, file).is_some_and(|it| it.serves.is_some());
        assert!(serves("handle_request", sync));
        assert!(serves("SyncWorker.handle_request", sync));
        assert!(!serves("handle_request", "/app/gunicorn_sync.py"));
        assert!(!serves("SyncWorker.handle", sync));
        let uvicorn = "/v/uvicorn/protocols/http/h11_impl.py";
        assert!(serves("RequestResponseCycle.run_asgi", uvicorn));
        assert!(is_of_server(sync));
        assert!(!is_of_server("/app/views.py"));
        assert_eq!(carriers_of("/v/flask/app.py"), 1);
    }

    #[test]
    fn what_marks_a_request_can_be_read() {
        for row in TABLES.into_iter().flatten() {
            let Some(serves) = row.says.serves else { continue };
            let needs_carrier =
                matches!(serves.mark, Mark::Carried) || matches!(serves.naming, Naming::Carried);
            assert!(serves.carrier.is_some() || !needs_carrier, "{row:?}");
            if let Naming::Http { paths, .. } = serves.naming {
                assert!((1..=2).contains(&paths.len()), "{row:?}");
            }
        }
        for row in TABLES.into_iter().flatten().filter_map(|row| row.says.routes) {
            assert!((1..=2).contains(&row.route.len()), "{row:?}");
        }
    }
}
