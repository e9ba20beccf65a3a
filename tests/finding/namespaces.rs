//! Processes in namespaces and roots of their own: a thread's numbers are others there,
//! and so are paths and sockets.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{
    Recorder, Script, alone, application, has_program, interpreters, newest, skip,
};
use crate::seen::{Seen, assert_known, assert_standing, innermost, outer_tids};

/// A command that runs `standing.py` through a program that gives it namespaces of its own;
/// none if the kernel does not let us.
fn through<S: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = S>,
    python: &Path,
) -> Option<Command> {
    if !has_program(program) {
        return None;
    }
    let mut command = Command::new(program);
    command.args(arguments);
    let mut probe = Command::new(program);
    probe.args(command.get_args()).arg("true").stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        skip(&format!("not permitted: {probe:?}"));
        return None;
    }
    command.arg(python).arg(application("standing.py"));
    Some(command)
}

/// What `unshare` is told: one new namespace, one in another, one that needs no privilege.
const PID_NAMESPACES: [&[&str]; 3] = [
    &["--pid", "--fork", "--mount-proc"],
    &["--pid", "--fork", "unshare", "--pid", "--fork", "--mount-proc"],
    &["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"],
];

#[test]
fn threads_of_another_pid_namespace_have_the_right_states_and_our_numbers() {
    let _alone = alone();
    for interpreter in interpreters() {
        for arguments in PID_NAMESPACES {
            let Some(command) = through("unshare", arguments, &interpreter.python) else { return };
            let script = Script::spawn(command);
            assert_ne!(script.truth()["pid"], innermost(script.pid()), "no namespace of its own");
            assert_standing(&script);
        }
    }
}

#[test]
fn threads_made_there_while_we_are_attached() {
    let _alone = alone();
    for interpreter in interpreters() {
        let arguments = PID_NAMESPACES[1];
        let Some(command) = through("unshare", arguments, &interpreter.python) else { return };
        let mut script = Script::spawn(command);
        let pid = innermost(script.pid());
        let mut truth = script.truth();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let recording = folder.path().join("x.farrier");
        let pid_text = pid.to_string();
        let recorder = Recorder::start(
            &recording,
            ["-p", &pid_text, "--no-children", "-r", "100", "-d", "1.5"],
        );
        let number = script.ask("latecomer");
        truth["threads"]["latecomer"] = number.parse().expect("a number");
        let outer = outer_tids(pid);
        recorder.finish().success();
        let seen = Seen::in_recording(&recording);
        assert_known(&seen, &truth, &outer);
        let (_, late) = seen.named("latecomer");
        assert!(late.states.values().sum::<f64>() > 0.5, "{seen:#?}");
    }
}

#[test]
fn a_mount_namespace_in_which_the_files_are_elsewhere() {
    let _alone = alone();
    let Some(interpreter) = newest() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().to_str().expect("UTF-8");
    let enter = format!("mount --rbind / {root} && exec chroot {root} \"$@\"");
    let arguments = ["--mount", "sh", "-c", &enter, "sh"];
    if let Some(command) = through("unshare", arguments, &interpreter.python) {
        assert_standing(&Script::spawn(command));
    }
}

/// Copies what Debian's interpreter needs into a folder.
fn debian_root(folder: &Path) -> Option<PathBuf> {
    let python = Path::new("/usr/bin/python3.11");
    let libraries = Command::new("ldd").arg(python).output().ok()?;
    let text = String::from_utf8(libraries.stdout).ok()?;
    let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
    let all = paths.chain(["/usr/bin/python3.11", "/usr/lib/python3.11"]);
    for path in all.filter(|path| Path::new(path).exists()) {
        let target = folder.join(&path[1..]);
        std::fs::create_dir_all(target.parent()?).ok()?;
        // Links in it may be broken, which is no harm.
        let mut copy = Command::new("cp");
        copy.args(["-rL", path]).arg(&target).stderr(Stdio::null()).status().ok()?;
    }
    if !folder.join(&"/usr/bin/python3.11"[1..]).is_file() {
        return None;
    }
    let script = folder.join("standing.py");
    std::fs::copy(application("standing.py"), script).ok()?;
    Some(python.to_owned())
}

#[test]
fn a_plain_chroot() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(python) = debian_root(folder.path()) else {
        return skip("Debian's python3.11 not found");
    };
    let mut probe = Command::new("chroot");
    probe.arg(folder.path()).arg(&python).args(["-c", ""]).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        return skip("not permitted: chroot");
    }
    let mut command = Command::new("chroot");
    command.arg(folder.path()).arg(python).arg("/standing.py");
    assert_standing(&Script::spawn(command));
}

#[test]
fn sockets_of_another_network_namespace() {
    let _alone = alone();
    let Some(interpreter) = newest() else { return };
    if !has_program("ip") {
        return;
    }
    let enter = "ip link set lo up && exec \"$@\"";
    let arguments = ["--net", "sh", "-c", enter, "sh"];
    if let Some(command) = through("unshare", arguments, &interpreter.python) {
        assert_standing(&Script::spawn(command));
    }
}
