//! Gunicorn, by its command lines.
//!
//! ```text
//! python /venv/bin/gunicorn -w 4 shop.wsgi:app     arbiter
//!  ├─ (the same)                                   worker: a fork, no exec
//!  ├─ (the same)                                   worker's own child, if below one
//!  └─ (the same), GUNICORN_PID=parent              the next arbiter, after USR2
//! ```
//!
//! With `setproctitle` installed the lines are `gunicorn: master [shop.wsgi:app]` and
//! `gunicorn: worker [shop.wsgi:app]`; a worker has its arbiter's title until it
//! writes its own.

use super::Server;
use super::launch::{arguments_of, split_option};
use crate::model::Role;

const NAME: &str = "gunicorn";

/// Set by an arbiter for the one that is to follow it, to its own PID
/// (`Arbiter.reexec`).
pub(super) const SUCCESSOR_VARIABLE: &str = "GUNICORN_PID";

/// The options that take no value (`gunicorn --help`, 19.9 to 27).
const FLAGS: &[&str] = &[
    "--reload",
    "--spew",
    "--check-config",
    "--print-config",
    "--preload",
    "--no-sendfile",
    "--reuse-port",
    "--daemon",
    "--initgroups",
    "--disable-redirect-access-to-syslog",
    "--capture-output",
    "--log-syslog",
    "--enable-stdio-inheritance",
    "--enable-backlog-metric",
    "--suppress-ragged-eofs",
    "--do-handshake-on-connect",
    "--permit-obsolete-folding",
    "--strip-header-spaces",
    "--permit-unconventional-http-method",
    "--permit-unconventional-http-version",
    "--casefold-http-method",
    "--no-control-socket",
    "-D",
    "-R",
];

pub(super) fn detect(command_line: &[String]) -> Option<Server> {
    match command_line {
        [] => None,
        [title] if title.starts_with("gunicorn: ") => from_title(title),
        words => Some(from_arguments(arguments_of(words, is_script, is_module)?)),
    }
}

/// `gunicorn: master [NAME]`, `gunicorn: worker [NAME]`, and those of the helpers
/// (`dirty-arbiter`, `dirty-worker [NAME]`), which serve no requests.
fn from_title(title: &str) -> Option<Server> {
    let rest = title.strip_prefix("gunicorn: ")?;
    let (word, name) = match rest.split_once(" [") {
        Some((word, name)) => (word, name.strip_suffix(']')),
        None => (rest, None),
    };
    let role = match word {
        "master" => Role::Arbiter,
        "worker" => Role::Worker,
        _ => Role::Other,
    };
    Some(Server {
        name: NAME,
        title: Some(role),
        application: name.map(str::to_owned),
        ..Server::default()
    })
}

/// `gunicorn`, Debian's `gunicorn3`, and the two that 19 still had.
fn is_script(name: &str) -> bool {
    name.strip_prefix(NAME).is_some_and(|rest| {
        rest.chars().all(|letter| letter.is_ascii_digit() || letter == '.' || letter == '-')
            || matches!(rest, ".py" | "_django" | "_paster")
    })
}

fn is_module(name: &str) -> bool {
    matches!(name, "gunicorn" | "gunicorn.app.wsgiapp" | "gunicorn.__main__")
}

fn from_arguments(arguments: &[String]) -> Server {
    let mut server = Server { name: NAME, ..Server::default() };
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        if FLAGS.contains(&word.as_str()) {
            continue;
        }
        let Some((option, attached)) = split_option(word) else {
            server.application.get_or_insert_with(|| word.clone());
            continue;
        };
        let value = attached.or_else(|| rest.next().map(String::as_str)).unwrap_or_default();
        match option {
            "-k" | "--worker-class" => server.worker_class = Some(class_name(value).to_owned()),
            "-w" | "--workers" => server.workers = value.parse().ok(),
            "--threads" => server.threads = value.parse().ok(),
            _ => {}
        }
    }
    // `Config.worker_class`: sync with more than one thread is gthread.
    let is_sync = server.worker_class.as_deref().is_none_or(|class| class == "sync");
    if is_sync && server.threads.is_some_and(|threads| threads > 1) {
        server.worker_class = Some("gthread".to_owned());
    }
    server
}

/// Gunicorn's own worker classes: the name to ask for one by, its class, its file.
const WORKER_CLASSES: &[(&str, &str, &str)] = &[
    ("sync", "gunicorn.workers.sync.SyncWorker", "/gunicorn/workers/sync.py"),
    ("gthread", "gunicorn.workers.gthread.ThreadWorker", "/gunicorn/workers/gthread.py"),
    ("gevent", "gunicorn.workers.ggevent.GeventWorker", "/gunicorn/workers/ggevent.py"),
    ("eventlet", "gunicorn.workers.geventlet.EventletWorker", "/gunicorn/workers/geventlet.py"),
    ("tornado", "gunicorn.workers.gtornado.TornadoWorker", "/gunicorn/workers/gtornado.py"),
    ("asgi", "gunicorn.workers.gasgi.ASGIWorker", "/gunicorn/workers/gasgi.py"),
];

/// The short name of one of Gunicorn's own classes however it was written; others as
/// they are.
fn class_name(class: &str) -> &str {
    if let Some(name) = class.strip_prefix("egg:gunicorn#") {
        return name;
    }
    WORKER_CLASSES.iter().find(|row| row.1 == class).map_or(class, |row| row.0)
}

/// The worker class whose own function is in this file: what a worker's stack says when
/// its command line does not.
pub(super) fn worker_class_of_file(file: &str) -> Option<&'static str> {
    WORKER_CLASSES.iter().find(|row| file.ends_with(row.2)).map(|row| row.0)
}

/// What a process of Gunicorn's is, by its own title, by its parent's part (`None` if
/// the parent is not Gunicorn) and by whether its parent started it to follow itself.
pub(super) fn role(title: Option<Role>, parent: Option<Role>, is_successor: bool) -> Role {
    match (title, parent) {
        (Some(title), _) => title,
        (None, None) => Role::Arbiter,
        (None, Some(_)) if is_successor => Role::Arbiter,
        (None, Some(Role::Arbiter)) => Role::Worker,
        // What a worker starts by forking, such as a process pool.
        (None, Some(Role::Worker | Role::Other)) => Role::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn detected(line: &str) -> Option<Server> {
        detect(&words(line))
    }

    #[test]
    fn every_way_of_starting_it_is_recognised() {
        for line in [
            "/venv/bin/python /venv/bin/gunicorn app:app",
            "/usr/bin/python3.11 -u -X dev -W ignore /usr/bin/gunicorn app:app",
            "python -m gunicorn app:app",
            "/opt/py/bin/pypy3 -OO -m gunicorn.app.wsgiapp app:app",
            "gunicorn app:app",
            "/usr/bin/python3 /usr/bin/gunicorn3 app:app",
            "python /srv/gunicorn.py app:app",
        ] {
            let server = detected(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!((server.name, server.title), ("gunicorn", None), "{line}");
            assert_eq!(server.application.as_deref(), Some("app:app"), "{line}");
        }
    }

    #[test]
    fn wrappers_and_others_are_not_it() {
        for line in [
            "",
            "sh -c gunicorn app:app",
            "/sbin/tini -- gunicorn app:app",
            "uv run gunicorn app:app",
            "python -c import gunicorn",
            "python manage.py runserver",
            "python -m uvicorn app:app",
            "python -m",
            "/usr/bin/python /usr/bin/gunicornc show workers",
            "vim /etc/gunicorn",
        ] {
            assert_eq!(detected(line), None, "{line}");
        }
        assert_eq!(detect(&[]), None);
    }

    #[test]
    fn a_title_names_the_part_and_the_application() {
        let title = |text: &str| detect(&[text.to_owned()]).unwrap();
        let master = title("gunicorn: master [shop.wsgi:app]");
        assert_eq!(master.title, Some(Role::Arbiter));
        assert_eq!(master.application.as_deref(), Some("shop.wsgi:app"));
        assert_eq!(title("gunicorn: worker [shop]").title, Some(Role::Worker));
        assert_eq!(title("gunicorn: dirty-arbiter").title, Some(Role::Other));
        assert_eq!(title("gunicorn: dirty-worker [shop]").title, Some(Role::Other));
    }

    #[test]
    fn class_workers_and_threads_are_read_however_they_are_written() {
        let summary = |line: &str| {
            let server = detected(&format!("gunicorn {line}")).unwrap();
            (server.application, server.worker_class, server.workers, server.threads)
        };
        let app = Some("app:app".to_owned());
        let class = |name: &str| Some(name.to_owned());
        for (line, expected) in [
            ("-w 4 -k gthread --threads 8 app:app", (class("gthread"), Some(4), Some(8))),
            ("app:app -w4 -kgevent", (class("gevent"), Some(4), None)),
            ("--workers=2 --worker-class=sync app:app", (class("sync"), Some(2), None)),
            ("--threads 4 --preload app:app", (class("gthread"), None, Some(4))),
            ("-k sync --threads 4 app:app", (class("gthread"), None, Some(4))),
            ("--threads 1 app:app", (None, None, Some(1))),
            (
                "-b 0.0.0.0:80 -k uvicorn.workers.UvicornWorker -D app:app",
                (class("uvicorn.workers.UvicornWorker"), None, None),
            ),
            ("-k gunicorn.workers.gthread.ThreadWorker app:app", (class("gthread"), None, None)),
            ("-k egg:gunicorn#gevent app:app", (class("gevent"), None, None)),
            ("-w many app:app", (None, None, None)),
        ] {
            let (worker_class, workers, threads) = expected;
            assert_eq!(summary(line), (app.clone(), worker_class, workers, threads), "{line}");
        }
        assert_eq!(summary("-c conf.py"), (None, None, None, None));
        assert_eq!(summary("-w"), (None, None, None, None));
    }

    #[test]
    fn a_part_is_told_by_title_then_by_the_parent() {
        use Role::{Arbiter, Other, Worker};
        assert_eq!(role(None, None, false), Arbiter);
        assert_eq!(role(None, Some(Arbiter), false), Worker);
        assert_eq!(role(None, Some(Arbiter), true), Arbiter);
        assert_eq!(role(None, Some(Worker), false), Other);
        assert_eq!(role(Some(Worker), None, false), Worker);
        assert_eq!(role(Some(Arbiter), Some(Arbiter), true), Arbiter);
    }
}
