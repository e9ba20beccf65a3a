//! Every interpreter: the right function, file and line for known stacks, and the
//! right endpoint for known routes.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use common::{
    Folded, Gunicorn, Interpreter, Load, Script, Summary, alone, debug_builds, interpreters, run,
};

/// Threads stand in known stacks in `known_stack.py`, which tells them itself.
const SECONDS: f64 = 1.5;

/// A frame as folded output writes it.
fn written(frame: &Value) -> String {
    let text = |name: &str| frame[name].as_str().expect("a string").to_owned();
    format!("{} ({}:{})", text("function"), text("file"), frame["line"])
}

fn known_stacks_are_read(interpreter: &Interpreter) {
    let script = Script::start(interpreter, "known_stack.py", &[]);
    let truth = script.truth();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (folded, json) = (folder.path().join("x.folded"), folder.path().join("x.json"));
    run([
        "record",
        "-p",
        &script.pid().to_string(),
        "-d",
        &SECONDS.to_string(),
        "-r",
        "100",
        "--idle",
        "--full-filenames",
        "--group-by",
        "none",
        "-o",
        folded.to_str().expect("UTF-8"),
        "-o",
        json.to_str().expect("UTF-8"),
    ])
    .success();
    let version = interpreter.version;
    let (folded, summary) = (Folded::read(&folded), Summary::read(&json));
    assert_eq!(truth["pid"], script.pid());

    let threads = truth["threads"].as_array().expect("a list");
    assert_eq!(threads.len(), 3);
    let mut known = 0.0;
    for thread in threads {
        let frames = thread["frames"].as_array().expect("a list");
        let stack: Vec<String> = frames.iter().map(written).collect();
        let share = folded.share_ending_in(&stack);
        assert!(
            share > 0.25,
            "{version}: {} has {share:.3} of the weight, not a third, on\n{}\nbut:\n{folded:#?}",
            thread["name"],
            stack.join("\n"),
        );
        known += share;

        let leaf = frames.last().expect("a leaf");
        let function = summary
            .list("functions")
            .iter()
            .find(|function| function["function"] == leaf["function"])
            .unwrap_or_else(|| panic!("{version}: {} is not in the summary", leaf["function"]));
        assert_eq!(function["line"], leaf["first_line"], "{version}: {function}");
        let file = function["file"].as_str().expect("a file");
        assert!(file.ends_with("known_stack.py"), "{version}: {function}");
        let own = function["self_s"].as_f64().expect("a time");
        assert!((own - SECONDS).abs() < 0.3 * SECONDS, "{version}: {function}");
    }
    assert!(
        known > 0.95,
        "{version}: only {known:.3} of the weight is on known stacks: {folded:#?}"
    );

    if interpreter.qualifies_names() {
        let names = ["Stable.feed", "Stable.water.<locals>.pour.<locals>.<lambda>"];
        for name in names {
            assert!(folded.0[..].iter().any(|(stack, _)| {
                stack.iter().any(|frame| frame.starts_with(&format!("{name} (")))
            }));
        }
    }

    let process = summary.process(script.pid());
    let python = process["python"].as_str().expect("a version");
    assert!(python.starts_with(&format!("{version}.")), "{python} is not {version}");
    assert_eq!(process["free_threaded"], false);

    let count = |name: &str| summary.number(&["sampling", name]);
    let graded = count("exact") + count("functions") + count("partial") + count("lost");
    assert_eq!(count("samples"), graded);
    assert!(count("samples") > 3.0 * 100.0 * SECONDS * 0.7, "{version}: {}", summary.0["sampling"]);
    assert!(
        count("exact") + count("functions") > 0.9 * graded,
        "{version}: {}",
        summary.0["sampling"]
    );
}

#[test]
fn known_stacks_are_read_on_every_version() {
    let _alone = alone();
    for interpreter in interpreters() {
        known_stacks_are_read(&interpreter);
    }
}

#[test]
fn known_stacks_are_read_in_debug_builds() {
    let _alone = alone();
    for interpreter in debug_builds() {
        known_stacks_are_read(&interpreter);
    }
}

/// What is asked for, and the endpoint that it belongs to.
const ROUTES: [(&str, &str); 7] = [
    ("/users/{user}", "GET /users/<int:uid>"),
    ("/search", "GET /search"),
    ("/slow", "GET /slow"),
    ("/orders/{int}", "GET /orders/<int:order_id>"),
    ("POST /orders/{int}", "POST /orders/<int:order_id>"),
    ("/shop/items/{uuid}", "GET /shop/items/<uuid:item>"),
    ("POST /shop/baskets", "POST /shop/baskets"),
];

fn flask_endpoints_are_named(interpreter: &Interpreter) {
    let gunicorn = Gunicorn::start(interpreter, "flask_shop:app", 1, &["--threads", "4"]);
    let targets: Vec<&str> = ROUTES.iter().map(|(target, _)| *target).collect();
    let load = Load::start(interpreter, gunicorn.port(), 4, Duration::from_secs(30), &targets);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let json = folder.path().join("x.json");
    let pid = gunicorn.pid().to_string();
    run(["record", "-p", &pid, "-d", "3", "-o", json.to_str().expect("UTF-8")]).success();
    let sent = load.finish();
    assert_eq!(sent["errors"], 0, "{sent}");

    let summary = Summary::read(&json);
    let found: BTreeSet<String> = summary.request_seconds().into_keys().collect();
    let wanted: BTreeSet<String> = ROUTES.iter().map(|(_, endpoint)| (*endpoint).into()).collect();
    assert_eq!(found, wanted, "on {}", interpreter.version);
    for endpoint in summary.list("endpoints").iter().filter(|entry| entry["method"].is_string()) {
        assert_eq!(endpoint["framework"], "flask", "{endpoint}");
        let label = format!(
            "{} {}",
            endpoint["method"].as_str().unwrap_or_default(),
            endpoint["route"].as_str().unwrap_or_default()
        );
        assert_eq!(endpoint["endpoint"], label);
    }
    assert_eq!(summary.process(gunicorn.pid())["role"], "arbiter");
    for worker in gunicorn.workers() {
        let process = summary.process(worker);
        assert_eq!(process["server"], "gunicorn");
        assert_eq!(process["worker_class"], "gthread");
    }
}

#[test]
fn flask_endpoints_are_named_on_every_version() {
    let _alone = alone();
    for interpreter in interpreters() {
        flask_endpoints_are_named(&interpreter);
    }
}
