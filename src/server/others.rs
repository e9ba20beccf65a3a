//! The servers besides Gunicorn, by their command lines: a table.
//!
//! ```text
//! uvicorn --workers 4 shop:app        supervisor: of `multiprocessing`, by spawning
//!  ├─ python -c "from multiprocessing.spawn import spawn_main…"      worker
//!  └─ python -c "from multiprocessing.resource_tracker…"             neither
//! celery -A shop worker               parent, and its pool's forks with the same line
//! uwsgi --http :80 -p 4 …             master, and its forks
//! ```

use super::Server;
use super::launch::{arguments_of, split_option};
use crate::model::Role;

/// What is known of a server's command line.
struct Row {
    name: &'static str,
    /// The beginnings of its programs' names: `uwsgi_python3` is uWSGI.
    programs: &'static [&'static str],
    modules: &'static [&'static str],
    /// A word that must be among the arguments: Celery has other commands.
    command: Option<&'static str>,
    /// The options for how it serves, how many workers and how many threads each.
    class: &'static [&'static str],
    workers: &'static [&'static str],
    threads: &'static [&'static str],
    /// How it serves if no option says so.
    usual_class: Option<&'static str>,
    /// Whether the first word that is no option says what is served.
    has_application: bool,
    /// Whether the process that was started has others serve.
    supervises: fn(&Server, &[String]) -> bool,
}

fn has_workers(server: &Server) -> bool {
    server.workers.is_some_and(|workers| workers > 1)
}

const NONE: Row = Row {
    name: "",
    programs: &[],
    modules: &[],
    command: None,
    class: &[],
    workers: &[],
    threads: &[],
    usual_class: None,
    has_application: true,
    supervises: |_, _| false,
};

const ROWS: &[Row] = &[
    Row {
        name: "uvicorn",
        programs: &["uvicorn"],
        modules: &["uvicorn", "uvicorn.main", "uvicorn.__main__"],
        class: &["--loop"],
        workers: &["--workers"],
        supervises: |server, words| {
            has_workers(server) || words.iter().any(|word| word == "--reload")
        },
        ..NONE
    },
    Row {
        name: "hypercorn",
        programs: &["hypercorn"],
        modules: &["hypercorn", "hypercorn.__main__"],
        class: &["-k", "--worker-class"],
        workers: &["-w", "--workers"],
        // One worker is a process of its own too.
        supervises: |server, _| server.workers != Some(0),
        ..NONE
    },
    Row {
        name: "celery",
        programs: &["celery"],
        modules: &["celery", "celery.__main__"],
        command: Some("worker"),
        class: &["-P", "--pool"],
        workers: &["-c", "--concurrency"],
        usual_class: Some("prefork"),
        has_application: false,
        supervises: |server, _| server.worker_class.as_deref() == Some("prefork"),
        ..NONE
    },
    Row {
        name: "rq",
        programs: &["rq"],
        modules: &["rq", "rq.cli"],
        command: Some("worker"),
        has_application: false,
        // Each job has a process of its own.
        supervises: |_, _| true,
        ..NONE
    },
    Row {
        name: "waitress",
        programs: &["waitress-serve"],
        modules: &["waitress"],
        threads: &["--threads"],
        ..NONE
    },
    Row {
        name: "uwsgi",
        programs: &["uwsgi"],
        workers: &["-p", "--processes", "--workers"],
        threads: &["--threads"],
        has_application: false,
        supervises: |server, words| {
            has_workers(server) || words.iter().any(|word| word == "-M" || word == "--master")
        },
        ..NONE
    },
];

/// The value of Celery's option that says what its tasks are.
const CELERY_APPLICATION: [&str; 2] = ["-A", "--app"];

/// Options of these servers that take no value.
const FLAGS: &[&str] = &[
    "--reload",
    "--factory",
    "--no-access-log",
    "--access-log",
    "--proxy-headers",
    "--no-proxy-headers",
    "--use-colors",
    "--no-use-colors",
    "--no-server-header",
    "--no-date-header",
    "--debug",
    "--expose-tracebacks",
    "--call",
];

pub(super) fn detect(command_line: &[String]) -> Option<Server> {
    ROWS.iter().find_map(|row| row.detect(command_line))
}

impl Row {
    fn detect(&self, line: &[String]) -> Option<Server> {
        let is_script = |name: &str| {
            let begins = |program: &&str| {
                let rest = name.strip_prefix(*program);
                rest.is_some_and(|rest| {
                    matches!(rest, "" | ".py" | "-core") || rest.starts_with("_python")
                })
            };
            self.programs.iter().any(begins)
        };
        let arguments = arguments_of(line, is_script, |name| self.modules.contains(&name))?;
        if self.command.is_some_and(|command| !arguments.iter().any(|word| word == command)) {
            return None;
        }
        let mut server = Server { name: self.name, ..Server::default() };
        let mut rest = arguments.iter();
        while let Some(word) = rest.next() {
            if FLAGS.contains(&word.as_str()) {
                continue;
            }
            let Some((option, attached)) = split_option(word) else {
                if self.has_application {
                    server.application.get_or_insert_with(|| word.clone());
                }
                continue;
            };
            let known = [self.class, self.workers, self.threads, &CELERY_APPLICATION];
            if !self.has_application && !known.iter().any(|names| names.contains(&option)) {
                // Which of its options have a value, is not known: none that matters here.
                continue;
            }
            let value = attached.or_else(|| rest.next().map(String::as_str)).unwrap_or_default();
            if self.class.contains(&option) {
                server.worker_class = Some(value.to_owned()).filter(|value| value != "auto");
            } else if self.workers.contains(&option) {
                server.workers = value.parse().ok();
            } else if self.threads.contains(&option) {
                server.threads = value.parse().ok();
            } else if self.command.is_some() && CELERY_APPLICATION.contains(&option) {
                server.application = Some(value.to_owned());
            }
        }
        server.worker_class = server.worker_class.or_else(|| self.usual_class.map(str::to_owned));
        // Where there is nobody else, it serves itself.
        server.title = (!(self.supervises)(&server, arguments)).then_some(Role::Worker);
        Some(server)
    }
}

/// What a process is that `multiprocessing` has started for a server, by spawning: `None` for
/// any other.
pub(super) fn spawned_role(line: &[String]) -> Option<Role> {
    let is_of = |module: &str| line.iter().any(|word| word.contains(module));
    if is_of("from multiprocessing.spawn import spawn_main") {
        return Some(Role::Worker);
    }
    is_of("from multiprocessing.resource_tracker import").then_some(Role::Other)
}

/// The worker class whose own function is in this file.
pub(super) fn worker_class_of_file(file: &str) -> Option<&'static str> {
    const FILES: &[(&str, &str)] = &[
        ("/uvicorn_worker/_workers.py", "uvicorn_worker.UvicornWorker"),
        ("/uvicorn/workers.py", "uvicorn.workers.UvicornWorker"),
        ("/uvloop/__init__.py", "uvloop"),
        ("/celery/concurrency/prefork.py", "prefork"),
        ("/celery/concurrency/thread.py", "threads"),
    ];
    FILES.iter().find(|(end, _)| file.ends_with(end)).map(|(_, class)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_is_told_by_its_command_line() {
        let some = |text: &str| Some(text.to_owned());
        for (line, name, application, class, workers, threads) in [
            (
                "/v/bin/python /v/bin/uvicorn --workers 4 shop:app",
                "uvicorn",
                some("shop:app"),
                None,
                Some(4),
                None,
            ),
            (
                "python -m uvicorn shop:app --loop uvloop --reload",
                "uvicorn",
                some("shop:app"),
                some("uvloop"),
                None,
                None,
            ),
            (
                "python -m hypercorn -k asyncio -w 2 shop:app",
                "hypercorn",
                some("shop:app"),
                some("asyncio"),
                Some(2),
                None,
            ),
            (
                "python -m celery -A shop worker -c 3",
                "celery",
                some("shop"),
                some("prefork"),
                Some(3),
                None,
            ),
            (
                "celery -A shop worker --pool=threads",
                "celery",
                some("shop"),
                some("threads"),
                None,
                None,
            ),
            ("python /v/bin/rq worker default", "rq", None, None, None, None),
            (
                "waitress-serve --threads=8 shop:app",
                "waitress",
                some("shop:app"),
                None,
                None,
                Some(8),
            ),
            (
                "uwsgi_python3 --http-socket :80 --processes 2 --threads 3 --wsgi shop:app",
                "uwsgi",
                None,
                None,
                Some(2),
                Some(3),
            ),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let found = detect(&words).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(found.name, name, "{line}");
            assert_eq!((found.application, found.worker_class), (application, class), "{line}");
            assert_eq!((found.workers, found.threads), (workers, threads), "{line}");
        }
        for line in
            ["celery -A shop beat", "python shop.py", "sh -c uvicorn", "rq info", "uvicornx a"]
        {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(detect(&words), None, "{line}");
        }
    }

    #[test]
    fn who_serves_alone_is_a_worker() {
        for (line, title) in [
            ("uvicorn shop:app", Some(Role::Worker)),
            ("uvicorn shop:app --workers 1", Some(Role::Worker)),
            ("uvicorn shop:app --workers 2", None),
            ("uvicorn shop:app --reload", None),
            ("celery -A shop worker", None),
            ("celery -A shop worker --pool solo", Some(Role::Worker)),
            ("uwsgi --http :80", Some(Role::Worker)),
            ("uwsgi --master --http :80", None),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(detect(&words).unwrap().title, title, "{line}");
        }
    }

    #[test]
    fn what_multiprocessing_starts_is_told_apart() {
        let line = |code: &str| vec!["python".to_owned(), "-c".to_owned(), code.to_owned()];
        let spawn = "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5)";
        assert_eq!(spawned_role(&line(spawn)), Some(Role::Worker));
        let tracker = "from multiprocessing.resource_tracker import main;main(4)";
        assert_eq!(spawned_role(&line(tracker)), Some(Role::Other));
        assert_eq!(spawned_role(&line("print()")), None);
    }
}
