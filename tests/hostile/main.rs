//! Saved memory, damaged: whatever a target's memory says, farrier neither panics nor
//! hangs nor reads or allocates without bound. The same mutations every time; a failure
//! names the version and the case.

#[path = "../common/allocations.rs"]
mod allocations;
#[path = "../common/mod.rs"]
mod common;
mod mutate;
mod worst;

use std::hash::{DefaultHasher, Hash, Hasher};

use common::{Counted, Saved, rendered, strings_behind};
use farrier::model::Tables;
use farrier::process::SnapshotMemory;
use farrier::python::Runtime;
use farrier::units::RemoteAddress;
use mutate::Mutant;

/// Mutants of each version.
const CASES: u64 = 2000;

/// The most frames of one stack.
const MOST_FRAMES: usize = 16_384;

/// The most that may be allocated at one time by all that one mutant causes.
const MOST_MEMORY: usize = 256 << 20;

/// Looks at everything, again and again, each step within bounds. A digest of all that was
/// seen.
fn look_around(runtime: &mut Runtime, tables: &mut Tables, memory: &SnapshotMemory) -> u64 {
    let memory = Counted::new(memory);
    let mut seen = DefaultHasher::new();
    for _ in 0..2 {
        let all: Vec<usize> = (0..runtime.threads().len()).collect();
        // The first finds, the second verifies, and both may be wrong.
        for _ in 0..2 {
            let (calls, bytes) = runtime.costs();
            runtime.look(&memory, tables, &all).expect("a snapshot never goes away");
            let (calls, bytes) = (runtime.costs().0 - calls, runtime.costs().1 - bytes);
            assert_eq!((calls, bytes), (memory.calls.get(), memory.bytes.get()));
            memory.check("a look");
            for thread in runtime.threads() {
                assert!(thread.frames().len() <= MOST_FRAMES);
                runtime.gil(thread.gil()).map(|gil| gil.holder).hash(&mut seen);
                (thread.grade() as u8).hash(&mut seen);
                for found in thread.frames() {
                    let frame = tables.frame(found.frame);
                    let function = tables.function(frame.function);
                    let names = (tables.string(function.name), tables.string(function.file));
                    (names, function.first_line, frame.line).hash(&mut seen);
                }
            }
        }
        runtime.thread_names(&memory, &all).hash(&mut seen);
        memory.check("names");
        // A stack that was made very deep is not read object by object here.
        for &index in all.iter().take(8) {
            if runtime.threads()[index].frames().len() < 100 {
                strings_behind(runtime, &memory, tables, index).hash(&mut seen);
                memory.check("objects");
                let locals = || memory.check("locals of a frame");
                rendered(runtime, &memory, index, locals).hash(&mut seen);
            }
        }
        let _ = runtime.refresh(&memory);
        memory.check("a refresh");
    }
    seen.finish()
}

/// What is seen of a process that was damaged before it was found, if it is, and of one that
/// was damaged after.
fn survive(saved: &Saved, mutant: &SnapshotMemory) -> (Option<u64>, u64) {
    let counted = Counted::new(mutant);
    let found = Runtime::locate(&saved.images, &counted);
    counted.check("locating");
    let before =
        found.ok().map(|mut runtime| look_around(&mut runtime, &mut Tables::new(), mutant));
    let mut runtime = Runtime::locate(&saved.images, &saved.memory).expect("it is undamaged");
    let all: Vec<usize> = (0..runtime.threads().len()).collect();
    let mut tables = Tables::new();
    runtime.look(&saved.memory, &mut tables, &all).expect("a snapshot never goes away");
    (before, look_around(&mut runtime, &mut tables, mutant))
}

fn every_mutant_is_survived(version: &str) {
    let saved = Saved::all().into_iter().find(|saved| saved.version == version);
    let saved = saved.expect("there is a snapshot");
    let runtime = Runtime::locate(&saved.images, &saved.memory).expect("it is undamaged");
    let roots: Vec<RemoteAddress> =
        runtime.threads().iter().map(|thread| thread.address()).collect();
    drop(runtime);
    let undamaged = survive(&saved, &saved.memory);
    let random = (0..CASES).map(|seed| {
        let mut mutant = Mutant::new(&saved.memory, &roots, seed);
        mutant.damage();
        mutant
    });
    let ordered = Mutant::new(&saved.memory, &roots, 0).one_by_one();
    let (mut most, mut count, mut hurt) = (0, 0, 0);
    for (case, mutant) in random.chain(ordered).enumerate() {
        let says = Says { version, case };
        let memory = mutant.into_memory();
        let (peak, seen) = allocations::peak_of(|| survive(&saved, &memory));
        assert!(peak <= MOST_MEMORY, "{peak} bytes allocated");
        most = most.max(peak);
        count += 1;
        hurt += u32::from(seen != undamaged);
        std::mem::forget(says);
    }
    println!("{version}: {count} mutants, {hurt} hurt, at the most {most} bytes allocated");
    assert!(hurt > count / 6, "only {hurt} of {count} mutants were hurt");
}

/// Says which case it was, if it is dropped: when something panics.
struct Says<'a> {
    version: &'a str,
    case: usize,
}

impl Drop for Says<'_> {
    fn drop(&mut self) {
        println!("CPython {}, case {}", self.version, self.case);
    }
}

macro_rules! versions {
    ($($name:ident $version:literal;)*) => {$(
        #[test]
        fn $name() {
            every_mutant_is_survived($version);
        }
    )*};
}

versions! {
    mutants_of_3_8_are_survived "3.8";
    mutants_of_3_9_are_survived "3.9";
    mutants_of_3_10_are_survived "3.10";
    mutants_of_3_11_are_survived "3.11";
    mutants_of_3_12_are_survived "3.12";
    mutants_of_3_13_are_survived "3.13";
    mutants_of_3_14_are_survived "3.14";
    mutants_of_3_15_are_survived "3.15";
}
