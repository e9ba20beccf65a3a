//! Why a process may not be read, and what to type so that it may.
//!
//! Reading another process' memory passes the kernel's `PTRACE_MODE_ATTACH` check
//! (`kernel/ptrace.c`, `__ptrace_may_access`; ptrace(2)), although ptrace itself is
//! never called: the same user throughout, or CAP_SYS_PTRACE; a target that has not
//! been made undumpable by changing its user; no capability there that we lack; then
//! the security modules, of which Yama is the usual one.

use std::collections::BTreeSet;
use std::fs;

use nix::sys::stat::fstat;

use super::cold::status_field;
use super::{Error, Process};
use crate::units::Pid;

/// Why something was not permitted, and the next thing to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// One sentence, without a full stop.
    pub reason: String,
    /// A command to type next; `None` where no command helps.
    pub command: Option<String>,
}

/// Why a process may not be read. For an error that is not about permission, that
/// error's own sentence.
pub fn explain(process: &Process, error: &Error) -> Advice {
    match error {
        Error::Denied { .. } => Facts::gather(process).judge(),
        other => Advice { reason: other.to_string(), command: None },
    }
}

/// Bit 19 of a capability set (`include/uapi/linux/capability.h`).
const CAP_SYS_PTRACE: u64 = 1 << 19;

/// All that the answer rests on. What could not be read is `None`, and then it is
/// not held to be the reason.
#[derive(Debug, Clone, Default)]
struct Facts {
    pid: u32,
    /// Our effective user.
    own_user: u32,
    /// The target's real, effective and saved user are ours, and its groups likewise.
    same_user: Option<bool>,
    target_user: Option<u32>,
    own_capabilities: u64,
    target_capabilities: u64,
    /// `/proc/PID` belongs to root although the target does not run as root.
    undumpable: bool,
    /// The target is in another user namespace than we are.
    other_user_namespace: Option<bool>,
    yama: Option<u8>,
    /// The target descends from us.
    is_descendant: bool,
    /// We run under a seccomp filter.
    filtered: bool,
    /// Our own command line, quoted.
    command: String,
}

impl Facts {
    fn gather(process: &Process) -> Self {
        let own = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let target = process.read_text("status").unwrap_or_default();
        let namespace = |path| fs::read_link(path).ok();
        let ours = namespace("/proc/self/ns/user".to_owned());
        let theirs = namespace(format!("/proc/{}/ns/user", process.pid()));
        let own_user = numbers(&own, "Uid").get(1).copied().unwrap_or(0);
        let target_user = numbers(&target, "Uid").get(1).copied();
        let owner = fstat(process.directory()).ok().map(|stat| stat.st_uid);
        Self {
            pid: process.pid().get(),
            own_user,
            same_user: is_same(&own, &target),
            target_user,
            own_capabilities: capabilities(&own, "CapEff"),
            target_capabilities: capabilities(&target, "CapPrm"),
            undumpable: owner == Some(0) && target_user.is_some_and(|user| user != 0),
            other_user_namespace: ours.zip(theirs).map(|(ours, theirs)| ours != theirs),
            yama: fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope")
                .ok()
                .and_then(|text| text.trim().parse().ok()),
            is_descendant: is_descendant(process),
            // SECCOMP_MODE_FILTER.
            filtered: status_field(&own, "Seccomp") == Some("2"),
            command: own_command(),
        }
    }

    fn judge(&self) -> Advice {
        let pid = self.pid;
        let advice = |reason: String, command: Option<String>| Advice { reason, command };
        let as_root = || Some(format!("sudo {}", self.command));
        let has_capability = self.own_capabilities & CAP_SYS_PTRACE != 0;
        let docker = || Some("docker run --cap-add SYS_PTRACE …".to_owned());

        if self.yama == Some(3) {
            return advice(
                "kernel.yama.ptrace_scope is 3: no process may read another one's memory \
                 until the machine is started without that setting"
                    .to_owned(),
                None,
            );
        }
        if has_capability {
            if self.other_user_namespace == Some(true) {
                return advice(
                    format!(
                        "process {pid} is in another user namespace, where farrier's \
                         capabilities do not count; run it on the host"
                    ),
                    as_root(),
                );
            }
            if self.filtered {
                return advice(
                    "farrier runs under a seccomp filter, as containers do, that forbids \
                     reading another process' memory"
                        .to_owned(),
                    docker(),
                );
            }
            return advice(
                format!(
                    "farrier has CAP_SYS_PTRACE and the kernel still refuses process {pid}: \
                     a security module (SELinux, AppArmor) forbids it"
                ),
                Some("dmesg | grep -i denied".to_owned()),
            );
        }
        if self.own_user == 0 {
            return advice(
                "farrier runs as root but without CAP_SYS_PTRACE, as in a container \
                 that was not given it"
                    .to_owned(),
                docker(),
            );
        }
        if self.same_user == Some(false) {
            let whose = self.target_user.map_or_else(String::new, |user| format!(" {user}"));
            return advice(
                format!(
                    "process {pid} runs as user{whose} and farrier as user {}, \
                     or their groups differ",
                    self.own_user
                ),
                as_root(),
            );
        }
        if self.undumpable {
            return advice(
                format!(
                    "process {pid} changed its user after it had started (as Gunicorn does \
                     with --user), so the kernel lets only root read it"
                ),
                as_root(),
            );
        }
        if self.target_capabilities & !self.own_capabilities != 0 {
            return advice(format!("process {pid} has capabilities that farrier lacks"), as_root());
        }
        if self.yama == Some(2) {
            return advice(
                "kernel.yama.ptrace_scope is 2: only a process with CAP_SYS_PTRACE may read \
                 another one's memory"
                    .to_owned(),
                as_root(),
            );
        }
        if self.yama == Some(1) && !self.is_descendant {
            return advice(
                format!(
                    "kernel.yama.ptrace_scope is 1: farrier may read only processes that it \
                     has started itself (farrier record -- COMMAND), and {pid} is not one"
                ),
                as_root(),
            );
        }
        if self.filtered {
            return advice(
                "farrier runs under a seccomp filter, as containers do, that forbids \
                 reading another process' memory"
                    .to_owned(),
                docker(),
            );
        }
        advice(format!("the kernel does not let farrier read process {pid}"), as_root())
    }
}

fn numbers(status: &str, name: &str) -> Vec<u32> {
    status_field(status, name)
        .unwrap_or_default()
        .split_ascii_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect()
}

fn capabilities(status: &str, name: &str) -> u64 {
    status_field(status, name).and_then(|set| u64::from_str_radix(set, 16).ok()).unwrap_or(0)
}

/// Whether the target's real, effective and saved ids are all what our own
/// file-system id is, which is the effective one. `None` if unknown.
fn is_same(own: &str, target: &str) -> Option<bool> {
    let mut same = true;
    for name in ["Uid", "Gid"] {
        let ours = numbers(own, name).get(1).copied()?;
        let theirs = numbers(target, name);
        same &= theirs.get(..3)?.iter().all(|theirs| *theirs == ours);
    }
    Some(same)
}

/// Whether we are among a process' ancestors.
fn is_descendant(process: &Process) -> bool {
    let own = Pid::new(std::process::id());
    let mut seen = BTreeSet::new();
    let mut next = process.parent().ok();
    while let Some(pid) = next.filter(|pid| seen.insert(*pid)) {
        if pid == own {
            return true;
        }
        next = Process::open(pid).and_then(|process| process.parent()).ok();
    }
    false
}

/// How farrier was called, with its full path: `sudo` has a search path of its own.
fn own_command() -> String {
    let own = Process::open(Pid::new(std::process::id()));
    let words = own.and_then(|own| own.command_line()).unwrap_or_default();
    let program = fs::read_link("/proc/self/exe").ok().map(|path| path.display().to_string());
    program
        .into_iter()
        .chain(words.into_iter().skip(1))
        .map(|word| quoted(&word))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A word as a POSIX shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-./:=,@%+".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Our own user, no capability, nothing in the way.
    fn plain() -> Facts {
        Facts {
            pid: 4711,
            own_user: 1000,
            same_user: Some(true),
            target_user: Some(1000),
            command: "/usr/bin/farrier dump -p 4711".into(),
            ..Facts::default()
        }
    }

    #[track_caller]
    fn check(facts: &Facts, reason: &str, command: Option<&str>) {
        let advice = facts.judge();
        assert!(advice.reason.contains(reason), "{}", advice.reason);
        assert!(!advice.reason.ends_with('.'));
        assert_eq!(advice.command.as_deref(), command);
    }

    const AS_ROOT: Option<&str> = Some("sudo /usr/bin/farrier dump -p 4711");
    const DOCKER: Option<&str> = Some("docker run --cap-add SYS_PTRACE …");

    #[test]
    fn each_cause_without_the_capability_has_its_sentence() {
        let other = Facts { same_user: Some(false), target_user: Some(33), ..plain() };
        check(&other, "runs as user 33 and farrier as user 1000", AS_ROOT);
        check(&Facts { undumpable: true, ..plain() }, "changed its user", AS_ROOT);
        let bound = Facts { target_capabilities: 1 << 10, ..plain() };
        check(&bound, "has capabilities that farrier lacks", AS_ROOT);
        check(&Facts { yama: Some(1), ..plain() }, "ptrace_scope is 1", AS_ROOT);
        check(&Facts { yama: Some(2), ..plain() }, "ptrace_scope is 2", AS_ROOT);
        check(&Facts { yama: Some(3), ..plain() }, "ptrace_scope is 3", None);
        check(&Facts { filtered: true, ..plain() }, "seccomp", DOCKER);
        check(&plain(), "does not let farrier read process 4711", AS_ROOT);
        let child = Facts { yama: Some(1), is_descendant: true, ..plain() };
        check(&child, "does not let farrier read", AS_ROOT);
        check(&Facts { own_user: 0, ..plain() }, "root but without CAP_SYS_PTRACE", DOCKER);
    }

    #[test]
    fn each_cause_in_spite_of_the_capability_has_its_sentence() {
        let able = Facts { own_user: 0, own_capabilities: CAP_SYS_PTRACE, ..plain() };
        let inner = Facts { other_user_namespace: Some(true), ..able.clone() };
        check(&inner, "another user namespace", AS_ROOT);
        check(&Facts { filtered: true, ..able.clone() }, "seccomp", DOCKER);
        check(&Facts { yama: Some(3), ..able.clone() }, "ptrace_scope is 3", None);
        let module = Some("dmesg | grep -i denied");
        check(&Facts { yama: Some(2), ..able }, "a security module", module);
    }

    #[test]
    fn users_and_groups_all_have_to_agree() {
        let ours = "Uid:\t1000\t1000\t1000\t1000\nGid:\t100\t100\t100\t100\n";
        let is_like = |uid: &str, gid: &str| is_same(ours, &format!("Uid:\t{uid}\nGid:\t{gid}\n"));
        assert_eq!(is_like("1000 1000 1000 1000", "100 100 100 100"), Some(true));
        assert_eq!(is_like("1000 1000 0 1000", "100 100 100 100"), Some(false));
        assert_eq!(is_like("1000 1000 1000 1000", "100 5 100 5"), Some(false));
        assert_eq!(is_like("1000", "100"), None);
        assert_eq!(capabilities("CapEff:\t0000000000080000\n", "CapEff"), CAP_SYS_PTRACE);
    }

    #[test]
    fn a_child_of_ours_is_told_from_our_parent() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::open(Pid::new(child.id())).unwrap();
        let facts = Facts::gather(&process);
        let parent = Process::open(Pid::new(std::process::id())).unwrap().parent().unwrap();
        let above = Process::open(parent).map(|parent| Facts::gather(&parent).is_descendant);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(facts.is_descendant);
        assert_eq!(facts.same_user, Some(true));
        assert_eq!(facts.other_user_namespace, Some(false));
        assert!(!facts.undumpable);
        assert_eq!(above.ok(), Some(false));
    }

    #[test]
    fn other_errors_speak_for_themselves_and_words_are_quoted() {
        let own = Process::open(Pid::new(std::process::id())).unwrap();
        let gone = Error::Gone { pid: own.pid() };
        assert_eq!(explain(&own, &gone).reason, gone.to_string());
        assert_eq!(quoted("--name=app:app"), "--name=app:app");
        assert_eq!(quoted("it's a 'b'"), r"'it'\''s a '\''b'\'''");
        assert_eq!(quoted(""), "''");
        assert!(own_command().starts_with('/'));
    }
}
