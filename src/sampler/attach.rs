//! How a recording begins: who is there, and whether it is Python.

use super::budget::Budget;
use super::clock::Clock;
use super::listen::ListenLog;
use super::target::{self, Common};
use super::{Error, Options, Session};
use crate::model::{Progress, Session as Facts};
use crate::process::{self, Affinity, Process, cpu_quota, cpus_online, host_name, own_cpu};
use crate::python;
use crate::server::{self, Fleet};
use crate::units::{Nanos, Pid};

/// How long an interpreter may take to come up in a target that was just started.
const STARTING: Nanos = Nanos::from_millis(60_000);

/// How long an interpreter's lists of threads may stay in the middle of a change.
const BETWEEN_TWO_STATES: Nanos = Nanos::from_millis(1_000);

impl Session {
    /// Attaches to what is there.
    ///
    /// # Errors
    /// No Python process could be read. If several were tried, the error is of the one
    /// that came nearest.
    pub fn attach(options: Options, stop: impl Fn() -> bool) -> Result<Self, Error> {
        process::raise_descriptor_limit();
        process::sleep_precisely();
        let clock = Clock::start(options.rate_hz);
        let facts = Facts {
            farrier_version: env!("CARGO_PKG_VERSION").to_owned(),
            start_unix_ns: clock.start_unix_ns(),
            rate_hz: options.rate_hz,
            cpu_budget: options.max_cpu,
            slow: options.slow.map(Nanos::from),
            host: host_name(),
            cpus: cpus_online(),
            cpu_quota: options.roots.first().and_then(cpu_quota),
            command: options.command.clone(),
            target: describe(&options.roots),
        };
        let budget = Budget::new(options.max_cpu, options.rate_hz, own_cpu());
        let fleet = Fleet::new(options.roots.clone(), options.follow_children);
        let mut common = Common::default();
        common.max_depth = options.max_depth;
        common.statements = options.statements;
        common.declared = options.declared;
        if options.same_cpu {
            common.affinity = Affinity::of_this_thread();
        }
        let mut session = Self {
            options,
            fleet,
            fleet_clock: Clock::start(1.0),
            targets: Vec::new(),
            common,
            clock,
            budget,
            facts,
            progress: Progress::default(),
            left_costs: (0, 0),
            own_cpu_before: own_cpu(),
            listen: ListenLog::default(),
            notes: Vec::new(),
            samples: Vec::new(),
        };
        session.attach_first(stop)?;
        Ok(session)
    }

    /// Tries until there is a first target, or no hope of one.
    fn attach_first(&mut self, stop: impl Fn() -> bool) -> Result<(), Error> {
        const RETRY: Nanos = Nanos::from_millis(20);
        let patience = if self.options.just_started { STARTING } else { BETWEEN_TWO_STATES };
        loop {
            let failure = self.follow_fleet().failure;
            if !self.options.just_started {
                self.check_roots()?;
            }
            if !self.targets.is_empty() {
                break;
            }
            if stop() {
                return Err(Error::Stopped);
            }
            if self.fleet.all_gone() {
                return Err(failure.unwrap_or_else(|| Error::Gone { pids: self.root_pids() }));
            }
            let now = self.fleet_clock.now();
            if now >= patience {
                let pids = self.root_pids();
                return Err(failure.unwrap_or(Error::NotPython { pids }));
            }
            if let Some(failure @ (Error::Denied { .. } | Error::Python { .. })) = failure
                && !failure.is_passing()
            {
                return Err(failure);
            }
            self.fleet_clock.sleep_until(now.saturating_add(RETRY), &stop);
        }
        // Before the clock starts: looking through all programs is dear, and done once.
        self.refresh_names();
        self.clock = Clock::start(self.options.rate_hz);
        self.budget = Budget::new(self.options.max_cpu, self.options.rate_hz, own_cpu());
        self.facts.start_unix_ns = self.clock.start_unix_ns();
        self.common.began = process::ticks_since_boot();
        for target in &mut self.targets {
            target.begin();
        }
        for note in &mut self.notes {
            note.at = Nanos::ZERO;
        }
        Ok(())
    }

    /// A process that was named must be Python itself: if it is a shell or a supervisor,
    /// whoever named it means another one.
    fn check_roots(&mut self) -> Result<(), Error> {
        for root in &self.options.roots {
            let pid = root.pid();
            if self.targets.iter().any(|target| target.process().pid() == pid) {
                continue;
            }
            let Err(python::Error::NotPython) = target::try_locate(root, &mut self.common) else {
                continue;
            };
            let below = process::descendants(root).unwrap_or_default();
            let below: Vec<Pid> = below
                .into_iter()
                .filter_map(|pid| Process::open(pid).ok())
                .filter(|process| target::try_locate(process, &mut self.common).is_ok())
                .map(|process| process.pid())
                .collect();
            return Err(if below.is_empty() {
                Error::NotPython { pids: vec![pid] }
            } else {
                Error::PythonBelow { pid, below }
            });
        }
        Ok(())
    }

    fn root_pids(&self) -> Vec<Pid> {
        self.options.roots.iter().map(Process::pid).collect()
    }
}

/// The targets in words: what the first one runs, and its PID.
fn describe(roots: &[Process]) -> String {
    let Some(first) = roots.first() else { return String::new() };
    let command = server::describe(&first.command_line().unwrap_or_default());
    let more = match roots.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    if command.is_empty() {
        return format!("pid {}{more}", first.pid());
    }
    format!("{command} (pid {}){more}", first.pid())
}
