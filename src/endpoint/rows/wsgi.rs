//! Servers that call a WSGI application (PEP 3333), and any such application.

use super::{Carrier, Known, Mark, Naming, Place, Serves, Standing, place, serves};
use crate::python::Step::Attribute;

/// Gunicorn's own request object. `handle_request` has these locals in every worker class
/// that serves WSGI and every version since 19.
const GUNICORN: Serves = Serves {
    standing: Standing::Server,
    request: place("req", &[]),
    mark: Mark::Moment(place("request_start", &[])),
    naming: Naming::Http {
        method: place("req", &[Attribute("method")]),
        paths: &[place("req", &[Attribute("path")])],
    },
    carrier: Some((Carrier::Environ, place("environ", &[]))),
    suspends: false,
};

/// The same with a greenlet for each connection.
const GUNICORN_ASYNC: Serves = Serves { suspends: true, ..GUNICORN };

/// `waitress.task.WSGITask.execute` (0.9 to 3): `Task.service` notes the start before.
const WAITRESS: Serves = Serves {
    standing: Standing::Server,
    request: place("self", &[]),
    mark: Mark::Seconds(place("self", &[Attribute("start_time")])),
    naming: Naming::Carried,
    carrier: Some((Carrier::Environ, place("environ", &[]))),
    suspends: false,
};

/// A server whose function has the environment in this place and nothing better to tell one
/// request from another.
const fn environ(environ: Place) -> Serves {
    Serves {
        standing: Standing::Server,
        request: environ,
        mark: Mark::Carried,
        naming: Naming::Carried,
        carrier: Some((Carrier::Environ, environ)),
        suspends: false,
    }
}

/// `werkzeug.serving.WSGIRequestHandler.run_wsgi` (0.9 to 3): Flask's development server.
const WERKZEUG: Serves = environ(place("environ", &[]));

/// `wsgiref.handlers.BaseHandler.run`: Django's development server and the standard library's.
const WSGIREF: Serves = environ(place("self", &[Attribute("environ")]));

/// `gevent.pywsgi.WSGIHandler`; Gunicorn's `gevent_pywsgi`. `time_start` is set anew for each
/// request of a connection.
const PYWSGI: Serves = Serves {
    standing: Standing::Server,
    request: place("self", &[]),
    mark: Mark::Seconds(place("self", &[Attribute("time_start")])),
    naming: Naming::Carried,
    carrier: Some((Carrier::Environ, place("self", &[Attribute("environ")]))),
    suspends: true,
};

/// `eventlet.wsgi.HttpProtocol.handle_one_response`.
const EVENTLET: Serves = Serves { mark: Mark::Seconds(place("start", &[])), ..PYWSGI };

/// An application that is called as PEP 3333 says: under uWSGI and mod_wsgi nothing of the
/// server is on the stack.
pub(super) const APPLICATION: Serves =
    Serves { standing: Standing::Application, ..environ(place("environ", &[])) };

/// The same with another name for the environment (Falcon).
pub(super) const APPLICATION_ENV: Serves =
    Serves { standing: Standing::Application, ..environ(place("env", &[])) };

const fn row(file: &'static str, functions: &'static [&'static str], it: &'static Serves) -> Known {
    Known { file, functions, says: serves(it) }
}

pub(super) const KNOWN: &[Known] = &[
    row("/gunicorn/workers/sync.py", &["handle_request"], &GUNICORN),
    row("/gunicorn/workers/gthread.py", &["handle_request"], &GUNICORN),
    row("/gunicorn/workers/base_async.py", &["handle_request"], &GUNICORN_ASYNC),
    row("/waitress/task.py", &["execute"], &WAITRESS),
    row("/werkzeug/serving.py", &["run_wsgi"], &WERKZEUG),
    row("/wsgiref/handlers.py", &["run"], &WSGIREF),
    row("/gevent/pywsgi.py", &["handle_one_response"], &PYWSGI),
    row("/eventlet/wsgi.py", &["handle_one_response"], &EVENTLET),
];
