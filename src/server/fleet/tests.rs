//! Live trees of shells. A shell writes a line when it is where the test wants it
//! and goes on when it is given one.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::*;

struct Tree {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Tree {
    /// `sh -c SCRIPT NAME`, once it has written its first line.
    fn start(script: &str) -> (Self, String) {
        Self::start_command(Command::new("sh").args(["-c", script]))
    }

    fn start_command(command: &mut Command) -> (Self, String) {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut tree = Self { child, input, output };
        let line = tree.line();
        (tree, line)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn go_on(&mut self) {
        self.input.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::new(self.child.id())
    }

    fn process(&self) -> Process {
        Process::open(self.pid()).unwrap()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        drop(self.input.take());
        self.child.wait().unwrap();
    }
}

fn at(millis: u64) -> Nanos {
    Nanos::from_millis(millis)
}

/// The changes in words: `+PID` offered, `-PID` left, `~PID` changed.
fn words(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|change| match change {
            Change::Candidate(process, _) => format!("+{}", process.pid()),
            Change::Changed(pid, _) => format!("~{pid}"),
            Change::Left(pid) => format!("-{pid}"),
        })
        .collect()
}

#[test]
fn children_are_offered_once_and_leave_when_they_end() {
    let (mut tree, child) = Tree::start("sh -c 'echo $$; read x; exit'; echo over; read x; exit");
    let mut fleet = Fleet::new(vec![tree.process()], true);
    let root = tree.pid();
    let mut expected = vec![format!("+{root}"), format!("+{child}")];
    let mut offered = words(&fleet.poll(at(0)));
    offered.sort();
    expected.sort();
    assert_eq!(offered, expected);
    assert!(fleet.poll(at(10_000)).is_empty(), "no answer was given yet");
    fleet.attached(root);
    fleet.attached(Pid::new(child.parse().unwrap()));
    assert!(fleet.poll(at(20_000)).is_empty());
    tree.go_on();
    assert_eq!(tree.line(), "over");
    assert_eq!(words(&fleet.poll(at(20_001))), [format!("-{child}")]);
    assert!(!fleet.all_gone());
    drop(tree);
    assert_eq!(words(&fleet.poll(at(20_002))), [format!("-{root}")]);
    assert!(fleet.all_gone());
}

#[test]
fn without_following_only_the_roots_count() {
    let (tree, _) = Tree::start("sh -c 'echo ready; read x; exit'; exit");
    let mut fleet = Fleet::new(vec![tree.process()], false);
    assert_eq!(words(&fleet.poll(at(0))), [format!("+{}", tree.pid())]);
}

#[test]
fn a_refused_process_is_offered_later_and_later() {
    let (tree, _) = Tree::start("echo ready; read x");
    let mut fleet = Fleet::new(vec![tree.process()], true);
    let mut now = 0;
    assert_eq!(fleet.poll(at(now)).len(), 1);
    for delay in [50, 100, 200, 400, 800, 1600, 2000, 2000] {
        fleet.refused(tree.pid(), true);
        assert!(fleet.poll(at(now)).is_empty());
        assert!(fleet.poll(at(now + delay - 1)).is_empty(), "{delay}");
        now += delay;
        assert_eq!(fleet.poll(at(now)).len(), 1, "{delay}");
    }
    fleet.refused(tree.pid(), false);
    assert!(fleet.poll(at(now + 1_000_000)).is_empty());
}

#[test]
fn a_late_exec_is_offered_at_once_even_after_giving_up() {
    let (mut tree, _) = Tree::start("echo ready; read x; exec sh -c 'echo ready; read x'");
    let mut fleet = Fleet::new(vec![tree.process()], true);
    fleet.poll(at(0));
    fleet.refused(tree.pid(), false);
    assert!(fleet.poll(at(1)).is_empty());
    tree.go_on();
    tree.line();
    assert_eq!(words(&fleet.poll(at(2))), [format!("+{}", tree.pid())]);
}

#[test]
fn an_exec_of_an_attached_process_is_its_end_and_a_new_beginning() {
    let (mut tree, _) = Tree::start("echo ready; read x; exec sh -c 'echo ready; read x'");
    let mut fleet = Fleet::new(vec![tree.process()], true);
    fleet.poll(at(0));
    fleet.attached(tree.pid());
    tree.go_on();
    tree.line();
    let pid = tree.pid();
    assert_eq!(words(&fleet.poll(at(1))), [format!("-{pid}"), format!("+{pid}")]);
}

#[test]
fn what_a_dead_root_leaves_behind_is_still_followed() {
    // A background job's input is empty unless it is given another descriptor.
    let (mut tree, orphan) = Tree::start(
        "exec 3<&0; sh -c 'echo $$; read x; sh -c \"echo \\$\\$; read x; exit\"; exit' <&3 & wait",
    );
    let root = tree.pid();
    let mut fleet = Fleet::new(vec![tree.process()], true);
    let mut offered = words(&fleet.poll(at(0)));
    offered.sort();
    let mut expected = vec![format!("+{root}"), format!("+{orphan}")];
    expected.sort();
    assert_eq!(offered, expected);
    tree.child.kill().unwrap();
    tree.child.wait().unwrap();
    assert_eq!(words(&fleet.poll(at(1))), [format!("-{root}")]);
    tree.go_on();
    let child = tree.line();
    assert_eq!(words(&fleet.poll(at(2))), [format!("+{child}")]);
}

/// A file named `gunicorn` that an interpreter named `python3` (a shell) runs: the
/// command lines and the tree are Gunicorn's own.
fn fake_gunicorn(script: &str) -> (tempfile::TempDir, Tree, String) {
    let directory = tempfile::tempdir().unwrap();
    let python = directory.path().join("python3");
    std::os::unix::fs::symlink("/bin/sh", &python).unwrap();
    let gunicorn = directory.path().join("gunicorn");
    std::fs::write(&gunicorn, script).unwrap();
    let mut command = Command::new(&python);
    command.arg(&gunicorn).args(["-w", "1", "--threads", "4", "shop:app"]);
    command.env("SELF", &gunicorn).env("PYTHON", &python);
    let (tree, line) = Tree::start_command(&mut command);
    (directory, tree, line)
}

fn role(fleet: &Fleet, pid: &str) -> Role {
    fleet.membership(Pid::new(pid.parse().unwrap())).unwrap().role
}

#[test]
fn an_arbiter_its_worker_and_the_worker_s_child_are_told_apart() {
    // A subshell is a fork with the same command line, as a worker is.
    let script = "exec 3<&0
        ( ( read x; exit ) <&3 & echo $!; read x; exit ) <&3 & echo $!; wait";
    let (_directory, mut tree, first) = fake_gunicorn(script);
    let second = tree.line();
    let mut fleet = Fleet::new(vec![tree.process()], true);
    let changes = fleet.poll(at(0));
    assert_eq!(changes.len(), 3);
    assert_eq!(role(&fleet, &tree.pid().to_string()), Role::Arbiter);
    // Either may have written its line first.
    let parent_of =
        |pid: &str| Process::open(Pid::new(pid.parse().unwrap())).unwrap().parent().unwrap();
    let (worker, below) =
        if parent_of(&first) == tree.pid() { (first, second) } else { (second, first) };
    assert_eq!(role(&fleet, &worker), Role::Worker);
    assert_eq!(role(&fleet, &below), Role::Other);
    let worker_pid = Pid::new(worker.parse().unwrap());
    let membership = fleet.membership(worker_pid).unwrap();
    assert_eq!(membership.server, Some("gunicorn"));
    assert_eq!(membership.application.as_deref(), Some("shop:app"));
    assert_eq!(membership.worker_class.as_deref(), Some("gthread"));
    assert_eq!(membership.threads, Some(4));

    // As if it had been seen before it wrote its own title.
    fleet.members.get_mut(&worker_pid).unwrap().membership.role = Role::Arbiter;
    assert_eq!(words(&fleet.poll(at(1))), [format!("~{worker}")]);
    assert_eq!(role(&fleet, &worker), Role::Worker);
    assert!(fleet.poll(at(2)).is_empty());

    // The same worker alone.
    let mut alone = Fleet::new(vec![Process::open(worker_pid).unwrap()], false);
    alone.poll(at(0));
    assert_eq!(role(&alone, &worker), Role::Worker);
}

#[test]
fn the_next_arbiter_is_told_from_a_worker() {
    // USR2: fork, then exec with GUNICORN_PID set to the parent.
    let script = "if [ -n \"$GUNICORN_PID\" ]; then echo $$; read x; exit; fi
        exec 3<&0
        me=$$
        ( GUNICORN_PID=$me exec \"$PYTHON\" \"$SELF\" shop:app ) <&3 &
        wait";
    let (_directory, tree, successor) = fake_gunicorn(script);
    let mut fleet = Fleet::new(vec![tree.process()], true);
    fleet.poll(at(0));
    assert_eq!(role(&fleet, &tree.pid().to_string()), Role::Arbiter);
    assert_eq!(role(&fleet, &successor), Role::Arbiter);
}
