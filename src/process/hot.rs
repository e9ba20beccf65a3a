//! What is read of every thread at every tick: its CPU counters and the system call
//! it is in. Descriptors are kept open and texts are parsed from a buffer on the
//! stack, so nothing is allocated.
//!
//! The formats are the kernel's `fs/proc/base.c` (`proc_pid_schedstat`,
//! `proc_pid_syscall`) and `fs/proc/array.c` (`do_task_stat`).

use std::cell::OnceCell;
use std::fs::File;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::time::TimeSpec;
use nix::sys::uio::pread;
use nix::time::{ClockId, clock_gettime};

use super::{Error, Process, Result};
use crate::units::{Nanos, Tid};

/// What the scheduler has counted for a thread since it began. Exact: the counters
/// are not sampled. While a thread is on a CPU they may lag by one kernel tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Schedstat {
    /// Time on a CPU.
    pub cpu: Nanos,
    /// Time spent runnable, waiting for a CPU. A wait is added when it is over.
    pub runqueue: Nanos,
    /// How often it was given a CPU.
    pub slices: u64,
}

/// A system call that a thread is blocked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Its number, by the architecture's own table.
    pub number: u64,
    /// The argument registers.
    pub arguments: [u64; 6],
    /// The user-space stack pointer at the call.
    pub stack_pointer: u64,
    /// The user-space address it will return to.
    pub program_counter: u64,
}

/// What a thread is in, by the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syscall {
    /// It is on a CPU or wants one.
    Running,
    /// It is blocked, though not in a system call: in a page fault, say.
    Outside {
        /// The user-space stack pointer.
        stack_pointer: u64,
        /// The user-space address it will go on at.
        program_counter: u64,
    },
    /// It is blocked in a system call.
    In(Call),
}

/// What the kernel calls a thread in its `stat` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunFlag {
    /// `R`: on a CPU or waiting for one.
    Running,
    /// `D`: blocked and not to be interrupted; nearly always on a disk.
    Disk,
    /// Blocked in any other way, or stopped.
    Blocked,
    /// It has ended and not been reaped.
    Gone,
}

/// The kept descriptors of one thread.
#[derive(Debug)]
pub struct ThreadFiles {
    process: Process,
    tid: Tid,
    /// `None` where the kernel keeps no such counters.
    schedstat: Option<File>,
    /// `None` where it may not be read, or the kernel has no such file.
    syscall: Option<File>,
    /// Opened when it is first asked for.
    stat: OnceCell<File>,
}

impl ThreadFiles {
    /// Opens what can be read of a thread.
    ///
    /// # Errors
    /// [`Error::Gone`] if there is no such thread; [`Error::Io`] if, say, we have too
    /// many files open. That `syscall` may not be read is not an error here.
    pub fn open(process: &Process, tid: Tid) -> Result<Self> {
        let mut files = Self {
            process: process.clone(),
            tid,
            schedstat: None,
            syscall: None,
            stat: OnceCell::new(),
        };
        match process.open_file(&format!("task/{tid}/schedstat")) {
            Ok(file) => files.schedstat = Some(file),
            // A kernel without the file and a thread that has ended give the same
            // error; `stat` tells them apart.
            Err(Error::Gone { .. }) => drop(files.stat()?),
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(_) => {}
        }
        match process.open_file(&format!("task/{tid}/syscall")) {
            Ok(file) => {
                files.syscall = Some(file);
                // Permission is checked by each read, not by opening.
                if matches!(files.syscall(), Err(Error::Denied { .. } | Error::Unsupported { .. }))
                {
                    files.syscall = None;
                }
            }
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(_) => {}
        }
        Ok(files)
    }

    /// Which thread.
    pub const fn tid(&self) -> Tid {
        self.tid
    }

    /// Whether [`ThreadFiles::syscall`] can be asked; [`ThreadFiles::run_flag`] is what
    /// remains if not.
    pub const fn has_syscall(&self) -> bool {
        self.syscall.is_some()
    }

    /// The thread's counters.
    ///
    /// # Errors
    /// [`Error::Gone`] if the thread has ended; [`Error::Unsupported`] if the kernel
    /// does not count.
    pub fn schedstat(&self) -> Result<Schedstat> {
        let Some(file) = &self.schedstat else { return Err(self.unsupported("schedstat")) };
        let mut buffer = [0; 128];
        parse_schedstat(self.read(file, "schedstat", &mut buffer)?)
            .ok_or_else(|| self.incomplete("schedstat"))
    }

    /// The system call that the thread is in.
    ///
    /// # Errors
    /// [`Error::Gone`] if the thread has ended; [`Error::Unsupported`] if it could not
    /// be read when the thread was opened; [`Error::Denied`] if it no longer may be.
    pub fn syscall(&self) -> Result<Syscall> {
        let Some(file) = &self.syscall else { return Err(self.unsupported("syscall")) };
        let mut buffer = [0; 256];
        parse_syscall(self.read(file, "syscall", &mut buffer)?)
            .ok_or_else(|| self.incomplete("syscall"))
    }

    /// Whether the thread runs, from its `stat` file: all that can be told where the
    /// system call may not be read, and the only word on disk waits outside of one.
    ///
    /// # Errors
    /// [`Error::Gone`] if the thread has ended.
    pub fn run_flag(&self) -> Result<RunFlag> {
        // Longer than any stat line up to the state, whose name field has at most 64
        // bytes; what is cut off are numbers.
        let mut buffer = [0; 512];
        parse_run_flag(self.read(self.stat()?, "stat", &mut buffer)?)
            .ok_or_else(|| self.incomplete("stat"))
    }

    /// The CPU that the thread ran on last, or runs on.
    ///
    /// # Errors
    /// [`Error::Gone`] if the thread has ended.
    pub fn last_cpu(&self) -> Result<usize> {
        let mut buffer = [0; 1024];
        parse_last_cpu(self.read(self.stat()?, "stat", &mut buffer)?)
            .ok_or_else(|| self.incomplete("stat"))
    }

    fn stat(&self) -> Result<&File> {
        if let Some(file) = self.stat.get() {
            return Ok(file);
        }
        let file = self.process.open_file(&format!("task/{}/stat", self.tid))?;
        Ok(self.stat.get_or_init(|| file))
    }

    fn read<'b>(&self, file: &File, what: &str, buffer: &'b mut [u8]) -> Result<&'b [u8]> {
        let count = loop {
            match pread(file.as_fd(), buffer, 0) {
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::from_errno(self.process.pid(), what, errno)),
                Ok(count) => break count,
            }
        };
        buffer.get(..count).ok_or_else(|| self.incomplete(what))
    }

    fn incomplete(&self, what: &str) -> Error {
        Error::Incomplete { pid: self.process.pid(), what: what.to_owned() }
    }

    fn unsupported(&self, what: &str) -> Error {
        Error::Unsupported { pid: self.process.pid(), what: what.to_owned() }
    }
}

/// Raises our limit on open files to the most we may have, and gives that: every
/// sampled thread keeps two or three open.
pub fn raise_descriptor_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 0 };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// Lets sleeps of the calling thread end when they are due: the kernel may add 50 us of
/// its own to each otherwise (`PR_SET_TIMERSLACK`), which is as long as some executions that
/// are waited for. Whether it could be done.
pub fn sleep_precisely() -> bool {
    nix::sys::prctl::set_timerslack(1).is_ok()
}

/// The CPU time that our own process has used, all threads together.
pub fn own_cpu() -> Nanos {
    clock(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// The time since boot in the unit of a process' start time: the kernel tells that in
/// hundredths of a second (`USER_HZ`) on all machines that farrier runs on. `None` if it
/// cannot be read.
pub fn ticks_since_boot() -> Option<u64> {
    const TICK: u64 = 10_000_000;
    let since = clock(ClockId::CLOCK_BOOTTIME);
    (since > Nanos::ZERO).then(|| since.as_nanos() / TICK)
}

/// What a clock shows; zero if it cannot be read.
pub(super) fn clock(clock: ClockId) -> Nanos {
    clock_gettime(clock)
        .map_or(Nanos::ZERO, |time: TimeSpec| Nanos::from(std::time::Duration::from(time)))
}

/// `CPU RUNQUEUE SLICES\n`, in nanoseconds, nanoseconds and a count.
fn parse_schedstat(text: &[u8]) -> Option<Schedstat> {
    let mut fields = fields(text);
    let mut next = || fields.next().and_then(decimal);
    let (cpu, runqueue, slices) = (next()?, next()?, next()?);
    Some(Schedstat { cpu: Nanos::from_nanos(cpu), runqueue: Nanos::from_nanos(runqueue), slices })
}

/// `running`, `-1 SP PC` or `NUMBER ARG×6 SP PC`.
fn parse_syscall(text: &[u8]) -> Option<Syscall> {
    let mut fields = fields(text);
    let first = fields.next()?;
    if first == b"running" {
        return Some(Syscall::Running);
    }
    let mut next = || fields.next().and_then(hexadecimal);
    if first == b"-1" {
        return Some(Syscall::Outside { stack_pointer: next()?, program_counter: next()? });
    }
    // Whatever a program puts into the register is shown, as a signed number.
    let number = match first.strip_prefix(b"-") {
        Some(digits) => decimal(digits)?.wrapping_neg(),
        None => decimal(first)?,
    };
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        *argument = next()?;
    }
    Some(Syscall::In(Call { number, arguments, stack_pointer: next()?, program_counter: next()? }))
}

/// The state letter after `PID (NAME) `. The name may hold anything, parentheses
/// included, and nothing after it can: the last one counts.
fn parse_run_flag(text: &[u8]) -> Option<RunFlag> {
    let end = text.iter().rposition(|&byte| byte == b')')?;
    let rest = text.get(end.checked_add(1)?..)?;
    let [letter] = fields(rest).next()? else { return None };
    Some(match letter {
        b'R' => RunFlag::Running,
        b'D' => RunFlag::Disk,
        b'Z' | b'X' | b'x' => RunFlag::Gone,
        letter if letter.is_ascii_alphabetic() => RunFlag::Blocked,
        _ => return None,
    })
}

/// `processor`, the 39th field of the line; the state is the third.
fn parse_last_cpu(text: &[u8]) -> Option<usize> {
    let end = text.iter().rposition(|&byte| byte == b')')?;
    let field = fields(text.get(end.checked_add(1)?..)?).nth(39 - 3)?;
    usize::try_from(decimal(field)?).ok()
}

pub(super) fn fields(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty())
}

pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// `0x` and at the most 16 digits.
fn hexadecimal(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"0x").filter(|digits| (1..=16).contains(&digits.len()))?;
    digits.iter().try_fold(0_u64, |sum, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(sum.wrapping_shl(4) | u64::from(digit))
    })
}

#[cfg(test)]
mod tests;
