//! Suspended tasks of a real application against its own account of how long each await took:
//! Uvicorn, FastAPI and a real PostgreSQL.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use common::{
    Interpreter, Load, Postgres, Script, Summary, alone, application, interpreter, run, say,
};
use serde_json::Value;

const SECONDS: f64 = 5.0;

/// How far what was seen of a view's awaits may be from what they took, besides what chance
/// does with so many looks.
const TOLERANCE: f64 = 0.1;

/// What is measured on a machine that others use is measured again, so often.
const TRIES: usize = 3;

/// Measures until what is found agrees with the application's account.
fn measured(what: &str, mut measure: impl FnMut() -> Vec<String>) {
    let mut faults = Vec::new();
    for _ in 0..TRIES {
        faults = measure();
        if faults.is_empty() {
            return;
        }
        say(&format!("{what}: {faults:?}"));
    }
    panic!("{what}: {faults:#?}");
}

/// The versions whose environments have FastAPI and asyncpg.
const VERSIONS: [&str; 4] = ["3.8", "3.11", "3.13", "3.15"];

/// One request, with what was answered.
fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(common::PATIENCE)).expect("a time");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// The application's account so far.
fn account(port: u16) -> Value {
    let answer = get(port, "/truth");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).expect("JSON")
}

/// How many times a second a view did so, by the account.
fn rate(before: &Value, after: &Value, view: &str) -> f64 {
    let at = |account: &Value| account["spent"][view][1].as_f64().unwrap_or(0.0);
    let now = |account: &Value| account["now"].as_f64().expect("a time");
    (at(after) - at(before)) / (now(after) - now(before))
}

/// Task-seconds per second, by the application's account between two moments.
fn awaited(before: &Value, after: &Value, view: &str) -> f64 {
    let at = |account: &Value| account["spent"][view][0].as_f64().unwrap_or(0.0);
    let now = |account: &Value| account["now"].as_f64().expect("a time");
    (at(after) - at(before)) / (now(after) - now(before))
}

struct Application {
    script: Script,
    port: u16,
    _postgres: Postgres,
}

impl Application {
    fn start(python: &Interpreter, arguments: &[&str]) -> Option<Self> {
        let postgres = Postgres::start()?;
        let mut command = Command::new(&python.python);
        command.arg(application("async_views.py")).args(arguments).env("ASYNC_DSN", postgres.url());
        let script = Script::spawn(command);
        let port = script.truth()["port"].as_u64().expect("a port");
        let port = u16::try_from(port).expect("a port");
        Some(Self { script, port, _postgres: postgres })
    }

    /// Records for a while: the summary, and the accounts before and after.
    fn record(&self) -> (Summary, Value, Value) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let json = folder.path().join("x.json");
        let before = account(self.port);
        let (pid, seconds) = (self.script.pid().to_string(), SECONDS.to_string());
        let json_text = json.to_str().expect("UTF-8");
        run(["record", "-p", &pid, "-d", &seconds, "-r", "100", "-o", json_text]).success();
        let after = account(self.port);
        (Summary::read(&json), before, after)
    }
}

/// The row of an endpoint.
fn endpoint<'s>(summary: &'s Summary, name: &str) -> &'s Value {
    let rows = summary.list("endpoints").iter();
    let names: Vec<_> = rows.clone().map(|row| row["endpoint"].to_string()).collect();
    rows.clone()
        .find(|row| row["endpoint"] == name)
        .unwrap_or_else(|| panic!("no {name} among {names:?}"))
}

/// The seconds that tasks of an endpoint waited in a state on something that begins so.
fn suspended(row: &Value, state: &str, on: &str) -> f64 {
    let waits = row["waits"].as_array().expect("a list").iter();
    let own = waits.filter(|wait| wait["suspended"] == true && wait["state"] == state);
    let own = own.filter(|wait| wait["on"].as_str().unwrap_or_default().starts_with(on));
    own.map(|wait| wait["seconds"].as_f64().expect("a time")).sum()
}

fn awaits_are_seen(version: &str) {
    let _alone = alone();
    let Some(python) = interpreter(version) else { return };
    let Some(application) = Application::start(&python, &[]) else { return };
    measured(version, || {
        let targets = ["/query/7", "/query/8", "/sleep", "/locked"];
        let at_most = Duration::from_secs(60);
        let load = Load::start(&python, application.port, 6, at_most, &targets);
        let (summary, before, after) = application.record();
        load.finish();
        let duration = summary.0["recorded"]["duration_s"].as_f64().expect("a time");
        let looks = summary.list("tasks")[0]["looks"].as_f64().expect("a number");
        let mut faults = Vec::new();
        for (view, name, state, on) in [
            ("query", "GET /query/{number}", "io", "postgresql 127.0.0.1:"),
            ("sleep", "GET /sleep", "sleep", ""),
        ] {
            let row = endpoint(&summary, name);
            let waited = awaited(&before, &after, view);
            let seen = row["suspended_s"].as_f64().expect("a time") / duration;
            let on_it = suspended(row, state, on) / duration;
            let told = format!(
                "{version}: {name} awaits {waited:.3}, seen {seen:.3} in {looks} looks, \
                 {on_it:.3} of it {state} on {on}"
            );
            say(&told);
            // As many tasks as are there at one look, by chance.
            let chance = 2.0 * (waited / looks).sqrt();
            if (seen - waited).abs() > TOLERANCE * waited + chance || on_it < 0.8 * seen {
                faults.push(told);
            }
        }
        let row = endpoint(&summary, "GET /locked");
        if suspended(row, "lock", "asyncio.Lock") == 0.0 {
            faults.push(format!("nobody waited for the lock: {row}"));
        }
        faults
    });
}

/// Of all that was measured, what takes the CPU and what sleeps in a `def` view is its
/// endpoint's, though it is carried out by a pool's thread; and the loop is held as long as
/// the application says.
fn threads_and_loops_are_told(version: &str) {
    let _alone = alone();
    let Some(python) = interpreter(version) else { return };
    let Some(application) = Application::start(&python, &[]) else { return };
    measured(version, || pool_thread_is_told(version, &python, &application));
    measured(version, || held_loop_is_told(version, &python, &application));
}

fn pool_thread_is_told(version: &str, python: &Interpreter, app: &Application) -> Vec<String> {
    let load = Load::start(python, app.port, 2, Duration::from_secs(60), &["/plain"]);
    let (summary, before, after) = app.record();
    load.finish();
    let duration = summary.0["recorded"]["duration_s"].as_f64().expect("a time");
    let row = endpoint(&summary, "GET /plain");
    let slept = row["states"]["sleep"].as_f64().expect("a time") / duration;
    // The clock says how long it was until the thread had the GIL again, too.
    let most = awaited(&before, &after, "plain");
    let least = 0.02 * rate(&before, &after, "plain");
    let told = format!("{version}: GET /plain slept for {least:.3} to {most:.3}, seen {slept:.3}");
    say(&told);
    let mut faults = Vec::new();
    if slept < least * (1.0 - TOLERANCE) - 0.02 || slept > most * (1.0 + TOLERANCE) + 0.02 {
        faults.push(told);
    }
    // `render` is on no other endpoint's stack.
    let functions = row["functions"].as_array().expect("a list");
    let render = functions.iter().find(|function| function["function"] == "render");
    let render = render.and_then(|function| function["total_s"].as_f64()).unwrap_or(0.0);
    let all = summary.list("functions").iter().find(|row| row["function"] == "render");
    let all = all.and_then(|function| function["total_s"].as_f64()).unwrap_or(0.0);
    if render <= 0.9 * all || all == 0.0 {
        faults.push(format!("{version}: {render} of {all} s of render are GET /plain's"));
    }
    faults
}

fn held_loop_is_told(version: &str, python: &Interpreter, app: &Application) -> Vec<String> {
    let load = Load::start(python, app.port, 2, Duration::from_secs(60), &["/export"]);
    let (summary, before, after) = app.record();
    load.finish();
    let seconds = |account: &Value| -> Vec<f64> {
        let all = account["blocked"].as_array().expect("a list").iter();
        all.map(|seconds| seconds.as_f64().expect("a time")).collect()
    };
    let blocked = seconds(&after)[seconds(&before).len()..].to_vec();
    let longest = blocked.iter().copied().fold(0.0, f64::max);
    let rows = summary.list("loop_blocked");
    let row =
        rows.iter().find(|row| row["endpoint"] == "GET /export" && row["function"] == "render");
    let row = row.unwrap_or_else(|| panic!("{version}: GET /export held the loop, not {rows:#?}"));
    let told = row["longest_ms"].as_f64().expect("a time") / 1e3;
    let times = row["times"].as_f64().expect("a number");
    let count = blocked.len() as f64;
    let account = format!(
        "{version}: the loop was held {count} times, up to {longest:.3} s; seen {times}, up to \
         {told:.3} s"
    );
    say(&account);
    // A tick before and one after; what the machine takes away in between is in both.
    let is_close = (told - longest).abs() <= 0.1 * longest + 0.03;
    if is_close && (times - count).abs() <= 0.3 * count + 2.0 { Vec::new() } else { vec![account] }
}

#[test]
fn pool_threads_and_held_loops_are_told_as_the_application_does() {
    for version in VERSIONS {
        threads_and_loops_are_told(version);
    }
}

#[test]
fn awaits_are_seen_as_long_as_the_application_says() {
    for version in VERSIONS {
        awaits_are_seen(version);
    }
}
