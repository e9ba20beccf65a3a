//! Which processes descend from which, and which have a given command line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsFd;

use nix::sys::uio::pread;
use regex::Regex;

use super::hot::{decimal, fields};
use super::{Error, Process, Result};
use crate::units::Pid;

/// A process' children, in no particular order. Every thread has children of its
/// own, and all of them count.
///
/// # Errors
/// [`Error::Gone`] when the process has ended.
pub fn children(process: &Process) -> Result<Vec<Pid>> {
    let mut children = Vec::new();
    for tid in process.threads()? {
        match process.read_text(&format!("task/{tid}/children")) {
            Ok(text) => children.extend(parse_pids(&text)),
            Err(Error::Gone { .. }) if process.read_text(&format!("task/{tid}/stat")).is_ok() => {
                // The thread is there and the file is not: a kernel without
                // CONFIG_PROC_CHILDREN.
                return Ok(children_by_parent(process.pid()));
            }
            Err(Error::Gone { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(children)
}

/// Tells whether processes or threads were started since it was last asked: by anyone, in our
/// own PID namespace or one below it. While none are, nobody has new children.
#[derive(Debug)]
pub struct Births {
    /// `/proc/loadavg`; its last field is the number that was given last (`fs/proc/loadavg.c`).
    load: Option<fs::File>,
    last: Option<u64>,
    /// Whether there were some when it was last asked: a number is given a moment before its
    /// process is on its parent's list.
    before: bool,
}

impl Births {
    /// From now on.
    pub fn new() -> Self {
        Self { load: fs::File::open("/proc/loadavg").ok(), last: None, before: true }
    }

    /// Whether there may be new processes; at the first time always.
    pub fn any(&mut self) -> bool {
        let last = self.last_number();
        let now = last.is_none() || last != self.last;
        self.last = last;
        std::mem::replace(&mut self.before, now) || now
    }

    fn last_number(&self) -> Option<u64> {
        let mut buffer = [0; 128];
        let count = pread(self.load.as_ref()?.as_fd(), &mut buffer, 0).ok()?;
        fields(buffer.get(..count)?).last().and_then(decimal)
    }
}

impl Default for Births {
    fn default() -> Self {
        Self::new()
    }
}

/// All that descend from a process, parents before their children. Those that end
/// meanwhile are left out.
///
/// # Errors
/// [`Error::Gone`] when the process itself has ended.
pub fn descendants(process: &Process) -> Result<Vec<Pid>> {
    let mut found = children(process)?;
    let mut seen: BTreeSet<Pid> = found.iter().copied().chain([process.pid()]).collect();
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next = next.saturating_add(1);
        let Ok(below) = Process::open(pid).and_then(|child| children(&child)) else { continue };
        found.extend(below.into_iter().filter(|pid| seen.insert(*pid)));
    }
    Ok(found)
}

/// The processes whose command line, joined with spaces, matches; by rising number.
/// Neither ourselves nor any process that we descend from (`sudo farrier --name …`
/// has the expression on its own command line), and none whose ancestor matches as
/// well: following that one's children finds it.
pub fn find_by_command_line(expression: &Regex) -> Vec<Pid> {
    let parents = parents();
    let own = own_pid();
    let ours: BTreeSet<Pid> = ancestors(&parents, own).chain([own]).collect();
    let matches = |pid: &Pid| {
        Process::open(*pid)
            .and_then(|process| process.command_line())
            .is_ok_and(|words| !words.is_empty() && expression.is_match(&words.join(" ")))
    };
    let found: BTreeSet<Pid> =
        parents.keys().filter(|pid| !ours.contains(pid)).copied().filter(matches).collect();
    top_most(&parents, &found)
}

fn own_pid() -> Pid {
    Pid::new(std::process::id())
}

/// Those of `found` that have no ancestor in it.
fn top_most(parents: &BTreeMap<Pid, Pid>, found: &BTreeSet<Pid>) -> Vec<Pid> {
    let is_top = |pid: &Pid| !ancestors(parents, *pid).any(|above| found.contains(&above));
    found.iter().copied().filter(is_top).collect()
}

/// The parent, its parent and so on. A snapshot of `/proc` that is not of one instant
/// may hold a ring: the way up is cut after as many steps as there are processes.
fn ancestors(parents: &BTreeMap<Pid, Pid>, pid: Pid) -> impl Iterator<Item = Pid> + '_ {
    std::iter::successors(parents.get(&pid).copied(), |pid| parents.get(pid).copied())
        .take(parents.len())
}

/// Every process that we see, with its parent.
fn parents() -> BTreeMap<Pid, Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    entries
        .filter_map(|entry| {
            let pid = Pid::new(entry.ok()?.file_name().to_str()?.parse().ok()?);
            Some((pid, Process::open(pid).ok()?.parent().ok()?))
        })
        .collect()
}

fn children_by_parent(pid: Pid) -> Vec<Pid> {
    parents().into_iter().filter(|(_, parent)| *parent == pid).map(|(child, _)| child).collect()
}

fn parse_pids(text: &str) -> impl Iterator<Item = Pid> + '_ {
    text.split_ascii_whitespace().filter_map(|number| number.parse().ok()).map(Pid::new)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;

    #[test]
    fn a_birth_is_noticed() {
        let mut births = Births::new();
        assert!(births.any(), "nothing is known at first");
        let mut child = Command::new("true").spawn().unwrap();
        assert!(births.any());
        assert!(births.any(), "it may not have been on its parent's list");
        child.wait().unwrap();
        // Tests that run beside this one start processes too, though not all the time.
        while births.any() {
            std::thread::yield_now();
        }
    }

    /// A shell with a child and a grandchild, all with `mark` on their command lines.
    /// They end when the returned pipe does.
    fn family(mark: &str) -> (Child, Vec<Pid>) {
        let script = format!("sh -c 'sh -c \"echo \\$\\$; read x\" {mark}; :' {mark}; :");
        let mut child = Command::new("sh")
            .args(["-c", &script, mark])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let top = Pid::new(child.id());
        let leaf = Pid::new(line.trim().parse().unwrap());
        let middle = Process::open(leaf).unwrap().parent().unwrap();
        (child, vec![top, middle, leaf])
    }

    fn end(mut family: Child) {
        drop(family.stdin.take());
        family.wait().unwrap();
    }

    #[test]
    fn children_and_descendants_are_found_both_ways() {
        let (shell, pids) = family("farrier-tree");
        let top = Process::open(pids[0]).unwrap();
        assert_eq!(children(&top).unwrap(), pids[1..2]);
        assert_eq!(children_by_parent(pids[0]), pids[1..2]);
        assert_eq!(descendants(&top).unwrap(), pids[1..]);
        end(shell);
        assert!(matches!(children(&top), Err(Error::Gone { .. })));
    }

    #[test]
    fn a_name_finds_the_top_most_and_never_ourselves() {
        let mark = format!("farrier-name-{}", std::process::id());
        let (shell, pids) = family(&mark);
        let found = find_by_command_line(&Regex::new(&mark).unwrap());
        assert_eq!(found, pids[..1]);
        let all = find_by_command_line(&Regex::new("").unwrap());
        assert!(!all.contains(&own_pid()));
        end(shell);
    }

    #[test]
    fn a_ring_of_parents_ends() {
        let pid = Pid::new;
        let ring = BTreeMap::from([(pid(2), pid(3)), (pid(3), pid(2))]);
        assert_eq!(ancestors(&ring, pid(2)).count(), 2);
        let found = BTreeSet::from([pid(2), pid(9)]);
        let parents = BTreeMap::from([(pid(2), pid(1)), (pid(9), pid(8)), (pid(8), pid(2))]);
        assert_eq!(top_most(&parents, &found), [pid(2)]);
    }

    #[test]
    fn a_list_of_children_is_numbers() {
        assert_eq!(parse_pids("12 34 \n").collect::<Vec<_>>(), [Pid::new(12), Pid::new(34)]);
        assert_eq!(parse_pids("").count(), 0);
    }
}
