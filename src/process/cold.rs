//! What is read of a process once, or seldom: its threads, mappings, descriptors.
//!
//! The kernel's text formats are described in `Documentation/filesystems/proc.rst`.

use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use nix::dir::Dir;
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::Mode;
use nix::unistd::{SysconfVar, sysconf};

use super::{Error, Process, Result};
use crate::units::{RemoteAddress, Tid};

/// One line of a process' memory map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Its first byte.
    pub start: RemoteAddress,
    /// The byte after its last.
    pub end: RemoteAddress,
    /// Whether the process may read it.
    pub readable: bool,
    /// Whether the process may write it.
    pub writable: bool,
    /// Whether the process may execute it.
    pub executable: bool,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// The file's device, major and minor number; zeros without a file.
    pub device: (u32, u32),
    /// The file's inode; 0 without a file.
    pub inode: u64,
    /// The file as the process' own root shows it, or a pseudo-path such as
    /// `[heap]`; `None` for nameless memory.
    pub path: Option<PathBuf>,
    /// Whether the file's name is gone, as after an upgrade.
    pub deleted: bool,
}

impl Mapping {
    /// Whether this address lies in it.
    pub fn contains(&self, address: RemoteAddress) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.end.bytes_since(self.start).unwrap_or(0)
    }
}

impl Process {
    /// Its threads.
    ///
    /// # Errors
    /// [`Error::Gone`] when it has ended.
    pub fn threads(&self) -> Result<Vec<Tid>> {
        Ok(self.list("task")?.into_iter().map(Tid::new).collect())
    }

    /// Its threads, each with the number that it has for itself: in the PID namespace
    /// of the process. The two are the same unless it runs in a container and we do
    /// not. The inner number is the last of `NSpid` in `task/TID/status`.
    ///
    /// # Errors
    /// [`Error::Gone`] when it has ended.
    pub fn inner_tids(&self) -> Result<Vec<(u32, Tid)>> {
        let threads = self.threads()?;
        let same = || threads.iter().map(|tid| (tid.get(), *tid)).collect();
        // One level of numbers is ours; a kernel before 4.1 shows none.
        if ns_pids(&self.read_text("status")?).count() < 2 {
            return Ok(same());
        }
        let inner = |tid: &Tid| {
            let status = self.read_text(&format!("task/{tid}/status")).ok()?;
            Some((ns_pids(&status).last()?, *tid))
        };
        Ok(threads.iter().filter_map(inner).collect())
    }

    /// Its memory map, by rising address.
    ///
    /// # Errors
    /// [`Error::Denied`] when we may not see it, [`Error::Gone`] when it has ended.
    pub fn mappings(&self) -> Result<Vec<Mapping>> {
        let text = self.read_bytes("maps")?;
        // A line that makes no sense is left out: the others still hold.
        Ok(text.split(|&byte| byte == b'\n').filter_map(parse_mapping).collect())
    }

    /// The name that the kernel keeps for a thread: at the most 15 bytes.
    ///
    /// # Errors
    /// [`Error::Gone`] when the thread has ended.
    pub fn thread_name(&self, tid: Tid) -> Result<String> {
        Ok(self.read_text(&format!("task/{tid}/comm"))?.trim_end_matches('\n').to_owned())
    }

    /// How much of its memory is resident, in bytes.
    ///
    /// # Errors
    /// [`Error::Gone`] when it has ended.
    pub fn resident_bytes(&self) -> Result<u64> {
        let statm = self.read_text("statm")?;
        let pages: u64 = statm
            .split_ascii_whitespace()
            .nth(1)
            .and_then(|field| field.parse().ok())
            .ok_or_else(|| self.incomplete("statm"))?;
        let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096);
        Ok(pages.saturating_mul(u64::try_from(page).unwrap_or(4096)))
    }

    /// What one of its descriptors refers to: a path, or words such as
    /// `socket:[4711]`.
    ///
    /// # Errors
    /// [`Error::Denied`] when we may not see it, [`Error::Gone`] when it has ended or
    /// has no such descriptor.
    pub fn descriptor_target(&self, descriptor: i32) -> Result<PathBuf> {
        self.link(&format!("fd/{descriptor}"))
    }

    /// Where a link below `/proc/PID` leads to.
    pub(super) fn link(&self, path: &str) -> Result<PathBuf> {
        readlinkat(self.directory(), path)
            .map(PathBuf::from)
            .map_err(|errno| Error::from_errno(self.pid(), path, errno))
    }

    /// The descriptors that it has open.
    ///
    /// # Errors
    /// [`Error::Denied`] when we may not see them, [`Error::Gone`] when it has ended.
    pub fn descriptors(&self) -> Result<Vec<i32>> {
        Ok(self.list("fd")?.into_iter().filter_map(|number| i32::try_from(number).ok()).collect())
    }

    /// The entries of a directory below `/proc/PID` whose names are numbers.
    fn list(&self, path: &str) -> Result<Vec<u32>> {
        let failed = |errno| Error::from_errno(self.pid(), path, errno);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut directory =
            Dir::openat(self.directory(), path, flags, Mode::empty()).map_err(failed)?;
        let mut numbers = Vec::new();
        for entry in directory.iter() {
            let entry = entry.map_err(failed)?;
            numbers
                .extend(entry.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
        }
        Ok(numbers)
    }

    pub(super) fn incomplete(&self, what: &str) -> Error {
        Error::Incomplete { pid: self.pid(), what: what.to_owned() }
    }
}

/// The value of a line `NAME:\tVALUE` of a `status` file.
pub(super) fn status_field<'s>(status: &'s str, name: &str) -> Option<&'s str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// The numbers of `NSpid`, outermost namespace first.
fn ns_pids(status: &str) -> impl Iterator<Item = u32> + '_ {
    let numbers = status_field(status, "NSpid").unwrap_or_default();
    numbers.split_ascii_whitespace().filter_map(|number| number.parse().ok())
}

/// `START-END PERMS OFFSET MAJOR:MINOR INODE      PATH`, all but the inode in hex.
///
/// procfs-core has a parser for this. It panics on a mapped file whose name begins
/// with `/SYSV` and is short, and gives up the whole map at one odd line; a target
/// decides both.
fn parse_mapping(line: &[u8]) -> Option<Mapping> {
    let mut fields = line.splitn(6, |&byte| byte == b' ');
    let mut next = || fields.next().and_then(|field| std::str::from_utf8(field).ok());
    let hex = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let (start, end) = next()?.split_once('-')?;
    let permissions = next()?;
    let offset = hex(next()?)?;
    let (major, minor) = next()?.split_once(':')?;
    let inode = next()?.parse().ok()?;
    let path = fields.next().unwrap_or_default().trim_ascii_start();
    let (path, deleted) = match path.strip_suffix(b" (deleted)") {
        Some(path) => (path, true),
        None => (path, false),
    };
    let has = |letter| permissions.contains(letter);
    Some(Mapping {
        start: RemoteAddress::new(hex(start)?),
        end: RemoteAddress::new(hex(end)?),
        readable: has('r'),
        writable: has('w'),
        executable: has('x'),
        offset,
        device: (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?),
        inode,
        path: (!path.is_empty()).then(|| std::ffi::OsString::from_vec(path.to_vec()).into()),
        deleted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Pid;

    fn own() -> Process {
        Process::open(Pid::new(std::process::id())).unwrap()
    }

    #[test]
    fn a_line_of_the_map_is_read_whole() {
        let line = b"7f1f0a200000-7f1f0a3d5000 r-xp 00026000 fe:00 1835079                    /usr/lib/python 3/libpython3.11.so.1.0 (deleted)";
        assert_eq!(
            parse_mapping(line),
            Some(Mapping {
                start: RemoteAddress::new(0x7f1f_0a20_0000),
                end: RemoteAddress::new(0x7f1f_0a3d_5000),
                readable: true,
                writable: false,
                executable: true,
                offset: 0x26000,
                device: (0xfe, 0),
                inode: 1_835_079,
                path: Some("/usr/lib/python 3/libpython3.11.so.1.0".into()),
                deleted: true,
            })
        );
        let nameless = parse_mapping(b"7f1f0a3d5000-7f1f0a3d6000 rw-p 00000000 00:00 0 ").unwrap();
        assert_eq!((nameless.path, nameless.writable, nameless.deleted), (None, true, false));
        let heap = parse_mapping(b"55e0-55f0 rw-p 0 00:00 0    [heap]").unwrap();
        assert_eq!(heap.path, Some("[heap]".into()));
        let short = parse_mapping(b"55e0-55f0 rw-p 0 00:00 7    /SYSVx").unwrap();
        assert_eq!(short.path, Some("/SYSVx".into()));
    }

    #[test]
    fn odd_lines_of_the_map_are_left_out() {
        for bad in
            [&b""[..], b"55e0", b"55e0-55f0 rw-p", b"x-y rw-p 0 00:00 0", b"\xff-1 r 0 0:0 0"]
        {
            assert_eq!(parse_mapping(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn our_own_map_holds_our_own_code_and_stack() {
        let local = 0_u8;
        let stack = RemoteAddress::new(&raw const local as u64);
        let mappings = own().mappings().unwrap();
        let of = |address| mappings.iter().find(|mapping| mapping.contains(address)).unwrap();
        assert!(of(stack).writable);
        let code = of(RemoteAddress::new(parse_mapping as *const () as u64));
        assert!(code.executable && !code.writable);
        let exe = std::env::current_exe().unwrap();
        assert_eq!(code.path.as_deref(), Some(exe.as_path()));
        assert_eq!(code.inode, own().exe_identity().unwrap().inode);
    }

    #[test]
    fn the_innermost_number_is_the_last() {
        let status = "Name:\tpython\nNStgid:\t900\t7\nNSpid:\t912\t19\t3\nNSpgid:\t900\t7\n";
        assert_eq!(ns_pids(status).collect::<Vec<_>>(), [912, 19, 3]);
        assert_eq!(ns_pids("Name:\tx\n").count(), 0);
        let pairs = own().inner_tids().unwrap();
        let me = std::process::id();
        assert!(pairs.contains(&(me, Tid::new(me))));
    }

    #[test]
    fn threads_are_listed_with_their_names() {
        let (send, receive) = std::sync::mpsc::channel::<()>();
        let (ready, started) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("a (very) odd 1".into())
            .spawn(move || {
                ready.send(nix::unistd::gettid()).unwrap();
                receive.recv().unwrap_err();
            })
            .unwrap();
        let tid = Tid::new(u32::try_from(started.recv().unwrap().as_raw()).unwrap());
        assert!(own().threads().unwrap().contains(&tid));
        assert_eq!(own().thread_name(tid).unwrap(), "a (very) odd 1");
        drop(send);
        thread.join().unwrap();
    }

    #[test]
    fn parent_memory_and_descriptors_are_our_own() {
        let parent = nix::unistd::getppid().as_raw();
        assert_eq!(own().parent().unwrap(), Pid::new(u32::try_from(parent).unwrap()));
        let resident = own().resident_bytes().unwrap();
        assert!((100 << 10..64 << 30).contains(&resident), "{resident}");
        let file = tempfile::NamedTempFile::new().unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&file);
        assert!(own().descriptors().unwrap().contains(&number));
        assert_eq!(own().descriptor_target(number).unwrap(), file.path());
        assert!(matches!(own().descriptor_target(1 << 20), Err(Error::Gone { .. })));
    }
}
