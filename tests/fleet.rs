//! Which processes are profiled: named in every way, and followed as they come and go.

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use common::{
    Gunicorn, Load, Outcome, Recorder, Script, Summary, alone, application, farrier_path, newest,
    run,
};

const TARGETS: [&str; 3] = ["/users/{user}=3", "/search=2", "/slow=1"];

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Records for a moment; `target` says what.
fn summary_of(target: &[&str]) -> Summary {
    let folder = folder();
    let json = folder.path().join("x.json");
    run(["record", "-d", "1", "-o", text(&json)].iter().chain(target)).success();
    Summary::read(&json)
}

fn set<T: Ord + Copy>(items: &[T]) -> BTreeSet<T> {
    items.iter().copied().collect()
}

#[test]
fn a_reload_and_a_killed_worker_are_followed() {
    let _alone = alone();
    let Some(python) = newest() else { return };
    let mut gunicorn = Gunicorn::start(&python, "flask_shop:app", 2, &[]);
    let load = Load::start(&python, gunicorn.port(), 4, Duration::from_secs(60), &TARGETS);
    let folder = folder();
    let (recording, json) = (folder.path().join("x.farrier"), folder.path().join("x.json"));
    let pid = gunicorn.pid().to_string();
    let first = gunicorn.workers();
    let recorder = Recorder::start(&recording, ["-p", &pid, "-d", "8", "-o", text(&json)]);

    // In the first second the first generation is seen at work, in the next the second.
    std::thread::sleep(Duration::from_secs(1));
    let second = gunicorn.reload();
    std::thread::sleep(Duration::from_secs(1));
    let killed = second[0];
    let third = gunicorn.kill_worker(killed);

    let outcome = recorder.finish();
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    let sent = load.finish();
    assert!(sent["requests"].as_u64() > Some(100), "{sent}");

    let summary = Summary::read(&json);
    let mut everyone = set(&first);
    everyone.extend(&second);
    everyone.insert(third);
    assert_eq!(set(&summary.pids("worker")), everyone);
    for worker in &everyone {
        let cpu = summary.process(*worker)["cpu_s"].as_f64();
        assert!(cpu > Some(0.0), "{}", summary.process(*worker));
    }
    let gone = |worker: &u32| {
        let exited = &summary.process(*worker)["exited"];
        !exited.is_null() && exited != false
    };
    for worker in first.iter().chain([&killed]) {
        assert!(gone(worker), "{}", summary.process(*worker));
    }
    assert!(!gone(&third), "{}", summary.process(third));

    // The recording says the same as what was written with it.
    let again = Summary::of_recording(&recording);
    assert_eq!(again.request_seconds(), summary.request_seconds());
    assert_eq!(set(&again.pids("worker")), everyone);
}

#[test]
fn an_arbiter_is_found_by_its_pid_file_and_brings_its_workers() {
    let _alone = alone();
    let Some(python) = newest() else { return };
    let gunicorn = Gunicorn::start(&python, "plain_wsgi:app", 2, &[]);
    let summary = summary_of(&["--pidfile", text(&gunicorn.pidfile())]);
    assert_eq!(set(&summary.pids("worker")), set(&gunicorn.workers()));
    assert_eq!(summary.pids("arbiter"), [gunicorn.pid()]);

    let alone = summary_of(&["-p", &gunicorn.pid().to_string(), "--no-children"]);
    assert_eq!(alone.pids("arbiter"), [gunicorn.pid()]);
    assert!(alone.pids("worker").is_empty());

    let worker = gunicorn.workers()[0];
    let lone = summary_of(&["-p", &worker.to_string()]);
    assert_eq!(lone.pids("worker"), [worker]);
    assert_eq!(lone.list("processes").len(), 1);
}

#[test]
fn several_pids_and_a_name() {
    let _alone = alone();
    let Some(python) = newest() else { return };
    let one = Script::start(&python, "known_stack.py", &["first-of-several"]);
    let two = Script::start(&python, "known_stack.py", &["second-of-several"]);
    let pids = |summary: &Summary| -> BTreeSet<u64> {
        summary.list("processes").iter().filter_map(|process| process["pid"].as_u64()).collect()
    };
    let (first, second) = (u64::from(one.pid()), u64::from(two.pid()));

    let both = summary_of(&["-p", &first.to_string(), "-p", &second.to_string()]);
    assert_eq!(pids(&both), set(&[first, second]));
    let named = summary_of(&["--name", "known_stack.py (first|second)-of-several"]);
    assert_eq!(pids(&named), set(&[first, second]));
    let one_named = summary_of(&["--name", "second-of-sever[a-z]+$"]);
    assert_eq!(pids(&one_named), set(&[second]));
}

/// A command that is busy for a second and then ends with status 7.
const BUSY: &str = "\
import sys, time
def busy():
    end = time.monotonic() + 1
    while time.monotonic() < end:
        sum(range(1000))
busy()
print('over')
sys.exit(7)
";

#[test]
fn a_command_is_started_and_its_exit_status_passed_on() {
    let _alone = alone();
    let Some(python) = newest() else { return };
    let folder = folder();
    let json = folder.path().join("x.json");
    let mut command = Command::new(farrier_path());
    command.args(["record", "-o", text(&json), "--"]).arg(&python.python).args(["-c", BUSY]);
    let outcome = Outcome::of(command);
    assert_eq!(outcome.status, Some(7), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("over"), "the command's own output: {}", outcome.stdout);
    let summary = Summary::read(&json);
    let busy = summary.list("functions").iter().find(|function| function["function"] == "busy");
    let total = busy.expect("busy was seen")["total_s"].as_f64();
    assert!(total > Some(0.7) && total < Some(1.3), "{total:?}");
}

#[test]
fn a_shell_that_later_becomes_python_is_found() {
    let _alone = alone();
    let Some(python) = newest() else { return };
    let folder = folder();
    let json = folder.path().join("x.json");
    // A shell, then a program that is no Python, then Python in the same process.
    let script = "sleep 0.5; exec \"$0\" -c \"$1\"";
    let mut command = Command::new(farrier_path());
    command
        .args(["record", "-o", text(&json), "--", "sh", "-c", script])
        .arg(&python.python)
        .arg(BUSY);
    let outcome = Outcome::of(command);
    assert_eq!(outcome.status, Some(7), "{}", outcome.stderr);
    let summary = Summary::read(&json);
    assert!(summary.list("functions").iter().any(|function| function["function"] == "busy"));
}

#[test]
fn a_command_that_starts_gunicorn_is_profiled_whole() {
    let _alone = alone();
    let Some(python) = newest() else { return };
    let folder = folder();
    let json = folder.path().join("x.json");
    let mut command = Command::new(farrier_path());
    // A server does not end by itself and farrier never ends it, so `timeout` does; its
    // exit status for that is 124.
    command
        .args(["record", "-d", "3", "-o", text(&json), "--", "timeout", "6"])
        .arg(python.program("gunicorn"))
        .args(["--bind", "127.0.0.1:0", "-w", "2", "--max-requests", "1000", "--chdir"])
        .arg(application(""))
        .arg("plain_wsgi:app")
        .env("XDG_RUNTIME_DIR", folder.path());
    let outcome = Outcome::of(command);
    assert_eq!(outcome.status, Some(124), "{}", outcome.stderr);
    let summary = Summary::read(&json);
    assert_eq!(summary.pids("worker").len(), 2, "{}", summary.0["processes"]);
}

/// A launcher that becomes the application, as `ddtrace-run` does: Python that starts
/// Python in its own process.
#[test]
fn python_that_becomes_another_python_counts_once() {
    let _alone = alone();
    let Some(python) = newest() else { return };
    let folder = folder();
    let json = folder.path().join("x.json");
    let launcher = "import os, sys, time; time.sleep(1); \
                    os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])";
    let mut command = Command::new(farrier_path());
    command
        .args(["record", "-o", text(&json), "--"])
        .arg(&python.python)
        .args(["-c", launcher, BUSY]);
    let outcome = Outcome::of(command);
    assert_eq!(outcome.status, Some(7), "{}", outcome.stderr);
    let summary = Summary::read(&json);
    assert_eq!(summary.list("processes").len(), 1, "{}", summary.0["processes"]);
    // One thread before and after, so no more thread time than time.
    let states = summary.0["states"].as_object().expect("states");
    let seconds: f64 = states.values().filter_map(serde_json::Value::as_f64).sum();
    let duration = summary.number(&["recorded", "duration_s"]);
    assert!((0.8..1.05).contains(&(seconds / duration)), "{seconds} s in {duration} s");
    assert!(summary.list("functions").iter().any(|function| function["function"] == "busy"));
}
