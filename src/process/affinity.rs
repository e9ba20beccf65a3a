//! Which CPU our own thread runs on.
//!
//! A thread that is read from its own CPU does not run meanwhile, so nothing that is read
//! of it can be torn. It is neither stopped nor told: the kernel's scheduler shares the
//! CPU between the two of us as between any two.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd;

/// The CPUs that the calling thread may run on, and the one that it was moved to.
#[derive(Debug)]
pub struct Affinity {
    allowed: CpuSet,
    here: Option<usize>,
}

/// The calling thread.
const SELF: unistd::Pid = unistd::Pid::from_raw(0);

impl Affinity {
    /// Of the calling thread, which may run where it may now. `None` if that cannot be
    /// told.
    pub fn of_this_thread() -> Option<Self> {
        Some(Self { allowed: sched_getaffinity(SELF).ok()?, here: None })
    }

    /// Moves the calling thread to this CPU, where it stays until it is moved again or
    /// released. False if it may not run there. One system call, or none if it is there.
    pub fn move_to(&mut self, cpu: usize) -> bool {
        if self.here == Some(cpu) {
            return true;
        }
        if !self.allowed.is_set(cpu).unwrap_or(false) {
            return false;
        }
        let mut one = CpuSet::new();
        let moved = one.set(cpu).is_ok() && sched_setaffinity(SELF, &one).is_ok();
        if moved {
            self.here = Some(cpu);
        }
        moved
    }

    /// The CPU that the calling thread was moved to, if it was.
    pub const fn here(&self) -> Option<usize> {
        self.here
    }

    /// Lets the calling thread run wherever it might at first.
    pub fn release(&mut self) {
        if self.here.take().is_some() {
            // It could do so before; if not any more, it stays where it is.
            let _ = sched_setaffinity(SELF, &self.allowed);
        }
    }
}

impl Drop for Affinity {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus() -> Vec<usize> {
        let set = sched_getaffinity(SELF).unwrap();
        (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap()).collect()
    }

    #[test]
    fn a_thread_goes_where_it_may_and_back() {
        // Affinity is a thread's own: other tests are not moved.
        let before = cpus();
        let mut affinity = Affinity::of_this_thread().unwrap();
        let last = *before.last().unwrap();
        assert!(affinity.move_to(last));
        assert_eq!(cpus(), [last]);
        assert!(!affinity.move_to(CpuSet::count() + 1), "there is no such CPU");
        assert_eq!(cpus(), [last]);
        affinity.release();
        assert_eq!(cpus(), before);
        assert!(affinity.move_to(last));
        drop(affinity);
        assert_eq!(cpus(), before);
    }
}
