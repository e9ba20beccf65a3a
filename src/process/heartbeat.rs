//! The file that a Gunicorn worker touches to say that it lives.

use std::time::{Duration, SystemTime};

use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;

use super::Process;
use crate::units::Nanos;

/// The name of the file (`gunicorn/workers/workertmp.py`, 19.9 to 27): it is made in `/tmp` or
/// `worker_tmp_dir` and its name removed at once.
const NAME: &str = "wgunicorn-";

/// The most descriptors of a process that are looked through for it.
const MOST_DESCRIPTORS: usize = 4096;

impl Process {
    /// The descriptor of the file that it touches as a Gunicorn worker; `None` if there is no
    /// such file, or more than one.
    pub fn heartbeat_descriptor(&self) -> Option<i32> {
        let is_file = |descriptor: &i32| {
            let target = self.descriptor_target(*descriptor);
            let name = target.ok().and_then(|path| path.file_name()?.to_str().map(str::to_owned));
            name.is_some_and(|name| name.starts_with(NAME))
        };
        let mut files = self.descriptors().ok()?.into_iter().take(MOST_DESCRIPTORS).filter(is_file);
        let first = files.next();
        first.filter(|_| files.next().is_none())
    }

    /// How long ago the file behind a descriptor was touched: its attributes changed. The
    /// kernel notes that by its clock's last tick, some 4 ms off at the most.
    pub fn untouched_for(&self, descriptor: i32) -> Option<Nanos> {
        let path = format!("fd/{descriptor}");
        let stat = fstatat(self.directory(), path.as_str(), AtFlags::empty()).ok()?;
        let seconds = u64::try_from(stat.st_ctime).ok()?;
        let nanos = u32::try_from(stat.st_ctime_nsec).ok()?;
        let touched = SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))?;
        // One that is touched now is so by a clock that is read after ours.
        Some(SystemTime::now().duration_since(touched).unwrap_or_default().into())
    }
}
