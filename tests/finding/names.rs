//! Threads have the names that `threading` gives them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::common::{Script, alone, interpreters};
use crate::seen::Seen;

/// A name as farrier shows it.
fn shown(name: &str) -> String {
    let escaped = |character: char| match character {
        '\u{1b}' => "\\u{1b}".to_owned(),
        '\u{9b}' => "\\u{9b}".to_owned(),
        '\n' => "\\n".to_owned(),
        other => other.to_string(),
    };
    let mut shown: String = name.chars().take(64).map(escaped).collect();
    if name.chars().count() > 64 {
        shown.push('…');
    }
    shown
}

fn assert_named(pid: &Value, names: &Value, version: &str) {
    let pid = u32::try_from(pid.as_u64().expect("a number")).expect("a PID");
    let seen = Seen::of(pid, 0.5);
    let names = names.as_object().expect("an object");
    for (tid, name) in names {
        let tid: u32 = tid.parse().expect("a number");
        let wanted = name.as_str().map_or_else(|| "thread".to_owned(), shown);
        assert_eq!(seen.threads[&tid].names, BTreeSet::from([wanted]), "{version}: {seen:#?}");
    }
    assert_eq!(seen.threads.len(), names.len(), "{version}: {seen:#?}");
}

#[test]
fn names_of_every_kind_and_after_a_fork() {
    let _alone = alone();
    for interpreter in interpreters() {
        let script = Script::start(&interpreter, "names.py", &[]);
        let truth = script.truth();
        assert_named(&truth["pid"], &truth["names"], interpreter.version);
        let fork = &truth["fork"];
        assert_named(&fork["pid"], &fork["names"], interpreter.version);
    }
}
