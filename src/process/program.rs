//! Which program a process runs: its file, command line and environment, and how to
//! tell that it was replaced by another.

use std::path::PathBuf;

use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;

use super::{Error, Process, Result};

/// Which file something is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// The device it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

/// Which run of a program a process is in. A fork keeps it and an `exec` changes it,
/// also one of the same file, whose new stack begins elsewhere (unless the machine was
/// told not to lay out memory at random).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProgramIdentity {
    /// The program's file; `None` where we may not see it.
    pub file: Option<FileIdentity>,
    /// Where the first thread's stack began (field 28 of `stat`, `startstack`); 0
    /// where we may not see it.
    pub stack: u64,
}

impl Process {
    /// Which program it runs: another one after an `exec`.
    ///
    /// # Errors
    /// [`Error::Denied`] when we may not see it, [`Error::Gone`] when it has ended.
    pub fn exe_identity(&self) -> Result<FileIdentity> {
        let stat = fstatat(self.directory(), "exe", AtFlags::empty())
            .map_err(|errno| Error::from_errno(self.pid(), "exe", errno))?;
        Ok(FileIdentity { device: stat.st_dev, inode: stat.st_ino })
    }

    /// Which run of a program it is in.
    ///
    /// # Errors
    /// [`Error::Gone`] when it has ended.
    pub fn program_identity(&self) -> Result<ProgramIdentity> {
        let stack = self.stat()?.stack;
        match self.exe_identity() {
            Ok(file) => Ok(ProgramIdentity { file: Some(file), stack }),
            // It is on its way out and has let go of its memory: no new program.
            Err(gone @ Error::Gone { .. }) => Err(gone),
            Err(_) => Ok(ProgramIdentity { file: None, stack }),
        }
    }

    /// Whether it seems to be in the same run of a program as it was when this was found, by
    /// its stack alone: one system call. Where stacks are not laid out at random, an `exec`
    /// does not show.
    ///
    /// # Errors
    /// [`Error::Gone`] when it has ended.
    pub fn seems_to_run(&self, program: ProgramIdentity) -> Result<bool> {
        let stat = self.stat()?;
        if stat.has_ended() {
            return Err(Error::Gone { pid: self.pid() });
        }
        Ok(stat.stack != 0 && stat.stack == program.stack)
    }

    /// The path of the program it runs, as its own root shows it; with ` (deleted)`
    /// at its end if the name is gone.
    ///
    /// # Errors
    /// [`Error::Denied`] when we may not see it, [`Error::Gone`] when it has ended.
    pub fn exe_path(&self) -> Result<PathBuf> {
        self.by_remoteprocess("exe", remoteprocess::Process::exe)
    }

    /// Its working directory, as its own root shows it.
    ///
    /// # Errors
    /// [`Error::Denied`] when we may not see it, [`Error::Gone`] when it has ended.
    pub fn working_directory(&self) -> Result<PathBuf> {
        self.by_remoteprocess("cwd", remoteprocess::Process::cwd)
    }

    /// Its command line; empty for a kernel thread or a zombie. A process that wrote
    /// itself a title has it as the only element.
    ///
    /// # Errors
    /// [`Error::Gone`] when it has ended.
    pub fn command_line(&self) -> Result<Vec<String>> {
        Ok(parse_command_line(&self.read_bytes("cmdline")?))
    }

    /// A variable of the environment that its program was started with. Later changes
    /// do not show, and a process that wrote itself a title may have lost it all.
    ///
    /// # Errors
    /// [`Error::Denied`] when we may not see it, [`Error::Gone`] when it has ended.
    pub fn environment_variable(&self, name: &str) -> Result<Option<String>> {
        Ok(parse_variable(&self.read_bytes("environ")?, name))
    }

    /// Asks remoteprocess, which knows a PID only, and takes its answer if the process
    /// is still ours afterwards.
    fn by_remoteprocess(
        &self,
        what: &str,
        ask: impl Fn(&remoteprocess::Process) -> std::result::Result<String, remoteprocess::Error>,
    ) -> Result<PathBuf> {
        let pid = self.pid();
        let raw = i32::try_from(pid.get()).map_err(|_| Error::Gone { pid })?;
        let failed = |error| match error {
            remoteprocess::Error::IOError(error) => Error::from_io(pid, what, &error),
            other => Error::Io { pid, what: what.to_owned(), message: other.to_string() },
        };
        let answer = remoteprocess::Process::new(raw).and_then(|process| ask(&process));
        match answer {
            Ok(_) if !self.is_alive() => Err(Error::Gone { pid }),
            Ok(answer) => Ok(answer.into()),
            Err(error) => Err(failed(error)),
        }
    }
}

fn parse_command_line(bytes: &[u8]) -> Vec<String> {
    // A title leaves the rest of the old arguments' room filled with zeros.
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last.saturating_add(1));
    match bytes.get(..end) {
        None | Some([]) => Vec::new(),
        Some(used) => used
            .split(|&byte| byte == 0)
            .map(|argument| String::from_utf8_lossy(argument).into_owned())
            .collect(),
    }
}

fn parse_variable(environment: &[u8], name: &str) -> Option<String> {
    environment
        .split(|&byte| byte == 0)
        .find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        .map(|value| String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    use super::*;
    use crate::units::Pid;

    fn own() -> Process {
        Process::open(Pid::new(std::process::id())).unwrap()
    }

    #[test]
    fn a_command_line_keeps_empty_arguments_and_a_title_loses_its_padding() {
        let parsed = |bytes: &[u8]| parse_command_line(bytes);
        assert_eq!(parsed(b"sh\0-c\0\0x y\0"), ["sh", "-c", "", "x y"]);
        assert_eq!(parsed(b"gunicorn: master [app:app]\0\0\0\0\0"), ["gunicorn: master [app:app]"]);
        assert_eq!(parsed(b"a\xff\0"), ["a\u{fffd}"]);
        assert!(parsed(b"").is_empty());
        assert!(parsed(b"\0\0").is_empty());
        let given: Vec<_> = std::env::args().collect();
        assert_eq!(own().command_line().unwrap(), given);
    }

    #[test]
    fn our_own_program_is_this_test() {
        assert_eq!(own().exe_path().unwrap(), std::env::current_exe().unwrap());
        assert_eq!(own().working_directory().unwrap(), std::env::current_dir().unwrap());
        assert_eq!(own().environment_variable("PATH").unwrap(), std::env::var("PATH").ok());
        assert_eq!(own().environment_variable("PAT").unwrap(), None);
        assert_eq!(parse_variable(b"A=1\0AB=2=3\0", "AB").as_deref(), Some("2=3"));
    }

    #[test]
    fn an_exec_is_seen_even_of_the_same_program() {
        let mut child = Command::new("sh")
            .args(["-c", "echo; read x; exec sh -c 'echo; read x'"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut byte = [0];
        output.read_exact(&mut byte).unwrap();
        let process = Process::open(Pid::new(child.id())).unwrap();
        let before = process.program_identity().unwrap();
        assert_eq!(process.program_identity().unwrap(), before);
        input.write_all(b"\n").unwrap();
        output.read_exact(&mut byte).unwrap();
        let after = process.program_identity().unwrap();
        assert_eq!(before.file, after.file);
        assert_ne!(before, after);
        input.write_all(b"\n").unwrap();
        child.wait().unwrap();
        assert!(matches!(process.program_identity(), Err(Error::Gone { .. })));
    }

    #[test]
    fn a_process_that_has_ended_and_is_still_listed_runs_nothing() {
        let mut child = Command::new("true").spawn().unwrap();
        let process = Process::open(Pid::new(child.id())).unwrap();
        while process.is_alive() {
            std::thread::yield_now();
        }
        assert!(process.parent().is_ok(), "a zombie is still listed");
        assert!(matches!(process.program_identity(), Err(Error::Gone { .. })));
        child.wait().unwrap();
    }
}
