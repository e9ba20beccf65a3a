//! Farrier itself, run as a person runs it, and what it wrote.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::wait_until;

/// The program under test.
pub(crate) fn farrier_path() -> &'static str {
    env!("CARGO_BIN_EXE_farrier")
}

/// A command that calls it, without a terminal. A recording that says nothing of a CPU
/// budget gets none: on a slow machine it would sample less often than the test counts on.
pub(crate) fn farrier<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    const BUDGET: &str = "--max-cpu";
    let mut command = Command::new(farrier_path());
    command.args(arguments).stdin(Stdio::null());
    let mut given = command.get_args();
    if given.next().is_some_and(|first| first == "record") && !given.any(|other| other == BUDGET) {
        command.args([BUDGET, "none"]);
    }
    command
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit status; `None` if a signal ended it.
    pub(crate) status: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
    /// How long it ran, in seconds.
    pub(crate) seconds: f64,
}

impl Outcome {
    /// Of any command.
    pub(crate) fn of(mut command: Command) -> Self {
        let start = Instant::now();
        let output = command.output().expect("the program starts");
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("it prints UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("it prints UTF-8"),
            seconds: start.elapsed().as_secs_f64(),
        }
    }

    /// The same, checked to be a success.
    pub(crate) fn success(self) -> Self {
        assert_eq!(self.status, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }
}

/// Runs farrier to its end.
pub(crate) fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Outcome {
    Outcome::of(farrier(arguments))
}

/// A `farrier record` that goes on while the test does something to its target.
pub(crate) struct Recorder {
    child: Option<Child>,
    began: Instant,
}

impl Recorder {
    /// Starts it and waits until the recording that it writes to `recording` has
    /// begun. `arguments` are those after `record`.
    pub(crate) fn start<S: AsRef<OsStr>>(
        recording: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        let start: [&OsStr; 3] = ["record".as_ref(), "-o".as_ref(), recording.as_ref()];
        let arguments: Vec<S> = arguments.into_iter().collect();
        let mut command = farrier(start.into_iter().chain(arguments.iter().map(AsRef::as_ref)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("farrier starts");
        wait_until("the recording's header", || {
            let ended = child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "farrier ended at once: {:?}", child.stderr.take().map(read));
            std::fs::metadata(recording).ok().filter(|file| file.len() > 0)
        });
        Self { child: Some(child), began: Instant::now() }
    }

    /// Its PID.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs until finished").id()
    }

    /// When its recording was seen to have begun.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Ends it as the kernel would, in mid-write if need be.
    pub(crate) fn kill(mut self) {
        let mut child = self.child.take().expect("it runs until finished");
        child.kill().expect("it was running");
        child.wait().expect("it is our child");
    }

    /// Waits for its own end.
    pub(crate) fn finish(mut self) -> Outcome {
        let child = self.child.take().expect("it runs until finished");
        let output = child.wait_with_output().expect("it is our child");
        Outcome {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            seconds: self.began.elapsed().as_secs_f64(),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn read(mut pipe: impl std::io::Read) -> String {
    let mut text = String::new();
    let _ = pipe.read_to_string(&mut text);
    text
}

/// A `farrier/summary/1`, as written by `-f json`.
#[derive(Debug)]
pub(crate) struct Summary(pub(crate) Value);

impl Summary {
    /// Of a file.
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("farrier wrote it");
        let summary: Value = serde_json::from_str(&text).expect("it is valid JSON");
        assert_eq!(summary["schema"], "farrier/summary/1");
        Self(summary)
    }

    /// Of a recording, through `farrier report`.
    pub(crate) fn of_recording(recording: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let json: PathBuf = folder.path().join("summary.json");
        run([OsStr::new("report"), recording.as_ref(), "-o".as_ref(), json.as_ref()]).success();
        Self::read(&json)
    }

    /// A number at a path such as `["recorded", "duration_s"]`.
    pub(crate) fn number(&self, path: &[&str]) -> f64 {
        let value = path.iter().fold(&self.0, |value, name| &value[*name]);
        value.as_f64().unwrap_or_else(|| panic!("{} is {value}, not a number", path.join(".")))
    }

    /// The entries of a list.
    pub(crate) fn list(&self, name: &str) -> &[Value] {
        self.0[name].as_array().unwrap_or_else(|| panic!("{name} is not a list"))
    }

    /// Thread-seconds by endpoint, of those at which requests were served.
    pub(crate) fn request_seconds(&self) -> BTreeMap<String, f64> {
        self.list("endpoints")
            .iter()
            .filter(|endpoint| endpoint["method"].is_string())
            .map(|endpoint| {
                let name = endpoint["endpoint"].as_str().expect("an endpoint has a name");
                (name.to_owned(), endpoint["seconds"].as_f64().expect("and a time"))
            })
            .collect()
    }

    /// The PIDs of the processes that play a part.
    pub(crate) fn pids(&self, role: &str) -> Vec<u32> {
        self.list("processes")
            .iter()
            .filter(|process| process["role"] == role)
            .filter_map(|process| process["pid"].as_u64()?.try_into().ok())
            .collect()
    }

    /// What is said of one process.
    pub(crate) fn process(&self, pid: u32) -> &Value {
        let find = |process: &&Value| process["pid"] == pid;
        self.list("processes").iter().find(find).unwrap_or_else(|| panic!("no process {pid}"))
    }
}

/// Folded stacks: frames root first, and a weight.
#[derive(Debug)]
pub(crate) struct Folded(pub(crate) Vec<(Vec<String>, u64)>);

impl Folded {
    /// Of a file.
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("farrier wrote it");
        let line = |line: &str| {
            let (stack, weight) = line.rsplit_once(' ').expect("a stack and a weight");
            let frames = stack.split(';').map(str::to_owned).collect();
            (frames, weight.parse().expect("a whole number"))
        };
        Self(text.lines().map(line).collect())
    }

    /// The sum of all weights.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|(_, weight)| weight).sum()
    }

    /// The part of all weight that lies on stacks whose last frames are these.
    pub(crate) fn share_ending_in(&self, frames: &[String]) -> f64 {
        let weight: u64 = self
            .0
            .iter()
            .filter(|(stack, _)| stack.ends_with(frames))
            .map(|(_, weight)| weight)
            .sum();
        weight as f64 / self.total().max(1) as f64
    }
}
