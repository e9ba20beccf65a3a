//! What the live tests share: interpreters, applications to profile, and farrier
//! itself run as a person runs it.
//!
//! Targets stand still by handshake, never by sleeping: an application says READY
//! and a recording has begun when its file has a header.

// Every test binary compiles this module and uses its own part of it.
#![allow(dead_code, unused_imports)]

mod counted;
mod farrier;
pub(crate) mod fuzz;
mod interpreters;
mod objects;
mod observe;
mod saved;
mod services;
mod target;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) use counted::Counted;
pub(crate) use farrier::{Folded, Outcome, Recorder, Summary, farrier, farrier_path, run};
pub(crate) use interpreters::{
    Interpreter, debug_builds, interpreter, interpreters, newest, required, skip,
};
pub(crate) use objects::{rendered, strings_behind};
pub(crate) use observe::{
    NamedFrame, Observed, Seen, Where, chance, differences, distance, observe, start_on, two_cpus,
};
pub(crate) use saved::Saved;
pub(crate) use services::{MariaDb, Postgres, Redis};
pub(crate) use target::{Gunicorn, Load, Script, children_of, signal};

/// The longest that a test waits for something that should come at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Lets one live test run at a time, across threads and test processes: they load
/// the machine, and what they assert is about time.
pub(crate) fn alone() -> File {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("live.lock");
    let file = File::create(path).expect("the target folder is writable");
    file.lock().expect("file locks work in the target folder");
    file
}

/// A file under `fixtures/apps`.
pub(crate) fn application(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/apps").join(name)
}

/// Asks again and again until there is an answer, and fails after [`PATIENCE`].
pub(crate) fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Says something past the test runner's capture of passing tests' output.
pub(crate) fn say(text: &str) {
    // Nobody may be listening any more; that is no failure of the test.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// py-spy, where `scripts/test.sh` has put it.
pub(crate) fn py_spy() -> Option<PathBuf> {
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache");
    let found = std::fs::read_dir(cache).ok()?.flatten().find_map(|entry| {
        let is_it = entry.file_name().to_string_lossy().starts_with("py-spy-");
        Some(entry.path().join("bin/py-spy")).filter(|program| is_it && program.is_file())
    });
    if found.is_none() {
        skip("py-spy not found (scripts/test.sh fetches it)");
    }
    found
}

/// Whether a program can be started; one that CI must have fails there.
pub(crate) fn has_program(name: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()));
    if !found {
        skip(&format!("{name} not found"));
    }
    found
}
