//! What goes wrong is said in a sentence, with the exit status that stands for it:
//! 1 a run-time failure, 2 wrong usage, 3 not permitted, 4 the target is gone.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Outcome, Script, alone, farrier_path, has_program, newest, run, say};

/// A process that is no Python: it waits for its standard input to close.
struct Sleeper(std::process::Child);

impl Sleeper {
    fn start(script: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::null());
        Self(command.spawn().expect("sh is there"))
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Checks the status and that a person is told each of these.
fn expect(outcome: &Outcome, status: i32, words: &[&str]) {
    assert_eq!(outcome.status, Some(status), "{outcome:?}");
    let said = outcome.stderr.to_lowercase();
    for word in words {
        assert!(said.contains(&word.to_lowercase()), "no word of {word:?}: {}", outcome.stderr);
    }
    assert!(!said.contains("panicked"), "{}", outcome.stderr);
}

fn output(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().expect("UTF-8").to_owned()
}

#[test]
fn there_is_no_such_process() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut child = Command::new("true").spawn().expect("true is there");
    let pid = child.id().to_string();
    child.wait().expect("it is our child");
    let outcome = run(["record", "-p", &pid, "-d", "1", "-o", &output(folder.path(), "x.svg")]);
    expect(&outcome, 4, &[&pid]);
    // Nothing was sampled, so nothing is left behind.
    assert!(!folder.path().join("x.svg").exists());
}

#[test]
fn the_process_is_not_python() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sleeper = Sleeper::start("exec cat");
    let outcome =
        run(["record", "-p", &sleeper.pid(), "-d", "1", "-o", &output(folder.path(), "x.svg")]);
    expect(&outcome, 1, &[&sleeper.pid(), "not", "Python"]);
}

#[test]
fn the_python_below_it_is_named() {
    let _alone = alone();
    let Some(python) = newest() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    // The shell stays; the Python below it prints its PID and READY.
    let mut command = Command::new("sh");
    command
        .args(["-c", "\"$0\" \"$1\"; exit 0"])
        .arg(&python.python)
        .arg(common::application("known_stack.py"));
    let shell = Script::spawn(command);
    let below = shell.truth()["pid"].to_string();
    let pid = shell.pid().to_string();
    assert_ne!(below, pid);
    let outcome = run(["record", "-p", &pid, "-d", "1", "-o", &output(folder.path(), "x.svg")]);
    expect(&outcome, 1, &[&pid, "not", "Python", &below]);
}

/// A Python that farrier does not support, if one is at hand.
fn unsupported_python() -> Option<(&'static str, PathBuf)> {
    let root = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".pyenv")))?;
    let folders = std::fs::read_dir(root.join("versions")).ok()?;
    let mut names: Vec<_> = folders.flatten().map(|entry| entry.path()).collect();
    names.sort();
    ["3.7", "3.6"].into_iter().find_map(|version| {
        let folder = names.iter().find(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(version))
        })?;
        Some((version, folder.join("bin").join(format!("python{version}"))))
    })
}

#[test]
fn the_python_is_not_supported() {
    let _alone = alone();
    let Some((version, python)) = unsupported_python() else {
        say("skipped: no CPython 3.6 or 3.7 found");
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(python);
    command.args(["-c", "import sys; print('READY', flush=True); sys.stdin.read()"]);
    let script = Script::spawn(command);
    let pid = script.pid().to_string();
    let outcome = run(["record", "-p", &pid, "-d", "1", "-o", &output(folder.path(), "x.svg")]);
    expect(&outcome, 1, &[&pid, version, "support"]);
}

#[test]
fn it_is_not_permitted() {
    let _alone = alone();
    let Some(python) = newest() else { return };
    if !nix::unistd::geteuid().is_root() || !has_program("setpriv") {
        say("skipped: only root can become another user to be refused as");
        return;
    }
    let script = Script::start(&python, "known_stack.py", &[]);
    // Whatever the folders above them allow, the program and the output folder are
    // within the other user's reach.
    let folder = tempfile::tempdir_in("/tmp").expect("a temporary folder");
    // Not through the builder, whose permissions are cut by the umask.
    let everybody = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(folder.path(), everybody).expect("it is ours");
    let copy = folder.path().join("farrier");
    std::fs::copy(farrier_path(), &copy).expect("a temporary folder");
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(&copy)
        .args(["record", "-p", &script.pid().to_string(), "-d", "1", "-o"])
        .arg(folder.path().join("x.svg"))
        .stdin(Stdio::null());
    let outcome = Outcome::of(command);
    expect(&outcome, 3, &[&script.pid().to_string(), "permi", "sudo"]);
}

#[test]
fn an_output_that_cannot_be_written_is_said_before_sampling() {
    let _alone = alone();
    let Some(python) = newest() else { return };
    let script = Script::start(&python, "known_stack.py", &[]);
    let pid = script.pid().to_string();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let missing = output(folder.path(), "no/such/folder/x.svg");
    // Not even root may create a file in sysfs.
    let read_only = "/sys/x.svg".to_owned();
    for path in [missing, read_only] {
        let outcome = run(["record", "-p", &pid, "-d", "30", "-o", &path]);
        expect(&outcome, 1, &[&path]);
        assert!(outcome.seconds < 10.0, "it sampled for {} s first", outcome.seconds);
    }
}

#[test]
fn wrong_usage_is_said() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let unknown_ending = output(folder.path(), "x.unknown");
    let cases: [&[&str]; 6] = [
        &["record"],
        &["record", "-p", "not-a-number"],
        &["record", "-p", "1", "--no-such-flag"],
        &["record", "-p", "1", "-o", &unknown_ending],
        &["record", "-p", "1", "-r", "0"],
        &["no-such-command"],
    ];
    for arguments in cases {
        expect(&run(arguments), 2, &[]);
    }
}

#[test]
fn a_report_of_what_is_no_recording() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = output(folder.path(), "x.farrier");
    expect(&run(["report", &path]), 1, &[&path]);
    std::fs::write(&path, "this is no recording, though its name says so").expect("it is ours");
    expect(&run(["report", &path]), 1, &[&path, "recording"]);
}
