//! A process' `stat` line: whether it lives, who started it and when.
//!
//! It is asked for again and again of every process of a fleet, so its descriptor is kept
//! open and the line is read onto the stack: one system call, and nothing is allocated.
//! The descriptor is of the process, not of the program: it outlives an `exec`.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::uio::pread;

use super::hot::{decimal, fields};
use super::{Error, Process, Result};
use crate::units::Pid;

/// What is used of the line (`fs/proc/array.c`, `do_task_stat`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    /// Field 3: `R`, `S`, `Z` and so on.
    pub(super) state: u8,
    /// Field 4.
    pub(super) parent: u64,
    /// Field 22, in kernel clock ticks since boot.
    pub(super) start_time: u64,
    /// Field 28, `startstack`; 0 where we may not see it, or while the process ends.
    pub(super) stack: u64,
}

impl Stat {
    /// Whether the process is a zombie, or less.
    pub(super) const fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

impl Process {
    /// Its `stat` line now.
    pub(super) fn stat(&self) -> Result<Stat> {
        // Up to the last field used there are a name of at most 64 bytes and 27 numbers.
        let mut buffer = [0; 1024];
        let count = loop {
            match pread(self.stat.as_fd(), &mut buffer, 0) {
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::from_errno(self.pid, "stat", errno)),
                Ok(count) => break count,
            }
        };
        buffer.get(..count).and_then(parse).ok_or_else(|| self.incomplete("stat"))
    }

    /// When it started, in kernel clock ticks since boot.
    pub const fn start_time(&self) -> u64 {
        self.start_time
    }

    /// Whether it still runs (a zombie does not).
    pub fn is_alive(&self) -> bool {
        self.stat().is_ok_and(|stat| !stat.has_ended())
    }

    /// The process that started it, or that adopted it; 0 if that is outside of our
    /// PID namespace.
    ///
    /// # Errors
    /// [`Error::Gone`] when it has ended.
    pub fn parent(&self) -> Result<Pid> {
        let parent = u32::try_from(self.stat()?.parent);
        parent.map(Pid::new).map_err(|_| self.incomplete("stat"))
    }
}

/// The second field, the name in parentheses, may hold anything, parentheses included: count
/// from the last one.
fn parse(line: &[u8]) -> Option<Stat> {
    let name_end = line.iter().rposition(|&byte| byte == b')')?;
    let mut after = fields(line.get(name_end.checked_add(1)?..)?);
    let [state] = *after.next()? else { return None };
    Some(Stat {
        state,
        parent: after.next().and_then(decimal)?,
        start_time: after.nth(22 - 5).and_then(decimal)?,
        stack: after.nth(28 - 23).and_then(decimal)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_the_last_parenthesis() {
        let line = b"4711 (a) R (b) S 12 4711 4711 0 -1 4194560 1 0 0 0 3 2 0 0 20 0 1 0 \
            987654 2523136 210 18446744073709551615 1 2 140722000000000 0 0 0";
        let expected =
            Stat { state: b'S', parent: 12, start_time: 987_654, stack: 140_722_000_000_000 };
        assert_eq!(parse(line), Some(expected));
        for bad in [&b""[..], b"4711 (x", b"4711 (x) ", b"4711 (x) SS 1", b"4711 (x) S 1 2 3"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
