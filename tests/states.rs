//! What threads were doing, against clocks of their own: who had a CPU, who wanted one, who
//! held the GIL and who waited for it, and what the garbage collector took.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use common::{
    Folded, Gunicorn, Interpreter, Load, Script, Summary, alone, interpreter, run, say, signal,
};
use serde_json::Value;

/// Shares may differ by so much.
const TOLERANCE: f64 = 0.03;
/// And CPU time of an endpoint by this part of it.
const CPU_TOLERANCE: f64 = 0.02;

/// The oldest version, the newest, and one of each kind between.
fn versions() -> Vec<Interpreter> {
    ["3.8", "3.11", "3.13", "3.15"].into_iter().filter_map(interpreter).collect()
}

/// What the kernel has counted for all threads of a process: seconds on a CPU and in the
/// run queue.
fn counted(pid: u32) -> (f64, f64) {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it lives");
    let seconds = tasks.flatten().map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let mut numbers = text.split(' ').map(|word| word.parse::<f64>().unwrap_or_default() / 1e9);
        (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
    });
    seconds.fold((0.0, 0.0), |sum, next| (sum.0 + next.0, sum.1 + next.1))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Records a process for so many seconds into a file in `folder`.
fn record(pid: u32, seconds: u32, folder: &Path) -> std::path::PathBuf {
    let recording = folder.join("x.farrier");
    let (pid, seconds) = (pid.to_string(), seconds.to_string());
    let file = recording.to_str().expect("UTF-8");
    run(["record", "-p", &pid, "-d", &seconds, "--max-cpu", "none", "-o", file]).success();
    recording
}

/// A script of `thread_states.py`, watched for five seconds: the summary, and what its own
/// clocks and the kernel's counters gained meanwhile.
struct Watched {
    summary: Summary,
    wall: f64,
    collecting: f64,
    /// Of the threads' time, the part spent in the run queue.
    runqueue_share: f64,
    folder: tempfile::TempDir,
    recording: std::path::PathBuf,
}

impl Watched {
    fn run(interpreter: &Interpreter, threads: f64, arguments: &[&str]) -> Self {
        let mut script = Script::start(interpreter, "thread_states.py", arguments);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ask = |script: &mut Script| -> Value {
            serde_json::from_str(&script.ask("?")).expect("it answers JSON")
        };
        let (before, counted_before) = (ask(&mut script), counted(script.pid()));
        let recording = record(script.pid(), 5, folder.path());
        let (counted_after, after) = (counted(script.pid()), ask(&mut script));
        let gained = |name: &str| number(&after[name]) - number(&before[name]);
        let wall = gained("wall");
        Self {
            summary: Summary::of_recording(&recording),
            wall,
            collecting: gained("collecting"),
            runqueue_share: (counted_after.1 - counted_before.1) / (wall * threads),
            folder,
            recording,
        }
    }

    /// The endpoints of the threads that work; the main thread waits for our word.
    fn workers(&self) -> Vec<&Value> {
        let is_main = |row: &&Value| row["endpoint"] == "(background MainThread)";
        self.summary.list("endpoints").iter().filter(|row| !is_main(row)).collect()
    }

    /// How far shares of GIL time may be off. Where CPUs are short, nobody has the GIL while
    /// a thread that was woken up to take it queues for a CPU, and some of those who queue
    /// on their way to it cannot be told from one that holds it and queues.
    fn tolerance(&self) -> f64 {
        TOLERANCE + self.runqueue_share / 5.0
    }

    /// The sum of a state's seconds over these.
    fn seconds(&self, state: &str) -> f64 {
        self.workers().into_iter().map(|row| number(&row["states"][state])).sum()
    }

    fn all_seconds(&self) -> f64 {
        self.workers().into_iter().map(|row| number(&row["seconds"])).sum()
    }
}

/// How long it takes at the most until a thread that was woken up runs, in seconds, where a
/// CPU is free: a virtual one may have to be woken up itself.
const WAKING: f64 = 0.000_2;

#[test]
fn four_threads_wait_for_the_gil_three_quarters_of_their_time() {
    let _alone = alone();
    for interpreter in versions() {
        let watched = Watched::run(&interpreter, 4.0, &["spin", "4"]);
        let gil = &watched.summary.0["gil"];
        let waited = number(&gil["wait_share"]) * total_seconds(&watched.summary);
        let waited = waited / watched.all_seconds();
        let held = number(&gil["held_share"]);
        let process = &gil["by_process"][0];
        let switches = number(&process["switches_per_s"]);
        say(&format!(
            "CPython {}: GIL waited for {waited:.3}, held {held:.3}, {switches:.0} switches/s, run queue {:.3}",
            interpreter.version, watched.runqueue_share,
        ));
        let tolerance = watched.tolerance();
        assert!((waited - 0.75).abs() <= tolerance, "{waited} is not 0.75");
        // Each time that it changes hands nobody has it until the next one is awake.
        let free = switches * WAKING;
        assert!((held - 1.0).abs() <= tolerance + free, "{held} is not 1");
        // Each waiter asks for it after 5 ms, and gets it then if its holder has a CPU.
        assert!((10.0..=400.0).contains(&switches), "{switches} switches a second");

        let holders = gil["holders"].as_array().expect("a list");
        let spun: f64 = holders
            .iter()
            .filter(|row| row["function"] == "spin_a_while")
            .map(|row| number(&row["held_s"]))
            .sum();
        let held_s = held * number(&watched.summary.0["recorded"]["duration_s"]);
        assert!(spun > 0.9 * held_s, "{spun:.2} s of {held_s:.2} s were in the spinning function");
        let by_endpoint: f64 =
            watched.workers().into_iter().map(|row| number(&row["gil_held_s"])).sum();
        assert!((by_endpoint / held_s - 1.0).abs() < 0.01, "{by_endpoint} is not {held_s}");
        // Who waits behind whom: each of the four behind each of the other three.
        let pairs = gil["blocked"].as_array().expect("a list");
        let behind: f64 = pairs.iter().map(|row| number(&row["seconds"])).sum();
        let waited_s = waited * watched.all_seconds();
        assert!(behind > 0.8 * waited_s, "{behind:.2} s of {waited_s:.2} s have a holder");
        assert!(pairs.iter().all(|row| row["endpoint"] != row["holder_endpoint"]), "{pairs:?}");
    }
}

fn total_seconds(summary: &Summary) -> f64 {
    summary.list("endpoints").iter().map(|row| number(&row["seconds"])).sum()
}

#[test]
fn hashing_runs_without_the_gil() {
    let _alone = alone();
    for interpreter in versions() {
        let watched = Watched::run(&interpreter, 1.0, &["hash"]);
        let all = watched.all_seconds();
        let [running, runnable, waited] =
            ["running", "runnable", "gil_wait"].map(|state| watched.seconds(state) / all);
        let held = number(&watched.summary.0["gil"]["held_share"]);
        say(&format!(
            "CPython {}: running {running:.3}, runnable {runnable:.3}, GIL waited for {waited:.3}, held {held:.3}",
            interpreter.version,
        ));
        assert!((runnable - watched.runqueue_share).abs() <= TOLERANCE);
        assert!((running + runnable - 1.0).abs() <= TOLERANCE);
        let tolerance = watched.tolerance();
        assert!(waited <= tolerance && held <= tolerance);
    }
}

#[test]
fn the_collector_is_marked() {
    let _alone = alone();
    for interpreter in versions() {
        let watched = Watched::run(&interpreter, 1.0, &["collect", "0.3"]);
        let truth = watched.collecting / watched.wall;
        let collected = watched.summary.list("functions").iter();
        let collected: f64 = collected
            .filter(|row| row["function"] == "(gc)")
            .map(|row| number(&row["self_s"]))
            .sum();
        let seen = collected / watched.all_seconds();
        say(&format!("CPython {}: collecting {truth:.3}, seen {seen:.3}", interpreter.version));
        assert!((seen - truth).abs() <= TOLERANCE);
        assert!(truth > 0.15);
    }
}

#[test]
fn the_filters_keep_what_those_of_py_spy_keep() {
    let _alone = alone();
    let Some(interpreter) = versions().pop() else { return };
    let watched = Watched::run(&interpreter, 2.0, &["spin", "2"]);
    let folded = |flags: &[&str]| {
        let file = watched.folder.path().join("x.folded");
        let mut arguments = vec!["report", watched.recording.to_str().expect("UTF-8"), "-o"];
        arguments.push(file.to_str().expect("UTF-8"));
        arguments.extend(flags);
        run(arguments).success();
        Folded::read(&file)
    };
    let all = folded(&[]);
    let with_gil = folded(&["--gil"]);
    let duration = number(&watched.summary.0["recorded"]["duration_s"]) * 1e6;
    // Two threads, of which one has it at a time; the main thread only waits for our word.
    let threads = all.total() as f64 / duration;
    assert!((threads - 3.0).abs() < 0.1, "{threads} threads of {:?}", all.0);
    assert!(with_gil.total() as f64 / duration <= 1.0 + TOLERANCE);
    assert!(with_gil.total() > all.total() / 10);
    let of_main =
        |folded: &Folded| folded.0.iter().any(|(stack, _)| stack[0] == "(background MainThread)");
    assert!(of_main(&all) && !of_main(&with_gil));
    assert!(folded(&["--idle"]).total() >= all.total());
}

/// How often the threads that share CPU time among endpoints are looked at.
const RATE: &str = "400";

/// CPU seconds by endpoint: what the requests' threads used by their own clocks, and what
/// farrier says. The load begins and ends while it records.
fn cpu_by_endpoint(interpreter: &Interpreter, arguments: &[&str], targets: &[&str]) {
    let gunicorn = Gunicorn::start(interpreter, "cpu_wsgi:app", 2, arguments);
    let before = gunicorn.request_log().len();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let recording = folder.path().join("x.farrier");
    let pid = gunicorn.pid().to_string();
    let recorder = common::Recorder::start(&recording, ["-p", &pid, "-d", "120", "-r", RATE]);
    let load = Load::start(interpreter, gunicorn.port(), 4, Duration::from_secs(60), targets);
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(load.finish()["errors"], 0);
    signal("TERM", recorder.pid());
    recorder.finish().success();
    let mut truth: BTreeMap<String, f64> = BTreeMap::new();
    let log = gunicorn.request_log();
    assert!(log.len() > before + 20, "{} requests", log.len() - before);
    // The log is by process; its first requests were before the recording.
    for entry in log.iter().filter(|entry| entry["route"] != "/") {
        let route = entry["route"].as_str().expect("a string");
        *truth.entry(format!("GET {route}")).or_default() += number(&entry["cpu"]);
    }
    let summary = Summary::of_recording(&recording);
    let mut wrong = Vec::new();
    for (endpoint, cpu) in truth {
        let row = summary.list("endpoints").iter().find(|row| row["endpoint"] == *endpoint);
        let row = row.unwrap_or_else(|| panic!("{endpoint} was not seen"));
        let seen = number(&row["cpu_s"]);
        let running = number(&row["states"]["running"]);
        say(&format!(
            "CPython {} {arguments:?} {endpoint}: {cpu:.3} s of CPU time, seen {seen:.3}, {:+.2} %",
            interpreter.version,
            (seen / cpu - 1.0) * 100.0
        ));
        assert!((running - seen).abs() <= 0.02 * cpu, "{running} s running");
        // Looks share out what the counters say: what is seen by few is known less well.
        let looks = cpu * RATE.parse::<f64>().expect("a number");
        if (seen / cpu - 1.0).abs() > CPU_TOLERANCE + 1.0 / looks.sqrt() {
            wrong.push(endpoint);
        }
    }
    for row in summary.list("endpoints").iter().filter(|row| row["method"].is_null()) {
        say(&format!("  {}: {:.3} s of CPU time", row["endpoint"], number(&row["cpu_s"])));
    }
    assert!(wrong.is_empty(), "CPU time of {wrong:?}");
}

#[test]
fn cpu_time_of_endpoints_is_that_of_their_threads() {
    let _alone = alone();
    for interpreter in versions() {
        let mixed = ["/report=2", "/digest=4", "/bursts=2"];
        cpu_by_endpoint(&interpreter, &[], &mixed);
        cpu_by_endpoint(&interpreter, &["--threads", "4"], &mixed);
        cpu_by_endpoint(&interpreter, &["--worker-class", "gevent"], &mixed);
    }
}

#[test]
fn too_many_workers_wait_for_a_cpu_as_long_as_the_kernel_says() {
    let _alone = alone();
    let cpus = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    for interpreter in versions() {
        let gunicorn = Gunicorn::start(&interpreter, "cpu_wsgi:app", cpus + 2, &[]);
        let most = Duration::from_secs(60);
        let load = Load::start(&interpreter, gunicorn.port(), 2 * cpus + 4, most, &["/report=1"]);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let all = || {
            let each = gunicorn.workers().into_iter().map(counted);
            each.fold((0.0, 0.0), |sum, next| (sum.0 + next.0, sum.1 + next.1))
        };
        let before = all();
        let recording = record(gunicorn.pid(), 6, folder.path());
        let after = all();
        load.finish();
        let (cpu, runqueue) = (after.0 - before.0, after.1 - before.1);
        let summary = Summary::of_recording(&recording);
        let [running, runnable] =
            ["running", "runnable"].map(|state| summary.number(&["states", state]));
        let (truth, seen) = (runqueue / (cpu + runqueue), runnable / (running + runnable));
        say(&format!(
            "CPython {}: {:.3} of the time that {} workers could have run they waited for a CPU, seen {seen:.3}",
            interpreter.version,
            truth,
            cpus + 2,
        ));
        assert!((truth - seen).abs() <= TOLERANCE);
        let of_processes = |name: &str| -> f64 {
            summary.list("processes").iter().map(|row| number(&row[name])).sum()
        };
        let (cpu_s, runqueue_s) = (of_processes("cpu_s"), of_processes("runqueue_s"));
        assert!((running - cpu_s).abs() < 0.02 * (running + runnable), "{running} s of {cpu_s} s");
        assert!(
            (runnable - runqueue_s).abs() < 0.02 * (running + runnable),
            "{runnable} s of {runqueue_s} s"
        );
    }
}
