//! What the commands are asked to do, free of how it was typed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;

use super::outputs::Planned;
use crate::profile::Selection;
use crate::report::Drawing;
use crate::units::Pid;

/// What to profile.
#[derive(Debug, Clone)]
pub enum Target {
    /// These processes, and the workers of those that have any.
    Pids(Vec<Pid>),
    /// The process whose number is in this file.
    PidFile(PathBuf),
    /// Every process whose command line matches.
    Name(Regex),
    /// A command to start, with its arguments.
    Command(Vec<OsString>),
}

/// How stacks are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// How stacks are drawn.
    pub drawing: Drawing,
    /// What is shown at all.
    pub selection: Selection,
}

/// What `record` is asked to do.
#[derive(Debug, Clone)]
pub struct Record {
    /// What to profile.
    pub target: Target,
    /// Whether the workers of a target are profiled too.
    pub children: bool,
    /// For how long; `None` until the target ends or somebody stops it.
    pub duration: Option<Duration>,
    /// How often, in ticks a second.
    pub rate_hz: f64,
    /// Whether a busy thread is read from the CPU that it runs on.
    pub same_cpu: bool,
    /// Whether it is read what databases are asked.
    pub statements: bool,
    /// A file that declares functions which serve requests.
    pub endpoint_from: Option<PathBuf>,
    /// Requests that take longer than this are kept with all that they do.
    pub slow: Option<Duration>,
    /// The share of one CPU that farrier itself may use, if there is a limit.
    pub max_cpu: Option<f64>,
    /// How many frames of one stack are kept at the most.
    pub max_depth: usize,
    /// What to write.
    pub outputs: Vec<Planned>,
    /// How stacks are shown in it.
    pub view: View,
    /// Whether to say nothing but errors.
    pub quiet: bool,
}

/// What `report` is asked to do.
#[derive(Debug, Clone)]
pub struct Report {
    /// The recording to draw.
    pub recording: PathBuf,
    /// What to write.
    pub outputs: Vec<Planned>,
    /// How stacks are shown in it.
    pub view: View,
}

/// What is looked at by commands that look at this instant, and how.
#[derive(Debug, Clone)]
pub struct Look {
    /// What to look at.
    pub target: Target,
    /// Whether the workers of a target are looked at too.
    pub children: bool,
    /// Whether it is read what databases are asked.
    pub statements: bool,
    /// The file that declares functions of the user's own which serve requests.
    pub endpoint_from: Option<PathBuf>,
}

/// What `dump` is asked to do.
#[derive(Debug, Clone)]
pub struct Dump {
    /// What to look at, and how.
    pub look: Look,
    /// How much of locals is shown; 0 for nothing.
    pub locals: u8,
    /// Whether it is written as JSON.
    pub json: bool,
    /// Whether files are written in full, not only their package part.
    pub full_filenames: bool,
}

/// What `ps` is asked to do.
#[derive(Debug, Clone)]
pub struct Ps {
    /// What to look at, and how.
    pub look: Look,
    /// Only requests that are older are shown.
    pub slower_than: Duration,
    /// Whether routes are shown instead of paths.
    pub route: bool,
    /// Whether to look again and again.
    pub watch: bool,
    /// Whether it is written as JSON.
    pub json: bool,
}
