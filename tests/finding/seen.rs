//! What farrier saw of a process' threads, and what is asked of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::Path;

use farrier::model::{
    ListenQueue, Note, On, ProcessFacts, ProcessId, Progress, Sample, Session, Sink, Tables, Tick,
};
use farrier::recording::replay;
use serde_json::Value;

use crate::common::{Script, children_of, run};

/// What was seen of one thread.
#[derive(Debug, Default, Clone)]
pub(crate) struct Thread {
    /// Every name that it was given.
    pub(crate) names: BTreeSet<String>,
    /// Seconds by state.
    pub(crate) states: BTreeMap<&'static str, f64>,
    /// Seconds by leaf function.
    pub(crate) leaves: BTreeMap<String, f64>,
    /// What it waited for.
    pub(crate) on: BTreeSet<String>,
}

fn share(parts: impl Iterator<Item = (bool, f64)>) -> f64 {
    let (mut part, mut all) = (0.0, 0.0);
    for (counts, seconds) in parts {
        all += seconds;
        part += if counts { seconds } else { 0.0 };
    }
    part / f64::max(all, 1e-9)
}

impl Thread {
    /// The part of its time in these states.
    pub(crate) fn state_share(&self, wanted: &[&str]) -> f64 {
        share(self.states.iter().map(|(state, seconds)| (wanted.contains(state), *seconds)))
    }

    /// The part of its time in which this was the innermost function.
    pub(crate) fn leaf_share(&self, wanted: &str) -> f64 {
        share(self.leaves.iter().map(|(leaf, seconds)| (leaf == wanted, *seconds)))
    }
}

/// What was seen of a process: its threads by number.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) threads: BTreeMap<u32, Thread>,
    pub(crate) python: String,
    /// How many threads held a GIL at one instant, at the most.
    pub(crate) most_holders: usize,
    pub(crate) samples: u64,
}

impl Seen {
    /// Of one process, in so many seconds.
    pub(crate) fn of(pid: u32, seconds: f64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let recording = folder.path().join("x.farrier");
        let (pid, seconds) = (pid.to_string(), seconds.to_string());
        let path = recording.to_str().expect("UTF-8");
        run(["record", "-p", &pid, "--no-children", "-r", "100", "-d", &seconds, "-o", path])
            .success();
        Self::in_recording(&recording)
    }

    pub(crate) fn in_recording(path: &Path) -> Self {
        let mut seen = Self::default();
        replay(File::open(path).expect("farrier wrote it"), &mut seen).expect("it is whole");
        seen
    }

    /// The thread that was given this name, and its number.
    pub(crate) fn named(&self, name: &str) -> (u32, &Thread) {
        let mut found = self.threads.iter().filter(|(_, thread)| thread.names.contains(name));
        let (tid, thread) =
            found.next().unwrap_or_else(|| panic!("no thread is called {name}: {self:#?}"));
        assert!(found.next().is_none(), "two threads are called {name}: {self:#?}");
        (*tid, thread)
    }
}

impl Sink for Seen {
    fn begin(&mut self, _: &Session) -> io::Result<()> {
        Ok(())
    }
    fn process(&mut self, _: &Tables, _: ProcessId, facts: &ProcessFacts) -> io::Result<()> {
        self.python.clone_from(&facts.python);
        Ok(())
    }
    fn tick(&mut self, tables: &Tables, _: &Tick, samples: &[Sample]) -> io::Result<()> {
        let holders = samples.iter().filter(|sample| sample.holds_gil).count();
        self.most_holders = self.most_holders.max(holders);
        for sample in samples {
            let thread = tables.thread(sample.thread);
            let seen = self.threads.entry(thread.tid.get()).or_default();
            seen.names.insert(tables.string(thread.name).to_owned());
            let seconds = sample.weight.as_secs_f64();
            *seen.states.entry(sample.state.name()).or_default() += seconds;
            let leaf = sample.stack.and_then(|stack| tables.frames_from_leaf(stack).next());
            let leaf = leaf.map(|frame| tables.function(tables.frame(frame).function).name);
            let leaf = leaf.map_or("", |name| tables.string(name)).to_owned();
            *seen.leaves.entry(leaf).or_default() += seconds;
            if let Some(On::Named(words)) = sample.on.map(|on| tables.on(on)) {
                seen.on.insert(tables.string(words).to_owned());
            }
            self.samples += 1;
        }
        Ok(())
    }
    fn progress(&mut self, _: &Tables, _: &Progress) -> io::Result<()> {
        Ok(())
    }
    fn listen(&mut self, _: &Tables, _: &ListenQueue) -> io::Result<()> {
        Ok(())
    }
    fn note(&mut self, _: &Tables, _: &Note) -> io::Result<()> {
        Ok(())
    }
    fn end(&mut self, _: &Tables, _: &Progress) -> io::Result<()> {
        Ok(())
    }
}

/// The youngest descendant of a process that was started through others: by our number.
pub(crate) fn innermost(pid: u32) -> u32 {
    let mut pid = pid;
    while let Some(&child) = children_of(pid).first() {
        pid = child;
    }
    pid
}

/// Our numbers of a process' threads, by its own: the last of `NSpid`.
pub(crate) fn outer_tids(pid: u32) -> BTreeMap<u64, u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
    let numbers = threads.map(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).expect("it runs");
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).expect("NSpid");
        let inner = numbers.split_whitespace().last().expect("a number");
        let outer = thread.file_name().into_string().expect("a number");
        (inner.parse().expect("a number"), outer.parse().expect("a number"))
    });
    numbers.collect()
}

/// That the threads of `standing.py` were seen as what they are: number, name, state, function
/// and peer. `script` may run it through other programs.
pub(crate) fn assert_standing(script: &Script) -> Seen {
    let pid = innermost(script.pid());
    let (truth, outer) = (script.truth(), outer_tids(pid));
    let seen = Seen::of(pid, 1.0);
    assert_known(&seen, &truth, &outer);
    seen
}

/// The same of a recording that was made already.
pub(crate) fn assert_known(seen: &Seen, truth: &Value, outer: &BTreeMap<u64, u32>) {
    let peer = format!("127.0.0.1:{}", truth["port"]);
    let threads = truth["threads"].as_object().expect("an object");
    for (name, number) in threads {
        let tid = outer[&number.as_u64().expect("a number")];
        let (seen_tid, thread) = seen.named(name);
        assert_eq!(seen_tid, tid, "{name}: {seen:#?}");
        assert_eq!(thread.names, BTreeSet::from([name.clone()]), "{seen:#?}");
        let (states, leaf): (&[&str], &str) = match name.as_str() {
            "MainThread" => (&["io", "idle"], "main"),
            "spinner" => (&["running", "runnable", "gil_wait"], "spin"),
            "receiver" => (&["io"], "receive"),
            _ => (&["sleep"], "doze"),
        };
        assert!(thread.state_share(states) > 0.9, "{name}: {seen:#?}");
        assert!(thread.leaf_share(leaf) > 0.9, "{name}: {seen:#?}");
        if name == "receiver" {
            assert!(thread.on.iter().any(|on| on.ends_with(&peer)), "{name}: {seen:#?}");
        }
    }
    assert_eq!(seen.threads.len(), threads.len(), "{seen:#?}");
}
