//! The arguments, as they are typed. Nothing but this module knows of clap's derive.

mod look;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use regex::Regex;

use super::exit::Failure;
use super::options::{Record, Report, Target, View};
use super::outputs::{self, What};
use crate::model::State;
use crate::profile::{Pattern, Selection};
use crate::report::{Drawing, Format, FrameLine, FrameStyle, GroupBy};
use crate::units::Pid;
pub use look::{DumpArgs, PsArgs};
use values::{CpuBudget, Length, YesNo, cpu_budget, depth, duration, pid, rate, state, threshold};

/// A sampling profiler for Python web workers: which endpoint, which function, and
/// what it waits for. It never pauses, signals or writes to what it profiles.
#[derive(Debug, Parser)]
#[command(name = "farrier", version, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Attach to running processes, sample them, and write what was seen
    Record(RecordArgs),
    /// Draw a recording
    Report(ReportArgs),
    /// Show every thread's stack, what it waits for and what it serves, once
    Dump(DumpArgs),
    /// Show the requests in flight now, the oldest first
    Ps(PsArgs),
}

/// The arguments of `record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Stop after this long: `10`, `10s`, `2m`, `1h`, or `unlimited`
    #[arg(short, long, value_name = "TIME", default_value = "unlimited", value_parser = duration)]
    duration: Length,
    /// Look at every thread so many times a second
    #[arg(short, long, value_name = "HZ", default_value = "100", value_parser = rate)]
    rate: f64,
    /// Read a busy thread from the CPU that it runs on, so that what is read is of one moment.
    /// It has to wait for that long, some 20 us; with `no` it does not, and what calls a lot is
    /// seen in part
    #[arg(long, value_name = "YES|NO", value_enum, default_value_t = YesNo::Yes)]
    same_cpu: YesNo,
    /// Use at the most so many percent of one CPU, and look less often if that is not enough;
    /// `none` for no limit
    #[arg(long, value_name = "PERCENT", default_value = "5", value_parser = cpu_budget)]
    max_cpu: CpuBudget,
    /// Keep so many frames of one stack at the most, and leave out the middle of a deeper one
    #[arg(long, value_name = "FRAMES", default_value_t = 16_384, value_parser = depth)]
    max_depth: u32,
    /// Do not read what databases are asked. Otherwise statements are shown, with all values in
    /// them replaced by `?`
    #[arg(long)]
    no_statements: bool,
    /// Take endpoints also from functions of your own, as this JSON file declares them:
    /// `{"endpoints": [{"function": "Consumer.handle", "name": "message.subject"}]}`
    #[arg(long, value_name = "FILE")]
    endpoint_from: Option<PathBuf>,
    /// Keep all that requests did that took longer than this (`500ms`, `2s`), and list the
    /// slowest ten
    #[arg(long, value_name = "TIME", value_parser = threshold)]
    slow: Option<Duration>,
    /// Profile the given processes alone, not their workers
    #[arg(long)]
    no_children: bool,
    #[command(flatten)]
    outputs: OutputArgs,
    #[command(flatten)]
    view: ViewArgs,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
    /// Accepted for py-spy's sake: workers are always profiled too
    #[arg(short, long, hide_short_help = true, conflicts_with = "no_children")]
    subprocesses: bool,
    /// Accepted for py-spy's sake: nothing is ever paused
    #[arg(long, hide_short_help = true)]
    nonblocking: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct TargetArgs {
    /// Profile this process; an arbiter brings its workers. May be repeated
    #[arg(short, long, value_name = "PID", value_delimiter = ',', value_parser = pid)]
    pid: Vec<Pid>,
    /// Profile the process whose number is in this file
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// Profile every process whose command line matches
    #[arg(long, value_name = "REGEX")]
    name: Option<Regex>,
    /// Start this command and profile it
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Args)]
struct OutputArgs {
    /// Write to this file; its ending says the format. `-` is standard output. May be repeated
    #[arg(short, long, value_name = "FILE")]
    output: Vec<PathBuf>,
    /// Write in this format (flamegraph, folded, speedscope, pprof, pstats, json, text), whatever
    /// the file's ending: one for all files, or one for each. `raw` is another name for folded
    #[arg(short, long, value_name = "FORMAT")]
    format: Vec<String>,
}

#[derive(Debug, Args)]
struct ViewArgs {
    /// What stacks are grouped by
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = GroupByArg::Endpoint)]
    group_by: GroupByArg,
    /// Write a function's first line into a frame, not the line being executed
    #[arg(short = 'F', long, conflicts_with = "nolineno")]
    function: bool,
    /// Write no line into a frame
    #[arg(long)]
    nolineno: bool,
    /// Write files in full, not only their package part
    #[arg(long)]
    full_filenames: bool,
    /// Put the thread into every stack
    #[arg(short, long)]
    threads: bool,
    /// Only threads that hold the GIL
    #[arg(short, long)]
    gil: bool,
    /// Threads that wait for work too
    #[arg(short, long)]
    idle: bool,
    /// Draw what suspended tasks wait in, not threads
    #[arg(long, conflicts_with = "gil")]
    suspended: bool,
}

/// The arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The recording, a `.farrier` file
    recording: PathBuf,
    #[command(flatten)]
    outputs: OutputArgs,
    #[command(flatten)]
    view: ViewArgs,
    /// Only endpoints like this: `GET /users/*`, `/users/*`. May be repeated
    #[arg(long, value_name = "PATTERN")]
    endpoint: Vec<String>,
    /// Only threads in this state, such as `running`, `io` or `lock`. May be repeated
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    state: Vec<State>,
    /// Only this process. May be repeated
    #[arg(short, long, value_name = "PID", value_delimiter = ',', value_parser = pid)]
    pid: Vec<Pid>,
    /// Only threads with a name or number like this. May be repeated
    #[arg(long, value_name = "PATTERN")]
    thread: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum GroupByArg {
    /// What was served
    Endpoint,
    /// The process
    Process,
    /// The thread
    Thread,
    /// Nothing
    None,
}

impl RecordArgs {
    /// What is asked for, in plain words.
    ///
    /// # Errors
    /// If the arguments contradict one another.
    pub fn to_options(&self) -> Result<Record, Failure> {
        let target = &self.target;
        let target = if let Some(file) = &target.pidfile {
            Target::PidFile(file.clone())
        } else if let Some(name) = &target.name {
            Target::Name(name.clone())
        } else if !target.command.is_empty() {
            Target::Command(target.command.clone())
        } else {
            Target::Pids(target.pid.clone())
        };
        let OutputArgs { output, format } = &self.outputs;
        let outputs = outputs::plan_record(output, format)
            .map_err(|sentence| Failure::usage("record", sentence))?;
        Ok(Record {
            target,
            children: !self.no_children,
            duration: self.duration.0,
            rate_hz: self.rate,
            same_cpu: self.same_cpu == YesNo::Yes,
            statements: !self.no_statements,
            endpoint_from: self.endpoint_from.clone(),
            slow: self.slow,
            max_cpu: self.max_cpu.0,
            max_depth: self.max_depth as usize,
            outputs,
            view: self.view.to_view(Selection::default()),
            quiet: self.quiet,
        })
    }
}

impl ReportArgs {
    /// What is asked for, in plain words.
    ///
    /// # Errors
    /// If the arguments contradict one another.
    pub fn to_options(&self) -> Result<Report, Failure> {
        let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::new(text)).collect();
        let selection = Selection {
            endpoints: patterns(&self.endpoint),
            pids: self.pid.clone(),
            threads: patterns(&self.thread),
            states: self.state.clone(),
            ..Selection::default()
        };
        let OutputArgs { output, format } = &self.outputs;
        let outputs = outputs::plan_report(output, format)
            .map_err(|sentence| Failure::usage("report", sentence))?;
        let mut view = self.view.to_view(selection);
        // Who asks for idle threads wants to see them.
        view.drawing.idle |= self.state.contains(&State::Idle);
        Ok(Report { recording: self.recording.clone(), outputs, view })
    }
}

impl ViewArgs {
    fn to_view(&self, selection: Selection) -> View {
        let line = if self.function {
            FrameLine::First
        } else if self.nolineno {
            FrameLine::None
        } else {
            FrameLine::Current
        };
        let group_by = match self.group_by {
            GroupByArg::Endpoint => GroupBy::Endpoint,
            GroupByArg::Process => GroupBy::Process,
            GroupByArg::Thread => GroupBy::Thread,
            GroupByArg::None => GroupBy::None,
        };
        View {
            drawing: Drawing {
                group_by,
                threads: self.threads,
                idle: self.idle,
                frames: FrameStyle { line, full_filenames: self.full_filenames },
            },
            selection: Selection { only_gil: self.gil, suspended: self.suspended, ..selection },
        }
    }
}

/// The formats' names, for `record` with those that only it can write.
pub(super) fn format_named(name: &str, recording: bool) -> Result<What, String> {
    match (name, recording) {
        ("recording", true) => Ok(What::Recording),
        (_, true) => Format::named(name).map(What::Report).map_err(|e| format!("{e}, recording")),
        (_, false) => Format::named(name).map(What::Report).map_err(|error| error.to_string()),
    }
}
