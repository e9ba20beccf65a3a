//! From what was typed to live processes: `farrier record`'s sampling itself, and the
//! sessions of the commands that look at what runs now.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};

use super::exit::{Failure, Status};
use super::options::{Look, Record, Target};
use super::record::{self, Sampling};
use crate::endpoint::Declared;
use crate::model::{Sink, Tables};
use crate::process::{self, Process, find_by_command_line};
use crate::sampler::{self, Options, Session};
use crate::server::detect;
use crate::units::Pid;

/// Records; gives the exit status of a command that was started for it.
///
/// # Errors
/// What went wrong with the recording. With a command that was started it is printed
/// instead, its status given, and the command has ended.
pub(super) fn record(options: &Record) -> Result<u8, Failure> {
    let mut started = None;
    let outcome = record::run(options, |options, stop| Live::attach(options, stop, &mut started));
    let Some(child) = started else { return outcome.map(|()| 0) };
    // The command may go on for long: what went wrong is said before.
    let failed = outcome.as_ref().err().map(|failure| {
        failure.print();
        failure.status as u8
    });
    let status = await_end(child, options.quiet);
    Ok(failed.unwrap_or(status))
}

/// A session that looks when it is told to, for the command of this name.
pub(super) fn looking(command: &str, look: &Look, stop: &AtomicBool) -> Result<Session, Failure> {
    let declared = declared(look.endpoint_from.as_deref())?;
    let roots = roots(&look.target, &mut None)?;
    let options = Options {
        roots,
        follow_children: look.children,
        rate_hz: 100.0,
        max_cpu: None,
        max_depth: MOST_FRAMES,
        duration: None,
        command: Vec::new(),
        just_started: false,
        same_cpu: true,
        statements: look.statements,
        declared,
        slow: None,
    };
    Session::attach(options, || stop.load(Ordering::Relaxed))
        .map_err(|error| Failure::attaching(command, error))
}

/// How many frames of a stack are kept by a single look: all that are read.
const MOST_FRAMES: usize = 16_384;

/// The processes that a target names.
fn roots(target: &Target, started: &mut Option<Child>) -> Result<Vec<Process>, Failure> {
    match target {
        Target::Pids(pids) => pids.iter().map(|&pid| open(pid)).collect(),
        Target::PidFile(file) => open(pid_in(file)?).map(|process| vec![process]),
        Target::Name(expression) => {
            let found = find_by_command_line(expression);
            if found.is_empty() {
                return Err(Failure::new(
                    Status::Gone,
                    format!("no process has a command line that matches {expression}"),
                )
                .advising("see: ps -ef"));
            }
            found.into_iter().map(open).collect()
        }
        Target::Command(words) => {
            let child = start(words)?;
            let pid = Pid::new(child.id());
            *started = Some(child);
            open(pid).map(|process| vec![process])
        }
    }
}

fn open(pid: Pid) -> Result<Process, Failure> {
    Process::open(pid).map_err(|error| match error {
        process::Error::Gone { .. } => {
            Failure::new(Status::Gone, format!("there is no process {pid}"))
        }
        other => other.into(),
    })
}

/// The number in a PID file.
fn pid_in(file: &Path) -> Result<Pid, Failure> {
    let text =
        std::fs::read_to_string(file).map_err(|error| Failure::file("read", file, &error))?;
    match text.trim().parse() {
        Ok(number) if number > 0 => Ok(Pid::new(number)),
        _ => Err(Failure::failed(format!("{} holds no process number", file.display()))),
    }
}

fn start(words: &[OsString]) -> Result<Child, Failure> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(Failure::usage("record", "no command is given"));
    };
    Command::new(program).args(arguments).spawn().map_err(|error| {
        Failure::failed(format!("cannot start {}: {error}", Path::new(program).display()))
    })
}

/// The exit status of a command, as a shell gives it on. It is never told to end: a
/// command that goes on after the recording is waited for.
fn await_end(mut child: Child, quiet: bool) -> u8 {
    use std::os::unix::process::ExitStatusExt;

    let running = matches!(child.try_wait(), Ok(None));
    if running && !quiet {
        anstream::eprintln!("farrier: waiting for the command (pid {}) to end", child.id());
    }
    let Ok(status) = child.wait() else { return Status::Failed as u8 };
    let status = status.code().or_else(|| Some(128 + status.signal()?));
    status.and_then(|status| u8::try_from(status).ok()).unwrap_or(Status::Failed as u8)
}

/// What a file declares of functions that serve requests; nothing without a file.
fn declared(file: Option<&Path>) -> Result<Declared, Failure> {
    let Some(file) = file else { return Ok(Declared::default()) };
    const MOST_BYTES: u64 = 1 << 20;
    let mut text = String::new();
    let read = std::fs::File::open(file)
        .and_then(|opened| opened.take(MOST_BYTES).read_to_string(&mut text));
    read.map_err(|error| Failure::file("read", file, &error))?;
    Declared::parse(&text).map_err(|error| {
        Failure::new(Status::Usage, format!("{}:{}: {}", file.display(), error.line, error.message))
    })
}

/// Live sampling behind [`Sampling`].
struct Live {
    session: Session,
    name: String,
}

impl Live {
    fn attach(
        options: &Record,
        stop: &AtomicBool,
        started: &mut Option<Child>,
    ) -> Result<Self, Failure> {
        let declared = declared(options.endpoint_from.as_deref())?;
        let roots = roots(&options.target, started)?;
        let pid = roots.first().map(Process::pid);
        let first = roots.first().cloned();
        let session = Session::attach(
            Options {
                roots,
                follow_children: options.children,
                rate_hz: options.rate_hz,
                max_cpu: options.max_cpu,
                max_depth: options.max_depth,
                duration: options.duration,
                command: std::env::args_os()
                    .map(|word| word.to_string_lossy().into_owned())
                    .collect(),
                just_started: started.is_some(),
                same_cpu: options.same_cpu,
                statements: options.statements,
                declared,
                slow: options.slow,
            },
            || stop.load(Ordering::Relaxed),
        )
        .map_err(|error| Failure::attaching("record", error))?;
        // Only now has a command that was just started its own name.
        let command = first.and_then(|process| process.command_line().ok()).unwrap_or_default();
        let number = pid.map(|pid| format!("-{pid}")).unwrap_or_default();
        Ok(Self { session, name: format!("{}{number}", name_of(&command)) })
    }
}

/// A short name for a command line: the server's, or the script's, or the program's.
fn name_of(command: &[String]) -> String {
    if let Some(server) = detect(command) {
        return server.name.to_owned();
    }
    let stem = |word: &String| Path::new(word).file_stem()?.to_str().map(str::to_owned);
    let is_python = |name: &String| name.starts_with("python");
    let mut names = command.iter().filter(|word| !word.starts_with('-')).filter_map(stem);
    let first = names.next();
    match first {
        Some(name) if is_python(&name) => names.next().unwrap_or(name),
        Some(name) => name,
        None => "process".to_owned(),
    }
}

impl Sampling for Live {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn run(&mut self, stop: &AtomicBool, sink: &mut dyn Sink) -> Result<(), Failure> {
        self.session
            .run(sink, || stop.load(Ordering::Relaxed))
            .map(drop)
            .map_err(|error| Failure::failed(format!("sampling ended early: {error}")))
    }

    fn tables(&self) -> &Tables {
        self.session.tables()
    }

    fn into_tables(self) -> Tables {
        self.session.into_tables()
    }
}

impl Failure {
    /// Why the command of this name could not attach, and what to type next.
    fn attaching(command: &str, error: sampler::Error) -> Self {
        let sentence = error.to_string();
        match error {
            sampler::Error::Gone { .. } => Self::new(Status::Gone, sentence),
            sampler::Error::Denied { advice, .. } => {
                let failure = Self::new(Status::Denied, sentence);
                match advice.command {
                    Some(command) => failure.advising(format!("try: {command}")),
                    None => failure,
                }
            }
            sampler::Error::PythonBelow { below, .. } => {
                let pids: Vec<String> = below.iter().map(|pid| format!("-p {pid}")).collect();
                Self::failed(sentence)
                    .advising(format!("try: farrier {command} {}", pids.join(" ")))
            }
            _ => Self::failed(sentence),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_has_a_short_name() {
        for (line, name) in [
            ("/venv/bin/python /venv/bin/gunicorn -w 2 app:app", "gunicorn"),
            ("python3.11 -u /srv/worker.py", "worker"),
            ("/usr/bin/uwsgi --ini x.ini", "uwsgi"),
            ("python3", "python3"),
            ("", "process"),
        ] {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(name_of(&words), name, "{line}");
        }
    }
}
