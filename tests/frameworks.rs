//! Endpoints as their frameworks name them, and their shares of the time, against the
//! applications' own accounts: their routing tables and a log of every request with its time.
//!
//! The applications are as the frameworks' tutorials have them: a Django project with the REST
//! framework, FastAPI's "Bigger Applications" with a mounted one.

mod common;

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{
    Gunicorn, Interpreter, Load, Redis, Script, Summary, alone, application, interpreter, run, say,
    signal,
};
use serde_json::Value;

/// Shares may differ by so much: three points of a hundred.
const TOLERANCE: f64 = 0.03;
/// Routes with less of the time are not judged.
const SMALLEST: f64 = 0.05;
/// Of the time of requests, so much must have an endpoint. In an unoptimised build on a busy
/// machine more of it changes while it is read.
const ATTRIBUTED: f64 = if cfg!(debug_assertions) { 0.97 } else { 0.99 };

const SECONDS: &str = "4";
/// Requests take some milliseconds each: at the usual rate chance alone is two points.
const RATE: &str = "400";

const DJANGO: [&str; 6] = [
    "/shop/orders/{int}/=2",
    "/shop/baskets/{uuid}/=2",
    "POST /shop/baskets/{uuid}/=1",
    "/api/users/=2",
    "/api/users/{int}/=2",
    "/=1",
];

const FASTAPI: [&str; 7] = [
    "/users/{user}=2",
    "/users/=1",
    "/items/{int}=2",
    "PUT /items/{int}=1",
    "POST /admin/=1",
    "/subapi/sub/x=2",
    "/items/=1",
];

fn versions() -> impl Iterator<Item = Interpreter> {
    ["3.8", "3.11", "3.13", "3.15"].into_iter().filter_map(interpreter)
}

/// Any other server: ended by its PID when it is dropped, with what it started.
struct Server {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Server {
    /// Starts it on a free port, which takes the place of `PORT` in its arguments.
    fn start(interpreter: &Interpreter, arguments: &[&str]) -> Self {
        use std::os::unix::process::CommandExt as _;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there are free ports");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let child = Command::new(&interpreter.python)
            .env("PYTHONPATH", application(""))
            .args(arguments.iter().map(|word| word.replace("PORT", &port.to_string())))
            .current_dir(application(""))
            .env("FIXTURE_LOG", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("the server starts");
        let server = Self { child, folder, port };
        common::wait_until("the server listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("sh").args(["-c", "kill -s TERM \"$0\"", &pid]).status();
        let deadline = Instant::now() + Duration::from_secs(3);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        // Its process group is its own, so this reaches no other process.
        let kill = "kill -s KILL -- \"-$0\" 2>/dev/null";
        let _ = Command::new("sh").args(["-c", kill, &pid]).status();
        let _ = self.child.wait();
    }
}

/// Seconds by endpoint in `[start, end]`, from the application's log.
fn logged(folder: &Path, start: f64, end: f64) -> BTreeMap<String, f64> {
    let mut seconds = BTreeMap::new();
    for file in std::fs::read_dir(folder).expect("it is there").flatten() {
        if !file.file_name().to_string_lossy().starts_with("requests-") {
            continue;
        }
        let bytes = std::fs::read(file.path()).expect("the application wrote its log");
        let written = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        for line in std::str::from_utf8(written).expect("UTF-8").lines() {
            let entry: Value = serde_json::from_str(line).expect("JSON");
            let time = |name: &str| entry[name].as_f64().expect("a number");
            let inside = time("end").min(end) - time("start").max(start);
            if inside > 0.0 {
                let word = |name: &str| entry[name].as_str().expect("a string");
                let endpoint = format!("{} {}", word("method"), word("route"));
                *seconds.entry(endpoint).or_default() += inside;
            }
        }
    }
    assert!(!seconds.is_empty(), "the application wrote its log");
    seconds
}

/// Records a server under load, and compares.
fn agrees(
    interpreter: &Interpreter,
    what: &str,
    (pid, port, folder): (u32, u16, &Path),
    (connections, targets): (usize, &[&str]),
    framework: &str,
) -> Summary {
    let load = Load::start(interpreter, port, connections, Duration::from_secs(60), targets);
    let output = tempfile::tempdir().expect("a temporary folder");
    let json = output.path().join("x.json");
    let pid = pid.to_string();
    let json_name = json.to_str().expect("UTF-8");
    let how = ["-d", SECONDS, "-r", RATE, "--max-cpu", "none"];
    let arguments = ["record", "-q", "-p", &pid, "-o", json_name];
    run(arguments.into_iter().chain(how)).success();
    let sent = load.finish();
    let summary = Summary::read(&json);
    let start: jiff::Timestamp =
        summary.0["recorded"]["start"].as_str().expect("a moment").parse().expect("RFC 3339");
    let start = start.as_nanosecond() as f64 / 1e9;
    let duration = summary.number(&["recorded", "duration_s"]);
    let truth = logged(folder, start, start + duration);
    let seen = summary.request_seconds();
    let unsettled: f64 = summary
        .list("endpoints")
        .iter()
        .filter(|row| row["endpoint"] == "(unsettled)")
        .filter_map(|row| row["seconds"].as_f64())
        .sum();
    let (truth_total, seen_total): (f64, f64) = (truth.values().sum(), seen.values().sum());
    let attributed = seen_total / (seen_total + unsettled);
    say(&format!(
        "{what}, CPython {}: {} requests, {truth_total:.2} s of requests, {seen_total:.2} s seen, \
         {:.2} % attributed",
        interpreter.version,
        sent["requests"],
        attributed * 100.0,
    ));
    let mut wrong = Vec::new();
    for (endpoint, seconds) in &truth {
        let expected = seconds / truth_total;
        let share = seen.get(endpoint).copied().unwrap_or_default() / seen_total;
        say(&format!("  {endpoint:44} {:5.1} % {:5.1} %", expected * 100.0, share * 100.0));
        if expected > SMALLEST && (share - expected).abs() > TOLERANCE {
            wrong.push(endpoint);
        }
    }
    assert!(wrong.is_empty(), "{what}: the shares of {wrong:?} are off by more than {TOLERANCE}");
    // Only what was too short to be seen after it was routed may have its path.
    let unknown: f64 = seen
        .iter()
        .filter(|(name, _)| !truth.contains_key(*name))
        .map(|(_, seconds)| seconds)
        .sum();
    assert!(unknown < 0.02 * seen_total, "{what}: the application never served {seen:?}");
    assert!(attributed >= ATTRIBUTED, "{what}: only {attributed:.4} attributed");
    let row = summary.list("endpoints").iter().find(|row| row["framework"] == framework);
    assert!(row.is_some(), "{what}: nothing is {framework}'s");
    summary
}

fn with_gunicorn(
    interpreter: &Interpreter,
    class: &str,
    app: &str,
    load: (usize, &[&str]),
    framework: &str,
) {
    let gunicorn = Gunicorn::start(interpreter, app, 1, &["--worker-class", class]);
    let at = (gunicorn.pid(), gunicorn.port(), gunicorn.folder());
    let summary = agrees(interpreter, &format!("{app}, {class}"), at, load, framework);
    let worker = summary.list("processes").iter().find(|it| it["role"] == "worker");
    let worker = worker.expect("there is a worker");
    assert_eq!((&worker["server"], &worker["worker_class"]), (&"gunicorn".into(), &class.into()));
}

#[test]
fn django_under_gunicorn() {
    let _alone = alone();
    for interpreter in versions() {
        with_gunicorn(&interpreter, "sync", "django_shop:app", (2, &DJANGO), "django");
    }
    let Some(interpreter) = interpreter("3.13") else { return };
    with_gunicorn(&interpreter, "gthread", "django_shop:app", (2, &DJANGO), "django");
}

#[test]
fn a_supervisor_brings_its_workers() {
    let _alone = alone();
    let Some(interpreter) = interpreter("3.13") else { return };
    let command = ["-m", "uvicorn", "--port", "PORT", "--workers", "2", "fastapi_bigger:app"];
    let server = Server::start(&interpreter, &command);
    let at = (server.child.id(), server.port, server.folder.path());
    let summary = agrees(&interpreter, "uvicorn --workers 2", at, (1, &FASTAPI), "fastapi");
    assert_eq!(summary.pids("arbiter"), [server.child.id()]);
    assert_eq!(summary.pids("worker").len(), 2);
    for pid in summary.pids("worker") {
        assert_eq!(summary.process(pid)["server"], "uvicorn");
    }
}

#[test]
fn a_function_of_ones_own_serves_what_it_is_declared_to() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (rules, json) = (path("rules.json"), path("x.json"));
    let rule = r#"{"endpoints": [{"function": "Consumer.handle", "file": "apps/consumer.py",
        "name": "message.headers['subject']", "request": "message", "kind": "message"}]}"#;
    std::fs::write(&rules, rule).expect("a temporary folder");
    for python in versions() {
        let script = Script::start(&python, "consumer.py", &[]);
        let pid = script.pid().to_string();
        let arguments = ["record", "-q", "-d", "4", "-r", "400", "-p", &pid];
        run(arguments.into_iter().chain(["--endpoint-from", &rules, "-o", &json])).success();
        let seconds = Summary::read(Path::new(&json)).request_seconds();
        let of = |name: &str| seconds.get(name).copied().unwrap_or_default();
        let (created, shipped) = (of("message orders.created"), of("message orders.shipped"));
        let share = created / (created + shipped);
        say(&format!("CPython {}: {created:.2} and {shipped:.2} s", python.version));
        assert!((share - 0.75).abs() < TOLERANCE, "{share}");
        // It pauses for a fifth of the time.
        let all = seconds.values().sum::<f64>();
        assert!(created + shipped > 0.98 * all && (2.5..3.8).contains(&all), "{seconds:?}");
    }
    let wrong = rule.replace("\"name\"", "\"nam\"");
    std::fs::write(&rules, wrong).expect("a temporary folder");
    let outcome = run(["record", "-p", "1", "--endpoint-from", &rules]);
    assert_eq!(outcome.status, Some(2), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("rules.json:2") && outcome.stderr.contains("nam"));
}

#[test]
fn tasks_of_celery_are_named() {
    let _alone = alone();
    let Some(redis) = Redis::start() else { return };
    let port = redis.port().to_string();
    for (python, pool) in versions().zip(["prefork", "threads", "prefork", "threads"]) {
        let mut asking = Command::new(&python.python);
        asking.arg(application("celery_tasks.py")).arg("600").env("FIXTURE_REDIS", &port);
        assert!(asking.status().expect("it starts").success());
        let mut command = Command::new(python.program("celery"));
        command.arg("--workdir").arg(application(""));
        command.args(["-A", "celery_tasks", "worker", "--pool", pool, "-c", "2"]);
        command.args(["--without-gossip", "--without-mingle", "--loglevel", "CRITICAL"]);
        command.env("FIXTURE_REDIS", &port);
        let mut worker = Script::spawn(command);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let json = folder.path().join("x.json");
        let (pid, path) = (worker.pid().to_string(), json.to_str().expect("UTF-8"));
        run(["record", "-q", "-d", "4", "-r", RATE, "-p", &pid, "-o", path]).success();
        signal("TERM", worker.pid());
        let deadline = Instant::now() + Duration::from_secs(10);
        while worker.is_running() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        redis.ask("FLUSHALL");

        let summary = Summary::read(&json);
        let seconds = summary.request_seconds();
        let of = |name: &str| seconds.get(name).copied().unwrap_or_default();
        let (ship, pack) = (of("task shop.tasks.ship"), of("task shop.tasks.pack"));
        say(&format!("CPython {}, {pool}: {ship:.2} and {pack:.2} s", python.version));
        assert!((ship / (ship + pack) - 0.75).abs() < TOLERANCE, "{seconds:?}");
        assert!(ship + pack > 4.0, "two at a time for most of four seconds: {seconds:?}");
        assert!(ship + pack > ATTRIBUTED * seconds.values().sum::<f64>(), "{seconds:?}");
        let first = &summary.list("endpoints")[0];
        assert_eq!(
            (first["method"].as_str(), first["framework"].as_str()),
            (Some("task"), Some("celery"))
        );
        let server = |process: &Value| process["server"] == "celery";
        assert!(summary.list("processes").iter().all(server), "{:?}", summary.0["processes"]);
    }
}
