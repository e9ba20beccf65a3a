//! Suspended tasks: the right functions, files and lines for known chains of awaits, on
//! every interpreter.

mod common;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use common::{Interpreter, Script, interpreters, say, wait_until};
use farrier::model::Tables;
use farrier::process::{Images, LiveMemory, Process};
use farrier::python::{Runtime, Tasks};
use farrier::units::Pid;

/// What is found of the tasks of a process, by address: frames root first, and the type of
/// what is awaited.
fn chains_in(pid: u32) -> BTreeMap<u64, (Value, String)> {
    let process = Process::open(Pid::new(pid)).expect("it is there");
    let mut files = Images::new();
    let images = files.of_process(&process).expect("it may be read");
    let memory = LiveMemory::new(process.clone());
    let mut runtime = Runtime::locate(&images, &memory).expect("it is Python");
    let (mut tables, mut tasks) = (Tables::new(), Tasks::default());
    assert!(runtime.knows_tasks());
    let debug = files.asyncio_debug(&process).expect("it may be read");
    runtime.find_tasks(&memory, &mut tasks, debug);
    assert!(tasks.are_found(), "its tasks are found");
    runtime.list_tasks(&memory, &mut tasks).expect("it stands still");
    let all: Vec<usize> = (0..tasks.listed()).collect();
    runtime.look_at_tasks(&memory, &mut tables, &mut tasks, &all).expect("it may be read");
    // Lists that are known are read in one call.
    let calls = runtime.costs().0;
    runtime.list_tasks(&memory, &mut tasks).expect("it stands still");
    assert!(runtime.costs().0 - calls <= 2);
    let found = tasks.suspended().iter().map(|task| {
        let frames = tasks.frames(task).iter().map(|found| {
            let frame = tables.frame(found.frame);
            let function = tables.function(frame.function);
            json!({
                "function": tables.string(function.name),
                "file": tables.string(function.file),
                "line": frame.line,
            })
        });
        let awaited = tasks.awaited_type(task).unwrap_or_default().to_owned();
        (task.address.get(), (frames.collect(), awaited))
    });
    found.collect()
}

fn chains_are_read(interpreter: &Interpreter, arguments: &[&str]) {
    let version = interpreter.version;
    let script = Script::start(interpreter, "await_chains.py", arguments);
    let truth = script.truth();
    let chains = truth["chains"].as_object().expect("chains");
    assert_eq!(chains.len(), 12);
    // Those, the main one once it waits too, and the one that a task awaits.
    let found = wait_until("all tasks to be suspended", || {
        Some(chains_in(script.pid())).filter(|found| found.len() == chains.len() + 2)
    });
    for (name, chain) in chains {
        let address = truth["addresses"][name].as_u64().expect("an address");
        let (frames, awaited) = found
            .get(&address)
            .unwrap_or_else(|| panic!("{version}: no task {name} among {found:#?}"));
        assert_eq!(frames, chain, "{version}: {name}");
        let expected = if name == "task" { "_asyncio.Task" } else { "Future" };
        assert!(awaited.ends_with(expected), "{version}: {name} awaits {awaited}");
    }
}

#[test]
fn known_chains_are_read_on_every_interpreter() {
    for interpreter in interpreters() {
        chains_are_read(&interpreter, &[]);
    }
}

#[test]
fn known_chains_are_read_under_uvloop() {
    for interpreter in interpreters() {
        let has_uvloop = std::process::Command::new(&interpreter.python)
            .args(["-c", "import uvloop"])
            .stderr(std::process::Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        // The environments have none: whichever server finds it would use it.
        if has_uvloop {
            chains_are_read(&interpreter, &["--uvloop"]);
        } else {
            say(&format!("skipped: CPython {} has no uvloop", interpreter.version));
        }
    }
}
