//! A recording that is ended early, politely or not, holds what was sampled.

mod common;

use std::path::Path;
use std::time::Duration;

use common::{Recorder, Script, Summary, alone, newest, run, signal};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn killed_after_five_seconds_it_holds_at_least_four() {
    let _alone = alone();
    let Some(python) = newest() else { return };
    let script = Script::start(&python, "known_stack.py", &[]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let recording = folder.path().join("run.farrier");
    let recorder = Recorder::start(&recording, ["-p", &script.pid().to_string(), "-d", "60"]);
    std::thread::sleep(Duration::from_secs(5).saturating_sub(recorder.began().elapsed()));
    recorder.kill();

    let summary = Summary::of_recording(&recording);
    let duration = summary.number(&["recorded", "duration_s"]);
    assert!((4.0..6.0).contains(&duration), "{duration} s");
    // Three threads stood in their stacks all that time.
    let seconds = |name: &str| {
        let is_leaf = |function: &&serde_json::Value| {
            function["function"].as_str().is_some_and(|full| full.ends_with(name))
        };
        let function = summary.list("functions").iter().find(is_leaf);
        function.expect("it was sampled")["self_s"].as_f64().expect("a time")
    };
    for name in ["λόγος", "doze", "spin"] {
        assert!(seconds(name) > 3.8, "{name} has {} s", seconds(name));
    }
    for format in ["text", "folded", "flamegraph"] {
        let outcome = run(["report", text(&recording), "-f", format, "-o", "-"]).success();
        assert!(outcome.stdout.contains("spin"), "{format}: {}", outcome.stdout);
    }

    // Cut anywhere, it still opens or says in a sentence why not.
    let whole = std::fs::read(&recording).expect("it is there");
    for length in [0, 1, 7, 100, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        let cut = folder.path().join("cut.farrier");
        std::fs::write(&cut, &whole[..length.min(whole.len())]).expect("a temporary folder");
        let outcome = run(["report", text(&cut), "-f", "text", "-o", "-"]);
        assert!(matches!(outcome.status, Some(0 | 1)), "cut at {length}: {outcome:?}");
        assert!(outcome.status == Some(0) || outcome.stderr.contains("cut.farrier"), "{outcome:?}");
    }
}

fn a_signal_ends_it_and_everything_is_written(name: &str) {
    let _alone = alone();
    let Some(python) = newest() else { return };
    let script = Script::start(&python, "known_stack.py", &[]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [recording, json, svg] =
        ["x.farrier", "x.json", "x.svg"].map(|name| folder.path().join(name));
    let pid = script.pid().to_string();
    let recorder =
        Recorder::start(&recording, ["-p", &pid, "-d", "60", "-o", text(&json), "-o", text(&svg)]);
    std::thread::sleep(Duration::from_secs(2));
    signal(name, recorder.pid());
    let outcome = recorder.finish();
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    assert!(outcome.seconds < 10.0, "it went on for {} s", outcome.seconds);

    let summary = Summary::read(&json);
    let duration = summary.number(&["recorded", "duration_s"]);
    assert!((1.8..4.0).contains(&duration), "{duration} s");
    assert_eq!(summary.0["functions"], Summary::of_recording(&recording).0["functions"]);
    let svg = std::fs::read_to_string(svg).expect("it was written");
    assert!(svg.contains("spin") && svg.trim_end().ends_with("</svg>"));
}

#[test]
fn an_interrupt_ends_it_and_everything_is_written() {
    a_signal_ends_it_and_everything_is_written("INT");
}

#[test]
fn a_termination_ends_it_and_everything_is_written() {
    a_signal_ends_it_and_everything_is_written("TERM");
}

#[test]
fn a_target_that_ends_ends_the_recording() {
    let _alone = alone();
    let Some(python) = newest() else { return };
    let mut script = Script::start(&python, "known_stack.py", &[]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (recording, json) = (folder.path().join("x.farrier"), folder.path().join("x.json"));
    let pid = script.pid().to_string();
    let recorder = Recorder::start(&recording, ["-p", &pid, "-d", "60", "-o", text(&json)]);
    std::thread::sleep(Duration::from_secs(2));
    script.kill();
    let outcome = recorder.finish();
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    assert!(outcome.seconds < 10.0, "it went on for {} s", outcome.seconds);
    assert!(Summary::read(&json).number(&["sampling", "samples"]) > 300.0);
}
