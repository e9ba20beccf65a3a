//! From the model to what is written, and back.

use super::{Facts, Progress, Session};
use crate::model::{self, Framework, ProcessFacts, Role};
use crate::units::{Nanos, Pid};

impl From<&model::Session> for Session {
    fn from(session: &model::Session) -> Self {
        let session = session.clone();
        Self {
            farrier_version: session.farrier_version,
            start_unix_ns: session.start_unix_ns,
            rate_hz: session.rate_hz,
            host: session.host,
            cpus: session.cpus,
            cpu_quota: session.cpu_quota,
            command: session.command,
            target: session.target,
            cpu_budget: session.cpu_budget,
            slow: session.slow.map(Nanos::as_nanos),
        }
    }
}

impl From<Session> for model::Session {
    fn from(session: Session) -> Self {
        Self {
            farrier_version: session.farrier_version,
            start_unix_ns: session.start_unix_ns,
            rate_hz: session.rate_hz,
            host: session.host,
            cpus: session.cpus,
            cpu_quota: session.cpu_quota,
            command: session.command,
            target: session.target,
            cpu_budget: session.cpu_budget,
            slow: session.slow.map(Nanos::from_nanos),
        }
    }
}

impl Facts {
    pub(in crate::recording) fn new(process: u32, facts: &ProcessFacts) -> Self {
        let facts = facts.clone();
        Self {
            process,
            pid: facts.pid.get(),
            role: match facts.role {
                Role::Other => 0,
                Role::Arbiter => 1,
                Role::Worker => 2,
            },
            server: facts.server,
            worker_class: facts.worker_class,
            threads: facts.threads,
            python: facts.python,
            free_threaded: facts.free_threaded,
            cpu: facts.cpu.as_nanos(),
            runqueue: facts.runqueue.as_nanos(),
            rss_bytes_first: facts.rss_bytes_first,
            rss_bytes_last: facts.rss_bytes_last,
            requests: facts.requests,
            joined: facts.joined.as_nanos(),
            left: facts.left.map(Nanos::as_nanos),
            gil_switches: facts.gil_switches,
            gil_watched: facts.gil_watched.as_nanos(),
            requests_watched: facts.requests_watched.as_nanos(),
        }
    }
}

impl From<Facts> for ProcessFacts {
    fn from(facts: Facts) -> Self {
        Self {
            pid: Pid::new(facts.pid),
            role: match facts.role {
                1 => Role::Arbiter,
                2 => Role::Worker,
                _ => Role::Other,
            },
            server: facts.server,
            worker_class: facts.worker_class,
            threads: facts.threads,
            python: facts.python,
            free_threaded: facts.free_threaded,
            cpu: Nanos::from_nanos(facts.cpu),
            runqueue: Nanos::from_nanos(facts.runqueue),
            rss_bytes_first: facts.rss_bytes_first,
            rss_bytes_last: facts.rss_bytes_last,
            requests: facts.requests,
            joined: Nanos::from_nanos(facts.joined),
            left: facts.left.map(Nanos::from_nanos),
            gil_switches: facts.gil_switches,
            gil_watched: Nanos::from_nanos(facts.gil_watched),
            requests_watched: Nanos::from_nanos(facts.requests_watched),
        }
    }
}

impl From<&model::Progress> for Progress {
    fn from(progress: &model::Progress) -> Self {
        Self {
            elapsed: progress.elapsed.as_nanos(),
            ticks: progress.ticks,
            missed_ticks: progress.missed_ticks,
            sampler_cpu: progress.sampler_cpu.as_nanos(),
            system_calls: progress.system_calls,
            bytes_read: progress.bytes_read,
            slowed: progress.slowed.as_nanos(),
            cut_stacks: progress.cut_stacks,
        }
    }
}

impl From<Progress> for model::Progress {
    fn from(progress: Progress) -> Self {
        Self {
            elapsed: Nanos::from_nanos(progress.elapsed),
            ticks: progress.ticks,
            missed_ticks: progress.missed_ticks,
            sampler_cpu: Nanos::from_nanos(progress.sampler_cpu),
            system_calls: progress.system_calls,
            bytes_read: progress.bytes_read,
            slowed: Nanos::from_nanos(progress.slowed),
            cut_stacks: progress.cut_stacks,
        }
    }
}

/// The number that stands for a framework.
pub(in crate::recording) const fn framework_number(framework: Framework) -> u32 {
    framework as u32
}

/// The framework with this number. One that this build doesn't know is taken as
/// none: the route stays right, only who named it is lost.
pub(in crate::recording) fn framework(number: u32) -> Framework {
    Framework::ALL
        .into_iter()
        .find(|&framework| framework_number(framework) == number)
        .unwrap_or(Framework::None)
}
