//! The arguments, as they are typed. Nothing but this file knows of clap's derive.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use regex::Regex;

use super::exit::Failure;
use super::options::{Dump, Ps, Record, Report, Target, View};
use super::outputs::{self, What};
use crate::model::State;
use crate::profile::{Pattern, Selection};
use crate::report::{Drawing, Format, FrameLine, FrameStyle, GroupBy};
use crate::units::Pid;

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

/// The arguments of `dump`.
#[derive(Debug, Args)]
pub struct DumpArgs {
    #[command(flatten)]
    target: RunningArgs,
    /// Show the values of locals too, which may be private; `-ll` shows more of each
    #[arg(short, long, action = ArgAction::Count)]
    locals: u8,
    /// Write JSON, with the names that py-spy uses and more
    #[arg(short, long)]
    json: bool,
    /// Write files in full, not only their package part
    #[arg(long)]
    full_filenames: bool,
    /// Look at the given processes alone, not at their workers
    #[arg(long)]
    no_children: bool,
    /// Do not read what databases are asked. Otherwise statements are shown, with all values in
    /// them replaced by `?`
    #[arg(long)]
    no_statements: bool,
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
    #[command(flatten)]
    target: RunningArgs,
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
    /// Look at the given processes alone, not at their workers
    #[arg(long)]
    no_children: bool,
    /// Do not read what databases are asked. Otherwise statements are shown, with all values in
    /// them replaced by `?`
    #[arg(long)]
    no_statements: bool,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum YesNo {
    Yes,
    No,
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

/// How long to record; a type of its own, since an `Option` would mean to clap that
/// the argument may be missing.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Length(Option<Duration>);

/// Our own share of one CPU; a type of its own for the same reason.
#[derive(Debug, Clone, Copy, PartialEq)]
struct CpuBudget(Option<f64>);

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
            target: self.target.to_target("dump")?,
            children: !self.no_children,
            locals: self.locals,
            json: self.json,
            full_filenames: self.full_filenames,
            statements: !self.no_statements,
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
            target: self.target.to_target("ps")?,
            children: !self.no_children,
            slower_than: self.slower_than.and_then(|length| length.0).unwrap_or_default(),
            route: self.route,
            watch: self.watch,
            json: self.json,
            statements: !self.no_statements,
        })
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

fn pid(text: &str) -> Result<Pid, String> {
    let text = text.trim();
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    match number {
        Some(number) if number > 0 => Ok(Pid::new(number)),
        _ => Err("a process is given by its number".to_owned()),
    }
}

fn state(text: &str) -> Result<State, String> {
    State::named(text)
        .ok_or_else(|| format!("the states are {}", State::ALL.map(State::name).join(", ")))
}

/// How many frames of a stack are kept: at the least the root, what is left out, and the leaf.
fn depth(text: &str) -> Result<u32, String> {
    const MOST: u32 = 16_384;
    match text.trim().parse() {
        Ok(depth @ 2..=MOST) => Ok(depth),
        _ => Err(format!("a depth is a number of frames from 2 to {MOST}")),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    const LARGEST: f64 = 10_000.0;
    let text = text.trim().to_lowercase();
    let (number, factor) = match text.strip_suffix("khz") {
        Some(number) => (number, 1e3),
        None => (text.strip_suffix("hz").unwrap_or(&text), 1.0),
    };
    match number.trim().parse::<f64>().map(|number| number * factor) {
        Ok(rate) if rate > 0.0 && rate <= LARGEST => Ok(rate),
        Ok(_) => Err(format!("a rate is above 0 and at most {LARGEST} Hz")),
        Err(_) => Err("a rate looks like `100`, `99.5` or `1khz`".to_owned()),
    }
}

fn cpu_budget(text: &str) -> Result<CpuBudget, String> {
    let text = text.trim();
    if text == "none" {
        return Ok(CpuBudget(None));
    }
    match text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent.is_finite() => Ok(CpuBudget(Some(percent / 100.0))),
        Ok(_) => Err("a budget is above 0 %; `none` takes the limit away".to_owned()),
        Err(_) => Err("a budget looks like `5`, `0.5%` or `none`".to_owned()),
    }
}

fn duration(text: &str) -> Result<Length, String> {
    let text = text.trim();
    if text == "unlimited" {
        return Ok(Length(None));
    }
    let units = [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let unit =
        units.into_iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (number, factor) = unit.unwrap_or((text, 1.0));
    let seconds = number.trim().parse::<f64>().ok().map(|number| number * factor);
    seconds
        .filter(|&seconds| seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .map(|duration| Length(Some(duration)))
        .ok_or_else(|| "a time looks like `10`, `10s`, `2m`, `1h` or `unlimited`".to_owned())
}

/// How long a request takes that is slow.
fn threshold(text: &str) -> Result<Duration, String> {
    let Length(length) = duration(text).map_err(|_| "a time looks like `500ms` or `2s`")?;
    length.ok_or_else(|| "`--slow` needs a time, such as `500ms`".to_owned())
}

/// The formats' names, for `record` with those that only it can write.
pub(super) fn format_named(name: &str, recording: bool) -> Result<What, String> {
    match (name, recording) {
        ("recording", true) => Ok(What::Recording),
        (_, true) => Format::named(name).map(What::Report).map_err(|e| format!("{e}, recording")),
        (_, false) => Format::named(name).map(What::Report).map_err(|error| error.to_string()),
    }
}
