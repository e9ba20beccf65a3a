//! The fixture applications keep their own promises; what other tests assert of a
//! profile rests on these.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use common::{Gunicorn, Load, Script, alone, application, interpreters, newest, wait_until};

#[test]
fn known_stacks_are_told_by_every_version() {
    for interpreter in interpreters() {
        let script = Script::start(&interpreter, "known_stack.py", &[]);
        let truth = script.truth();
        let mut leaves = BTreeMap::new();
        for thread in truth["threads"].as_array().expect("a list") {
            let frames = thread["frames"].as_array().expect("a list");
            let leaf = frames.last().expect("a leaf");
            let name = thread["name"].as_str().expect("a name").to_owned();
            leaves.insert(name, (leaf["function"].clone(), leaf["line"].clone()));
        }
        assert_eq!(leaves.keys().collect::<Vec<_>>(), ["MainThread", "sleeper", "spinner"]);

        let source = std::fs::read_to_string(application("known_stack.py")).expect("it is there");
        let line =
            |mark: &str| 1 + source.lines().position(|line| line.ends_with(mark)).unwrap_or(0);
        let qualified = interpreter.qualifies_names();
        let name = |full: &'static str, plain: &'static str| if qualified { full } else { plain };
        let expected = [
            ("MainThread", "λόγος", "the main thread stands here"),
            ("sleeper", name("sleeper.<locals>.doze", "doze"), "the sleeper stands here"),
            ("spinner", name("Spinner.spin", "spin"), "the spinner stands here"),
        ];
        for (thread, function, mark) in expected {
            assert_eq!(leaves[thread], (function.into(), line(mark).into()));
        }
    }
}

#[test]
fn the_log_accounts_for_every_request_on_every_version() {
    let _alone = alone();
    for interpreter in interpreters() {
        let gunicorn = Gunicorn::start(&interpreter, "flask_shop:app", 2, &["--threads", "2"]);
        let targets = ["/users/{user}", "/partner", "/shop/items/{uuid}", "POST /orders/{int}"];
        let load =
            Load::start(&interpreter, gunicorn.port(), 4, Duration::from_millis(700), &targets);
        let sent = load.finish();
        assert_eq!((&sent["errors"], &sent["not_ok"]), (&0.into(), &0.into()), "{sent}");
        // A request is logged when its response is closed, which is after it was answered.
        let what = format!("an entry for each of {} requests", sent["requests"]);
        let logged = wait_until(&what, || {
            let mut logged = gunicorn.request_log();
            logged.retain(|entry| entry["route"] != "/");
            (sent["requests"].as_u64()? <= logged.len() as u64).then_some(logged)
        });
        assert_eq!(sent["requests"], logged.len(), "on {}", interpreter.version);
        for entry in &logged {
            assert_ne!(entry["route"], "(unmatched)");
            let worker = entry["pid"].as_u64().expect("a PID");
            assert!(gunicorn.workers().iter().any(|pid| u64::from(*pid) == worker));
        }
    }
}

#[test]
fn workers_are_replaced_when_reloaded_and_when_killed() {
    let _alone = alone();
    let Some(python) = newest() else { return };
    let mut gunicorn = Gunicorn::start(&python, "plain_wsgi:app", 2, &[]);
    let first = gunicorn.workers();
    let second = gunicorn.reload();
    assert_eq!((first.len(), second.len()), (2, 2));
    assert!(first.iter().all(|pid| !second.contains(pid)));
    let third = gunicorn.kill_worker(second[0]);
    assert!(!first.contains(&third) && !second.contains(&third));
    assert!(gunicorn.get("/orders/1").expect("it answers").starts_with("HTTP/1.0 200"));
}

#[test]
fn the_benchmark_target_has_five_threads_of_which_some_compute() {
    let _alone = alone();
    let Some(python) = newest() else { return };
    let mut child = Command::new(&python.python)
        .arg(application("bench_target.py"))
        .arg("2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the interpreter starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut next = || lines.next().expect("another line").expect("UTF-8");
    assert_eq!(next(), "READY");
    let threads = std::fs::read_dir(format!("/proc/{}/task", child.id())).expect("it is there");
    assert_eq!(threads.count(), 5);
    let mut stdin = child.stdin.take().expect("it is piped");
    let mut loops = || {
        writeln!(stdin, "how far").expect("it reads");
        let answer: Value = serde_json::from_str(&next()).expect("JSON");
        answer["loops"].as_u64().expect("a number")
    };
    let before = loops();
    assert!((0..1000).any(|_| loops() > before));
    drop(stdin);
    assert!(child.wait().expect("it is our child").success());
}
