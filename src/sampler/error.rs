//! Why a recording could not begin, or a process not join it.

use crate::process::{self, Advice, Process, explain};
use crate::python;
use crate::units::Pid;

/// Why a recording could not begin, or a process not join it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The target ended before anything was sampled.
    #[error("{} ended before anything could be sampled", list(pids))]
    Gone {
        /// The target.
        pids: Vec<Pid>,
    },
    /// Somebody asked to stop before there was anything to sample.
    #[error("stopped before anything was sampled")]
    Stopped,
    /// There is no Python in the target, nor in its children if they are followed.
    #[error("{} is not Python, and no Python runs below it", list(pids))]
    NotPython {
        /// The target.
        pids: Vec<Pid>,
    },
    /// The process is not Python, but processes below it are.
    #[error("process {pid} is not Python; below it, {} {}", list(below), if below.len() == 1 { "is" } else { "are" })]
    PythonBelow {
        /// The process that was asked for.
        pid: Pid,
        /// Python processes that descend from it.
        below: Vec<Pid>,
    },
    /// It may not be read.
    #[error("not permitted to read process {pid}: {}", advice.reason)]
    Denied {
        /// The process.
        pid: Pid,
        /// Why, and what to type next.
        advice: Advice,
    },
    /// Its interpreter cannot be read.
    #[error("process {pid} cannot be profiled: {error}")]
    Python {
        /// The process.
        pid: Pid,
        /// Why.
        error: python::Error,
    },
}

fn list(pids: &[Pid]) -> String {
    let numbers: Vec<String> = pids.iter().map(Pid::to_string).collect();
    match numbers.as_slice() {
        [one] => format!("process {one}"),
        many => format!("processes {}", many.join(", ")),
    }
}

impl Error {
    pub(super) fn of_process(process: &Process, error: python::Error) -> Self {
        let pid = process.pid();
        match error {
            python::Error::Process(error @ process::Error::Denied { .. }) => {
                Self::Denied { pid, advice: explain(process, &error) }
            }
            python::Error::Process(process::Error::Gone { .. }) => Self::Gone { pids: vec![pid] },
            python::Error::NotPython => Self::NotPython { pids: vec![pid] },
            error => Self::Python { pid, error },
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Gone { .. } | Self::Stopped => 0,
            Self::NotPython { .. } | Self::PythonBelow { .. } => 1,
            Self::Python { error: python::Error::NotReady, .. } => 2,
            Self::Denied { .. } => 3,
            Self::Python { .. } => 4,
        }
    }

    /// Whether it may be otherwise in a moment: the process may not have come so far.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::NotPython { .. } | Self::Python { error: python::Error::NotReady, .. })
    }

    /// Whether this says more than `other` about why there is nothing to sample.
    pub(super) fn is_nearer_than(&self, other: &Self) -> bool {
        self.rank() > other.rank()
    }

    /// Whether a person should be told when this happens in mid-recording. That a helper
    /// process is no Python, or has ended, is nothing to tell.
    pub(super) fn is_worth_a_note(&self) -> bool {
        self.rank() > 2
    }
}
