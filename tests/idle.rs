//! A worker that has nothing to do is idle, whatever it waits in for work, and one that a
//! view holds up is not: every worker class of Gunicorn, and the servers beside it.

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::{
    Gunicorn, Interpreter, Load, Redis, Script, Summary, alone, application, has_program,
    interpreter, run, say, signal,
};
use serde_json::Value;

/// How long is recorded.
const SECONDS: &str = "1.5";

/// Some of what a worker does now and then is work: heartbeats, timeouts, an event loop that
/// wakes up ten times a second. A busy machine makes that longer. But it waits for nothing.
const IDLE: f64 = 0.95;
const OF_WAITING: f64 = 0.99;

fn recorded(pid: u32) -> Summary {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let json = folder.path().join("x.json");
    let json = json.to_str().expect("UTF-8");
    let pid = pid.to_string();
    run(["record", "-q", "-p", &pid, "-d", SECONDS, "--max-cpu", "none", "-o", json]).success();
    Summary::read(json.as_ref())
}

/// The share of a state in all thread time.
fn share(summary: &Summary, state: &str) -> f64 {
    let states = summary.0["states"].as_object().expect("states");
    let all: f64 = states.values().filter_map(Value::as_f64).sum();
    summary.number(&["states", state]) / all
}

fn assert_idle(what: &str, pid: u32) {
    let summary = recorded(pid);
    let idle = share(&summary, "idle");
    // What it waits for when it wakes up, the GIL and a CPU, is the machine's affair.
    let others: f64 =
        ["io", "lock", "sleep", "unknown"].iter().map(|state| share(&summary, state)).sum();
    let of_waiting = idle / (idle + others);
    say(&format!("{what}: idle {:.2} %, {:.2} % of waiting", idle * 100.0, of_waiting * 100.0));
    let (states, waits) = (&summary.0["states"], &summary.0["waits"]);
    assert!(idle >= IDLE && of_waiting >= OF_WAITING, "{what}: {states} {waits}");
}

/// The versions in which servers and drivers are installed.
fn versions() -> impl Iterator<Item = Interpreter> {
    ["3.8", "3.11", "3.13", "3.15"].into_iter().filter_map(interpreter)
}

/// Gunicorn's worker classes and an application for each. Of the releases that
/// `requirements.txt` names, the one for CPython 3.8 has no `asgi` yet, the one for later
/// versions no `eventlet` any more.
fn classes(version: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let missing = if version == "3.8" { "asgi" } else { "eventlet" };
    CLASSES.into_iter().filter(move |&(class, _)| class != missing)
}

const CLASSES: [(&str, &str); 7] = [
    ("sync", "plain_wsgi:app"),
    ("gthread", "plain_wsgi:app"),
    ("gevent", "plain_wsgi:app"),
    ("eventlet", "plain_wsgi:app"),
    ("tornado", "plain_wsgi:app"),
    ("asgi", "plain_asgi:app"),
    ("uvicorn_worker.UvicornWorker", "plain_asgi:app"),
];

#[test]
fn gunicorn_s_workers_without_work() {
    let _alone = alone();
    for interpreter in versions() {
        let version = interpreter.version;
        for (class, app) in classes(version) {
            let gunicorn = Gunicorn::start(&interpreter, app, 1, &["--worker-class", class]);
            // After it has made its workers an arbiter sleeps for up to a tenth of a second
            // each (`Arbiter.spawn_workers`).
            std::thread::sleep(Duration::from_millis(300));
            assert_idle(&format!("{version} {class}"), gunicorn.pid());
        }
    }
}

#[test]
fn a_worker_that_a_view_holds_up_is_not_idle() {
    let _alone = alone();
    let Some(interpreter) = interpreter("3.13") else { return };
    for (class, app) in classes(interpreter.version) {
        let view = if app.starts_with("plain_asgi") { "/block" } else { "/orders/7" };
        let gunicorn = Gunicorn::start(&interpreter, app, 1, &["--worker-class", class]);
        let most = Duration::from_secs(30);
        let load = Load::start(&interpreter, gunicorn.port(), 2, most, &[view]);
        let summary = recorded(gunicorn.pid());
        drop(load);
        // Of the threads that there are, the one that serves. How much it gets done is up to
        // the machine.
        let endpoints = summary.list("endpoints");
        let seconds = |state: &str| -> f64 {
            endpoints.iter().filter_map(|row| row["states"][state].as_f64()).sum()
        };
        let busy =
            seconds("running") + seconds("runnable") + seconds("sleep") + seconds("gil_wait");
        let duration = summary.number(&["recorded", "duration_s"]);
        say(&format!("{class}: busy for {:.2} of {duration:.2} s", busy));
        assert!(busy > 0.25 * duration, "{class}: {}", summary.0["states"]);
    }
}

#[test]
fn uvicorn_without_work() {
    let _alone = alone();
    for interpreter in versions() {
        let mut command = Command::new(interpreter.program("uvicorn"));
        command.arg("--app-dir").arg(application("")).args(["--port", "0", "plain_asgi:app"]);
        command.args(["--log-level", "error"]);
        let server = Script::spawn(command);
        assert_idle(&format!("{} uvicorn", interpreter.version), server.pid());
    }
}

#[test]
fn celery_without_work() {
    let _alone = alone();
    let Some(redis) = Redis::start() else { return };
    for interpreter in versions() {
        for pool in ["prefork", "threads"] {
            let mut command = Command::new(interpreter.program("celery"));
            command
                .arg("--workdir")
                .arg(application(""))
                .args(["-A", "celery_tasks", "worker", "--pool", pool, "-c", "2"])
                .args(["--without-gossip", "--without-mingle", "--loglevel", "CRITICAL"])
                .env("FIXTURE_REDIS", redis.port().to_string());
            let mut worker = Script::spawn(command);
            assert_idle(&format!("{} celery {pool}", interpreter.version), worker.pid());
            end_softly(&mut worker);
        }
    }
}

/// Lets it end its children itself.
fn end_softly(worker: &mut Script) {
    signal("TERM", worker.pid());
    let deadline = Instant::now() + Duration::from_secs(10);
    while worker.is_running() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn uwsgi_without_work() {
    let _alone = alone();
    if !has_program("uwsgi_python3") {
        return;
    }
    for more in [&[][..], &["--threads", "3"]] {
        // It says all that it says on its standard error.
        let mut command = Command::new("sh");
        command.args(["-c", "exec uwsgi_python3 \"$@\" 2>&1", "sh"]);
        command.args(["--die-on-term", "--http-socket", "127.0.0.1:0"]);
        command.args(more).arg("--chdir").arg(application(""));
        command.args(["--wsgi", "said_ready:app"]);
        let mut server = Script::spawn(command);
        assert_idle("uwsgi", server.pid());
        end_softly(&mut server);
    }
}
