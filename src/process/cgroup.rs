//! The CPU limit that a process' control group puts on it.
//!
//! ```text
//! /proc/PID/cgroup   3:cpu,cpuacct:/docker/4f2…      0::/system.slice/app.service
//! mountinfo          …/sys/fs/cgroup/cpu             …/sys/fs/cgroup
//! limit              cpu.cfs_quota_us / period       cpu.max: "QUOTA PERIOD"
//! ```
//!
//! A group's limit holds for all below it, so the least one on the way up counts.

use std::fs;
use std::path::{Path, PathBuf};

use procfs_core::process::{MountInfo, MountInfos};
use procfs_core::{FromRead, ProcessCGroups};

use super::Process;

/// How many CPUs a process and its group may use together, if that is limited. Both
/// versions of control groups are looked at, as the two may be mounted at once.
/// `None` also when it cannot be read: a limit that we do not see is no limit to
/// reckon with.
pub fn cpu_quota(process: &Process) -> Option<f64> {
    let groups = ProcessCGroups::from_read(process.read_bytes("cgroup").ok()?.as_slice()).ok()?;
    let mounts = MountInfos::from_read(fs::File::open("/proc/self/mountinfo").ok()?).ok()?;
    quota(&groups, &mounts)
}

fn quota(groups: &ProcessCGroups, mounts: &MountInfos) -> Option<f64> {
    let mut least = None;
    for mount in mounts {
        let Some(version) = Version::of(mount) else { continue };
        let group = groups.into_iter().find(|group| match version {
            Version::One => group.controllers.iter().any(|name| name == "cpu"),
            Version::Two => group.hierarchy == 0 && group.controllers.is_empty(),
        });
        let Some(group) = group else { continue };
        for directory in upwards(&mount.mount_point, &mount.root, &group.pathname) {
            let limit = version.limit(&directory);
            least = match (least, limit) {
                (Some(least), Some(limit)) => Some(f64::min(least, limit)),
                (least, limit) => least.or(limit),
            };
        }
    }
    least
}

#[derive(Clone, Copy)]
enum Version {
    One,
    Two,
}

impl Version {
    fn of(mount: &MountInfo) -> Option<Self> {
        match mount.fs_type.as_str() {
            "cgroup" if mount.super_options.contains_key("cpu") => Some(Self::One),
            "cgroup2" => Some(Self::Two),
            _ => None,
        }
    }

    /// The limit that one group has of its own.
    fn limit(self, directory: &Path) -> Option<f64> {
        let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
        match self {
            Self::One => cpus(&read("cpu.cfs_quota_us")?, &read("cpu.cfs_period_us")?),
            Self::Two => {
                let text = read("cpu.max")?;
                let (quota, period) = text.trim().split_once(' ')?;
                cpus(quota, period)
            }
        }
    }
}

/// Quota over period, both in microseconds; a quota of `-1` or `max` is no limit.
fn cpus(quota: &str, period: &str) -> Option<f64> {
    let quota: u64 = quota.trim().parse().ok()?;
    let period: u64 = period.trim().parse().ok()?;
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

/// The directories of a group and of those above it, as far as a mount shows them.
/// `root` is the group that the mount shows at its top; of a group outside of that,
/// nothing is visible but the top.
fn upwards(mount_point: &Path, root: &str, group: &str) -> Vec<PathBuf> {
    let below = Path::new(group).strip_prefix(root).unwrap_or(Path::new(""));
    // A group outside of our own namespace is printed as `/../NAME`.
    let is_plain = below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let below = if is_plain { below } else { Path::new("") };
    below.ancestors().map(|part| mount_point.join(part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota_of(groups: &str, mounts: &str) -> Option<f64> {
        quota(
            &ProcessCGroups::from_read(groups.as_bytes()).unwrap(),
            &MountInfos::from_read(mounts.as_bytes()).unwrap(),
        )
    }

    fn write(directory: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn version_two_takes_the_least_limit_on_the_way_up() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().display();
        let mounts = format!("30 25 0:26 / {at} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n");
        let groups = "0::/system.slice/app.service\n";
        assert_eq!(quota_of(groups, &mounts), None);
        write(
            directory.path(),
            &[
                ("system.slice/app.service/cpu.max", "max 100000\n"),
                ("system.slice/cpu.max", "250000 100000\n"),
                ("other/cpu.max", "50000 100000\n"),
            ],
        );
        assert_eq!(quota_of(groups, &mounts), Some(2.5));
        write(directory.path(), &[("system.slice/app.service/cpu.max", "150000 100000\n")]);
        assert_eq!(quota_of(groups, &mounts), Some(1.5));
    }

    #[test]
    fn version_one_is_read_through_a_container_s_mount() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().display();
        let mounts = format!(
            "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
             32 31 0:29 /docker/4f2 {at}/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
             33 31 0:30 /docker/4f2 {at}/memory rw,relatime - cgroup cgroup rw,memory\n\
             41 31 0:38 / {at}/unified rw,relatime - cgroup2 cgroup2 rw\n"
        );
        let groups = "4:memory:/docker/4f2\n3:cpu,cpuacct:/docker/4f2\n0::/\n";
        write(
            directory.path(),
            &[
                ("cpu/cpu.cfs_quota_us", "50000\n"),
                ("cpu/cpu.cfs_period_us", "100000\n"),
                ("memory/cpu.cfs_quota_us", "1\n"),
                ("memory/cpu.cfs_period_us", "100000\n"),
            ],
        );
        assert_eq!(quota_of(groups, &mounts), Some(0.5));
        write(directory.path(), &[("cpu/cpu.cfs_quota_us", "-1\n")]);
        assert_eq!(quota_of(groups, &mounts), None);
    }

    #[test]
    fn a_group_that_is_not_below_the_mount_shows_only_its_top() {
        let top = [PathBuf::from("/cg/")];
        assert_eq!(upwards(Path::new("/cg"), "/docker/a", "/docker/b"), top);
        assert_eq!(upwards(Path::new("/cg"), "/", "/../sibling"), top);
        let all = ["/cg/a/b", "/cg/a", "/cg/"].map(PathBuf::from);
        assert_eq!(upwards(Path::new("/cg"), "/", "/a/b"), all);
    }

    #[test]
    fn nonsense_is_no_limit() {
        assert_eq!(cpus("max", "100000"), None);
        assert_eq!(cpus("100000", "0"), None);
        assert_eq!(cpus("0", "100000"), None);
    }
}
