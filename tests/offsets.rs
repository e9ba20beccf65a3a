//! The layouts that farrier goes by are those that a compiler makes of the headers of the
//! interpreters at hand.

mod common;

use std::path::Path;
use std::process::Command;

use common::{has_program, interpreters, newest, skip};

#[test]
fn every_layout_is_what_the_interpreters_headers_say() {
    if !has_program("cc") {
        return;
    }
    let Some(runner) = newest() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/offsets.py");
    for interpreter in interpreters() {
        let output = Command::new(&runner.python)
            .arg(&script)
            .args(["--all", "--check"])
            .arg(&interpreter.python)
            .output()
            .expect("the interpreter starts");
        let (told, errors) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        let version = interpreter.version;
        if errors.contains("has no headers") {
            skip(&format!("CPython {version} has no headers to compare with"));
            continue;
        }
        assert!(output.status.success(), "{version}: {told}{errors}");
        // Release and debug; from 3.13 on also without a GIL.
        let flavours = told.lines().filter(|line| line.ends_with(": same")).count();
        assert_eq!(flavours, if interpreter.states_its_offsets() { 4 } else { 2 }, "{told}");
    }
}
