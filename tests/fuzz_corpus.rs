//! The inputs that the fuzzer found worth keeping, once more: none panics, and none makes
//! farrier read or allocate without bound. `fuzz/` finds new ones.

#[path = "common/allocations.rs"]
mod allocations;
mod common;

use std::path::Path;

use common::fuzz;

/// The most that may be allocated at one time by one input.
const MOST_MEMORY: usize = 16 << 20;

/// Runs every input of a folder under `fixtures/fuzz`.
fn replay(name: &str, run: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fuzz").join(name);
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the corpus is there")
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    paths.sort();
    assert!(paths.len() > 20, "only {} inputs", paths.len());
    // What is read once and kept is no input's own.
    for path in &paths {
        run(&std::fs::read(path).expect("it is readable"));
    }
    let mut most = (0, String::new());
    for path in &paths {
        let data = std::fs::read(path).expect("it is readable");
        let (peak, ()) = allocations::peak_of(|| run(&data));
        assert!(peak <= MOST_MEMORY, "{}: {peak} bytes allocated", path.display());
        most = most.max((peak, path.display().to_string()));
    }
    println!("{} inputs, at the most {} bytes allocated, by {}", paths.len(), most.0, most.1);
}

#[test]
fn damaged_memory() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/memory");
    replay("memory", |data| fuzz::memory(&folder, data));
}

#[test]
fn damaged_recordings() {
    replay("recording", fuzz::recording);
}
