use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Parser;

use super::args::{Arguments, Command};
use super::record::{Sampling, run};
use super::*;
use crate::model::*;
use crate::profile::{Builder, Profile};
use crate::recording::replay;
use crate::report::{Format, FrameLine, GroupBy};
use crate::units::{Nanos, Pid, Tid};

fn record(arguments: &[&str]) -> Result<Record, String> {
    let arguments = ["farrier", "record"].into_iter().chain(arguments.iter().copied());
    let parsed = Arguments::try_parse_from(arguments).map_err(|error| error.to_string())?;
    let Command::Record(args) = parsed.command else { panic!("{parsed:?}") };
    args.to_options().map_err(|failure| failure.to_string())
}

#[test]
fn a_py_spy_command_line_means_the_same() {
    let options = record(&[
        "-p",
        "4711",
        "-o",
        "out.svg",
        "-f",
        "raw",
        "-d",
        "30",
        "-r",
        "250",
        "-s",
        "-F",
        "-t",
        "-g",
        "-i",
        "--nonblocking",
        "--full-filenames",
    ])
    .unwrap();
    assert!(matches!(&options.target, Target::Pids(pids) if *pids == [Pid::new(4711)]));
    assert_eq!(options.duration, Some(Duration::from_secs(30)));
    assert_eq!(options.rate_hz, 250.0);
    assert!(options.children && !options.quiet);
    let planned = Planned {
        what: What::Report(Format::Folded),
        place: Place::File("out.svg".into()),
        gzip: false,
    };
    assert_eq!(options.outputs, [planned]);
    let drawing = &options.view.drawing;
    assert_eq!(drawing.frames.line, FrameLine::First);
    assert!(drawing.frames.full_filenames && drawing.threads && drawing.idle);
    assert_eq!(drawing.group_by, GroupBy::Endpoint);
    assert!(options.view.selection.only_gil);
}

#[test]
fn targets_are_given_in_one_of_four_ways() {
    let target = |arguments: &[&str]| record(arguments).unwrap().target;
    let pids = target(&["-p", "1,2", "-p", "3"]);
    assert!(matches!(pids, Target::Pids(pids) if pids == [1, 2, 3].map(Pid::new)));
    assert!(matches!(target(&["--pidfile", "a"]), Target::PidFile(path) if path == Path::new("a")));
    assert!(
        matches!(target(&["--name", "guni.*n"]), Target::Name(name) if name.is_match("gunicorn"))
    );
    let command = target(&["-d", "2m", "--", "gunicorn", "-w", "2"]);
    assert!(matches!(command, Target::Command(words) if words == ["gunicorn", "-w", "2"]));
    for wrong in [
        &[][..],
        &["-p", "1", "--name", "x"],
        &["-p", "0"],
        &["-p", "x"],
        &["--name", "("],
        &["-p", "1", "--", "x"],
        &["-p", "1", "-s", "--no-children"],
        &["-p", "1", "-F", "--nolineno"],
        &["-p", "1", "--group-by", "colour"],
    ] {
        assert!(record(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn times_and_rates_are_read_as_they_are_written() {
    let of = |flag: &str, text: &str| record(&["-p", "1", flag, text]);
    let duration = |text: &str| of("-d", text).unwrap().duration;
    assert_eq!(duration("10"), Some(Duration::from_secs(10)));
    assert_eq!(duration("1.5s"), Some(Duration::from_millis(1500)));
    assert_eq!(duration("200ms"), Some(Duration::from_millis(200)));
    assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
    assert_eq!(duration("1h"), Some(Duration::from_secs(3600)));
    assert_eq!(duration("unlimited"), None);
    assert_eq!(record(&["-p", "1"]).unwrap().duration, None);
    for wrong in ["0", "-1", "x", "10x", "1e400", "nan", ""] {
        assert!(of("-d", wrong).is_err(), "{wrong}");
    }
    assert_eq!(of("-r", "1khz").unwrap().rate_hz, 1000.0);
    assert_eq!(of("-r", "99.5 Hz").unwrap().rate_hz, 99.5);
    assert_eq!(record(&["-p", "1"]).unwrap().rate_hz, 100.0);
    for wrong in ["0", "-5", "1000khz", "fast", "nan"] {
        assert!(of("-r", wrong).is_err(), "{wrong}");
    }
    assert_eq!(record(&["-p", "1"]).unwrap().max_cpu, Some(0.05));
    assert_eq!(of("--max-cpu", "0.5 %").unwrap().max_cpu, Some(0.005));
    assert_eq!(of("--max-cpu", "250").unwrap().max_cpu, Some(2.5));
    assert_eq!(of("--max-cpu", "none").unwrap().max_cpu, None);
    for wrong in ["0", "-5", "much", "inf", "nan", ""] {
        assert!(of("--max-cpu", wrong).is_err(), "{wrong}");
    }
}

#[test]
fn outputs_are_planned_from_endings_and_formats() {
    let outputs = |arguments: &[&str]| {
        let arguments = ["-p", "1"].iter().chain(arguments).copied().collect::<Vec<_>>();
        record(&arguments).map(|options| {
            let shown = |planned: &Planned| match &planned.place {
                Place::File(path) => path.display().to_string(),
                Place::Stdout => "stdout".to_owned(),
                Place::Unnamed => "unnamed".to_owned(),
            };
            options.outputs.iter().map(|p| (p.what, shown(p), p.gzip)).collect::<Vec<_>>()
        })
    };
    let report = What::Report;
    let flame = report(Format::FlameGraph);
    assert_eq!(outputs(&[]).unwrap(), [(What::Recording, "unnamed".into(), false)]);
    assert_eq!(
        outputs(&["-o", "a.svg", "-o", "b.json.gz", "-o", "c.farrier"]).unwrap(),
        [
            (flame, "a.svg".into(), false),
            (report(Format::Json), "b.json.gz".into(), true),
            (What::Recording, "c.farrier".into(), false),
        ]
    );
    assert_eq!(outputs(&["-f", "flamegraph"]).unwrap(), [(flame, "unnamed".into(), false)]);
    let text = report(Format::Text);
    assert_eq!(outputs(&["-f", "text"]).unwrap(), [(text, "stdout".into(), false)]);
    assert_eq!(
        outputs(&["-f", "recording", "-o", "x"]).unwrap(),
        [(What::Recording, "x".into(), false)]
    );
    assert_eq!(
        outputs(&["-f", "raw", "-f", "text", "-o", "x", "-o", "-"]).unwrap(),
        [(report(Format::Folded), "x".into(), false), (text, "stdout".into(), false)]
    );
    let refused = |arguments: &[&str]| outputs(arguments).unwrap_err();
    assert!(refused(&["-f", "html"]).starts_with(
        "there is no format `html`; there are flamegraph, folded, raw, speedscope, pprof, pstats, json, text, recording"
    ));
    assert!(refused(&["-o", "x.html"]).contains("says no format"));
    assert!(refused(&["-o", "-"]).contains("needs a format"));
    assert!(refused(&["-f", "json", "-f", "text", "-o", "a"]).contains("2 formats for 1 files"));
    assert!(refused(&["-o", "a.svg", "-o", "a.svg"]).contains("written twice"));
    assert!(refused(&["-f", "text", "-f", "text"]).contains("only one thing"));
    assert!(refused(&["-o", "a.farrier", "-o", "b.farrier"]).contains("only one recording"));
    assert!(refused(&["-o", "a.farrier.gz"]).contains("says no format"));
}

/// A sampler's double: so many ticks of one thread, then what it is told to end with.
struct Double {
    tables: Tables,
    ticks: u64,
    outcome: Result<(), Failure>,
}

impl Sampling for Double {
    fn name(&self) -> String {
        "guni/corn-7".into()
    }

    fn run(&mut self, _: &AtomicBool, sink: &mut dyn Sink) -> Result<(), Failure> {
        let tables = &mut self.tables;
        let target = TargetProcess { pid: Pid::new(7), start_time: 1 };
        let process = tables.intern_process(target);
        let name = tables.intern_string("MainThread");
        let thread = tables.intern_thread(Thread { process, tid: Tid::new(7), name });
        let label = tables.intern_string("(main)");
        let endpoint = tables.intern_endpoint(Endpoint {
            label,
            method: None,
            route: None,
            framework: Framework::None,
            handler: None,
        });
        let function = tables.intern_function_named("busy", "app.py", 1);
        let frame = tables.intern_frame(Frame { function, line: 2 });
        let stack = tables.intern_stack_of([frame]);
        sink.begin(&Session { rate_hz: 100.0, ..Session::default() }).unwrap();
        let sample = Sample {
            thread,
            stack,
            endpoint,
            on: None,
            statement: None,
            request: None,
            weight: Nanos::from_millis(10),
            cpu: Nanos::ZERO,
            runqueue: Nanos::ZERO,
            state: State::Running,
            evidence: Evidence::RunFlag,
            grade: Grade::Exact,
            holds_gil: true,
        };
        for number in 0..self.ticks {
            let at = Nanos::from_millis(10 * number);
            sink.tick(tables, &Tick { process, at, lateness: Nanos::ZERO }, &[sample]).unwrap();
        }
        if self.outcome.is_ok() {
            let elapsed = Nanos::from_millis(10 * self.ticks);
            let progress = Progress { elapsed, ticks: self.ticks, ..Progress::default() };
            sink.end(tables, &progress).unwrap();
        }
        self.outcome.clone()
    }

    fn into_tables(self) -> Tables {
        self.tables
    }

    fn tables(&self) -> &Tables {
        &self.tables
    }
}

fn double(ticks: u64, outcome: Result<(), Failure>) -> Double {
    Double { tables: Tables::new(), ticks, outcome }
}

fn gone() -> Result<(), Failure> {
    Err(Failure::new(Status::Gone, "process 7 is gone"))
}

fn options(folder: &Path, files: &[&str]) -> Record {
    let files: Vec<_> = files.iter().map(|file| folder.join(file).display().to_string()).collect();
    let mut arguments = vec!["-q", "-p", "7"];
    arguments.extend(files.iter().flat_map(|file| ["-o", file.as_str()]));
    record(&arguments).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn read_recording(path: &Path) -> Profile {
    let mut builder = Builder::new();
    let file = std::fs::File::open(path).unwrap();
    let replayed = replay(file, &mut builder).unwrap();
    assert!(replayed.complete);
    builder.finish(replayed.tables)
}

#[test]
fn a_recording_writes_every_output() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), &["a.svg", "b.folded", "c.json", "d.farrier"]);
    run(&options, |_, _| Ok(double(500, Ok(())))).unwrap();
    assert_eq!(names(folder.path()), ["a.svg", "b.folded", "c.json", "d.farrier"]);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("b.folded"), "(main);busy (app.py:2) 5000000\n");
    assert!(read("a.svg").ends_with("</svg>") && read("c.json").ends_with("}\n"));
    let profile = read_recording(&folder.path().join("d.farrier"));
    assert_eq!(profile.cells()[0].samples, 500);
}

#[test]
fn what_was_sampled_is_written_even_if_the_sampling_fails() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), &["b.folded", "d.farrier"]);
    let failure = run(&options, |_, _| Ok(double(250, gone()))).unwrap_err();
    assert_eq!(failure.status, Status::Gone);
    let profile = read_recording(&folder.path().join("d.farrier"));
    assert_eq!(profile.cells()[0].samples, 250);
    assert_eq!(profile.notes()[0].text, "sampling ended early: process 7 is gone");
    let folded = std::fs::read_to_string(folder.path().join("b.folded")).unwrap();
    assert_eq!(folded, "(main);busy (app.py:2) 2500000\n");
}

#[test]
fn nothing_is_left_behind_or_overwritten_where_nothing_was_sampled() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), &["a.svg", "d.farrier"]);
    let failure = run(&options, |_, _| Err::<Double, _>(gone().unwrap_err())).unwrap_err();
    assert_eq!(failure.status, Status::Gone);
    assert!(names(folder.path()).is_empty());
    std::fs::write(folder.path().join("d.farrier"), "old").unwrap();
    run(&options, |_, _| Err::<Double, _>(gone().unwrap_err())).unwrap_err();
    assert_eq!(std::fs::read_to_string(folder.path().join("d.farrier")).unwrap(), "old");
}

#[test]
fn outputs_that_cannot_be_written_are_refused_before_attaching() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    std::fs::create_dir(folder.path().join("folder.svg")).unwrap();
    for (file, why) in [
        ("none/a.svg", "its folder does not exist"),
        ("none/a.farrier", "its folder does not exist"),
        ("folder.svg", "it is a directory"),
        ("file/a.svg", "Not a directory"),
    ] {
        let options = options(folder.path(), &[file]);
        let attach = |_: &Record, _: &AtomicBool| -> Result<Double, Failure> {
            panic!("attached for {file}")
        };
        let failure = run(&options, attach).unwrap_err();
        assert_eq!(failure.status, Status::Failed);
        assert!(failure.sentence.contains(why), "{failure}");
    }
    assert_eq!(names(folder.path()), ["file", "folder.svg"]);
}

#[test]
fn one_output_that_fails_does_not_take_the_others_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let full = PathBuf::from("/dev/full");
    let mut options = options(folder.path(), &["b.folded"]);
    let to_full = |what| Planned { what, place: Place::File(full.clone()), gzip: false };
    options.outputs.insert(0, to_full(What::Report(Format::Json)));
    options.outputs.insert(0, to_full(What::Recording));
    let failure = run(&options, |_, _| Ok(double(300, Ok(())))).unwrap_err();
    assert_eq!(failure.sentence, "cannot write /dev/full: no space is left on the device");
    let folded = std::fs::read_to_string(folder.path().join("b.folded")).unwrap();
    assert_eq!(folded, "(main);busy (app.py:2) 3000000\n");
}

#[test]
fn a_report_replaces_a_file_as_a_whole_and_follows_links() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real.folded"), folder.path().join("b.folded"));
    std::fs::write(&real, "old and much longer than what comes after it, so it would show")
        .unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let options = options(folder.path(), &["b.folded"]);
    run(&options, |_, _| Ok(double(100, Ok(())))).unwrap();
    assert_eq!(std::fs::read_to_string(&real).unwrap(), "(main);busy (app.py:2) 1000000\n");
    assert!(link.is_symlink());
    assert_eq!(names(folder.path()), ["b.folded", "real.folded"]);
}

#[test]
fn files_that_were_not_named_are_named_after_the_target_and_the_time() {
    let moment: jiff::Timestamp = "2026-11-21T09:50:47Z".parse().unwrap();
    let moment = moment.to_zoned(jiff::tz::TimeZone::UTC);
    assert_eq!(outputs::stem("guni/corn-7", &moment), "farrier-guni_corn-7-20261121-095047");
    let folder = tempfile::tempdir().unwrap();
    let stem = || folder.path().join("farrier-x").display().to_string();
    let planned = [Planned { what: What::Recording, place: Place::Unnamed, gzip: false }];
    std::fs::write(folder.path().join("farrier-x.farrier"), "kept").unwrap();
    let mut opened = Outputs::open(&planned, stem).unwrap();
    opened.recording().unwrap().write_all(b"new").unwrap();
    drop(opened);
    assert_eq!(names(folder.path()), ["farrier-x-2.farrier", "farrier-x.farrier"]);
}

#[test]
fn errors_have_the_status_that_the_manual_says() {
    use crate::process::Error;
    let pid = Pid::new(7);
    let status = |error: Error| Failure::from(error).status;
    assert_eq!(status(Error::Gone { pid }), Status::Gone);
    assert_eq!(status(Error::Denied { pid, what: "maps".into() }), Status::Denied);
    assert_eq!(status(Error::Unsupported { pid, what: "maps".into() }), Status::Failed);
    assert_eq!(Failure::usage("record", "x").status as u8, 2);
    assert_eq!(Failure::usage("record", "x").to_string(), "x\n  see: farrier record --help");
}
