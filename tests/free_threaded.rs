//! Builds without a GIL. No such interpreter can be had where these tests run, so they run
//! on a stand-in that is compiled from each version's own headers: what they prove is that
//! farrier reads the layout that those headers describe.

mod common;

use std::path::Path;
use std::process::Command;

use common::strings_behind;
use common::{Interpreter, Script, Summary, alone, has_program, interpreters, run, skip};
use farrier::model::{Grade, Tables};
use farrier::process::{Images, LiveMemory, Process};
use farrier::python::Runtime;
use farrier::units::Pid;
use tempfile::TempDir;

/// The stand-in for the version of `interpreter` at work, if there are headers and a
/// compiler.
fn stand_in(interpreter: &Interpreter, folder: &TempDir) -> Option<Script> {
    let program = folder.path().join(format!("free-threaded-{}", interpreter.version));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/free_threaded.sh");
    let output =
        Command::new(script).args([&interpreter.python, &program]).output().expect("bash is there");
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("has no headers") {
        skip(&format!("CPython {} has no headers", interpreter.version));
        return None;
    }
    assert!(output.status.success(), "{}: {errors}", interpreter.version);
    Some(Script::spawn(Command::new(program)))
}

fn stand_ins() -> Vec<(Interpreter, Script)> {
    if !has_program("cc") {
        return Vec::new();
    }
    let folder = TempDir::new().expect("a temporary folder");
    let able = interpreters().into_iter().filter(Interpreter::states_its_offsets);
    able.filter_map(|interpreter| {
        let script = stand_in(&interpreter, &folder)?;
        Some((interpreter, script))
    })
    .collect()
}

/// A thread's stack: function and line.
fn stack(runtime: &Runtime, tables: &Tables, index: usize) -> Vec<(String, u32)> {
    let frames = runtime.threads()[index].frames().iter().map(|found| {
        let frame = tables.frame(found.frame);
        let function = tables.function(frame.function);
        assert_eq!(tables.string(function.file), "/srv/free_threaded.py");
        (tables.string(function.name).to_owned(), frame.line)
    });
    frames.collect()
}

fn named<const N: usize>(stack: [(&str, u32); N]) -> Vec<(String, u32)> {
    stack.map(|(name, line)| (name.to_owned(), line)).into()
}

#[test]
fn stacks_and_objects_are_read_without_a_gil() {
    for (interpreter, mut script) in stand_ins() {
        let version = interpreter.version;
        let process = Process::open(Pid::new(script.pid())).expect("it runs");
        let memory = LiveMemory::new(process.clone());
        let images = Images::new().of_process(&process).expect("it may be read");
        let mut runtime = Runtime::locate(&images, &memory).expect("an interpreter");
        assert!(runtime.is_free_threaded(), "{version}");
        assert!(runtime.version().to_string().starts_with(&format!("{version}.")));
        let mut tables = Tables::new();
        // The newest thread comes first.
        let tids: Vec<_> = runtime.threads().iter().map(|thread| thread.stated_tids()[0]).collect();
        assert_eq!(tids[0], script.truth()["sleeper"]);
        assert_eq!(tids[1], script.pid());
        let look = |runtime: &mut Runtime, tables: &mut Tables| {
            for _ in 0..2 {
                runtime.look(&memory, tables, &[0, 1]).expect("it is readable");
            }
            assert!(runtime.threads().iter().all(|thread| thread.grade() == Grade::Exact));
        };
        look(&mut runtime, &mut tables);
        let sleeper = named([("Thread._bootstrap", 103), ("sleeper.<locals>.doze", 207)]);
        assert_eq!(stack(&runtime, &tables, 0), sleeper, "{version}");
        let main = named([("<module>", 6), ("λόγος", 42)]);
        assert_eq!(stack(&runtime, &tables, 1), main, "{version}");
        let strings = strings_behind(&mut runtime, &memory, &tables, 0);
        let strings: Vec<_> = strings.iter().map(|(place, text)| (&**place, &**text)).collect();
        assert_eq!(
            strings,
            [("doze opened.what", "oats"), ("doze plain.what", "hay")],
            "{version}"
        );
        let address = runtime.threads()[1].gil();
        let gil = runtime.gil(address).expect("it was read");
        assert_eq!((gil.size, gil.holder), (0, None), "{version}");

        // A copy of the instructions that was made after the code object was read; and a
        // GIL that an extension asked for.
        script.tell("go on", "MOVED");
        look(&mut runtime, &mut tables);
        let main = named([("<module>", 6), ("λόγος", 49)]);
        assert_eq!(stack(&runtime, &tables, 1), main, "{version}");
        let gil = runtime.gil(address).expect("it was read");
        let holder = runtime.threads()[1].address();
        assert_eq!((gil.size > 0, gil.holder), (true, Some(holder)), "{version}");
    }
}

#[test]
fn a_recording_says_that_there_is_no_gil() {
    let _alone = alone();
    for (interpreter, script) in stand_ins() {
        let folder = TempDir::new().expect("a temporary folder");
        let json = folder.path().join("x.json");
        let path = json.to_str().expect("UTF-8");
        run(["record", "-p", &script.pid().to_string(), "-d", "0.5", "--idle", "-o", path])
            .success();
        let summary = Summary::read(&json);
        let process = summary.process(script.pid());
        assert_eq!(process["free_threaded"], true, "{}", interpreter.version);
        assert_eq!(
            summary.number(&["sampling", "samples"]),
            summary.number(&["sampling", "exact"])
        );
        assert_eq!(summary.0["states"]["gil_wait"].as_f64().unwrap_or(0.0), 0.0);
    }
}
