//! A profile against the application's own account: every request's route and wall
//! time, as a middleware in the fixture writes it down.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Gunicorn, Interpreter, Load, Summary, alone, interpreters, run, say};

/// Shares may differ by so much: three points of a hundred.
const TOLERANCE: f64 = 0.03;
/// Routes with less of the time are not judged.
const SMALLEST: f64 = 0.05;

const SHOP: [&str; 11] = [
    "/users/{user}=4",
    "/report=1",
    "/slow=1",
    "/stats=2",
    "/search=2",
    "/partner=1",
    "/orders/{int}=2",
    "POST /orders/{int}=1",
    "/shop/items/{uuid}=1",
    "POST /shop/baskets=1",
    "/=1",
];

const PLAIN: [&str; 4] = ["/orders/{int}=2", "/items/{uuid}=2", "/blobs/{hash}=2", "/=1"];

/// Seconds by endpoint in `[start, end]`, from the application's log: intervals that
/// reach beyond the window are cut to it.
fn logged(gunicorn: &Gunicorn, start: f64, end: f64) -> BTreeMap<String, f64> {
    let mut seconds = BTreeMap::new();
    for entry in gunicorn.request_log() {
        let word = |name: &str| entry[name].as_str().expect("a string").to_owned();
        let time = |name: &str| entry[name].as_f64().expect("a number");
        let inside = time("end").min(end) - time("start").max(start);
        if inside > 0.0 {
            *seconds.entry(format!("{} {}", word("method"), word("route"))).or_default() += inside;
        }
    }
    seconds
}

fn shares_agree(
    interpreter: &Interpreter,
    app: &str,
    workers: usize,
    arguments: &[&str],
    connections: usize,
    targets: &[&str],
) {
    let gunicorn = Gunicorn::start(interpreter, app, workers, arguments);
    let most = Duration::from_secs(60);
    let load = Load::start(interpreter, gunicorn.port(), connections, most, targets);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let json = folder.path().join("x.json");
    let pid = gunicorn.pid().to_string();
    run(["record", "-p", &pid, "-d", "10", "-o", json.to_str().expect("UTF-8")]).success();
    let sent = load.finish();
    assert_eq!(sent["errors"], 0, "{sent}");

    let summary = Summary::read(&json);
    let start = summary.0["recorded"]["start"].as_str().expect("a moment");
    let start: jiff::Timestamp = start.parse().expect("RFC 3339");
    let start = start.as_nanosecond() as f64 / 1e9;
    let duration = summary.number(&["recorded", "duration_s"]);
    assert!((9.9..11.0).contains(&duration), "it recorded for {duration} s");

    let truth = logged(&gunicorn, start, start + duration);
    let seen = summary.request_seconds();
    let (truth_total, seen_total): (f64, f64) = (truth.values().sum(), seen.values().sum());
    say(&format!(
        "{app} {workers} × {arguments:?}, CPython {}: {:.0} requests/s, {truth_total:.2} s of requests, {seen_total:.2} s seen",
        interpreter.version,
        sent["requests"].as_f64().unwrap_or_default() / sent["seconds"].as_f64().unwrap_or(1.0),
    ));
    let mut wrong = Vec::new();
    let mut judged = 0;
    for (endpoint, seconds) in &truth {
        let expected = seconds / truth_total;
        let share = seen.get(endpoint).copied().unwrap_or_default() / seen_total;
        say(&format!("  {endpoint:34} {:5.1} % {:5.1} %", expected * 100.0, share * 100.0));
        if expected > SMALLEST {
            judged += 1;
            if (share - expected).abs() > TOLERANCE {
                wrong.push(endpoint);
            }
        }
    }
    assert!(judged >= 3, "only {judged} routes are large enough to be judged");
    assert!(wrong.is_empty(), "the shares of {wrong:?} are off by more than {TOLERANCE}");
    let unknown: Vec<_> = seen.keys().filter(|endpoint| !truth.contains_key(*endpoint)).collect();
    assert!(unknown.is_empty(), "the application never served {unknown:?}");
    // The server reads and answers a request outside of the application, so the
    // profile may see somewhat more time than the middleware; never much.
    let ratio = seen_total / truth_total;
    assert!((0.93..1.12).contains(&ratio), "{seen_total:.2} s seen of {truth_total:.2} s");
}

#[test]
fn two_sync_workers() {
    let _alone = alone();
    if let Some(interpreter) = interpreters().pop() {
        shares_agree(&interpreter, "flask_shop:app", 2, &[], 4, &SHOP);
    }
}

#[test]
fn two_gthread_workers_of_four_threads() {
    let _alone = alone();
    if let Some(interpreter) = interpreters().pop() {
        shares_agree(&interpreter, "flask_shop:app", 2, &["--threads", "4"], 8, &SHOP);
    }
}

#[test]
fn without_a_framework_on_the_oldest_version() {
    let _alone = alone();
    if let Some(interpreter) = interpreters().first() {
        shares_agree(interpreter, "plain_wsgi:app", 2, &["--threads", "2"], 4, &PLAIN);
    }
}
