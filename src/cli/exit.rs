//! Errors as exit statuses and sentences.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use crate::process;
use crate::recording;

/// What a run ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// It did what it was asked to.
    Done = 0,
    /// Something went wrong at run time.
    Failed = 1,
    /// It was asked wrongly.
    Usage = 2,
    /// It is not permitted to.
    Denied = 3,
    /// The target was gone before anything was sampled.
    Gone = 4,
    /// A comparison found what it was told to forbid.
    Forbidden = 5,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

/// Why a command did not do what it was asked to: a sentence for a person, and what
/// to type next where something would help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit status.
    pub status: Status,
    /// What went wrong.
    pub sentence: String,
    /// What to do about it.
    pub next: Option<String>,
}

impl Failure {
    /// A failure with this status and sentence.
    pub fn new(status: Status, sentence: impl Into<String>) -> Self {
        Self { status, sentence: sentence.into(), next: None }
    }

    /// A failure at run time.
    pub fn failed(sentence: impl Into<String>) -> Self {
        Self::new(Status::Failed, sentence)
    }

    /// Wrong usage of a command.
    pub fn usage(command: &str, sentence: impl Into<String>) -> Self {
        Self::new(Status::Usage, sentence).advising(format!("see: farrier {command} --help"))
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn advising(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }

    /// A file that could not be read or written, in words.
    pub fn file(verb: &str, path: &Path, error: &io::Error) -> Self {
        let why = match error.kind() {
            io::ErrorKind::NotFound => match path.parent().filter(|parent| parent.is_dir()) {
                None if verb == "write" => "its folder does not exist".to_owned(),
                _ => "there is no such file".to_owned(),
            },
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
            io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".to_owned(),
            io::ErrorKind::StorageFull => "no space is left on the device".to_owned(),
            _ => error.to_string(),
        };
        Self::failed(format!("cannot {verb} {}: {why}", path.display()))
    }

    /// Prints it to standard error.
    pub fn print(&self) {
        let style = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
        anstream::eprintln!("{style}farrier:{style:#} {self}");
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.sentence)?;
        match &self.next {
            Some(next) => write!(formatter, "\n  {next}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<process::Error> for Failure {
    fn from(error: process::Error) -> Self {
        let status = match error {
            process::Error::Gone { .. } => Status::Gone,
            process::Error::Denied { .. } => Status::Denied,
            _ => Status::Failed,
        };
        Self::new(status, error.to_string())
    }
}

impl Failure {
    /// A recording that could not be read.
    pub(super) fn recording(path: &Path, error: &recording::Error) -> Self {
        let failure = match error {
            recording::Error::Read(error) => Self::file("read", path, error),
            other => Self::failed(format!("{}: {other}", path.display())),
        };
        match error {
            recording::Error::Newer { .. } => failure.advising("a newer farrier can read it"),
            _ => failure,
        }
    }
}

/// The outcome of writing to standard output: whoever reads it may stop when they
/// have seen enough.
pub(super) fn to_stdout(outcome: io::Result<()>) -> Result<(), Failure> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::failed(format!("cannot write to standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}
