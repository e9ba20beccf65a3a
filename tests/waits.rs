//! What threads wait for, against the application's own account: `waiting.py` writes down
//! how long each of its waits took, and PostgreSQL, Redis and an HTTP server are real.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{
    Gunicorn, Interpreter, Load, Postgres, Redis, Script, Summary, alone, interpreter,
    interpreters, run, say,
};
use serde_json::Value;

/// Shares may differ by so much: three points of a hundred.
const TOLERANCE: f64 = 0.03;

/// How long is recorded.
const SECONDS: f64 = 6.0;

type Wait = (&'static str, &'static str, &'static str);

/// What is waited for: the view's name for it, the state, and how what is waited on is
/// named, where `{}` stands for a port or a path. Each request has an HTTP connection of its
/// own, younger than the list of sockets at the first look: then its far end is not known yet,
/// only the protocol is, by the library.
const WAITS: [Wait; 7] = [
    ("postgres", "io", "postgresql 127.0.0.1:{}"),
    ("redis", "io", "redis 127.0.0.1:{}"),
    ("http", "io", "http {}"),
    ("fsync", "io", "disk {}"),
    ("sleep", "sleep", ""),
    ("lock", "lock", "threading.Lock"),
    ("pool", "lock", "sqlalchemy pool"),
];

/// The servers that the application waits for.
struct Services {
    postgres: Postgres,
    redis: Redis,
    http: Script,
}

impl Services {
    fn start(interpreter: &Interpreter) -> Option<Self> {
        let http = Script::start(interpreter, "slow_http.py", &[]);
        Some(Self { postgres: Postgres::start()?, redis: Redis::start()?, http })
    }

    fn gunicorn(&self, interpreter: &Interpreter, arguments: &[&str]) -> Gunicorn {
        let environment = [
            ("FIXTURE_POSTGRES", self.postgres.url()),
            ("FIXTURE_REDIS", self.redis.port().to_string()),
            ("FIXTURE_HTTP", self.http.ready().to_owned()),
        ];
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Gunicorn::start_with(interpreter, "waiting:app", 1, arguments, &environment)
    }
}

/// Seconds of waits by their names, and of all requests together, in `[start, end]`.
fn logged(gunicorn: &Gunicorn, start: f64, end: f64) -> (BTreeMap<String, f64>, f64) {
    let (mut waits, mut all) = (BTreeMap::new(), 0.0);
    for entry in gunicorn.request_log() {
        let time = |name: &str| entry[name].as_f64().expect("a number");
        let inside = (time("end").min(end) - time("start").max(start)).max(0.0);
        if entry["method"] == "wait" {
            let name = entry["route"].as_str().expect("a name").to_owned();
            *waits.entry(name).or_default() += inside;
        } else {
            all += inside;
        }
    }
    (waits, all)
}

fn recorded(gunicorn: &Gunicorn, seconds: f64) -> Summary {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let json = folder.path().join("x.json");
    let (pid, seconds) = (gunicorn.pid().to_string(), seconds.to_string());
    let json_name = json.to_str().expect("UTF-8");
    run(["record", "-q", "-p", &pid, "-d", &seconds, "--max-cpu", "none", "-o", json_name])
        .success();
    Summary::read(&json)
}

/// The start and the end of a recording, in seconds since 1970.
fn window(summary: &Summary) -> (f64, f64) {
    let start = summary.0["recorded"]["start"].as_str().expect("a time");
    let start: jiff::Timestamp = start.parse().expect("RFC 3339");
    let start = start.as_nanosecond() as f64 / 1e9;
    (start, start + summary.number(&["recorded", "duration_s"]))
}

/// The waits of endpoints at which requests were served: state, what on, seconds.
fn waits_of_requests(summary: &Summary) -> Vec<(String, String, f64)> {
    let served = summary.list("endpoints").iter().filter(|row| row["method"].is_string());
    let waits = served.flat_map(|row| row["waits"].as_array().expect("a list"));
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    waits
        .map(|wait| {
            (word(&wait["state"]), word(&wait["on"]), wait["seconds"].as_f64().expect("a time"))
        })
        .collect()
}

/// Whether a name is of this shape.
fn is_named(name: &str, shape: &str) -> bool {
    match shape.split_once("{}") {
        Some((before, after)) => name.starts_with(before) && name.ends_with(after),
        None => name == shape,
    }
}

/// What one recording came to.
struct Compared {
    summary: Summary,
    /// Names whose shares are off.
    wrong: Vec<&'static str>,
    /// Of the time of all requests, how much the kernel says was spent waiting for a CPU: a
    /// profiler that gets none either sees less well.
    starved: f64,
    /// Of the time of the recording, how much of it requests were served.
    served: f64,
}

fn compare(version: &str, class: &str, gunicorn: &Gunicorn, chosen: &[&Wait]) -> Compared {
    let summary = recorded(gunicorn, SECONDS);
    let (start, end) = window(&summary);
    let (truth, all) = logged(gunicorn, start, end);
    let seen = waits_of_requests(&summary);
    let seen_all: f64 = summary.request_seconds().values().sum();
    let worker = summary.process(gunicorn.workers()[0]);
    let starved = worker["runqueue_s"].as_f64().expect("a time") / seen_all;
    say(&format!(
        "{version} {class}: {all:.2} s of requests, {seen_all:.2} s seen, {:.1} % of it waiting \
         for a CPU",
        starved * 100.0
    ));
    let mut wrong = Vec::new();
    for (name, state, shape) in chosen {
        let expected = truth.get(*name).copied().unwrap_or_default() / all;
        let of_it = |(is, on, _): &&(String, String, f64)| is == state && is_named(on, shape);
        let seconds: f64 = seen.iter().filter(of_it).map(|(.., seconds)| seconds).sum();
        let share = seconds / seen_all;
        say(&format!("  {name:9} {:5.1} % {:5.1} %", expected * 100.0, share * 100.0));
        if (share - expected).abs() > TOLERANCE + starved * 0.1 || expected < 0.005 {
            wrong.push(*name);
        }
    }
    if !wrong.is_empty() {
        say(&format!("{wrong:?} are off: {seen:#?}"));
    }
    Compared { summary, wrong, starved, served: all / (end - start) }
}

fn waits_agree(version: &str, class: &str, arguments: &[&str], connections: usize, only: &[&str]) {
    let _alone = alone();
    let Some(interpreter) = interpreter(version) else { return };
    let Some(services) = Services::start(&interpreter) else { return };
    let mut worker = vec!["--worker-class", class];
    worker.extend(arguments);
    let gunicorn = services.gunicorn(&interpreter, &worker);
    let chosen: Vec<_> =
        WAITS.iter().filter(|(name, ..)| only.is_empty() || only.contains(name)).collect();
    let targets: Vec<String> = chosen.iter().map(|(name, ..)| format!("/{name}")).collect();
    // Each is asked for once before, so that what is made at first is there.
    for target in &targets {
        gunicorn.get(target).expect("an answer");
    }
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let most = Duration::from_secs(90);
    let load = Load::start(&interpreter, gunicorn.port(), connections, most, &targets);
    // A machine that is busy with other things is given time.
    let mut attempts = (0..3).map(|_| compare(version, class, &gunicorn, &chosen));
    let mut last = attempts.next().expect("there are three");
    while !last.wrong.is_empty() || last.starved > 0.1 {
        let Some(next) = attempts.next() else { break };
        last = next;
    }
    let sent = load.finish();
    assert_eq!(sent["errors"], 0, "{sent}");
    let Compared { summary, wrong, starved, served } = last;
    assert!(wrong.is_empty(), "{wrong:?} of {version} {class} are off by more than {TOLERANCE}");

    if chosen.iter().any(|(name, ..)| *name == "http") {
        // Each request has a connection of its own, younger than the list of sockets mostly.
        let seconds = |start: &str| {
            let waits = summary.list("waits").iter();
            let of_it =
                waits.filter(|wait| wait["on"].as_str().is_some_and(|on| on.starts_with(start)));
            of_it.filter_map(|wait| wait["seconds"].as_f64()).sum::<f64>()
        };
        let (named, all) = (seconds("http partner.example:"), seconds("http "));
        assert!(named > 0.9 * all, "{named} of {all} s");
    }

    // The line that waits is the view's own, whatever libraries are above it.
    for wait in summary.list("waits") {
        let on = wait["on"].as_str().unwrap_or_default();
        let known = chosen.iter().find(|(_, state, shape)| {
            wait["state"] == *state && !shape.is_empty() && is_named(on, shape)
        });
        if let (Some((name, ..)), Some(share)) = (known, wait["share"].as_f64())
            && share > 0.05
        {
            let places = wait["at"].as_array().expect("a list");
            let file = places[0]["file"].as_str().expect("a file");
            assert!(file.ends_with("waiting.py"), "{name}: {places:?}");
        }
    }

    // A worker of one thread is busy while it serves.
    if class == "sync" && !chosen.iter().any(|(name, ..)| ["lock", "pool"].contains(name)) {
        let worker = summary.process(gunicorn.workers()[0]);
        let busy = worker["busy_share"].as_f64().expect("a share");
        say(&format!("  busy {:5.1} % {:5.1} %", served * 100.0, busy * 100.0));
        // What the server does before and after a request is not in the application's log.
        let off = busy - served;
        assert!((-TOLERANCE..TOLERANCE + 0.05 + starved).contains(&off), "{busy} for {served}");
    }
}

#[test]
fn a_sync_worker_on_the_newest_version() {
    waits_agree("3.15", "sync", &[], 1, &[]);
}

#[test]
fn a_sync_worker_on_the_oldest_version() {
    waits_agree("3.8", "sync", &[], 1, &[]);
}

#[test]
fn gthread_workers() {
    for version in ["3.8", "3.11", "3.13", "3.15"] {
        waits_agree(version, "gthread", &["--threads", "4"], 3, &[]);
    }
}

/// What blocks the whole worker: calls that gevent does not know of. What its greenlets
/// wait for while the worker goes on is no thread's wait.
#[test]
fn gevent_workers_that_are_blocked() {
    for version in ["3.8", "3.11", "3.13", "3.15"] {
        waits_agree(version, "gevent", &[], 1, &["postgres", "fsync"]);
    }
}

/// A lone worker that is half idle: its share of busy time is that of its own log.
#[test]
fn the_busy_share_of_a_sync_worker() {
    waits_agree("3.11", "sync", &[], 1, &["sleep", "redis"]);
}

/// Six clients at a worker that serves one at a time: five wait in the queue of its socket.
#[test]
fn clients_that_wait_to_be_accepted() {
    let _alone = alone();
    let Some(interpreter) = interpreter("3.11") else { return };
    let gunicorn = Gunicorn::start(&interpreter, "flask_shop:app", 1, &["--backlog", "37"]);
    let most = Duration::from_secs(60);
    let load = Load::start(&interpreter, gunicorn.port(), 6, most, &["/slow"]);
    let summary = recorded(&gunicorn, 3.0);
    load.finish();
    let listen = summary.list("listen");
    let address = format!("127.0.0.1:{}", gunicorn.port());
    let row = listen.iter().find(|row| row["address"] == address.as_str());
    let row = row.unwrap_or_else(|| panic!("{address} is not in {listen:?}"));
    let number = |name: &str| row[name].as_f64().expect("a number");
    assert_eq!(number("backlog_limit"), 37.0, "{row}");
    // Between an answer and the next request a client is not there.
    assert!((3.5..=5.0).contains(&number("backlog_mean")), "{row}");
    assert!((5.0..=6.0).contains(&number("backlog_max")), "{row}");
}

/// What each function of `locked.py` waits for, and from which version on that can be told:
/// before, locks that are made in C sleep on a semaphore that does not say whose it is.
const LOCKS: [(&str, &str, u32); 7] = [
    ("wait_for_lock", "threading.Lock", 8),
    ("wait_for_rlock", "threading.RLock", 14),
    ("wait_for_queue", "queue.Queue", 8),
    ("wait_for_simple_queue", "queue.SimpleQueue", 13),
    ("wait_for_condition", "threading.Condition", 8),
    ("wait_for_event", "threading.Event", 8),
    ("wait_for_semaphore", "threading.Semaphore", 8),
];

#[test]
fn each_kind_of_lock_and_the_line_that_waits() {
    let _alone = alone();
    for interpreter in interpreters() {
        let script = Script::start(&interpreter, "locked.py", &[]);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let json = folder.path().join("x.json");
        let pid = script.pid().to_string();
        run(["record", "-q", "-p", &pid, "-d", "1", "-o", json.to_str().expect("UTF-8")]).success();
        let summary = Summary::read(&json);
        let (_, minor) = interpreter.version.split_once('.').expect("a version");
        let minor: u32 = minor.parse().expect("a number");
        for (function, name, since) in LOCKS {
            let waits = summary.list("waits").iter();
            let mut locks = waits.filter(|wait| wait["state"] == "lock");
            let wait = locks.find(|wait| {
                let places = wait["at"].as_array().expect("a list");
                places.iter().any(|place| place["function"] == function)
            });
            let wait = wait.unwrap_or_else(|| panic!("{function}: {:#?}", summary.0["waits"]));
            let expected = if minor >= since { name } else { "threading.Lock" };
            assert_eq!(wait["on"], expected, "{} {function}", interpreter.version);
        }
    }
}
