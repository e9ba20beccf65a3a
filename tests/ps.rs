//! `farrier ps`: the requests in flight, against what the application knows of them.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{
    Gunicorn, Outcome, Postgres, Script, alone, application, farrier, has_program, interpreter,
    run, signal, wait_until,
};
use serde_json::Value;

/// How far the begin of a request may be from what the application says: Gunicorn notes it
/// before it calls the application.
const TOLERANCE: f64 = 0.05;

const PLANTED: &str = "zqplanted";

/// Requests that last until they are told to end.
struct Held<'g> {
    gunicorn: &'g Gunicorn,
    open: Vec<(String, TcpStream)>,
}

impl<'g> Held<'g> {
    fn new(gunicorn: &'g Gunicorn) -> Self {
        Self { gunicorn, open: Vec::new() }
    }

    fn folder(&self) -> PathBuf {
        self.gunicorn.pidfile().parent().unwrap().to_path_buf()
    }

    /// Sends a request with a query string; what the application says once it serves it.
    fn begin(&mut self, path: &str, name: &str) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.gunicorn.port())).unwrap();
        let line = format!("GET {path}?token={PLANTED}&a=1 HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(line.as_bytes()).unwrap();
        self.open.push((name.to_owned(), stream));
        let begun = self.folder().join(format!("{name}.begun"));
        wait_until(name, || serde_json::from_slice(&std::fs::read(&begun).ok()?).ok())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        for (name, mut stream) in self.open.drain(..) {
            let _ = std::fs::write(self.gunicorn.pidfile().with_file_name(name), "");
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
}

fn ps(pid: u32, more: &[&str]) -> Outcome {
    let pid = pid.to_string();
    run(["ps", "-p", &pid].into_iter().chain(more.iter().copied())).success()
}

fn json(pid: u32, more: &[&str]) -> Value {
    let arguments: Vec<&str> = ["--json"].into_iter().chain(more.iter().copied()).collect();
    let found: Value = serde_json::from_str(&ps(pid, &arguments).stdout).unwrap();
    assert_eq!(found["schema"], "farrier/ps/1");
    found
}

fn request<'f>(found: &'f Value, path: &str) -> &'f Value {
    let requests = found["requests"].as_array().unwrap();
    let find = |request: &&Value| request["path"] == path;
    requests.iter().find(find).unwrap_or_else(|| panic!("no {path} in {found:#}"))
}

fn unix_seconds(rfc_3339: &Value) -> f64 {
    let instant: jiff::Timestamp = rfc_3339.as_str().unwrap().parse().unwrap();
    instant.as_nanosecond() as f64 / 1e9
}

/// The line in `in_flight.py` at which these words stand.
fn line_of(words: &str) -> usize {
    let source = std::fs::read_to_string(common::application("in_flight.py")).unwrap();
    source.lines().position(|line| line.contains(words)).unwrap() + 1
}

fn requests_are_those_in_flight(version: &str, arguments: &[&str], workers: usize) {
    let Some(interpreter) = interpreter(version) else { return };
    let gunicorn = Gunicorn::start(&interpreter, "in_flight:app", workers, arguments);
    let what = format!("CPython {version}, {arguments:?}");
    let mut held = Held::new(&gunicorn);
    let slept = held.begin("/sleep/s", "s");
    std::thread::sleep(Duration::from_millis(400));
    let locked = held.begin("/hold/h", "h");
    let spun = held.begin("/spin/x%1B%5B2J", "x\u{1b}[2J");
    // A thread that has just begun has still to come to where it waits, and looks now and then
    // whether it is to end.
    let found = wait_until("three requests where they wait", || {
        let found = json(gunicorn.pid(), &[]);
        let states = |row: &Value| ["sleep", "lock"].contains(&row["state"].as_str().unwrap());
        let requests = found["requests"].as_array().unwrap();
        let stand = requests.len() == 3 && requests[..2].iter().all(states);
        (stand && requests.iter().all(|row| row["frame"]["name"] != "begun")).then_some(found)
    });
    let rows = [
        ("/sleep/s", "sleep", "doze", &slept),
        ("/hold/h", "lock", "hold", &locked),
        ("/spin/x%1B%5B2J", "running", "spin", &spun),
    ];
    for (path, state, function, told) in rows {
        let row = request(&found, path);
        assert_eq!((&row["pid"], &row["os_thread_id"]), (&told["pid"], &told["tid"]), "{what}");
        assert_eq!(row["method"], "GET");
        let route = format!("{}<name>", &path[..=path[1..].find('/').unwrap() + 1]);
        assert_eq!(
            (&row["route"], &row["endpoint"]),
            (&route.clone().into(), &format!("GET {route}").into())
        );
        let off = unix_seconds(&row["began"]) - told["began"].as_f64().unwrap();
        assert!(off.abs() < TOLERANCE, "{what}: {path} began {off} s off");
        // One that runs is without the CPU or the GIL now and then.
        let states = if state == "running" { &["running", "gil_wait"][..] } else { &[state] };
        assert!(states.contains(&row["state"].as_str().unwrap()), "{what}: {row:#}");
        let name = row["frame"]["name"].as_str().unwrap();
        assert!([function, "is_over"].contains(&name), "{what}: {row:#}");
    }
    assert_eq!(request(&found, "/sleep/s")["frame"]["line"], line_of("time.sleep(0.2)"));
    assert_eq!(request(&found, "/hold/h")["on"], "threading.Lock");
    let oldest_first: Vec<&Value> =
        found["requests"].as_array().unwrap().iter().map(|request| &request["path"]).collect();
    assert_eq!(oldest_first, ["/sleep/s", "/hold/h", "/spin/x%1B%5B2J"], "{what}");
    let slow = json(gunicorn.pid(), &["--slower-than", "100s"]);
    assert_eq!(slow["requests"].as_array().unwrap().len(), 0);

    for more in [&[][..], &["--route"], &["--json"]] {
        let page = ps(gunicorn.pid(), more).stdout;
        assert!(!page.contains(PLANTED) && !page.contains("token"), "{page}");
        assert!(!page.contains(|c: char| c.is_control() && c != '\n'), "{page}");
    }
    let page = ps(gunicorn.pid(), &[]).stdout;
    assert!(page.starts_with("3 requests in flight; "), "{page}");
    assert!(page.contains("GET /sleep/s\n"), "{page}");
    assert!(page.contains(&format!("in doze (in_flight.py:{})", line_of("time.sleep(0.2)"))));
    assert!(ps(gunicorn.pid(), &["--route"]).stdout.contains("GET /sleep/<name>\n"));
    drop(held);
    let over = wait_until("the end of all requests", || {
        let page = ps(gunicorn.pid(), &[]).stdout;
        page.starts_with("no requests in flight").then_some(page)
    });
    assert_eq!(over.lines().count(), 1, "{over}");
}

#[test]
fn requests_of_sync_workers_are_shown() {
    let _alone = alone();
    for version in ["3.8", "3.11", "3.13", "3.15"] {
        requests_are_those_in_flight(version, &[], 3);
    }
}

#[test]
fn requests_of_threads_are_shown() {
    let _alone = alone();
    for version in ["3.8", "3.11", "3.13", "3.15"] {
        requests_are_those_in_flight(version, &["-k", "gthread", "--threads", "3"], 1);
    }
}

#[test]
fn a_wait_for_a_database_shows_its_peer_and_the_statement() {
    let _alone = alone();
    let Some(postgres) = Postgres::start() else { return };
    let Some(interpreter) = interpreter("3.11") else { return };
    let environment = [("FIXTURE_POSTGRES", postgres.url())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let gunicorn = Gunicorn::start_with(&interpreter, "in_flight:app", 1, &[], &environment);
    let mut held = Held::new(&gunicorn);
    held.begin("/query/q/4.0", "q");
    let found = wait_until("the wait for the database", || {
        let found = json(gunicorn.pid(), &[]);
        (found["requests"][0]["state"] == "io").then_some(found)
    });
    let row = &found["requests"][0];
    let on = row["on"].as_str().unwrap();
    assert!(on.starts_with("postgresql 127.0.0.1:"), "{on}");
    assert_eq!(row["statement"], "SELECT pg_sleep(?), ? WHERE ? = ?");
    assert_eq!(row["frame"]["name"], "query");
    let page = ps(gunicorn.pid(), &[]).stdout;
    assert!(page.contains("SELECT pg_sleep(?), ? WHERE ? = ?"), "{page}");
    assert!(page.contains(on) && !page.contains(PLANTED), "{page}");
    let dumped = run(["dump", "-p", &gunicorn.pid().to_string()]).success().stdout;
    assert!(dumped.contains("statement SELECT pg_sleep(?), ? WHERE ? = ?"), "{dumped}");
    assert!(dumped.contains("  serves    GET /query/<name>/<float:seconds>, "), "{dumped}");
    assert!(!dumped.contains(PLANTED), "{dumped}");
    let none = json(gunicorn.pid(), &["--no-statements"]);
    assert_eq!(none["requests"][0]["statement"], Value::Null);
}

#[test]
fn a_worker_near_its_timeout_is_marked() {
    let _alone = alone();
    for version in ["3.8", "3.13"] {
        let Some(interpreter) = interpreter(version) else { continue };
        // A sync worker is silent while it serves; a gthread worker is not.
        for (class, is_silent) in [("sync", true), ("gthread", false)] {
            let arguments = ["-k", class, "--timeout", "8"];
            let gunicorn = Gunicorn::start(&interpreter, "in_flight:app", 1, &arguments);
            let mut held = Held::new(&gunicorn);
            let begin = Instant::now();
            held.begin("/sleep/s", "s");
            let found = wait_until("the request", || {
                let found = json(gunicorn.pid(), &[]);
                (found["requests"].as_array()?.len() == 1).then_some(found)
            });
            assert_eq!(found["workers"][0]["timeout_s"], 8.0, "{found:#}");
            assert_eq!(found["workers"][0]["near_timeout"], false, "{found:#}");
            std::thread::sleep(Duration::from_millis(5_300).saturating_sub(begin.elapsed()));
            let found = json(gunicorn.pid(), &[]);
            let worker = &found["workers"][0];
            assert_eq!(worker["near_timeout"], is_silent, "{found:#}");
            let age = found["requests"][0]["age_s"].as_f64().unwrap();
            let silent = worker["silent_s"].as_f64().unwrap();
            if is_silent {
                assert!((silent - age).abs() < 0.2, "{found:#}");
                let page = ps(gunicorn.pid(), &[]).stdout;
                assert!(page.contains("is killed in "), "{page}");
            } else {
                assert!(silent < 2.0, "{found:#}");
            }
        }
    }
}

#[test]
fn watching_goes_on_until_it_is_told_to_end() {
    let _alone = alone();
    let Some(interpreter) = interpreter("3.11") else { return };
    let gunicorn = Gunicorn::start(&interpreter, "in_flight:app", 1, &[]);
    let mut held = Held::new(&gunicorn);
    held.begin("/sleep/s", "s");
    let pid = gunicorn.pid().to_string();
    let mut command = farrier(["ps", "--watch", "--json", "-p", &pid]);
    let watching = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(3_500));
    signal("INT", watching.id());
    let output = watching.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let pages = String::from_utf8(output.stdout).unwrap();
    let ages = pages.lines().filter(|line| !line.is_empty()).map(|line| {
        let page: Value = serde_json::from_str(line).unwrap();
        page["requests"][0]["age_s"].as_f64().unwrap()
    });
    let ages: Vec<f64> = ages.collect();
    assert!(ages.len() >= 3, "{ages:?}");
    assert!(ages.windows(2).all(|pair| (0.8..2.5).contains(&(pair[1] - pair[0]))), "{ages:?}");
}

#[test]
fn what_cannot_be_shown_is_said_with_a_status() {
    assert_eq!(run(["ps", "-p", "4194303"]).status, Some(4));
    assert_eq!(run(["ps"]).status, Some(2));
    assert_eq!(run(["ps", "-p", "1", "--slower-than", "soon"]).status, Some(2));
    let missing = run(["ps", "--pidfile", "/nowhere/gunicorn.pid"]);
    assert_eq!(missing.status, Some(1), "{}", missing.stderr);
}

/// System calls of one `ps` of sixteen workers, each of which serves a request. What is slow
/// on a loaded machine cannot be told by the clock.
const MOST_SYSTEM_CALLS: u64 = 24_000;

#[test]
fn sixteen_workers_take_few_system_calls() {
    let _alone = alone();
    if !has_program("strace") {
        return;
    }
    let Some(interpreter) = interpreter("3.11") else { return };
    let gunicorn = Gunicorn::start(&interpreter, "in_flight:app", 16, &[]);
    let mut held = Held::new(&gunicorn);
    for number in 0..16 {
        let name = format!("s{number}");
        held.begin(&format!("/sleep/{name}"), &name);
    }
    let table = gunicorn.pidfile().with_file_name("strace");
    let mut command = std::process::Command::new("strace");
    command.args(["-f", "-c", "-o"]).arg(&table).arg(common::farrier_path());
    command.args(["ps", "--json", "-p", &gunicorn.pid().to_string()]).stdin(Stdio::null());
    let found = Outcome::of(command).success().stdout;
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["requests"].as_array().unwrap().len(), 16);
    let table = std::fs::read_to_string(&table).unwrap();
    let total = table.lines().find(|line| line.ends_with(" total")).unwrap();
    let numbers: Vec<u64> = total.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let calls = numbers.into_iter().find(|&number| number > 100).unwrap();
    println!("{calls} system calls for 16 workers\n{table}");
    assert!(calls <= MOST_SYSTEM_CALLS, "{calls} system calls");
}

#[test]
fn requests_that_await_on_an_event_loop_are_shown() {
    let _alone = alone();
    for version in ["3.8", "3.11", "3.13", "3.15"] {
        let Some(python) = interpreter(version) else { continue };
        let mut command = Command::new(&python.python);
        command.arg(application("async_views.py"));
        let script = Script::spawn(command);
        let port = u16::try_from(script.truth()["port"].as_u64().unwrap()).unwrap();
        let mut held = Vec::new();
        for number in 0..3 {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let line = format!("GET /rest/6{number}?token={PLANTED} HTTP/1.1\r\nHost: a\r\n\r\n");
            stream.write_all(line.as_bytes()).unwrap();
            held.push(stream);
        }
        let found = wait_until("three requests", || {
            let found = json(script.pid(), &[]);
            (found["requests"].as_array().unwrap().len() == 3).then_some(found)
        });
        for request in found["requests"].as_array().unwrap() {
            assert_eq!(request["endpoint"], "GET /rest/{seconds}", "{version}: {request:#}");
            assert_eq!(request["route"], "/rest/{seconds}", "{version}: {request:#}");
            assert_eq!(request["state"], "sleep", "{version}: {request:#}");
            assert_eq!(request["suspended"], true, "{version}: {request:#}");
            assert_eq!(request["frame"]["name"], "rest", "{version}: {request:#}");
            assert!(request["path"].is_null(), "{version}: {request:#}");
        }
        assert_eq!(found["workers"][0]["in_flight"], 3);
        let page = ps(script.pid(), &[]).stdout;
        assert!(page.starts_with("3 requests in flight; 1 of 1 worker busy"), "{page}");
        assert!(page.contains("task sleep GET /rest/{seconds}"), "{page}");
        assert!(!page.contains(PLANTED), "{page}");
    }
}
