//! The arguments of the commands that look at this instant.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use regex::Regex;

use super::super::exit::Failure;
use super::super::options::{Dump, Look, Ps, Target};
use super::values::{Length, duration, pid};
use crate::units::Pid;

/// A target that runs already.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct RunningArgs {
    /// Look at this process; an arbiter brings its workers. May be repeated
    #[arg(short, long, value_name = "PID", value_delimiter = ',', value_parser = pid)]
    pid: Vec<Pid>,
    /// Look at the process whose number is in this file
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// Look at every process whose command line matches
    #[arg(long, value_name = "REGEX")]
    name: Option<Regex>,
    /// A core file, as py-spy reads them: farrier looks at live processes only
    #[arg(short, long, value_name = "FILE", hide = true)]
    core: Option<PathBuf>,
}

/// What is looked at by commands that look at this instant.
#[derive(Debug, Args)]
struct LookArgs {
    #[command(flatten)]
    target: RunningArgs,
    /// Look at the given processes alone, not at their workers
    #[arg(long)]
    no_children: bool,
    /// Do not read what databases are asked. Otherwise statements are shown, with all values in
    /// them replaced by `?`
    #[arg(long)]
    no_statements: bool,
    /// Take endpoints also from functions of your own, as this JSON file declares them:
    /// `{"endpoints": [{"function": "Consumer.handle", "name": "message.subject"}]}`
    #[arg(long, value_name = "FILE")]
    endpoint_from: Option<PathBuf>,
}

impl LookArgs {
    fn to_look(&self, command: &str) -> Result<Look, Failure> {
        Ok(Look {
            target: self.target.to_target(command)?,
            children: !self.no_children,
            statements: !self.no_statements,
            endpoint_from: self.endpoint_from.clone(),
        })
    }
}

/// The arguments of `dump`.
#[derive(Debug, Args)]
pub struct DumpArgs {
    /// Show the values of locals too, which may be private; `-ll` shows more of each
    #[arg(short, long, action = ArgAction::Count)]
    locals: u8,
    /// Write JSON, with the names that py-spy uses and more
    #[arg(short, long)]
    json: bool,
    /// Write files in full, not only their package part
    #[arg(long)]
    full_filenames: bool,
    #[command(flatten)]
    look: LookArgs,
    /// Accepted for py-spy's sake: workers are always looked at too
    #[arg(short, long, hide_short_help = true, conflicts_with = "no_children")]
    subprocesses: bool,
    /// Accepted for py-spy's sake: nothing is ever paused
    #[arg(long, hide_short_help = true)]
    nonblocking: bool,
}

/// The arguments of `ps`.
#[derive(Debug, Args)]
pub struct PsArgs {
    /// Only requests that have been served for longer: `500ms`, `2s`, `1m`
    #[arg(long, value_name = "TIME", value_parser = duration)]
    slower_than: Option<Length>,
    /// Show routes such as `/users/<int:uid>` instead of paths
    #[arg(long)]
    route: bool,
    /// Look again every second until Ctrl-C; with `--json` a line each time
    #[arg(short, long)]
    watch: bool,
    /// Write JSON
    #[arg(short, long)]
    json: bool,
    #[command(flatten)]
    look: LookArgs,
}

impl RunningArgs {
    fn to_target(&self, command: &str) -> Result<Target, Failure> {
        if self.core.is_some() {
            return Err(Failure::usage(command, "core files are not read, only live processes"));
        }
        Ok(match (&self.pidfile, &self.name) {
            (Some(file), _) => Target::PidFile(file.clone()),
            (None, Some(name)) => Target::Name(name.clone()),
            (None, None) => Target::Pids(self.pid.clone()),
        })
    }
}

impl DumpArgs {
    /// What is asked for, in plain words.
    ///
    /// # Errors
    /// If it is asked for what farrier does not do.
    pub fn to_options(&self) -> Result<Dump, Failure> {
        Ok(Dump {
            look: self.look.to_look("dump")?,
            locals: self.locals,
            json: self.json,
            full_filenames: self.full_filenames,
        })
    }
}

impl PsArgs {
    /// What is asked for, in plain words.
    ///
    /// # Errors
    /// If it is asked for what farrier does not do.
    pub fn to_options(&self) -> Result<Ps, Failure> {
        Ok(Ps {
            look: self.look.to_look("ps")?,
            slower_than: self.slower_than.and_then(|length| length.0).unwrap_or_default(),
            route: self.route,
            watch: self.watch,
            json: self.json,
        })
    }
}
