//! The command as a person meets it: the real binary, its outputs and its statuses.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use farrier::model::{
    Endpoint, Evidence, Frame, Framework, Grade, Progress, Sample, Session, Sink, State, Tables,
    TargetProcess, Thread, Tick,
};
use farrier::recording::Writer;
use farrier::units::{Nanos, Pid, Tid};

fn farrier(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_farrier")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A recording of two endpoints, three seconds each, with an idle thread beside.
fn recording(folder: &Path) -> PathBuf {
    let path = folder.join("run.farrier");
    let mut writer = Writer::new(fs::File::create(&path).unwrap());
    let mut tables = Tables::new();
    let process = tables.intern_process(TargetProcess { pid: Pid::new(7), start_time: 1 });
    let name = tables.intern_string("MainThread");
    let thread = tables.intern_thread(Thread { process, tid: Tid::new(7), name });
    let mut sample = |label: &str, function: &str, state| {
        let label = tables.intern_string(label);
        let function = tables.intern_function_named(function, "/srv/app/app.py", 1);
        let frame = tables.intern_frame(Frame { function, line: 5 });
        let stack = tables.intern_stack_of([frame]);
        let framework = Framework::None;
        let endpoint = Endpoint { label, method: None, route: None, framework, handler: None };
        Sample {
            thread,
            stack,
            endpoint: tables.intern_endpoint(endpoint),
            on: None,
            statement: None,
            request: None,
            weight: Nanos::from_millis(10),
            cpu: Nanos::ZERO,
            runqueue: Nanos::ZERO,
            state,
            evidence: Evidence::Syscall,
            grade: Grade::Exact,
            holds_gil: state == State::Running,
        }
    };
    let samples = [
        sample("GET /a", "compute", State::Running),
        sample("GET /b", "query", State::Io),
        sample("(idle)", "wait", State::Idle),
    ];
    let session = Session { rate_hz: 100.0, target: "shop".into(), ..Session::default() };
    writer.begin(&session).unwrap();
    for number in 0..300 {
        let at = Nanos::from_millis(10 * number);
        writer.tick(&tables, &Tick { process, at, lateness: Nanos::ZERO }, &samples).unwrap();
    }
    let progress =
        Progress { elapsed: Nanos::from_millis(3000), ticks: 300, ..Progress::default() };
    writer.end(&tables, &progress).unwrap();
    path
}

#[test]
fn a_recording_is_drawn_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let run = recording(folder.path());
    let run = run.to_str().unwrap();
    let page = farrier(&["report", run]);
    assert!(page.status.success(), "{page:?}");
    let page = text(&page.stdout);
    assert!(page.contains("ENDPOINT") && page.contains("GET /a") && page.contains("50.0%"));
    assert!(!page.contains('\u{1b}'), "no colour where there is no terminal");
    let folded = farrier(&["report", run, "-f", "folded"]);
    assert_eq!(
        text(&folded.stdout),
        "GET /a;compute (app.py:5) 3000000\nGET /b;query (app.py:5) 3000000\n"
    );
    let svg = folder.path().join("out.svg");
    let json = folder.path().join("out.json.gz");
    let drawn =
        farrier(&["report", run, "-o", svg.to_str().unwrap(), "-o", json.to_str().unwrap()]);
    assert!(drawn.status.success() && drawn.stdout.is_empty(), "{drawn:?}");
    assert!(fs::read_to_string(&svg).unwrap().contains("GET /a"));
    let json = flate2::read::GzDecoder::new(fs::File::open(&json).unwrap());
    let json: serde_json::Value = serde_json::from_reader(json).unwrap();
    assert_eq!(json["endpoints"][0]["seconds"], 3.0);
    assert_eq!(json["states"]["idle"], 3.0);
}

#[test]
fn filters_narrow_and_options_change_what_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let run = recording(folder.path());
    let folded = |arguments: &[&str]| {
        let mut all = vec!["report", run.to_str().unwrap(), "-f", "folded"];
        all.extend(arguments);
        text(&farrier(&all).stdout)
    };
    assert_eq!(folded(&["--endpoint", "*/b"]), "GET /b;query (app.py:5) 3000000\n");
    assert_eq!(folded(&["--state", "running"]), "GET /a;compute (app.py:5) 3000000\n");
    assert_eq!(folded(&["--state", "idle"]), "(idle);wait (app.py:5) 3000000\n");
    assert_eq!(folded(&["-g", "-F"]), "GET /a;compute (app.py:1) 3000000\n");
    assert_eq!(
        folded(&["--group-by", "process", "--nolineno", "--endpoint", "GET /a"]),
        "process (pid 7);compute (app.py) 3000000\n"
    );
    assert_eq!(folded(&["-i"]).lines().count(), 3);
    let none = farrier(&["report", run.to_str().unwrap(), "--pid", "8"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).contains("nothing in the recording matches these filters"));
}

#[test]
fn a_cut_recording_is_drawn_and_said_to_be_cut() {
    let folder = tempfile::tempdir().unwrap();
    let run = recording(folder.path());
    let whole = fs::read(&run).unwrap();
    fs::write(&run, &whole[..whole.len() - 5]).unwrap();
    let drawn = farrier(&["report", run.to_str().unwrap(), "-f", "folded"]);
    assert!(drawn.status.success());
    assert!(text(&drawn.stderr).contains("the recording was cut short"), "{drawn:?}");
    assert_eq!(text(&drawn.stdout).lines().count(), 2);
}

#[test]
fn what_is_wrong_is_said_in_a_sentence_with_a_status() {
    let folder = tempfile::tempdir().unwrap();
    let run = recording(folder.path());
    let run = run.to_str().unwrap();
    let other = folder.path().join("other");
    fs::write(&other, "<html>").unwrap();
    let missing = folder.path().join("missing.farrier");
    let nowhere = folder.path().join("nowhere/out.svg");
    for (arguments, status, says) in [
        (&["report"][..], 2, "RECORDING"),
        (&["report", run, "-f", "html"], 2, "there is no format `html`"),
        (&["report", run, "-o", "x.what"], 2, "name one with -f"),
        (&["report", run, "-o", "x.farrier"], 2, "copy the file instead"),
        (&["report", run, "--state", "asleep"], 2, "the states are running"),
        (&["report", missing.to_str().unwrap()], 1, "there is no such file"),
        (&["report", folder.path().to_str().unwrap()], 1, "it is a directory"),
        (&["report", other.to_str().unwrap()], 1, "this is not a farrier recording"),
        (&["report", run, "-o", nowhere.to_str().unwrap()], 1, "its folder does not exist"),
    ] {
        let output = farrier(arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains(says), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty());
    }
    assert_eq!(farrier(&["--version"]).status.code(), Some(0));
    assert_eq!(farrier(&["report", "--help"]).status.code(), Some(0));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let run = recording(folder.path());
    let mut child = Command::new(env!("CARGO_BIN_EXE_farrier"))
        .args(["report", run.to_str().unwrap(), "-f", "flamegraph"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Closed before anything is read; should the whole graph fit into the pipe, it
    // is written and that is no error either.
    drop(child.stdout.take());
    let errors: Vec<_> =
        BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success());
    assert!(errors.is_empty(), "{errors:?}");
}
