//! The locks that threads wait for.

use super::reader::Runtime;
use crate::process::ReadMemory;
use crate::units::RemoteAddress;

/// `ob_mutex` of lock objects is their first field after the head, of which the type is the
/// last word, with and without a GIL (`Modules/_threadmodule.c`, `lockobject` and
/// `rlockobject`; `Modules/_queuemodule.c`, `simplequeueobject`).
const TYPE_BEFORE_MUTEX: u64 = 8;

impl Runtime {
    /// The name of the type of the object whose `PyMutex` this is: `_thread.lock`, say. It
    /// is a guess until it is compared with the names that are known: what lies before a
    /// mutex that belongs to no object may be anything. `None` if that leads nowhere.
    ///
    /// `pointer` is where the mutex' address lies.
    pub fn type_of_locked(
        &mut self,
        memory: &dyn ReadMemory,
        pointer: RemoteAddress,
    ) -> Option<String> {
        let mut objects = self.objects(memory);
        let mutex = objects.address(pointer).filter(|at| at.is_plausible())?;
        let before = RemoteAddress::new(mutex.get().checked_sub(TYPE_BEFORE_MUTEX)?);
        let class = objects.address(before).filter(|at| at.is_plausible())?;
        objects.type_name(class)
    }
}
