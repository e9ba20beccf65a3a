//! Statements against what the application asks and what PostgreSQL counts: their executions
//! for each request, and that no value of theirs gets anywhere.

mod common;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use common::{
    Gunicorn, Load, MariaDb, Postgres, Redis, Script, Summary, alone, interpreter, interpreters,
    run, say,
};
use farrier::endpoint::Declared;
use farrier::model::{
    ListenQueue, Note, On, ProcessFacts, ProcessId, Progress, Sample, Session, Sink, Tables, Tick,
};
use farrier::process::Process;
use farrier::sampler;
use farrier::units::Pid;
use flate2::read::DeflateDecoder;
use serde_json::Value;

/// How many rows each view asks for, one after the other.
const EXECUTIONS: f64 = 48.0;

/// Executions per request may be off by so much of them, and by so many times the standard
/// error that the estimate itself states: on a machine where everybody waits for a CPU, what
/// happens right after a tick is not quite what happens at other times.
const TOLERANCE: f64 = 0.25;
const ERRORS: f64 = 2.0;

/// What is planted in literals, comments and parameters (`queries.py`).
const PLANTED: [&str; 3] = ["zqliteral", "zqcomment", "zqvalue"];

/// The views, how long one execution takes, and how many requests of each there are to be of
/// so many.
const VIEWS: [(&str, u32, u32); 4] =
    [("sqlalchemy", 1, 4), ("psycopg", 5, 1), ("django", 2, 2), ("redis", 1, 1)];

const STATEMENT: &str = "SELECT i.name, pg_sleep(?) FROM items AS i WHERE i.order_id = ? AND i.name <> ? AND i.note <> ?";

/// The bytes of every block of a recording, unpacked (`src/recording/mod.rs`).
fn unpacked(recording: &Path) -> Vec<u8> {
    let bytes = std::fs::read(recording).expect("farrier wrote it");
    let mut rest = &bytes[12..];
    let mut all = Vec::new();
    while rest.len() > 16 {
        let stored = u32::from_le_bytes(rest[4..8].try_into().expect("four bytes")) as usize;
        let payload = &rest[16..16 + stored];
        DeflateDecoder::new(payload).read_to_end(&mut all).expect("it was packed");
        rest = &rest[16 + stored..];
    }
    assert!(rest.is_empty(), "whole blocks");
    all
}

fn contains(bytes: &[u8], what: &str) -> bool {
    bytes.windows(what.len()).any(|window| window == what.as_bytes())
}

/// Records and gives what was printed and every file that was written, the recording unpacked
/// too.
fn record(pid: u32, seconds: &str, folder: &Path, more: &[&str]) -> Vec<(String, Vec<u8>)> {
    let names = ["x.farrier", "x.svg", "x.json", "x.folded", "x.txt"];
    let pid = pid.to_string();
    let first = ["record", "-p", &pid, "-d", seconds, "-r", "200", "--max-cpu", "none"];
    let mut arguments: Vec<&OsStr> = first.iter().chain(more).map(OsStr::new).collect();
    let paths = names.map(|name| folder.join(name));
    for path in &paths {
        arguments.extend([OsStr::new("-o"), path.as_os_str()]);
    }
    let outcome = run(arguments).success();
    let mut written = vec![
        ("standard output".to_owned(), outcome.stdout.into_bytes()),
        ("standard error".to_owned(), outcome.stderr.into_bytes()),
        ("the recording, unpacked".to_owned(), unpacked(&paths[0])),
    ];
    for (name, path) in names.iter().zip(&paths) {
        written.push(((*name).to_owned(), std::fs::read(path).expect("farrier wrote it")));
    }
    written
}

/// The statement that a view's requests spend most time in: its text, and what is said of it
/// under that endpoint.
fn most(summary: &Summary, endpoint: &str) -> (String, Value) {
    let of_endpoint = |row: &Value| {
        let places = row["endpoints"].as_array().expect("a list").clone();
        let place = places.into_iter().find(|place| place["endpoint"] == endpoint)?;
        Some((row["statement"].as_str().expect("a text").to_owned(), place))
    };
    let rows = summary.list("statements").iter().filter_map(of_endpoint);
    rows.max_by(|(_, one), (_, other)| {
        let seconds = |place: &Value| place["seconds"].as_f64().expect("a number");
        seconds(one).total_cmp(&seconds(other))
    })
    .unwrap_or_else(|| panic!("no statement under {endpoint}"))
}

fn executions_are_counted(version: &str) {
    let _alone = alone();
    let Some(python) = interpreter(version) else { return };
    let (Some(postgres), Some(redis)) = (Postgres::start(), Redis::start()) else { return };
    let environment =
        [("QUERIES_DSN", postgres.url()), ("QUERIES_REDIS", redis.port().to_string())];
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let arguments = ["--threads", "4"];
    let gunicorn = Gunicorn::start_with(&python, "queries:app", 1, &arguments, &environment);
    let targets: Vec<String> = VIEWS
        .iter()
        .map(|(name, milliseconds, weight)| format!("/{name}/{EXECUTIONS}/{milliseconds}={weight}"))
        .collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let most_time = Duration::from_secs(120);
    let load = Load::start(&python, gunicorn.port(), 2, most_time, &targets);
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Again, if the machine had no time for some of the ticks; and if it never has, what there
    // is.
    let (mut written, mut summary) = (Vec::new(), None);
    for _ in 0..3 {
        written.extend(record(gunicorn.pid(), "10", folder.path(), &[]));
        let now = Summary::read(&folder.path().join("x.json"));
        let missed = |summary: &Summary| {
            summary.number(&["sampling", "missed_ticks"]) / summary.number(&["sampling", "ticks"])
        };
        let is_quiet = missed(&now) < 0.15;
        if summary.as_ref().is_none_or(|best| missed(&now) < missed(best)) {
            summary = Some(now);
        }
        if is_quiet {
            break;
        }
    }
    let summary = summary.expect("at least one");

    for (name, bytes) in &written {
        for planted in PLANTED {
            assert!(!contains(bytes, planted), "{planted} is in {name}");
        }
    }
    let without = record(gunicorn.pid(), "1", folder.path(), &["--no-statements"]);
    let sent = load.finish();
    assert_eq!(sent["errors"], 0, "{sent}");

    // The application asks what it says it asks.
    let counted = "SELECT sum(calls) FROM pg_stat_statements WHERE query LIKE '%pg_sleep%'";
    let counted: f64 = postgres.query(counted).parse().expect("a number");
    let requests = gunicorn.request_log();
    let asks = |entry: &&Value| {
        let route = entry["route"].as_str().expect("a route");
        VIEWS.iter().any(|(name, ..)| route.contains(name) && *name != "redis")
    };
    let asked = requests.iter().filter(asks).count() as f64 * EXECUTIONS;
    assert_eq!(counted, asked, "PostgreSQL carried out as many");

    for (name, milliseconds, _) in VIEWS {
        let endpoint = format!("GET /{name}/<int:number>/<int:milliseconds>");
        let (statement, place) = most(&summary, &endpoint);
        let number = |name: &str| place[name].as_f64();
        say(&format!(
            "CPython {version}, {name} of {milliseconds} ms: {:.1} executions per request, {} seen, {:.0} ± {:.0} estimated",
            number("calls_per_request").unwrap_or(f64::NAN),
            place["calls_seen"],
            number("calls_est").unwrap_or(f64::NAN),
            number("calls_est_error").unwrap_or(f64::NAN),
        ));
        assert_eq!(statement, if name == "redis" { "EVAL" } else { STATEMENT });
        assert!(number("calls_seen") <= number("calls_est"), "{place}");
        // How long Redis takes depends on the machine, and how long the requests.
        if name != "redis" {
            let calls = number("calls_per_request").expect("requests are long");
            let off = (calls / EXECUTIONS - 1.0).abs();
            let error = number("calls_est_error").zip(number("calls_est"));
            let error = error.map_or(0.0, |(error, calls)| error / calls);
            let allowed = TOLERANCE + ERRORS * error;
            assert!(off <= allowed, "{name}: {calls} executions per request, of ± {error}");
        }
    }
    // Nearly all waits for PostgreSQL are for a statement that is known.
    let port = format!(":{}", postgres.port());
    let waits = summary.list("waits").iter();
    let wait = waits.filter(|row| row["on"].as_str().is_some_and(|on| on.ends_with(&port)));
    let wait = wait.max_by(|one, other| {
        one["seconds"].as_f64().partial_cmp(&other["seconds"].as_f64()).expect("numbers")
    });
    let wait = wait.expect("PostgreSQL was waited for");
    let told: f64 = wait["statements"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|row| row["seconds"].as_f64())
        .sum();
    let share = told / wait["seconds"].as_f64().expect("a number");
    assert!(share > 0.9, "of {share} of the waits for PostgreSQL the statement is known");

    assert!(Summary::read(&folder.path().join("x.json")).list("statements").is_empty());
    for (name, bytes) in &without {
        for text in PLANTED.into_iter().chain(["SELECT", "EVAL"]) {
            assert!(!contains(bytes, text), "{text} is in {name}");
        }
    }
}

#[test]
fn executions_are_counted_on_3_8() {
    executions_are_counted("3.8");
}

#[test]
fn executions_are_counted_on_3_11() {
    executions_are_counted("3.11");
}

#[test]
fn executions_are_counted_on_3_13() {
    executions_are_counted("3.13");
}

#[test]
fn executions_are_counted_on_3_15() {
    executions_are_counted("3.15");
}

/// A statement, if any, and whom the thread waited for meanwhile.
type Asking = (Option<String>, Option<String>);

/// How often each thread was seen to ask what, by its name.
#[derive(Default)]
struct Asked(BTreeMap<String, BTreeMap<Asking, u32>>);

impl Asked {
    fn of(script: &Script, seconds: f64) -> Self {
        let options = sampler::Options {
            roots: vec![Process::open(Pid::new(script.pid())).expect("it runs")],
            follow_children: true,
            rate_hz: 100.0,
            max_cpu: None,
            same_cpu: true,
            statements: true,
            declared: Declared::default(),
            slow: None,
            max_depth: 16_384,
            duration: Some(Duration::from_secs_f64(seconds)),
            command: Vec::new(),
            just_started: false,
        };
        let mut session = sampler::Session::attach(options, || false).expect("it is Python");
        let mut asked = Self::default();
        session.run(&mut asked, || false).expect("this sink never fails");
        for text in session.tables().strings() {
            assert!(!text.contains("zq") && !text.contains("4711"), "{text}");
        }
        asked
    }
}

impl Sink for Asked {
    fn begin(&mut self, _: &Session) -> io::Result<()> {
        Ok(())
    }
    fn process(&mut self, _: &Tables, _: ProcessId, _: &ProcessFacts) -> io::Result<()> {
        Ok(())
    }
    fn tick(&mut self, tables: &Tables, _: &Tick, samples: &[Sample]) -> io::Result<()> {
        for sample in samples {
            let name = tables.string(tables.thread(sample.thread).name).to_owned();
            let statement = sample.statement.map(|it| tables.statement(it).text);
            let text = statement.map(|text| tables.string(text).to_owned());
            let on = sample.on.map(|it| tables.on(it));
            let on = match on {
                Some(On::Named(peer)) => Some(tables.string(peer).to_owned()),
                _ => None,
            };
            *self.0.entry(name).or_default().entry((text, on)).or_default() += 1;
        }
        Ok(())
    }
    fn progress(&mut self, _: &Tables, _: &Progress) -> io::Result<()> {
        Ok(())
    }
    fn listen(&mut self, _: &Tables, _: &ListenQueue) -> io::Result<()> {
        Ok(())
    }
    fn note(&mut self, _: &Tables, _: &Note) -> io::Result<()> {
        Ok(())
    }
    fn end(&mut self, _: &Tables, _: &Progress) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn texts_of_all_kinds_are_read_on_all_versions() {
    let _alone = alone();
    for python in interpreters() {
        let script = Script::start(&python, "asking.py", &["stand"]);
        let asked = Asked::of(&script, 0.5);
        for (name, expected) in script.truth().as_object().expect("an object") {
            let expected = expected.as_str().map(str::to_owned);
            let seen = asked.0.get(name).unwrap_or_else(|| panic!("no thread {name}"));
            let seen: Vec<_> = seen.keys().map(|(text, _)| text).collect();
            assert_eq!(seen, [&expected], "CPython {}, thread {name}", python.version);
        }
    }
}

#[test]
fn real_drivers_say_what_they_ask_and_whom() {
    let _alone = alone();
    let (Some(mariadb), Some(postgres)) = (MariaDb::start(), Postgres::start()) else { return };
    let ports = [mariadb.port().to_string(), postgres.port().to_string()];
    for version in ["3.8", "3.11", "3.13", "3.15"] {
        let Some(python) = interpreter(version) else { continue };
        let script = Script::start(&python, "drivers.py", &[&ports[0], &ports[1]]);
        let asked = Asked::of(&script, 2.0);
        for (name, expected) in script.truth().as_object().expect("an object") {
            let seen = asked.0.get(name).unwrap_or_else(|| panic!("no thread {name}"));
            let all: u32 = seen.values().sum();
            // What a driver does besides is short.
            let mut told = 0;
            for ((statement, on), count) in seen {
                let Some(statement) = statement else { continue };
                let texts = expected["statements"].as_array().expect("a list");
                assert!(texts.contains(&Value::from(statement.as_str())), "{name}: {statement}");
                let is_first = texts[0] == statement.as_str();
                told +=
                    if is_first && on.as_deref() == expected["on"].as_str() { *count } else { 0 };
            }
            say(&format!("CPython {version}, {name}: {told} of {all} samples told"));
            assert!(f64::from(told) > 0.8 * f64::from(all), "{name}: {seen:?}");
        }
    }
}
