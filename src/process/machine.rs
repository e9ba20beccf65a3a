//! Facts about the machine that farrier runs on.

use nix::unistd::gethostname;

/// The machine's name; empty where the kernel has none.
pub fn host_name() -> String {
    gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// How many CPUs are online.
pub fn cpus_online() -> u32 {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    count_cpus(&online)
        .or_else(|| {
            let ours = std::thread::available_parallelism().ok()?;
            u32::try_from(ours.get()).ok()
        })
        .unwrap_or(1)
}

/// How many numbers a kernel's list such as `0-3,6` has.
fn count_cpus(list: &str) -> Option<u32> {
    list.trim().split(',').try_fold(0_u32, |count, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        count.checked_add(last.checked_sub(first)?)?.checked_add(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_counted_from_the_kernels_list() {
        assert_eq!(count_cpus("0-3,6,8-9\n"), Some(7));
        assert_eq!(count_cpus("0\n"), Some(1));
        assert_eq!(count_cpus("3-1"), None);
        assert_eq!(count_cpus(""), None);
        assert!(cpus_online() >= 1);
    }
}
