//! Why the operating system did not give what was asked, by meaning.

use std::io;

use nix::errno::Errno;

use crate::units::Pid;

/// The result of asking the operating system about a process.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the operating system did not give what was asked. Gone, denied, incomplete
/// and unsupported are four different things to whoever has to act on them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The process (or thread) has ended, or there never was one.
    #[error("process {pid} is gone")]
    Gone {
        /// The process.
        pid: Pid,
    },
    /// The process is there and we may not look.
    #[error("not permitted to read {what} of process {pid}")]
    Denied {
        /// The process.
        pid: Pid,
        /// What we may not read.
        what: String,
    },
    /// The kernel has no such file or call.
    #[error("this kernel has no {what} (process {pid})")]
    Unsupported {
        /// The process.
        pid: Pid,
        /// What is missing.
        what: String,
    },
    /// It was read, and it was not whole or not as the kernel documents it. Trying
    /// again may help.
    #[error("could not make sense of {what} of process {pid}")]
    Incomplete {
        /// The process.
        pid: Pid,
        /// What was read.
        what: String,
    },
    /// Anything else, such as too many open files.
    #[error("reading {what} of process {pid}: {message}")]
    Io {
        /// The process.
        pid: Pid,
        /// What was read.
        what: String,
        /// The system's own words.
        message: String,
    },
}

impl Error {
    /// The meaning of a system call's failure.
    pub(crate) fn from_errno(pid: Pid, what: &str, errno: Errno) -> Self {
        let what = what.to_owned();
        match errno {
            Errno::ENOENT | Errno::ESRCH => Self::Gone { pid },
            Errno::EPERM | Errno::EACCES => Self::Denied { pid, what },
            Errno::ENOSYS | Errno::EOPNOTSUPP => Self::Unsupported { pid, what },
            Errno::EFAULT => Self::Incomplete { pid, what },
            other => Self::Io { pid, what, message: other.desc().to_owned() },
        }
    }

    /// The same for a failure that the standard library reports.
    pub(crate) fn from_io(pid: Pid, what: &str, error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Self::from_errno(pid, what, Errno::from_raw(number)),
            None => Self::Io { pid, what: what.to_owned(), message: error.to_string() },
        }
    }
}
