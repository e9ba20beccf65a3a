//! A recording under `strace`: it reads, and does nothing else to its target.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Gunicorn, Load, Outcome, alone, farrier_path, has_program, newest};

/// Calls that stop, signal, change or enter another process. None is ever made.
const FORBIDDEN: [&str; 14] = [
    "ptrace",
    "kill",
    "tkill",
    "tgkill",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "pidfd_send_signal",
    "pidfd_getfd",
    "process_vm_writev",
    "process_madvise",
    "process_mrelease",
    "perf_event_open",
    "bpf",
    "setns",
];
/// Calls that open files, to be judged by their flags.
const OPENING: [&str; 4] = ["open", "openat", "openat2", "creat"];

/// The call's name and its arguments, of a line such as `[pid 7] openat(AT_FDCWD, …) = 3`.
fn call(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    let (name, arguments) = line.split_once('(')?;
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_').then_some((name, arguments))
}

/// Whether a traced call disturbs anything outside of `outputs`.
fn disturbs(line: &str, outputs: &Path) -> bool {
    let Some((name, arguments)) = call(line) else { return false };
    let writing = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"];
    let allowed = [outputs.to_str().expect("UTF-8"), "/dev/null", "/dev/tty"];
    FORBIDDEN.contains(&name)
        || name == "creat"
        || OPENING.contains(&name)
            && writing.iter().any(|flag| arguments.contains(flag))
            && !allowed.iter().any(|path| arguments.contains(&format!("\"{path}")))
}

#[test]
fn the_judge_tells_reading_from_disturbing() {
    let outputs = Path::new("/tmp/out");
    for line in [
        "12 ptrace(PTRACE_SEIZE, 7, NULL, 0) = 0",
        "kill(7, SIGSTOP) = 0",
        "12 process_vm_writev(7, [], 0, [], 0, 0) = 0",
        "12 openat(AT_FDCWD, \"/proc/7/mem\", O_RDWR|O_CLOEXEC) = 4",
        "12 openat(AT_FDCWD, \"/etc/x\", O_WRONLY|O_CREAT|O_CLOEXEC, 0666) = 4",
        "12 openat(AT_FDCWD, \"/tmp/other\", O_WRONLY|O_CREAT) = 4",
    ] {
        assert!(disturbs(line, outputs), "{line}");
    }
    for line in [
        "12 openat(AT_FDCWD, \"/proc/7/mem\", O_RDONLY|O_CLOEXEC) = 4",
        "12 openat(AT_FDCWD, \"/tmp/out/x.svg\", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 4",
        "12 process_vm_readv(7, [], 1, [], 1, 0) = 8",
        "12 --- SIGCHLD {si_signo=SIGCHLD} ---",
        "12 +++ exited with 0 +++",
    ] {
        assert!(!disturbs(line, outputs), "{line}");
    }
}

#[test]
fn a_recording_only_reads() {
    let _alone = alone();
    if !has_program("strace") {
        return;
    }
    let Some(python) = newest() else { return };
    let gunicorn = Gunicorn::start(&python, "flask_shop:app", 2, &["--threads", "2"]);
    let targets = ["/users/{user}", "/slow", "/stats"];
    let load = Load::start(&python, gunicorn.port(), 2, Duration::from_secs(60), &targets);

    let folder = tempfile::tempdir().expect("a temporary folder");
    let (outputs, trace) = (folder.path().join("out"), folder.path().join("trace"));
    std::fs::create_dir(&outputs).expect("a temporary folder");
    let calls = FORBIDDEN.iter().chain(&OPENING).chain(&["process_vm_readv"]);
    // A question mark: some calls are not there on every architecture.
    let calls: Vec<String> = calls.map(|name| format!("?{name}")).collect();
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-s", "4096", "-e"])
        .arg(format!("trace={}", calls.join(",")))
        .arg("-o")
        .arg(&trace)
        .arg(farrier_path())
        .args(["record", "-d", "3", "-p", &gunicorn.pid().to_string()])
        .arg("-o")
        .arg(outputs.join("x.svg"))
        .arg("-o")
        .arg(outputs.join("x.json"))
        .arg("-o")
        .arg(outputs.join("x.farrier"))
        .stdin(Stdio::null());
    Outcome::of(command).success();
    load.finish();

    let trace = std::fs::read_to_string(&trace).expect("strace wrote it");
    let reads = trace.lines().filter(|line| line.contains("process_vm_readv(")).count();
    assert!(reads > 300, "strace saw {reads} reads of memory; did it see farrier at all?");
    let disturbing: Vec<_> = trace.lines().filter(|line| disturbs(line, &outputs)).collect();
    assert!(disturbing.is_empty(), "{}", disturbing.join("\n"));
}
