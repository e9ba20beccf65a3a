//! What a tick costs once everything has been seen before: allocations, reads of memory,
//! system calls. Counted, not timed.

#[path = "common/allocations.rs"]
mod allocations;
mod common;

use std::cell::Cell;
use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Counted, Outcome, Saved, Script, Summary, alone, farrier_path, has_program, newest};
use farrier::endpoint::Declared;
use farrier::model::{
    Endpoint, Evidence, Frame, Framework, Grade, ListenQueue, Note, ProcessFacts, ProcessId,
    Progress, RequestId, Sample, Session, Sink, StackNode, State, Tables, TargetProcess, Tee,
    Thread, Tick,
};
use farrier::process::{Images, LiveMemory, Process};
use farrier::profile::Builder;
use farrier::python::Runtime;
use farrier::recording::Writer;
use farrier::sampler;
use farrier::units::{Nanos, Pid, Tid};

/// Reads of memory for one look, on average: at five threads, and at 64.
const MOST_READS: [(&str, f64); 2] = [("5", 2.0), ("64", 3.0)];

/// System calls of the whole program for one thread-sample, on average, when so many of five
/// threads are busy. With one, it is below two on a quiet machine; on one where others start
/// processes all the time, or where ticks are missed, following the fleet adds some.
const MOST_SYSTEM_CALLS: [(&str, f64); 2] = [("1", 2.4), ("4", 3.7)];

/// Ticks that may allocate in a second, after the warm-up: those that read the list of
/// threads anew.
const MOST_ALLOCATING: f64 = 1.0;

/// Until then everything that the target does has been seen.
const WARM: Nanos = Nanos::from_millis(2000);

/// How often, in ticks a second, and how long ticks are looked at.
const RATE: f64 = 250.0;
const LENGTH: Duration = Duration::from_secs(6);

/// The bench target with so many threads, of them so many busy.
fn target(busy: &str, threads: &str) -> Option<Script> {
    newest().map(|python| Script::start(&python, "bench_target.py", &[busy, threads]))
}

fn process(script: &Script) -> Process {
    Process::open(Pid::new(script.pid())).expect("it runs")
}

/// A sink that takes note of the ticks' allocations.
struct Ticks<'a> {
    /// How many there had been when the tick began.
    before: &'a Cell<u64>,
    warm: &'a Cell<bool>,
    /// How many stacks were known.
    known: usize,
    ticks: u32,
    /// Ticks that allocated, and how often in all.
    allocating: (u32, u64),
}

impl Sink for Ticks<'_> {
    fn begin(&mut self, _: &Session) -> io::Result<()> {
        Ok(())
    }
    fn process(&mut self, _: &Tables, _: ProcessId, _: &ProcessFacts) -> io::Result<()> {
        Ok(())
    }
    fn tick(&mut self, tables: &Tables, tick: &Tick, _: &[Sample]) -> io::Result<()> {
        allocations::watch(false);
        let during = allocations::count_now() - self.before.get();
        let known = std::mem::replace(&mut self.known, tables.stacks().len());
        // What is seen for the first time has to be kept.
        if self.warm.replace(tick.at >= WARM) && known == self.known {
            self.ticks += 1;
            self.allocating.0 += u32::from(during > 0);
            self.allocating.1 += during;
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

/// Samples a live target and holds its ticks to allocate nothing. Following the fleet and
/// telling of processes, which happens between ticks, may.
fn ticks_allocate_nothing(busy: &str, threads: &str) {
    let _alone = alone();
    if let Some(script) = target(busy, threads) {
        let what = format!("{threads} threads, {busy} busy");
        ticks_of_allocate_nothing(&script, &what, MOST_ALLOCATING);
    }
}

fn ticks_of_allocate_nothing(script: &Script, what: &str, most: f64) {
    let options = sampler::Options {
        roots: vec![process(script)],
        follow_children: true,
        rate_hz: RATE,
        max_cpu: None,
        same_cpu: true,
        statements: true,
        declared: Declared::default(),
        slow: None,
        max_depth: 16_384,
        duration: Some(LENGTH),
        command: Vec::new(),
        just_started: false,
    };
    let mut session = sampler::Session::attach(options, || false).expect("it is Python");
    let (before, warm) = (Cell::new(0), Cell::new(false));
    let mut sink = Ticks { before: &before, warm: &warm, known: 0, ticks: 0, allocating: (0, 0) };
    // It is asked last just before each tick.
    let stop = || {
        before.set(allocations::count_now());
        allocations::watch(warm.get());
        false
    };
    session.run(&mut sink, stop).expect("this sink never fails");
    allocations::watch(false);
    let (ticks, (allocating, count)) = (sink.ticks, sink.allocating);
    println!("{what}: {allocating} of {ticks} ticks made {count} allocations");
    for (place, count) in allocations::places("Target::tick") {
        println!("  {count} in {place}");
    }
    let watched = LENGTH.saturating_sub(WARM.into()).as_secs_f64();
    // A machine that is busy with other things comes to few.
    assert!(ticks > 50, "only {ticks} ticks");
    // A line of code may be seen for the first time even then.
    const FIRST_SEEN: f64 = 3.0;
    assert!(f64::from(allocating) <= most * watched + FIRST_SEEN, "{allocating} ticks allocated");
}

#[test]
fn a_tick_of_five_threads_allocates_nothing() {
    ticks_allocate_nothing("1", "5");
    ticks_allocate_nothing("4", "5");
}

#[test]
fn a_tick_of_threads_in_statements_allocates_nothing() {
    let _alone = alone();
    if let Some(python) = newest() {
        let script = Script::start(&python, "asking.py", &["loop"]);
        // Who of twelve threads waits behind whom is seen for the first time for long.
        ticks_of_allocate_nothing(&script, "threads in statements", 4.0 * MOST_ALLOCATING);
    }
}

#[test]
fn a_tick_of_64_threads_allocates_nothing() {
    ticks_allocate_nothing("2", "64");
}

#[test]
fn a_look_at_saved_memory_allocates_nothing() {
    for saved in Saved::all() {
        let mut runtime = Runtime::locate(&saved.images, &saved.memory).expect("an interpreter");
        let all: Vec<usize> = (0..runtime.threads().len()).collect();
        let mut tables = Tables::new();
        let mut look = || {
            let before = allocations::count_now();
            allocations::watch(true);
            runtime.look(&saved.memory, &mut tables, &all).expect("it is readable");
            allocations::watch(false);
            allocations::count_now() - before
        };
        for _ in 0..3 {
            look();
        }
        drop(allocations::places("look"));
        let count: u64 = (0..100).map(|_| look()).sum();
        println!("CPython {}: 100 looks made {count} allocations", saved.version);
        assert_eq!(count, 0, "CPython {}: {:#?}", saved.version, allocations::places("look"));
    }
}

/// `process_vm_readv` calls for one look at all threads, on average.
fn reads_per_look(busy: &str, threads: &str) -> Option<f64> {
    const LOOKS: u32 = 500;
    let script = target(busy, threads)?;
    let process = process(&script);
    let images = Images::default().of_process(&process).expect("it runs");
    let memory = LiveMemory::new(process);
    let memory = Counted::new(&memory);
    let mut runtime = Runtime::locate(&images, &memory).expect("it is Python");
    let all: Vec<usize> = (0..runtime.threads().len()).collect();
    let mut tables = Tables::new();
    for look in 0..2 * LOOKS {
        if look == LOOKS {
            memory.calls.set(0);
        }
        runtime.look(&memory, &mut tables, &all).expect("it is readable");
        // A busy thread is somewhere else by the next look.
        std::thread::sleep(Duration::from_micros(500));
    }
    Some(memory.calls.get() as f64 / f64::from(LOOKS))
}

#[test]
fn a_look_reads_memory_a_few_times() {
    let _alone = alone();
    for (threads, most) in MOST_READS {
        for busy in ["0", "1", "4"] {
            let Some(reads) = reads_per_look(busy, threads) else { return };
            println!("{threads} threads, {busy} busy: {reads:.2} reads for a look");
            assert!(reads <= most, "{threads} threads, {busy} busy: {reads:.2} reads");
        }
    }
}

/// System calls and thread-samples of a recording.
fn traced(script: &Script, seconds: &str) -> (f64, f64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (table, json) = (folder.path().join("strace"), folder.path().join("x.json"));
    let mut command = Command::new("strace");
    command
        // With fcntl, unoptimised builds make sure that what they close is open.
        .args(["-f", "-c", "-e", "trace=!fcntl", "-U", "calls,name", "-o"])
        .arg(&table)
        .arg(farrier_path())
        .args(["record", "-q", "--max-cpu", "none", "-d", seconds, "-p"])
        .args([&script.pid().to_string(), "-o"])
        .arg(&json)
        .stdin(Stdio::null());
    Outcome::of(command).success();
    let table = std::fs::read_to_string(&table).expect("strace wrote it");
    let total = table.lines().find(|line| line.ends_with(" total")).expect("it adds up");
    let calls = total.split_whitespace().next().and_then(|word| word.parse().ok());
    (calls.expect("a number"), Summary::read(&json).number(&["sampling", "samples"]))
}

#[test]
fn a_thread_sample_takes_few_system_calls() {
    let _alone = alone();
    if !has_program("strace") {
        return;
    }
    for (busy, most) in MOST_SYSTEM_CALLS {
        let Some(script) = target(busy, "5") else { return };
        // Two recordings, subtracted, so that the beginning is not in it; again, if the
        // machine was busy with other things in the longer one.
        let mut pairs = (0..5).map(|_| (traced(&script, "1"), traced(&script, "4")));
        let (short, long) =
            pairs.find(|(short, long)| long.1 > short.1 + 500.0).expect("the machine has time");
        let calls = (long.0 - short.0) / (long.1 - short.1);
        println!("{busy} of 5 threads busy: {calls:.2} system calls for a thread-sample");
        assert!(calls <= most, "{busy} busy: {calls:.2} system calls");
    }
}

/// Ticks of one process with so many threads, each at one of so many places.
const SIMULATED_THREADS: u32 = 16;
const PLACES: usize = 64;

/// A made-up process: what its threads may be seen at.
fn places(tables: &mut Tables) -> Vec<Vec<Sample>> {
    let process = tables.intern_process(TargetProcess { pid: Pid::new(7), start_time: 1 });
    let mut stacks = Vec::new();
    for place in 0..PLACES {
        let mut parent = None;
        for level in 0..20 {
            // The callers are shared, the leaves are not.
            let name = format!("f{level}_{}", if level < 15 { place % 4 } else { place });
            let function = tables.intern_function_named(&name, "app.py", level);
            let frame = tables.intern_frame(Frame { function, line: level });
            parent = Some(tables.intern_stack(StackNode { parent, frame }));
        }
        let label = tables.intern_string(&format!("GET /{place}"));
        let (method, route, handler, framework) = (None, None, None, Framework::None);
        let endpoint = Endpoint { label, method, route, framework, handler };
        stacks.push((parent, tables.intern_endpoint(endpoint)));
    }
    let thread = |number| {
        let name = tables.intern_string(&format!("thread-{number}"));
        let thread = tables.intern_thread(Thread { process, tid: Tid::new(7 + number), name });
        let sample = |&(stack, endpoint)| Sample {
            thread,
            stack,
            endpoint,
            on: None,
            statement: None,
            request: None,
            weight: Nanos::from_millis(10),
            cpu: Nanos::from_nanos(1000),
            runqueue: Nanos::ZERO,
            state: State::Running,
            evidence: Evidence::Syscall,
            grade: Grade::Exact,
            holds_gil: false,
        };
        stacks.iter().map(sample).collect()
    };
    (0..SIMULATED_THREADS).map(thread).collect()
}

#[test]
fn an_hour_takes_no_more_memory_than_its_first_minutes() {
    const TICKS: u64 = 3600 * 100;
    let mut tables = Tables::new();
    let places = places(&mut tables);
    let process = tables.thread(places[0][0].thread).process;
    let (mut profile, mut recording) = (Builder::new(), Writer::new(io::sink()));
    let mut sink = Tee(&mut profile, &mut recording);
    sink.begin(&Session::default()).expect("nothing fails");
    let mut random = fastrand::Rng::with_seed(1);
    let mut samples = Vec::with_capacity(places.len());
    let (mut early, mut late) = (0, 0);
    for tick in 0..TICKS {
        let at = Nanos::from_millis(tick * 10);
        samples.clear();
        samples.extend(places.iter().map(|of_thread| {
            let mut sample = of_thread[random.usize(..PLACES)];
            sample.state = [State::Running, State::Io, State::Lock][random.usize(..3)];
            // A request every half second.
            sample.request = RequestId::new(1 + tick / 50 * 16 + u64::from(random.u8(..16)));
            sample
        }));
        let now = Tick { process, at, lateness: Nanos::ZERO };
        sink.tick(&tables, &now, &samples).expect("nothing fails");
        if tick % 100 == 0 {
            let progress = Progress { elapsed: at, ticks: tick, ..Progress::default() };
            sink.progress(&tables, &progress).expect("nothing fails");
        }
        // The recording's blocks grow and are written; what counts is their height.
        let most = if tick < TICKS / 12 { &mut early } else { &mut late };
        *most = allocations::bytes_now().max(*most);
    }
    sink.end(&tables, &Progress::default()).expect("nothing fails");
    println!("at the most {early} bytes in the first five minutes, {late} later");
    assert!(early > 100_000, "{early}");
    assert!(late <= early + (16 << 10), "{late} bytes after {early}");
}
