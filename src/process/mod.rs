//! The edge to the operating system: the only module that reads `/proc`, makes
//! system calls, or says `unsafe`.
//!
//! It reads and nothing else: no `ptrace`, no signal, no write to a target.

// What is parsed here comes from a target and may be anything.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

mod affinity;
mod batch;
mod cgroup;
mod cold;
mod elf;
mod error;
mod exports;
mod heartbeat;
mod hot;
mod image;
mod listeners;
mod machine;
mod memory;
mod net_tables;
mod permission;
mod program;
mod snapshot;
mod sock_diag;
mod sockets;
mod stat;
mod tree;

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

pub use affinity::Affinity;
pub use batch::{Batch, Slot};
pub use cgroup::cpu_quota;
pub use cold::Mapping;
pub use error::{Error, Result};
pub use hot::{
    Call, RunFlag, Schedstat, Syscall, ThreadFiles, own_cpu, raise_descriptor_limit,
    sleep_precisely, ticks_since_boot,
};
pub use image::{Image, Images};
pub use listeners::{AcceptQueue, Listeners, ServiceOf};
pub use machine::{cpus_online, host_name};
pub use memory::{LiveMemory, ReadMemory};
pub use permission::{Advice, explain};
pub use program::{FileIdentity, ProgramIdentity};
pub use snapshot::{RecordingMemory, SnapshotMemory};
pub use sockets::{Descriptor, Descriptors, PathId, Watched};
pub use tree::{Births, children, descendants, find_by_command_line};

use crate::units::Pid;

/// A process, told apart by its PID and its start time.
///
/// It holds the descriptor of `/proc/PID`: every file is opened relative to it, so
/// that once the process is gone these opens fail and can never reach a later
/// process that was given the same PID. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Process {
    pid: Pid,
    start_time: u64,
    directory: Arc<OwnedFd>,
    /// Its `stat` file.
    stat: Arc<File>,
}

impl Process {
    /// The process that has this PID now.
    ///
    /// # Errors
    /// [`Error::Gone`] if there is none (or it is hidden from us).
    pub fn open(pid: Pid) -> Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(format!("/proc/{pid}").as_str(), flags, Mode::empty())
            .map_err(|errno| Error::from_errno(pid, "/proc/PID", errno))?;
        let stat = openat(&directory, "stat", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| Error::from_errno(pid, "stat", errno))?;
        let (directory, stat) = (Arc::new(directory), Arc::new(File::from(stat)));
        let mut process = Self { pid, start_time: 0, directory, stat };
        process.start_time = process.stat()?.start_time;
        Ok(process)
    }

    /// Its number.
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// The directory `/proc/PID`.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Opens a file below `/proc/PID`, such as `maps` or `task/12/stat`.
    pub(crate) fn open_file(&self, path: &str) -> Result<File> {
        openat(self.directory(), path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
            .map(File::from)
            .map_err(|errno| Error::from_errno(self.pid, path, errno))
    }

    /// The whole text of a file below `/proc/PID`. Bytes that are not UTF-8 are
    /// replaced. At the most 16 MiB are read: no honest file there is larger.
    pub(crate) fn read_text(&self, path: &str) -> Result<String> {
        self.read_bytes(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The same, as bytes.
    fn read_bytes(&self, path: &str) -> Result<Vec<u8>> {
        const LIMIT: u64 = 16 << 20;
        let mut bytes = Vec::new();
        self.open_file(path)?
            .take(LIMIT)
            .read_to_end(&mut bytes)
            .map_err(|error| Error::from_io(self.pid, path, &error))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_has_an_identity_and_a_missing_one_is_gone() {
        let own = Process::open(Pid::new(std::process::id())).unwrap();
        assert!(own.start_time() > 0);
        assert!(own.is_alive());
        // PIDs end at 2^22 on Linux.
        let none = Process::open(Pid::new((1 << 22) + 1));
        assert!(matches!(none, Err(Error::Gone { .. })), "{none:?}");
    }

    #[test]
    fn a_handle_never_reaches_a_process_that_has_ended() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::open(Pid::new(child.id())).unwrap();
        assert!(process.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!process.is_alive());
        assert!(matches!(process.read_text("maps"), Err(Error::Gone { .. })));
    }
}
