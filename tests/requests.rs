//! Requests against the server's own account of them: how many a second, and how long each
//! took by Gunicorn's access log.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use common::{Gunicorn, Interpreter, Load, Summary, alone, interpreter, run, say, skip};

/// Latencies may be off by so much, or by one period of the sampling.
const TOLERANCE: f64 = 0.1;
const PERIOD_MS: f64 = 10.0;

const TARGETS: [&str; 5] = ["/constant=3", "/spread=3", "/exponential=3", "/long=1", "/short=4"];

/// Fewer requests than this have no 95th of a hundred.
const ENOUGH: usize = 40;

/// Milliseconds by path, from the access log, sorted: of requests that ended in this window of
/// seconds since 1970. The log has whole seconds.
fn access_log(file: &Path, window: std::ops::Range<f64>) -> BTreeMap<String, Vec<f64>> {
    let mut by_path: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for line in std::fs::read_to_string(file).expect("gunicorn wrote it").lines() {
        let (rest, ended) = line.split_once(" [").expect("as the format says");
        let ended = jiff::Zoned::strptime("%d/%b/%Y:%H:%M:%S %z]", ended).expect("a moment");
        if !window.contains(&(ended.timestamp().as_second() as f64)) {
            continue;
        }
        let (micros, path) = rest.split_once(' ').expect("as the format says");
        let micros: f64 = micros.parse().expect("microseconds");
        by_path.entry(path.to_owned()).or_default().push(micros / 1e3);
    }
    by_path.values_mut().for_each(|times| times.sort_by(f64::total_cmp));
    by_path
}

/// What is off by more than is allowed.
fn requests_are_told(
    interpreter: &Interpreter,
    arguments: &[&str],
    has_latencies: bool,
) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("access.log");
    let mut all = vec!["--access-logfile", log.to_str().expect("UTF-8")];
    all.extend(["--access-logformat", "%(D)s %(U)s %(t)s"]);
    all.extend(arguments);
    let gunicorn = Gunicorn::start(interpreter, "timed_wsgi:app", 2, &all);
    let most = Duration::from_secs(60);
    let load = Load::start(interpreter, gunicorn.port(), 5, most, &TARGETS);
    let json = folder.path().join("x.json");
    let pid = gunicorn.pid().to_string();
    let output = json.to_str().expect("UTF-8");
    run(["record", "-p", &pid, "-d", "10", "--slow", "300ms", "-o", output]).success();
    let sent = load.finish();
    assert_eq!(sent["errors"], 0, "{sent}");
    let summary = Summary::read(&json).0;
    say(&format!("CPython {}, {arguments:?}:", interpreter.version));

    // What the workers counted is what began while they were watched.
    let start: jiff::Timestamp =
        summary["recorded"]["start"].as_str().expect("a moment").parse().expect("RFC 3339");
    let start = start.as_nanosecond() as f64 / 1e9;
    let began: Vec<_> = gunicorn.request_log();
    for process in summary["processes"].as_array().expect("a list") {
        if process["role"] != "worker" {
            continue;
        }
        let counted = process["requests"].as_f64().expect("gunicorn counts");
        let watched = process["requests_watched_s"].as_f64().expect("it was watched");
        // With greenlets the count is found as soon as one is seen to serve a request.
        let end = start + summary["recorded"]["duration_s"].as_f64().expect("a number");
        let logged = began
            .iter()
            .filter(|entry| entry["pid"] == process["pid"])
            .filter_map(|entry| entry["start"].as_f64())
            .filter(|moment| (end - watched..end).contains(moment))
            .count() as f64;
        say(&format!("  pid {}: {counted} counted, {logged} logged", process["pid"]));
        // One more or less at each end of the recording.
        assert!((counted - logged).abs() <= 2.0 + logged / 100.0);
    }

    let end = start + summary["recorded"]["duration_s"].as_f64().expect("a number");
    let truth = access_log(&log, start..end);
    let mut faults = Vec::new();
    let mut judged = 0;
    for row in summary["endpoints"].as_array().expect("a list") {
        let Some(times) = row["route"].as_str().and_then(|route| truth.get(route)) else {
            continue;
        };
        if !has_latencies {
            assert!(row["latency_ms"].is_null() && row["requests_est"].is_null(), "{row}");
            judged += 3;
            continue;
        }
        let true_at = |part: f64| times[(part * (times.len() - 1) as f64) as usize];
        let mut line = format!("  {:14} {:4}", row["route"].as_str().unwrap_or(""), times.len());
        let mut wrong = false;
        for (name, part) in [("p50", 0.50), ("p95", 0.95)] {
            let (truth, found) = (true_at(part), row["latency_ms"][name].as_f64().expect(name));
            line += &format!("  {name} {truth:.1} ms, found {found:.1}");
            wrong |= (found - truth).abs() > (truth * TOLERANCE).max(PERIOD_MS);
        }
        say(&line);
        if times.len() >= ENOUGH && true_at(0.5) >= 20.0 {
            judged += 1;
            faults.extend(wrong.then_some(line));
        }
    }
    assert!(judged >= 3, "too few requests to judge");
    if has_latencies {
        let slow = summary["slow"].as_array().expect("a list");
        assert!(!slow.is_empty() && slow.len() <= 10);
        for one in slow {
            assert!(one["duration_ms"].as_f64().expect("a number") >= 300.0);
            let parts = one["timeline"].as_array().expect("a list");
            assert!(parts.iter().any(|part| part["state"] == "sleep"), "{one}");
        }
    }
    faults
}

fn on(version: &str, arguments: &[&str], has_latencies: bool) {
    let _alone = alone();
    match interpreter(version) {
        Some(interpreter) => {
            // The 95th percentile of some ninety requests is that of five of them: on a machine
            // that others use it is measured again.
            let mut tries =
                (0..3).map(|_| requests_are_told(&interpreter, arguments, has_latencies));
            assert!(tries.any(|faults| faults.is_empty()), "three times something is off");
        }
        None => skip(&format!("CPython {version}")),
    }
}

#[test]
fn sync_workers_on_3_8() {
    on("3.8", &[], true);
}

#[test]
fn threads_on_3_11() {
    on("3.11", &["--threads", "3"], true);
}

#[test]
fn sync_workers_on_3_13() {
    on("3.13", &[], true);
}

#[test]
fn threads_on_3_15() {
    on("3.15", &["--threads", "3"], true);
}

#[test]
fn greenlets_are_counted_and_not_timed() {
    on("3.13", &["-k", "gevent"], false);
}
