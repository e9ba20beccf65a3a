//! `farrier record`: everything around the sampling.
//!
//! ```text
//! options ─► outputs checked ─► attach ─► Sampling::run ─► Pipeline ─┬─► recording file
//!                                                                    ├─► profile ─► reports
//!                                                                    └─► progress bar
//! ```

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::exit::{Failure, Status, to_stdout};
use super::options::Record;
use super::outputs::{Outputs, Place, stem, text};
use super::progress::Bar;
use super::stop::on_signals;
use crate::model::{
    Executions, ListenQueue, LoopBlocked, Note, ProcessFacts, ProcessId, Progress, Request, Sample,
    Session, Sink, Suspended, Tables, TaskLook, Tick,
};
use crate::profile::{Builder, Profile};
use crate::recording::Writer;
use crate::report::Report;

/// Whoever samples.
pub trait Sampling {
    /// The target for a file's name: its name and PID, such as `gunicorn-4711`.
    fn name(&self) -> String;

    /// Samples into `sink` until it is time, the target has ended or `stop` is set.
    ///
    /// # Errors
    /// What made it end early. What was sampled before counts all the same.
    fn run(&mut self, stop: &AtomicBool, sink: &mut dyn Sink) -> Result<(), Failure>;

    /// The tables that the samples' handles point into.
    fn into_tables(self) -> Tables
    where
        Self: Sized;

    /// The same while it lasts.
    fn tables(&self) -> &Tables;
}

/// Records as asked: makes sure that all outputs can be written, attaches, samples,
/// and writes. Whatever was sampled is written, even if the sampling or one of the
/// outputs fails.
///
/// # Errors
/// The first thing that went wrong.
pub fn run<S: Sampling>(
    options: &Record,
    attach: impl FnOnce(&Record, &AtomicBool) -> Result<S, Failure>,
) -> Result<(), Failure> {
    let unnamed = options.outputs.iter().any(|planned| planned.place == Place::Unnamed);
    // Named files are checked first, since that costs nothing; others are named
    // after the target.
    let early = if unnamed { None } else { Some(Outputs::open(&options.outputs, String::new)?) };
    let stop = on_signals().map_err(|error| Failure::failed(format!("signals: {error}")))?;
    let mut sampling = attach(options, &stop)?;
    let name = || stem(&sampling.name(), &jiff::Zoned::now());
    let mut outputs = match early {
        Some(outputs) => outputs,
        None => Outputs::open(&options.outputs, name)?,
    };
    let mut bar = Bar::new(options.duration, options.quiet);
    let mut pipeline = Pipeline::new(outputs.recording(), &mut bar);
    let sampled = sampling.run(&stop, &mut pipeline);
    if let Err(failure) = &sampled {
        pipeline.close(sampling.tables(), &failure.sentence);
    }
    let elapsed = pipeline.progress.elapsed;
    let (profile, recorded) = pipeline.finish();
    drop(bar);
    if profile.samples() == 0 {
        let nothing = if stop.load(Ordering::Relaxed) {
            Failure::failed("stopped before anything was sampled")
        } else if options.duration.is_some_and(|duration| elapsed >= duration.into()) {
            Failure::failed("nothing was sampled in so short a time")
        } else {
            Failure::new(Status::Gone, "the target ended before anything was sampled")
        };
        return sampled.and(Err(nothing));
    }
    let profile = profile.finish(sampling.into_tables());
    let recorded = recorded.map_err(|error| match outputs.recording_path() {
        Some(path) => Failure::file("write", path, &error),
        None => Failure::failed(format!("cannot write the recording: {error}")),
    });
    sampled.and(recorded).and(finish(&outputs, &profile, options))
}

/// Writes every report of a finished profile and says what there is now.
///
/// # Errors
/// The first report that could not be written; the others are.
pub fn finish(outputs: &Outputs, profile: &Profile, options: &Record) -> Result<(), Failure> {
    let written = outputs.write_reports(profile, &options.view);
    if !options.quiet {
        if !outputs.uses_stdout() {
            let mut page = Vec::new();
            let shown = text(&options.view, true).write(profile, &mut page);
            to_stdout(shown.and_then(|()| io::stdout().write_all(&page)))?;
        }
        let mut files = written.as_ref().map_or_else(|_| Vec::new(), Clone::clone);
        files.extend(outputs.recording_path().map(PathBuf::from));
        for file in &files {
            anstream::eprintln!("farrier: wrote {}", file.display());
        }
        if let Some(recording) = outputs.recording_path() {
            let recording = recording.display();
            anstream::eprintln!("  draw it: farrier report {recording} -o profile.svg");
        }
    }
    written.map(drop)
}

/// Where the samples of a recording go. A recording that can no longer be written,
/// for want of space say, does not end the sampling: the profile goes on.
struct Pipeline<'a> {
    recording: Option<Writer<Box<dyn Write + 'a>>>,
    recording_error: Option<io::Error>,
    profile: Builder,
    bar: &'a mut Bar,
    progress: Progress,
    ended: bool,
}

impl<'a> Pipeline<'a> {
    fn new(recording: Option<Box<dyn Write + 'a>>, bar: &'a mut Bar) -> Self {
        Self {
            recording: recording.map(Writer::new),
            recording_error: None,
            profile: Builder::new(),
            bar,
            progress: Progress::default(),
            ended: false,
        }
    }

    /// Ends what the sampler could not, and says why in the recording itself.
    fn close(&mut self, tables: &Tables, why: &str) {
        if self.ended || self.profile.samples() == 0 {
            return;
        }
        let progress = self.progress;
        let note = Note { at: progress.elapsed, text: format!("sampling ended early: {why}") };
        // Only the recording's sink can fail, and its error is kept by `record`.
        let _ = self.note(tables, &note).and_then(|()| self.end(tables, &progress));
    }

    fn finish(self) -> (Builder, io::Result<()>) {
        (self.profile, self.recording_error.map_or(Ok(()), Err))
    }

    fn record(&mut self, give: impl FnOnce(&mut dyn Sink) -> io::Result<()>) {
        if let Some(recording) = &mut self.recording
            && let Err(error) = give(recording)
        {
            self.recording = None;
            self.recording_error = Some(error);
        }
    }
}

impl Sink for Pipeline<'_> {
    fn begin(&mut self, session: &Session) -> io::Result<()> {
        self.record(|recording| recording.begin(session));
        self.profile.begin(session)?;
        self.bar.begin(session)
    }

    fn process(&mut self, tables: &Tables, id: ProcessId, facts: &ProcessFacts) -> io::Result<()> {
        self.record(|recording| recording.process(tables, id, facts));
        self.profile.process(tables, id, facts)?;
        self.bar.process(tables, id, facts)
    }

    fn request(&mut self, tables: &Tables, request: &Request<'_>) -> io::Result<()> {
        self.record(|recording| recording.request(tables, request));
        self.profile.request(tables, request)?;
        self.bar.request(tables, request)
    }

    fn tick(&mut self, tables: &Tables, tick: &Tick, samples: &[Sample]) -> io::Result<()> {
        self.record(|recording| recording.tick(tables, tick, samples));
        self.profile.tick(tables, tick, samples)?;
        self.progress.elapsed = self.progress.elapsed.max(tick.at);
        self.bar.tick(tables, tick, samples)
    }

    fn suspended(
        &mut self,
        tables: &Tables,
        look: &TaskLook,
        tasks: &[Suspended],
    ) -> io::Result<()> {
        self.record(|recording| recording.suspended(tables, look, tasks));
        self.profile.suspended(tables, look, tasks)?;
        self.bar.suspended(tables, look, tasks)
    }

    fn loop_blocked(&mut self, tables: &Tables, blocked: &LoopBlocked) -> io::Result<()> {
        self.record(|recording| recording.loop_blocked(tables, blocked));
        self.profile.loop_blocked(tables, blocked)?;
        self.bar.loop_blocked(tables, blocked)
    }

    fn executions(&mut self, tables: &Tables, executions: &[Executions]) -> io::Result<()> {
        self.record(|recording| recording.executions(tables, executions));
        self.profile.executions(tables, executions)?;
        self.bar.executions(tables, executions)
    }

    fn progress(&mut self, tables: &Tables, progress: &Progress) -> io::Result<()> {
        self.record(|recording| recording.progress(tables, progress));
        self.profile.progress(tables, progress)?;
        self.progress = *progress;
        self.bar.progress(tables, progress)
    }

    fn listen(&mut self, tables: &Tables, queue: &ListenQueue) -> io::Result<()> {
        self.record(|recording| recording.listen(tables, queue));
        self.profile.listen(tables, queue)?;
        self.bar.listen(tables, queue)
    }

    fn note(&mut self, tables: &Tables, note: &Note) -> io::Result<()> {
        self.record(|recording| recording.note(tables, note));
        self.profile.note(tables, note)?;
        self.bar.note(tables, note)
    }

    fn end(&mut self, tables: &Tables, progress: &Progress) -> io::Result<()> {
        self.ended = true;
        self.record(|recording| recording.end(tables, progress));
        self.profile.end(tables, progress)?;
        self.bar.end(tables, progress)
    }
}
