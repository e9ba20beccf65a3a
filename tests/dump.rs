//! `farrier dump`: every thread's stack, once, against what the target and py-spy say.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::process::Command;

use common::{
    Gunicorn, Interpreter, Outcome, Script, alone, interpreter, interpreters, py_spy, run,
    wait_until,
};
use serde_json::Value;

/// The threads of a process, by name.
fn dump(pid: u32, more: &[&str]) -> Vec<Value> {
    let pid = pid.to_string();
    let arguments = ["dump", "--json", "-p", &pid].into_iter().chain(more.iter().copied());
    let outcome = run(arguments).success();
    serde_json::from_str(&outcome.stdout).unwrap()
}

fn named<'t>(threads: &'t [Value], name: &str) -> &'t Value {
    let find = |thread: &&Value| thread["thread_name"] == name;
    threads.iter().find(find).unwrap_or_else(|| panic!("no {name} in {threads:#?}"))
}

/// The locals of the frame of this function.
fn locals_of(thread: &Value, function: &str) -> BTreeMap<String, Value> {
    let frames = thread["frames"].as_array().unwrap();
    let frame = frames.iter().find(|frame| frame["name"] == function).unwrap();
    let locals = frame["locals"].as_array().unwrap();
    locals.iter().map(|local| (local["name"].as_str().unwrap().to_owned(), local.clone())).collect()
}

#[test]
fn locals_are_shown_as_python_shows_them() {
    let _alone = alone();
    for interpreter in interpreters() {
        let script = Script::start(&interpreter, "locals.py", &[]);
        let truth = script.truth();
        let threads = dump(script.pid(), &["-llll"]);
        let locals = locals_of(named(&threads, "standing"), "stand");
        let version = interpreter.version;
        let exact = truth["exact"].as_object().unwrap();
        assert!(exact.len() > 40, "{version}: {exact:?}");
        for (name, expected) in exact {
            let shown = &locals.get(name).unwrap_or_else(|| panic!("{version}: no {name}"))["repr"];
            assert_eq!(shown, expected, "CPython {version}, {name}");
        }
        let shown = |name: &str| locals[name]["repr"].as_str().unwrap().to_owned();
        assert!(shown("order").starts_with("<Order at 0x"), "{}", shown("order"));
        assert!(shown("lock").contains("lock at 0x"), "{}", shown("lock"));
        assert!(shown("impostor").starts_with("<dict at 0x"), "{}", shown("impostor"));
        assert_eq!(shown("point"), "Point((1, 2))");
        assert_eq!(shown("colour"), "Colour(1)");
        assert_eq!(shown("ordered"), "collections.OrderedDict({'a': 1})");
        assert!(shown("many_digits").starts_with("<int of some 1000"), "{}", shown("many_digits"));
        for long in ["long_text", "long_list", "cyclic", "deep"] {
            let text = shown(long);
            assert!(text.contains('…') && text.chars().count() < 600, "{version}: {text}");
        }
        assert!(!locals.contains_key("unbound"));
        let is_argument = |name: &&str| locals[*name]["arg"] == true;
        assert!(["first", "second", "named"].iter().all(is_argument));
        assert!(!["others", "further", "text"].iter().any(is_argument));
    }
}

#[test]
fn a_page_has_no_control_characters_and_no_values_that_were_not_asked_for() {
    let _alone = alone();
    let Some(interpreter) = interpreter("3.11") else { return };
    let script = Script::start(&interpreter, "locals.py", &[]);
    let pid = script.pid().to_string();
    let plain = run(["dump", "-p", &pid]).success().stdout;
    assert!(plain.contains("(lock): \"standing\""), "{plain}");
    assert!(plain.contains("waits for threading.Event"), "{plain}");
    assert!(plain.contains("    stand (locals.py:"), "{plain}");
    assert!(!plain.contains("quoted") && !plain.contains("Locals:"), "{plain}");
    let with_locals = run(["dump", "-l", "-p", &pid]).success().stdout;
    assert!(with_locals.contains("        Arguments:\n            first: 'one'"), "{with_locals}");
    assert!(with_locals.contains("\\x1b[31mred"), "{with_locals}");
    assert!(!with_locals.contains(|c: char| c.is_control() && c != '\n'), "{with_locals}");
}

/// What a script that reads py-spy's JSON sees of a thread.
fn seen(thread: &Value) -> Value {
    let frames = thread["frames"].as_array().unwrap().iter().map(|frame| {
        let locals = frame["locals"].as_array().unwrap().iter().filter_map(|local| {
            // py-spy shows cells as cells, and takes what can only be named for no argument.
            let name = local["name"].as_str().unwrap();
            let differs = ["named", "shared"].contains(&name);
            (!differs).then(|| (name.to_owned(), local["addr"].clone(), local["arg"].clone()))
        });
        let locals: Vec<_> = locals.collect();
        let line = frame["line"].clone();
        (frame["name"].clone(), frame["filename"].clone(), line, frame["module"].clone(), locals)
    });
    let fields = ["pid", "thread_id", "thread_name", "owns_gil"];
    let fields: Vec<_> = fields.iter().map(|field| thread[field].clone()).collect();
    serde_json::json!([fields, frames.collect::<Vec<_>>()])
}

#[test]
fn json_has_what_py_spy_has_under_the_same_names() {
    let _alone = alone();
    let Some(py_spy) = py_spy() else { return };
    let mut compared = 0;
    for interpreter in interpreters() {
        let script = Script::start(&interpreter, "locals.py", &[]);
        let mut command = Command::new(&py_spy);
        command.args([
            "dump",
            "--json",
            "--locals",
            "--nonblocking",
            "-p",
            &script.pid().to_string(),
        ]);
        let outcome = Outcome::of(command);
        if outcome.status != Some(0) {
            common::say(&format!("py-spy cannot read CPython {}", interpreter.version));
            continue;
        }
        let theirs: Vec<Value> = serde_json::from_str(&outcome.stdout).unwrap();
        let ours = dump(script.pid(), &["--locals", "--nonblocking", "--subprocesses"]);
        assert_eq!(ours.len(), theirs.len(), "CPython {}", interpreter.version);
        for their in &theirs {
            let name = their["thread_name"].as_str().unwrap();
            let our = named(&ours, name);
            assert_eq!(seen(our), seen(their), "CPython {}, {name}", interpreter.version);
            // Where it does not know the number of a thread it guesses whether it is active.
            if !their["os_thread_id"].is_null() {
                assert_eq!(our["os_thread_id"], their["os_thread_id"], "{our:#?}");
                assert_eq!(our["active"], their["active"], "{our:#?}");
            }
        }
        compared += 1;
    }
    assert!(compared >= 3 || interpreters().len() < 3, "only {compared} versions compared");
}

fn serves_and_waits(interpreter: &Interpreter) {
    let arguments = ["--worker-class", "gthread", "--threads", "2"];
    let gunicorn = Gunicorn::start(interpreter, "plain_wsgi:app", 2, &arguments);
    let pid = gunicorn.pid().to_string();
    let pidfile = gunicorn.pidfile();
    let threads = wait_until("idle workers", || {
        let json = run(["dump", "--json", "--pidfile", pidfile.to_str().unwrap()]).success();
        let threads: Vec<Value> = serde_json::from_str(&json.stdout).unwrap();
        threads.iter().all(|thread| thread["state"] == "idle").then_some(threads)
    });
    let pids = |role: &str| {
        let of_role = threads.iter().filter(|thread| thread["role"] == role);
        let mut pids: Vec<u64> = of_role.map(|thread| thread["pid"].as_u64().unwrap()).collect();
        pids.dedup();
        pids
    };
    assert_eq!(pids("arbiter"), [u64::from(gunicorn.pid())]);
    let mut workers: Vec<u64> = gunicorn.workers().into_iter().map(u64::from).collect();
    workers.sort_unstable();
    assert_eq!(pids("worker"), workers);
    let alone = run(["dump", "--json", "--no-children", "-p", &pid]).success().stdout;
    let alone: Vec<Value> = serde_json::from_str(&alone).unwrap();
    assert!(alone.iter().all(|thread| thread["pid"] == gunicorn.pid()), "{alone:#?}");
}

#[test]
fn an_arbiter_brings_its_workers() {
    let _alone = alone();
    for version in ["3.8", "3.13"] {
        if let Some(interpreter) = interpreter(version) {
            serves_and_waits(&interpreter);
        }
    }
}

#[test]
fn what_cannot_be_dumped_is_said_with_a_status() {
    let gone = run(["dump", "-p", "4194303"]);
    assert_eq!((gone.status, gone.stdout.as_str()), (Some(4), ""), "{}", gone.stderr);
    let core = run(["dump", "--core", "core.1"]);
    assert_eq!(core.status, Some(2));
    assert!(core.stderr.contains("core files are not read"), "{}", core.stderr);
    assert_eq!(run(["dump"]).status, Some(2));
    let own = std::process::id().to_string();
    let not_python = run(["dump", "-p", &own]);
    assert_eq!(not_python.status, Some(1), "{}", not_python.stderr);
}
