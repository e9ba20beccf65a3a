//! Reading a live process' memory.

use std::cell::Cell;

use nix::errno::Errno;
use nix::sys::uio::process_vm_readv;
use nix::unistd;
use read_process_memory::{CopyAddress, ProcessHandle};

use super::{Batch, Error, Process, Result};

/// Something whose memory can be read: a live process or a saved image of one.
pub trait ReadMemory {
    /// Reads what `batch` was asked for and has not read. Ranges that cannot be read
    /// stay empty; that is not an error.
    ///
    /// # Errors
    /// The process is gone, or may not be read at all.
    fn read(&self, batch: &mut Batch) -> Result<()>;
}

/// The memory of a live process, read with `process_vm_readv`.
///
/// The PID is not held open by the kernel: whoever keeps this for long asks
/// [`Process::is_alive`] from time to time.
#[derive(Debug)]
pub struct LiveMemory {
    process: Process,
    /// Whether the kernel was built without `process_vm_readv`, so that
    /// `/proc/PID/mem` is read instead, one range at a time.
    one_by_one: Cell<bool>,
}

impl LiveMemory {
    /// The memory of `process`.
    pub const fn new(process: Process) -> Self {
        Self { process, one_by_one: Cell::new(false) }
    }

    fn read_one_by_one(&self, batch: &mut Batch) -> Result<()> {
        let pid = self.process.pid();
        let Ok(raw) = i32::try_from(pid.get()) else { return Err(Error::Gone { pid }) };
        let handle =
            ProcessHandle::try_from(raw).map_err(|error| Error::from_io(pid, "memory", &error))?;
        batch
            .fill(
                |local, remote| {
                    let Some(first) = remote.first() else { return Ok(0) };
                    let Some(target) = local.get_mut(..first.len) else { return Ok(0) };
                    handle.copy_address(first.base, target).map(|()| first.len)
                },
                |error| {
                    matches!(
                        Error::from_io(pid, "memory", error),
                        Error::Gone { .. } | Error::Denied { .. }
                    )
                },
            )
            .map_err(|error| Error::from_io(pid, "memory", &error))
    }
}

impl ReadMemory for LiveMemory {
    fn read(&self, batch: &mut Batch) -> Result<()> {
        if self.one_by_one.get() {
            return self.read_one_by_one(batch);
        }
        let pid = self.process.pid();
        let Ok(raw) = i32::try_from(pid.get()) else { return Err(Error::Gone { pid }) };
        let outcome = batch.fill(
            |local, remote| {
                process_vm_readv(unistd::Pid::from_raw(raw), std::slice::from_mut(local), remote)
            },
            |errno| matches!(errno, Errno::ESRCH | Errno::EPERM | Errno::ENOSYS),
        );
        match outcome {
            Ok(()) => Ok(()),
            Err(Errno::ENOSYS) => {
                self.one_by_one.set(true);
                self.read_one_by_one(batch)
            }
            Err(errno) => Err(Error::from_errno(pid, "memory", errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Pid, RemoteAddress};

    fn own() -> LiveMemory {
        LiveMemory::new(Process::open(Pid::new(std::process::id())).unwrap())
    }

    #[test]
    fn both_ways_of_reading_give_the_same_bytes() {
        let text = *b"a stack of frames";
        let here = RemoteAddress::new(text.as_ptr() as u64);
        for one_by_one in [false, true] {
            let memory = own();
            memory.one_by_one.set(one_by_one);
            let mut batch = Batch::new();
            let bad = batch.ask(RemoteAddress::new(4096), 8);
            let whole = batch.ask(here, text.len());
            let part = batch.ask(here.plus(2), 5);
            memory.read(&mut batch).unwrap();
            assert_eq!(batch.bytes(bad), None);
            assert_eq!(batch.bytes(whole), Some(&text[..]));
            assert_eq!(batch.bytes(part), Some(&b"stack"[..]));
        }
    }
}
