//! How a process begins to be sampled.

use super::super::judge::Judge;
use super::super::requests::{Counted, LocalTime};
use super::{Common, LIST_INTERVAL, Target, loops, tasks};
use crate::endpoint::Attribution;
use crate::model::{ProcessFacts, TargetProcess};
use crate::process::{LiveMemory, Process};
use crate::python::{self, Runtime};
use crate::server::Membership;
use crate::statement::Statements;
use crate::units::Nanos;

impl Target {
    /// Finds the interpreter in a process and its threads.
    ///
    /// # Errors
    /// See [`python::Error`].
    pub(in crate::sampler) fn attach(
        process: Process,
        membership: &Membership,
        now: Nanos,
        common: &mut Common,
    ) -> Result<Self, python::Error> {
        let images = common.images.of_process(&process)?;
        let memory = LiveMemory::new(process.clone());
        let runtime = Runtime::locate(&images, &memory)?;
        let (pid, start_time) = (process.pid(), process.start_time());
        let id = common.tables.intern_process(TargetProcess { pid, start_time });
        let resident = process.resident_bytes().unwrap_or(0);
        let facts = ProcessFacts {
            pid,
            role: membership.role,
            server: membership.server.map(str::to_owned),
            worker_class: membership.worker_class.clone(),
            threads: 0,
            python: runtime.version().to_string(),
            free_threaded: runtime.is_free_threaded(),
            cpu: Nanos::ZERO,
            runqueue: Nanos::ZERO,
            gil_switches: None,
            gil_watched: Nanos::ZERO,
            requests_watched: Nanos::ZERO,
            rss_bytes_first: resident,
            rss_bytes_last: resident,
            requests: None,
            joined: now,
            left: None,
        };
        let net_namespace = process.net_namespace();
        let mut target = Self {
            process,
            memory,
            runtime,
            id,
            facts,
            attribution: Attribution::new(common.declared),
            local_time: LocalTime::default(),
            counted: Counted::default(),
            judge: Judge::default(),
            statements: Statements::default(),
            again: Vec::new(),
            net_namespace,
            tracks: Vec::new(),
            wanted: Vec::new(),
            sampled: Vec::new(),
            listed: now,
            list_interval: LIST_INTERVAL,
            first_switches: None,
            ticked: None,
            worker_class_known: false,
            tasks: tasks::TaskSampling::default(),
            loops: loops::Loops::default(),
            told_unseen: false,
            heartbeat_descriptor: None,
            timeout: None,
        };
        if now > Nanos::ZERO && common.began.is_some_and(|began| start_time >= began) {
            target.counted.begin_at_nothing(now);
        }
        target.follow_threads();
        target.name_threads();
        Ok(target)
    }

    /// The recording begins: what was before does not count.
    pub(in crate::sampler) fn begin(&mut self) {
        self.facts.joined = Nanos::ZERO;
        self.listed = Nanos::ZERO;
    }

    /// Takes another part in its fleet.
    pub(in crate::sampler) fn change_membership(&mut self, membership: &Membership) {
        self.facts.role = membership.role;
        self.facts.server = membership.server.map(str::to_owned);
        if !self.worker_class_known {
            self.facts.worker_class.clone_from(&membership.worker_class);
        }
    }
}
