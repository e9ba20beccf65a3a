//! A busy target on one CPU and the sampler on another or on the same one, through the
//! library: every sample, by stack and grade.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use farrier::endpoint::Declared;
use farrier::model::{
    Grade, ListenQueue, Note, ProcessFacts, ProcessId, Progress, Sample, Session, Sink, StackId,
    Tables, Tick,
};
use farrier::process::Process;
use farrier::sampler;
use farrier::units::{Nanos, Pid};

use super::{Interpreter, Script, application};

/// Ticks a second.
pub(crate) const RATE: f64 = 1000.0;

/// On the target's own CPU the sampler goes first.
const TARGET_PRIORITY: u32 = 10;
const SAMPLER_PRIORITY: u32 = 20;

/// If a thread's clock of CPU time stands still for longer, somebody else has its CPU.
const LONGEST_STANDSTILL: Nanos = Nanos::from_millis(9);

/// What there is of one stack.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// Samples.
    pub(crate) count: u64,
    /// The time that they stand for, in seconds, as far as the thread had its CPU.
    pub(crate) seconds: f64,
}

/// A frame in words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NamedFrame {
    /// The function.
    pub(crate) function: String,
    /// The last part of its file's path.
    pub(crate) file: String,
    /// The line it was at.
    pub(crate) line: u32,
}

/// All samples of one run.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    tables: Tables,
    stacks: HashMap<(Grade, Option<StackId>), Seen>,
    /// Samples of a thread since its clock of CPU time last moved.
    waiting: Vec<Sample>,
    /// How the run went.
    pub(crate) progress: Progress,
    /// The part of the run that its CPU was the target's (and the sampler's, if they were
    /// on the same one).
    pub(crate) cpu_share: f64,
}

impl Observed {
    /// Every stack, root first, without the mark of what is missing at its top.
    pub(crate) fn stacks(&self) -> impl Iterator<Item = (Grade, Vec<NamedFrame>, Seen)> + '_ {
        self.stacks.iter().map(|(&(grade, stack), &seen)| {
            let mut frames = self.frames(stack);
            if matches!(grade, Grade::Partial | Grade::Lost) {
                frames.pop();
            }
            (grade, frames, seen)
        })
    }

    fn frames(&self, stack: Option<StackId>) -> Vec<NamedFrame> {
        let Some(stack) = stack else { return Vec::new() };
        let mut frames: Vec<NamedFrame> = self
            .tables
            .frames_from_leaf(stack)
            .map(|frame| {
                let frame = self.tables.frame(frame);
                let function = self.tables.function(frame.function);
                let file = self.tables.string(function.file);
                NamedFrame {
                    function: self.tables.string(function.name).to_owned(),
                    file: file.rsplit('/').next().unwrap_or(file).to_owned(),
                    line: frame.line,
                }
            })
            .collect();
        frames.reverse();
        frames
    }

    /// How many samples there are.
    pub(crate) fn samples(&self) -> u64 {
        self.stacks.values().map(|seen| seen.count).sum()
    }

    /// The part of all samples that have one of these grades.
    pub(crate) fn share(&self, grades: &[Grade]) -> f64 {
        let count: u64 = self
            .stacks
            .iter()
            .filter(|((grade, _), _)| grades.contains(grade))
            .map(|(_, seen)| seen.count)
            .sum();
        count as f64 / self.samples().max(1) as f64
    }

    /// Samples a second.
    pub(crate) fn rate(&self) -> f64 {
        self.samples() as f64 / self.progress.elapsed.as_secs_f64()
    }

    /// Time by what `name` says of a stack's topmost frame. A stack without its leaf counts
    /// as `(unsettled)` or `(lost)`.
    pub(crate) fn self_time(&self, name: impl Fn(&NamedFrame) -> String) -> BTreeMap<String, f64> {
        let mut times = BTreeMap::new();
        for (&(grade, stack), seen) in &self.stacks {
            let leaf = match grade {
                Grade::Partial => "(unsettled)".to_owned(),
                Grade::Lost => "(lost)".to_owned(),
                Grade::Exact | Grade::Functions => {
                    self.frames(stack).last().map_or("(no frame)".to_owned(), &name)
                }
            };
            *times.entry(leaf).or_default() += seen.seconds;
        }
        times
    }
}

impl Observed {
    /// Counts the time of the samples since the thread was last seen to have run.
    fn settle(&mut self) {
        let total: Nanos = self.waiting.iter().map(|sample| sample.weight).sum();
        if total <= LONGEST_STANDSTILL {
            for sample in &self.waiting {
                let seen = self.stacks.entry((sample.grade, sample.stack)).or_default();
                seen.seconds += sample.weight.as_secs_f64();
            }
        }
        self.waiting.clear();
    }
}

impl Sink for &mut Observed {
    fn begin(&mut self, _: &Session) -> io::Result<()> {
        Ok(())
    }
    fn process(&mut self, _: &Tables, _: ProcessId, _: &ProcessFacts) -> io::Result<()> {
        Ok(())
    }
    fn tick(&mut self, _: &Tables, _: &Tick, samples: &[Sample]) -> io::Result<()> {
        for sample in samples {
            self.stacks.entry((sample.grade, sample.stack)).or_default().count += 1;
        }
        // Of a thread that has lost its CPU the same stack is seen again and again. Its clock
        // tells: that of one that runs moves with the kernel's timer, 4 ms at the longest.
        if let [sample] = samples {
            if sample.cpu > Nanos::ZERO {
                self.settle();
            }
            self.waiting.push(*sample);
        }
        Ok(())
    }
    fn progress(&mut self, _: &Tables, _: &Progress) -> io::Result<()> {
        Ok(())
    }
    fn listen(&mut self, _: &Tables, _: &ListenQueue) -> io::Result<()> {
        Ok(())
    }
    fn note(&mut self, _: &Tables, _: &Note) -> io::Result<()> {
        Ok(())
    }
    fn end(&mut self, _: &Tables, progress: &Progress) -> io::Result<()> {
        self.progress = *progress;
        Ok(())
    }
}

/// The share of each name in two histograms, what differs most first.
pub(crate) fn differences(
    one: &BTreeMap<String, f64>,
    other: &BTreeMap<String, f64>,
) -> Vec<(String, f64, f64)> {
    let share = |times: &BTreeMap<String, f64>, name: &String| {
        let total: f64 = times.values().sum();
        times.get(name).map_or(0.0, |time| time / total)
    };
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let mut rows: Vec<(String, f64, f64)> = names
        .into_iter()
        .map(|name| (name.clone(), share(one, name), share(other, name)))
        .collect();
    rows.sort_by(|a, b| (b.1 - b.2).abs().total_cmp(&(a.1 - a.2).abs()));
    rows
}

/// Total-variation distance: the part of the time that would have to be moved to make one
/// histogram of the other, from 0 to 1.
pub(crate) fn distance(one: &BTreeMap<String, f64>, other: &BTreeMap<String, f64>) -> f64 {
    differences(one, other).iter().map(|(_, one, other)| (one - other).abs()).sum::<f64>() / 2.0
}

/// The distance that two histograms of so many samples each have by chance alone, on
/// average, if both are of this one: each share's difference is normal, of variance
/// 2p(1-p)/n, and half the sum of their absolute values is the distance.
pub(crate) fn chance(times: &BTreeMap<String, f64>, samples: u64) -> f64 {
    let total: f64 = times.values().sum::<f64>().max(f64::MIN_POSITIVE);
    let each = |time: &f64| {
        let share = time / total;
        (2.0 / std::f64::consts::PI * 2.0 * share * (1.0 - share) / samples.max(1) as f64).sqrt()
    };
    times.values().map(each).sum::<f64>() / 2.0
}

/// Two CPUs that this process may use; `None` if it has but one.
pub(crate) fn two_cpus() -> Option<[u32; 2]> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let mut cpus = list.trim().split(',').flat_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<u32>().unwrap_or(0)..=last.parse::<u32>().unwrap_or(0)
    });
    Some([cpus.next()?, cpus.next()?])
}

/// A script on a CPU of its own, ahead of others if that is allowed.
pub(crate) fn start_on(
    cpu: u32,
    interpreter: &Interpreter,
    name: &str,
    arguments: &[&str],
) -> Script {
    let mut command = Command::new("taskset");
    command.args(["-c", &cpu.to_string()]).arg(&interpreter.python);
    command.arg(application(name)).args(arguments);
    let script = Script::spawn(command);
    put_ahead(script.pid(), TARGET_PRIORITY);
    script
}

/// Lets a thread run before all others of its CPU. Where that is not allowed nothing
/// changes, and the measured share of the CPU tells. Niceness would not do: with one
/// session's processes in a group of their own (autogroup) it means nothing to others'.
fn put_ahead(tid: u32, priority: u32) {
    let mut command = Command::new("chrt");
    command.args(["--fifo", "-p", &priority.to_string(), &tid.to_string()]);
    let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// Nanoseconds that a thread has been on a CPU.
fn on_cpu(path: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// Where the sampler is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Where {
    /// Kept on a CPU that is not the target's: the target runs while it is read.
    Another(u32),
    /// Kept on the target's CPU: the target cannot run meanwhile. This is the truth.
    Same(u32),
    /// Where farrier itself wants to be.
    Anywhere,
}

/// Samples a script for so long.
pub(crate) fn observe(target: &Script, from: Where, duration: Duration) -> Observed {
    let pid = target.pid();
    let watch = move || {
        let me = std::fs::read_link("/proc/thread-self").expect("procfs is mounted");
        let me = me.file_name().and_then(|name| name.to_str()).expect("a number").to_owned();
        if let Where::Another(cpu) | Where::Same(cpu) = from {
            let mut taskset = Command::new("taskset");
            taskset.args(["-cp", &cpu.to_string(), &me]).stdout(Stdio::null());
            assert!(taskset.status().expect("taskset is there").success(), "CPU {cpu} is not ours");
        }
        put_ahead(me.parse().expect("a number"), SAMPLER_PRIORITY);
        let options = sampler::Options {
            roots: vec![Process::open(Pid::new(pid)).expect("the target lives")],
            follow_children: false,
            rate_hz: RATE,
            max_cpu: None,
            duration: Some(duration),
            command: Vec::new(),
            just_started: false,
            same_cpu: from == Where::Anywhere,
            statements: true,
            declared: Declared::default(),
            slow: None,
            max_depth: 16_384,
        };
        let mut session = sampler::Session::attach(options, || false).expect("it is Python");
        let mut observed = Observed::default();
        let theirs = format!("/proc/{pid}/task/{pid}/schedstat");
        let (mine, began) = ("/proc/thread-self/schedstat", Instant::now());
        let before = (on_cpu(&theirs), on_cpu(mine));
        session.run(&mut &mut observed, || false).expect("the sink never fails");
        let (took, after) = (began.elapsed(), (on_cpu(&theirs), on_cpu(mine)));
        let own = if matches!(from, Where::Another(_)) { 0 } else { after.1 - before.1 };
        observed.cpu_share = (after.0 - before.0 + own) as f64 / took.as_nanos() as f64;
        observed.tables = session.into_tables();
        observed
    };
    std::thread::spawn(watch).join().expect("the sampler does not panic")
}
