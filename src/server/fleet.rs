//! Which processes there are to sample now.
//!
//! ```text
//!            found            attached()
//!   (child) ──────► offered ────────────► attached ──┐
//!                   ▲  ▲  │ refused(retry)           │ exec: Left, then offered anew
//!      back-off over│  │  ▼                          ▼
//!                   └─ waiting ── exec: at once ──► offered
//!                      given up ─ exec: at once ──► offered
//! ```
//!
//! A process that cannot be attached to never keeps the others from it: right after
//! a fork or inside a shell that has still to `exec` there is no interpreter yet, so
//! it is offered again.

use std::collections::BTreeMap;

use super::{Server, detect, gunicorn, others};
use crate::model::Role;
use crate::process::{Births, Process, ProgramIdentity, children};
use crate::units::{Nanos, Pid};

/// What part a process plays in its fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Arbiter, worker or neither.
    pub role: Role,
    /// The server that it belongs to, if one was recognised.
    pub server: Option<&'static str>,
    /// What is served, as far as the command line says it.
    pub application: Option<String>,
    /// How it serves, as far as the command line says it.
    pub worker_class: Option<String>,
    /// How many threads each worker was asked to have, as far as the command line
    /// says it.
    pub threads: Option<u32>,
}

/// What became of a fleet between two polls.
#[derive(Debug, Clone)]
pub enum Change {
    /// Try to attach to this process and call [`Fleet::attached`] or
    /// [`Fleet::refused`]; it is not offered again before.
    Candidate(Process, Membership),
    /// A process that was offered turned out to play another part.
    Changed(Pid, Membership),
    /// A process that was offered has ended, or runs another program now; then it is
    /// offered again.
    Left(Pid),
}

/// The processes below some roots, and how far we got with each.
#[derive(Debug)]
pub struct Fleet {
    members: BTreeMap<Pid, Member>,
    follow_children: bool,
    births: Births,
    /// When all are looked at thoroughly again.
    next_thorough: Nanos,
}

#[derive(Debug)]
struct Member {
    process: Process,
    /// Who started it, while we knew it.
    parent: Option<Pid>,
    program: Option<ProgramIdentity>,
    membership: Membership,
    standing: Standing,
    /// Whether it was ever offered, so that its end is of interest.
    is_known: bool,
    /// Whether it ever had children, as far as we know.
    is_parent: bool,
    /// When it is looked at for children again.
    next_look: Nanos,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// To be offered at the next poll.
    New,
    /// Offered; the answer is awaited.
    Offered {
        /// How long to wait after a refusal.
        delay: Nanos,
    },
    Attached,
    /// Refused; to be offered again later.
    Waiting {
        delay: Nanos,
        /// `None` until the next poll tells the time.
        until: Option<Nanos>,
    },
    /// Refused for good, as long as it runs this program.
    GivenUp,
}

const FIRST_DELAY: Nanos = Nanos::from_millis(50);
const LONGEST_DELAY: Nanos = Nanos::from_millis(2_000);
/// Workers seldom have children; looking for them costs a read per thread.
const WORKER_LOOK_INTERVAL: Nanos = Nanos::from_millis(1_000);
/// How often what is told cheaply at each poll is made sure of: that nobody adopted a child,
/// and that nobody runs another program with its stack at the same place.
const THOROUGH_INTERVAL: Nanos = Nanos::from_millis(1_000);

impl Fleet {
    /// A fleet of these processes and, if asked for, of all that descend from them.
    pub fn new(roots: Vec<Process>, follow_children: bool) -> Self {
        let mut fleet = Self {
            members: BTreeMap::new(),
            follow_children,
            births: Births::new(),
            next_thorough: Nanos::ZERO,
        };
        for root in roots {
            fleet.insert(root, None);
        }
        fleet
    }

    /// What changed since the last poll. `now` is of any clock that does not go back;
    /// the time between two calls is how late a new worker can be noticed.
    pub fn poll(&mut self, now: Nanos) -> Vec<Change> {
        let mut changes = Vec::new();
        let thorough = now >= self.next_thorough;
        if thorough {
            self.next_thorough = now.saturating_add(THOROUGH_INTERVAL);
        }
        let changed = self.drop_ended(thorough, &mut changes);
        self.notice_execs(&changed, &mut changes);
        self.notice_titles(&mut changes);
        if self.follow_children && (self.births.any() || thorough) {
            self.find_children(now);
        }
        self.offer(now, &mut changes);
        changes
    }

    /// The process was attached to.
    pub fn attached(&mut self, pid: Pid) {
        if let Some(member) = self.members.get_mut(&pid) {
            member.standing = Standing::Attached;
        }
    }

    /// The process could not be attached to. With `retry` it is offered again, later
    /// and later; in any case when it has started another program.
    pub fn refused(&mut self, pid: Pid, retry: bool) {
        let Some(member) = self.members.get_mut(&pid) else { return };
        let delay = match member.standing {
            Standing::Offered { delay } => delay,
            _ => FIRST_DELAY,
        };
        member.standing =
            if retry { Standing::Waiting { delay, until: None } } else { Standing::GivenUp };
    }

    /// Whether every process has ended, as far as polls have shown.
    pub fn all_gone(&self) -> bool {
        self.members.is_empty()
    }

    /// What is known of a process that has not ended.
    pub fn membership(&self, pid: Pid) -> Option<&Membership> {
        self.members.get(&pid).map(|member| &member.membership)
    }

    fn insert(&mut self, process: Process, parent: Option<Pid>) {
        let pid = process.pid();
        let membership = self.membership_of(&process, parent);
        let member = Member {
            program: process.program_identity().ok(),
            process,
            parent,
            membership,
            standing: Standing::New,
            is_known: false,
            is_parent: false,
            next_look: Nanos::ZERO,
        };
        self.members.insert(pid, member);
    }

    /// Also says who may run another program now.
    fn drop_ended(&mut self, thorough: bool, changes: &mut Vec<Change>) -> Vec<Pid> {
        let mut changed = Vec::new();
        self.members.retain(|pid, member| {
            let same = match member.program {
                Some(program) => member.process.seems_to_run(program).ok(),
                None => member.process.is_alive().then_some(false),
            };
            if same.is_none() && member.is_known {
                changes.push(Change::Left(*pid));
            }
            if thorough || same == Some(false) {
                changed.push(*pid);
            }
            same.is_some()
        });
        changed
    }

    fn notice_execs(&mut self, doubtful: &[Pid], changes: &mut Vec<Change>) {
        let mut renewed = Vec::new();
        for pid in doubtful {
            let Some(member) = self.members.get_mut(pid) else { continue };
            let Ok(program) = member.process.program_identity() else { continue };
            if member.program == Some(program) {
                continue;
            }
            member.program = Some(program);
            if member.standing == Standing::Attached {
                changes.push(Change::Left(*pid));
            }
            member.standing = Standing::New;
            renewed.push((*pid, member.process.clone(), member.parent));
        }
        for (pid, process, parent) in renewed {
            let membership = self.membership_of(&process, parent);
            if let Some(member) = self.members.get_mut(&pid) {
                member.membership = membership;
            }
        }
    }

    /// A worker has its arbiter's title for a moment after it was forked, so an
    /// arbiter below another one is asked again.
    fn notice_titles(&mut self, changes: &mut Vec<Change>) {
        let doubtful: Vec<_> = self
            .members
            .values()
            .filter(|member| member.membership.role == Role::Arbiter && member.parent.is_some())
            .map(|member| (member.process.clone(), member.parent))
            .collect();
        for (process, parent) in doubtful {
            let membership = self.membership_of(&process, parent);
            let pid = process.pid();
            let Some(member) = self.members.get_mut(&pid) else { continue };
            if membership.role != Role::Arbiter && membership.server.is_some() {
                member.membership = membership.clone();
                if member.is_known {
                    changes.push(Change::Changed(pid, membership));
                }
            }
        }
    }

    /// Looks below every member, so that what an arbiter left behind when it ended is
    /// still followed.
    fn find_children(&mut self, now: Nanos) {
        let mut to_look: Vec<Pid> = self
            .members
            .iter()
            .filter(|(_, member)| member.next_look <= now)
            .map(|(pid, _)| *pid)
            .collect();
        while let Some(pid) = to_look.pop() {
            let Some(member) = self.members.get_mut(&pid) else { continue };
            let is_leaf = member.standing == Standing::Attached
                && member.parent.is_some()
                && !member.is_parent;
            if member.membership.role == Role::Worker || is_leaf {
                member.next_look = now.saturating_add(WORKER_LOOK_INTERVAL);
            }
            let Ok(found) = children(&member.process) else { continue };
            for child in found {
                if self.members.contains_key(&child) {
                    continue;
                }
                // It may have ended by now, or be someone else's by this number.
                let Ok(process) = Process::open(child) else { continue };
                if process.parent() != Ok(pid) || !process.is_alive() {
                    continue;
                }
                self.insert(process, Some(pid));
                if let Some(parent) = self.members.get_mut(&pid) {
                    parent.is_parent = true;
                }
                to_look.push(child);
            }
        }
    }

    fn offer(&mut self, now: Nanos, changes: &mut Vec<Change>) {
        for member in self.members.values_mut() {
            let delay = match &mut member.standing {
                Standing::New => FIRST_DELAY,
                Standing::Waiting { delay, until } => {
                    let until = *until.get_or_insert(now.saturating_add(*delay));
                    if now < until {
                        continue;
                    }
                    delay.saturating_add(*delay).min(LONGEST_DELAY)
                }
                Standing::Offered { .. } | Standing::Attached | Standing::GivenUp => continue,
            };
            member.standing = Standing::Offered { delay };
            member.is_known = true;
            changes.push(Change::Candidate(member.process.clone(), member.membership.clone()));
        }
    }

    fn membership_of(&self, process: &Process, parent: Option<Pid>) -> Membership {
        let line = process.command_line().unwrap_or_default();
        let Some(server) = detect(&line) else {
            if let Some(worker) = self.spawned(&line, parent) {
                return worker;
            }
            return Membership {
                role: Role::Other,
                server: None,
                application: None,
                worker_class: None,
                threads: None,
            };
        };
        let Server { name, title, application, worker_class, threads, workers: _ } = server;
        let (parent, parent_role) = self.parent_role(process, parent);
        let is_successor = || {
            let variable = process.environment_variable(gunicorn::SUCCESSOR_VARIABLE);
            let predecessor = variable.ok().flatten().and_then(|pid| pid.parse().ok());
            predecessor.is_some_and(|pid| parent == Some(Pid::new(pid)))
        };
        let role = gunicorn::role(title, parent_role, parent_role.is_some() && is_successor());
        let inherited = parent_role
            .and(parent)
            .and_then(|parent| self.members.get(&parent))
            .map(|parent| &parent.membership);
        Membership {
            role,
            server: Some(name),
            // A title has no options: what the arbiter was started with counts.
            application: application.or_else(|| inherited?.application.clone()),
            worker_class: worker_class.or_else(|| inherited?.worker_class.clone()),
            threads: threads.or_else(|| inherited?.threads),
        }
    }

    /// What a process is that its server has not forked but started anew, with a command line
    /// that says nothing of it.
    fn spawned(&self, line: &[String], parent: Option<Pid>) -> Option<Membership> {
        let parent = &self.members.get(&parent?)?.membership;
        parent.server?;
        let role = others::spawned_role(line)?;
        Some(Membership { role, ..parent.clone() })
    }

    /// Who started a process, and what part that one plays if it is a server's.
    fn parent_role(&self, process: &Process, known: Option<Pid>) -> (Option<Pid>, Option<Role>) {
        let Some(pid) = known.or_else(|| process.parent().ok()) else { return (None, None) };
        let role = match self.members.get(&pid) {
            Some(member) => member.membership.server.map(|_| member.membership.role),
            // A worker on its own is asked for: its arbiter is not among the members.
            None => Process::open(pid)
                .and_then(|parent| parent.command_line())
                .ok()
                .and_then(|line| detect(&line))
                .map(|server| server.title.unwrap_or(Role::Arbiter)),
        };
        (Some(pid), role)
    }
}

#[cfg(test)]
mod tests;
