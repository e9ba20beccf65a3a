//! Several interpreters in one process: all their threads, each with its own GIL.

use std::process::Command;

use crate::common::{Interpreter, Script, alone, application, interpreters};
use crate::seen::Seen;

fn seen(interpreter: &Interpreter, arguments: &[&str]) -> Seen {
    let mut command = Command::new(&interpreter.python);
    command.arg(application("subinterpreters.py")).args(arguments);
    let script = Script::spawn(command);
    let seen = Seen::of(script.pid(), 2.0);
    let truth = script.truth();
    let threads = truth["threads"].as_object().expect("an object");
    for (name, number) in threads {
        let (tid, thread) = seen.named(name);
        assert_eq!(u64::from(tid), number.as_u64().expect("a number"), "{name}: {seen:#?}");
        assert_eq!(thread.names.len(), 1, "{name}: {seen:#?}");
        let leaf = match name.rsplit('-').next() {
            Some("sleeper") => "doze",
            Some("spinner") => "spin",
            _ => "nested",
        };
        assert!(thread.leaf_share(leaf) > 0.9, "{name}: {seen:#?}");
        if leaf == "doze" {
            assert!(thread.state_share(&["sleep"]) > 0.9, "{name}: {seen:#?}");
        }
    }
    // Each thread once, though the main thread has a thread state in each interpreter.
    assert_eq!(seen.threads.len(), threads.len(), "{seen:#?}");
    let times = seen.threads.values().map(|thread| thread.states.values().sum::<f64>());
    let (least, most) = times.fold((f64::MAX, 0.0_f64), |(a, b), time| (a.min(time), b.max(time)));
    assert!(least > 0.9 * most && most < 2.2, "{seen:#?}");
    seen
}

#[test]
fn interpreters_that_share_a_gil() {
    let _alone = alone();
    for interpreter in interpreters() {
        let seen = seen(&interpreter, &[]);
        assert_eq!(seen.most_holders, 1, "{}: {seen:#?}", interpreter.version);
    }
}

#[test]
fn interpreters_with_a_gil_of_their_own() {
    let _alone = alone();
    // PEP 684 is in 3.12 and later.
    let has = |one: &&Interpreter| one.version[2..].parse::<u32>().is_ok_and(|minor| minor >= 12);
    for interpreter in interpreters().iter().filter(has) {
        let seen = seen(interpreter, &["own-gil"]);
        assert_eq!(seen.most_holders, 3, "{}: {seen:#?}", interpreter.version);
    }
}
