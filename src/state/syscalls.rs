//! What each system call waits for, by its number on each architecture.
//!
//! Numbers are those of the kernel's `arch/x86/entry/syscalls/syscall_64.tbl` and
//! `include/uapi/asm-generic/unistd.h` (aarch64).

/// Whose table of system calls counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

impl Architecture {
    /// The one that this program was built for: a target runs on the same machine.
    pub const NATIVE: Self =
        if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 };
}

/// What a blocked system call waits for, and where its descriptor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Bytes to read; the descriptor is argument 0.
    Read,
    /// Room to write; the descriptor is argument 0.
    Write,
    /// A socket's bytes or room; the descriptor is argument 0.
    Transfer,
    /// A connection to be made; the descriptor is argument 0.
    Connect,
    /// A connection to come in; the descriptor is argument 0.
    Accept,
    /// A file's contents on its disk; the descriptor is argument 0.
    File,
    /// A file system's directories; there is no descriptor to look at.
    FileSystem,
    /// A set of descriptors: array and length are arguments 0 and 1.
    Poll,
    /// A set of descriptors: the highest one plus one is argument 0, the bit sets
    /// are arguments 1 to 3.
    Select,
    /// An epoll set, whose descriptor is argument 0.
    Epoll,
    /// A word in memory, whose address is argument 0.
    Futex,
    /// Time to pass.
    Sleep,
    /// A child process to end.
    Child,
    /// A lock on a file; the descriptor is argument 0.
    FileLock,
    /// A System V semaphore.
    Semaphore,
    /// The lock of the process' own memory map.
    MemoryMap,
    /// A signal.
    Signal,
    /// An io_uring's completions.
    IoUring,
    /// The call that was interrupted, taken up again; the arguments are its own.
    Restart,
}

struct Row {
    class: Class,
    name: &'static str,
    x86_64: Option<u16>,
    aarch64: Option<u16>,
}

macro_rules! table {
    ($($class:ident: $($name:ident $x86_64:tt $aarch64:tt),+;)*) => {
        const TABLE: &[Row] = &[$($(Row {
            class: Class::$class,
            name: stringify!($name),
            x86_64: table!(@ $x86_64),
            aarch64: table!(@ $aarch64),
        }),+),*];
    };
    (@ -) => { None };
    (@ $number:literal) => { Some($number) };
}

// Class: name, number on x86_64, number on aarch64.
table! {
    Read: read 0 63, readv 19 65;
    Write: write 1 64, writev 20 66;
    Transfer: recvfrom 45 207, recvmsg 47 212, recvmmsg 299 243,
        sendto 44 206, sendmsg 46 211, sendmmsg 307 269, sendfile 40 71;
    Connect: connect 42 203;
    Accept: accept 43 202, accept4 288 242;
    File: pread64 17 67, pwrite64 18 68, preadv 295 69, pwritev 296 70, fsync 74 82,
        fdatasync 75 83, ftruncate 77 46, fallocate 285 47, getdents64 217 61,
        fstat 5 80, sync_file_range 277 84, copy_file_range 326 285;
    FileSystem: open 2 -, openat 257 56, openat2 437 437, stat 4 -, lstat 6 -,
        newfstatat 262 79, statx 332 291, access 21 -, faccessat 269 48,
        faccessat2 439 439, readlink 89 -, readlinkat 267 78, rename 82 -,
        renameat 264 38, renameat2 316 276, unlink 87 -, unlinkat 263 35, mkdir 83 -,
        mkdirat 258 34, rmdir 84 -, truncate 76 45, sync 162 81, syncfs 306 267,
        msync 26 227, execve 59 221;
    Poll: poll 7 -, ppoll 271 73;
    Select: select 23 -, pselect6 270 72;
    Epoll: epoll_wait 232 -, epoll_pwait 281 22, epoll_pwait2 441 441;
    Futex: futex 202 98;
    Sleep: nanosleep 35 101, clock_nanosleep 230 115;
    Child: wait4 61 260, waitid 247 95;
    FileLock: flock 73 32, fcntl 72 25;
    Semaphore: semop 65 193, semtimedop 220 192;
    MemoryMap: mmap 9 222, munmap 11 215, mprotect 10 226, mremap 25 216,
        madvise 28 233, brk 12 214;
    Signal: pause 34 -, rt_sigtimedwait 128 137, rt_sigsuspend 130 133;
    IoUring: io_uring_enter 426 426;
    Restart: restart_syscall 219 128;
}

/// What a call waits for; `None` for one that is not in the table.
pub fn class(architecture: Architecture, number: u64) -> Option<Class> {
    row(architecture, number).map(|row| row.class)
}

/// The name of a call that is in the table.
pub fn name(architecture: Architecture, number: u64) -> Option<&'static str> {
    row(architecture, number).map(|row| row.name)
}

fn row(architecture: Architecture, number: u64) -> Option<&'static Row> {
    let number = u16::try_from(number).ok()?;
    TABLE.iter().find(|row| {
        let own = match architecture {
            Architecture::X86_64 => row.x86_64,
            Architecture::Aarch64 => row.aarch64,
        };
        own == Some(number)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_number_stands_twice() {
        for column in [|row: &Row| row.x86_64, |row: &Row| row.aarch64] {
            let numbers: Vec<_> = TABLE.iter().filter_map(column).collect();
            let distinct: BTreeSet<_> = numbers.iter().collect();
            assert_eq!(numbers.len(), distinct.len());
        }
    }

    #[test]
    fn the_two_tables_are_told_apart() {
        use Architecture::{Aarch64, X86_64};
        // From the two kernel headers.
        for (architecture, number, expected) in [
            (X86_64, 0, Some(("read", Class::Read))),
            (X86_64, 7, Some(("poll", Class::Poll))),
            (X86_64, 202, Some(("futex", Class::Futex))),
            (X86_64, 232, Some(("epoll_wait", Class::Epoll))),
            (X86_64, 270, Some(("pselect6", Class::Select))),
            (X86_64, 219, Some(("restart_syscall", Class::Restart))),
            (X86_64, 98, None),
            (Aarch64, 98, Some(("futex", Class::Futex))),
            (Aarch64, 63, Some(("read", Class::Read))),
            (Aarch64, 22, Some(("epoll_pwait", Class::Epoll))),
            (Aarch64, 73, Some(("ppoll", Class::Poll))),
            (Aarch64, 128, Some(("restart_syscall", Class::Restart))),
            (Aarch64, 270, None),
            (Aarch64, u64::MAX, None),
        ] {
            let found = name(architecture, number).zip(class(architecture, number));
            assert_eq!(found, expected, "{architecture:?} {number}");
        }
    }

    /// The C library's own numbers for this machine as a second opinion.
    #[test]
    fn numbers_agree_with_the_c_library() {
        use nix::libc;
        let native = |name: &str| {
            let row = TABLE.iter().find(|row| row.name == name).unwrap();
            match Architecture::NATIVE {
                Architecture::X86_64 => row.x86_64,
                Architecture::Aarch64 => row.aarch64,
            }
        };
        macro_rules! check {
            ($($name:ident = $constant:ident),+ $(,)?) => {
                $(assert_eq!(
                    native(stringify!($name)).map(i64::from),
                    Some(libc::$constant as i64),
                    stringify!($name)
                );)+
            };
        }
        check!(
            read = SYS_read,
            readv = SYS_readv,
            write = SYS_write,
            writev = SYS_writev,
            recvfrom = SYS_recvfrom,
            recvmsg = SYS_recvmsg,
            recvmmsg = SYS_recvmmsg,
            sendto = SYS_sendto,
            sendmsg = SYS_sendmsg,
            sendmmsg = SYS_sendmmsg,
            sendfile = SYS_sendfile,
            connect = SYS_connect,
            accept = SYS_accept,
            accept4 = SYS_accept4,
            pread64 = SYS_pread64,
            pwrite64 = SYS_pwrite64,
            preadv = SYS_preadv,
            pwritev = SYS_pwritev,
            fsync = SYS_fsync,
            fdatasync = SYS_fdatasync,
            ftruncate = SYS_ftruncate,
            fallocate = SYS_fallocate,
            getdents64 = SYS_getdents64,
            fstat = SYS_fstat,
            copy_file_range = SYS_copy_file_range,
            openat = SYS_openat,
            openat2 = SYS_openat2,
            newfstatat = SYS_newfstatat,
            statx = SYS_statx,
            faccessat = SYS_faccessat,
            faccessat2 = SYS_faccessat2,
            readlinkat = SYS_readlinkat,
            renameat2 = SYS_renameat2,
            unlinkat = SYS_unlinkat,
            mkdirat = SYS_mkdirat,
            truncate = SYS_truncate,
            sync = SYS_sync,
            syncfs = SYS_syncfs,
            msync = SYS_msync,
            execve = SYS_execve,
            ppoll = SYS_ppoll,
            pselect6 = SYS_pselect6,
            epoll_pwait = SYS_epoll_pwait,
            epoll_pwait2 = SYS_epoll_pwait2,
            futex = SYS_futex,
            nanosleep = SYS_nanosleep,
            clock_nanosleep = SYS_clock_nanosleep,
            wait4 = SYS_wait4,
            waitid = SYS_waitid,
            flock = SYS_flock,
            fcntl = SYS_fcntl,
            semop = SYS_semop,
            semtimedop = SYS_semtimedop,
            mmap = SYS_mmap,
            munmap = SYS_munmap,
            mprotect = SYS_mprotect,
            mremap = SYS_mremap,
            madvise = SYS_madvise,
            brk = SYS_brk,
            rt_sigtimedwait = SYS_rt_sigtimedwait,
            rt_sigsuspend = SYS_rt_sigsuspend,
            io_uring_enter = SYS_io_uring_enter,
            restart_syscall = SYS_restart_syscall,
        );
        #[cfg(target_arch = "x86_64")]
        check!(
            open = SYS_open,
            stat = SYS_stat,
            lstat = SYS_lstat,
            access = SYS_access,
            readlink = SYS_readlink,
            rename = SYS_rename,
            unlink = SYS_unlink,
            mkdir = SYS_mkdir,
            rmdir = SYS_rmdir,
            poll = SYS_poll,
            select = SYS_select,
            epoll_wait = SYS_epoll_wait,
            pause = SYS_pause,
            renameat = SYS_renameat,
            sync_file_range = SYS_sync_file_range,
        );
    }
}
