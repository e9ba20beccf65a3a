//! Every version's layout, on saved memory: versions, stacks, names and objects are those
//! that the target itself told when it was saved. Needs no interpreter.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use common::{Saved, strings_behind};
use farrier::model::{Grade, Tables};
use farrier::python::{Error, Runtime};
use farrier::units::RemoteAddress;

/// The threads that stood still while their memory was saved.
const STANDING: [&str; 2] = ["MainThread", "sleeper"];

/// One look at all threads of a snapshot.
struct Seen {
    runtime: Runtime,
    tables: Tables,
    all: Vec<usize>,
}

impl Seen {
    fn of(saved: &Saved) -> Self {
        let mut runtime = Runtime::locate(&saved.images, &saved.memory)
            .unwrap_or_else(|error| panic!("{}: {error}", saved.version));
        let mut tables = Tables::new();
        let all: Vec<usize> = (0..runtime.threads().len()).collect();
        // What the first look finds outside the data stack it has read once only, so it says
        // `functions`; the second one knows what to ask for and verifies it.
        for _ in 0..2 {
            let look = runtime.look(&saved.memory, &mut tables, &all).expect("it is readable");
            assert!(!look.threads_changed, "{}", saved.version);
        }
        Self { runtime, tables, all }
    }

    /// A thread's stack in the words of `known_stack.py`.
    fn stack(&self, index: usize) -> Value {
        let frames = self.runtime.threads()[index].frames().iter().map(|found| {
            let frame = self.tables.frame(found.frame);
            let function = self.tables.function(frame.function);
            json!({
                "function": self.tables.string(function.name),
                "file": self.tables.string(function.file),
                "line": frame.line,
                "first_line": function.first_line,
            })
        });
        frames.collect()
    }

    /// Its strings, and the name that its `Thread` object has. The main thread has no
    /// frame of that class.
    fn name(&mut self, saved: &Saved, index: usize) -> (String, BTreeMap<String, String>) {
        let strings = strings_behind(&mut self.runtime, &saved.memory, &self.tables, index);
        let name = strings.get("_bootstrap self._name").cloned();
        (name.unwrap_or_else(|| "MainThread".into()), strings)
    }
}

#[test]
fn the_version_is_the_one_that_was_saved() {
    for saved in Saved::all() {
        let runtime = Runtime::locate(&saved.images, &saved.memory).expect("an interpreter");
        assert_eq!(runtime.version().to_string(), saved.truth["version"]);
        assert!(runtime.version().to_string().starts_with(&format!("{}.", saved.version)));
    }
}

#[test]
fn stacks_are_those_that_the_target_told() {
    for saved in Saved::all() {
        let mut seen = Seen::of(&saved);
        let mut names = BTreeSet::new();
        for index in seen.all.clone() {
            let (name, _) = seen.name(&saved, index);
            assert!(names.insert(name.clone()), "{}: {name} twice", saved.version);
            if STANDING.contains(&name.as_str()) {
                let grade = seen.runtime.threads()[index].grade();
                assert_eq!(grade, Grade::Exact, "{}: {name}", saved.version);
                let truth = saved.truth["threads"].as_array().expect("a list");
                let told = truth.iter().find(|thread| thread["name"] == name.as_str());
                let told = told.expect("the target told of it");
                assert_eq!(seen.stack(index), told["frames"], "{}: {name}", saved.version);
                // Up to 3.10 the C library says it, at a place that depends on the architecture.
                if cfg!(not(target_arch = "x86_64")) {
                    continue;
                }
                let tids = seen.runtime.threads()[index].stated_tids();
                assert!(tids.iter().any(|&tid| told["tid"] == tid), "{}: {tids:?}", saved.version);
            }
        }
        let told = ["MainThread", "sleeper", "spinner"].map(String::from);
        assert_eq!(names, BTreeSet::from(told), "{}", saved.version);
    }
}

#[test]
fn a_second_look_is_one_call() {
    for saved in Saved::all() {
        let Seen { mut runtime, mut tables, all } = Seen::of(&saved);
        let frames = |runtime: &Runtime| -> Vec<Vec<_>> {
            let threads = runtime.threads().iter();
            threads.map(|thread| thread.frames().iter().map(|f| f.frame).collect()).collect()
        };
        let (first, (before, _)) = (frames(&runtime), runtime.costs());
        runtime.look(&saved.memory, &mut tables, &all).expect("it is readable");
        assert_eq!(runtime.costs().0 - before, 1, "{}", saved.version);
        assert_eq!(frames(&runtime), first, "{}", saved.version);
        let (before, _) = runtime.costs();
        runtime.refresh(&saved.memory).expect("the lists are as before");
        assert_eq!(runtime.threads().len(), all.len());
        // Whether it is there at all, and then all lists together.
        assert_eq!(runtime.costs().0 - before, 2, "{}", saved.version);
    }
}

#[test]
fn threads_have_the_names_that_threading_gave_them() {
    for saved in Saved::all() {
        let mut seen = Seen::of(&saved);
        let names = seen.runtime.thread_names(&saved.memory, &seen.all);
        assert_eq!(names.len(), seen.all.len(), "{}: {names:?}", saved.version);
        for (index, name) in names {
            assert_eq!(name, seen.name(&saved, index).0, "{}", saved.version);
        }
        assert_eq!(seen.runtime.thread_names(&saved.memory, &[99]), []);
    }
}

#[test]
fn objects_behind_locals_are_read_in_every_layout() {
    // As `doze` of known_stack.py makes them.
    let long = "hay".repeat(99);
    let expected = [
        ("doze plain.what", "hay"),
        ("doze opened.what", "oats"),
        ("doze opened.late", "bran"),
        ("doze far.unit", "ells"),
        ("doze words[ascii]", "hay"),
        ("doze words[latin]", "größe"),
        ("doze words[wide]", "λόγος"),
        ("doze words[tall]", "🐴"),
        ("doze words[long]", &long),
        ("doze wares[ware150]", "crate 150"),
        ("_bootstrap self._name", "sleeper"),
    ];
    for saved in Saved::all() {
        let mut seen = Seen::of(&saved);
        let threads: Vec<_> = seen.all.clone();
        let read: BTreeMap<_, _> =
            threads.into_iter().map(|index| seen.name(&saved, index)).collect();
        for (place, text) in expected {
            let found = read["sleeper"].get(place).map(String::as_str);
            assert_eq!(found, Some(text), "{}: {place}", saved.version);
        }
        // Nothing is read where there is nothing.
        for place in ["doze plain.late", "doze words[ware150]", "doze wares[ascii]", "doze plain"] {
            assert_eq!(read["sleeper"].get(place), None, "{}: {place}", saved.version);
        }
        for place in ["groom what", "bloom what", "sprout what"] {
            let text = if place == "groom what" { "hay" } else { "hay!" };
            assert_eq!(read["MainThread"].get(place).map(String::as_str), Some(text));
        }
    }
}

/// The newest version's memory, its `_Py_DebugOffsets` changed by `change`.
fn with_header(version: &str, change: impl FnOnce(&mut [u8])) -> Saved {
    const SIZE: usize = 1024;
    let mut saved = Saved::all().into_iter().find(|saved| saved.version == version).expect("saved");
    let start = saved.images[0].symbol("_PyRuntime").expect("it is exported");
    let at = |index: usize| RemoteAddress::new(start.get() + index as u64);
    let mut header: Vec<u8> =
        (0..SIZE).map(|index| *saved.memory.byte_mut(at(index)).expect("it was read")).collect();
    assert!(header.starts_with(b"xdebugpy"));
    change(&mut header);
    for (index, byte) in header.into_iter().enumerate() {
        *saved.memory.byte_mut(at(index)).expect("it was read") = byte;
    }
    saved
}

/// Where the header says the version: serial and level, patch, minor, major.
const SERIAL_AND_LEVEL: usize = 8;
const MINOR: usize = 10;

#[test]
fn a_version_that_is_not_known_is_read_if_it_holds_together() {
    let newer = with_header("3.15", |header| header[MINOR] = 16);
    let alpha = with_header("3.15", |header| header[SERIAL_AND_LEVEL] = 0xa1);
    let candidate = with_header("3.13", |header| header[SERIAL_AND_LEVEL] = 0xc1);
    for (mut saved, version) in [(newer, "3.16."), (alpha, "3.15."), (candidate, "3.13.")] {
        saved.version = "made up";
        let seen = Seen::of(&saved);
        assert!(seen.runtime.version().to_string().starts_with(version));
        let told = saved.truth["threads"].as_array().expect("a list").iter();
        let told = told.filter(|thread| STANDING.iter().any(|name| thread["name"] == *name));
        let told: Vec<&Value> = told.map(|thread| &thread["frames"]).collect();
        let read: Vec<Value> = seen.all.iter().map(|&index| seen.stack(index)).collect();
        assert_eq!(told.len(), 2);
        assert!(told.iter().all(|stack| read.contains(stack)), "{version}: {read:#?}");
    }
}

#[test]
fn a_version_that_is_not_known_is_refused_if_it_does_not() {
    // As of 3.15; a release that has the statements elsewhere, or means something else.
    const CURRENT_FRAME: usize = 208;
    const NATIVE_THREAD_ID: usize = 248;
    const FILE_NAME: usize = 384;
    const STRING_STATE: usize = 720;
    type Change = fn(&mut [u8]);
    let changes: [(Change, &str); 6] = [
        (|header| header.copy_within(216..1000, 224), "frame.code"),
        (|header| header[NATIVE_THREAD_ID] = 0, "thread numbers"),
        (|header| header[16] = 1, "the GIL"),
        (|header| header[CURRENT_FRAME] += 8, "stacks"),
        (|header| header[STRING_STATE] += 4, "stacks"),
        (|header| header.copy_within(400..408, FILE_NAME), "names, files and lines of functions"),
    ];
    for (change, place) in changes {
        let saved = with_header("3.15", |header| {
            header[MINOR] = 16;
            change(header);
        });
        let error = Runtime::locate(&saved.images, &saved.memory).expect_err(place);
        let Error::Untrusted { what, .. } = &error else { panic!("{place}: {error}") };
        assert_eq!(*what, place);
        let words = format!(
            "3.16.2 that farrier does not know, and its memory is not laid out as expected (at {place})"
        );
        assert!(error.to_string().ends_with(&words), "{error}");
    }
}

#[test]
fn the_gil_has_a_holder_among_the_threads() {
    for saved in Saved::all() {
        let Seen { runtime, .. } = Seen::of(&saved);
        let gil = runtime.gil(runtime.threads()[0].gil()).expect("it was read");
        let holder = gil.holder.expect("the spinner computes all the time");
        assert!(runtime.threads().iter().any(|thread| thread.address() == holder));
    }
}
