//! How far a recording is, on standard error.

use std::io;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::model::{
    ListenQueue, Note, ProcessFacts, ProcessId, Progress, Sample, Session, Sink, Tables, Tick,
};
use crate::report::numbers;
use crate::units::Nanos;

/// How much recording time passes between two drawings.
const REDRAW: Nanos = Nanos::from_millis(100);

/// A bar that follows a recording, and the notes as they come. The bar is drawn on a
/// terminal only; notes are printed wherever standard error goes, unless quiet.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    total: Option<Nanos>,
    quiet: bool,
    samples: u64,
    processes: u64,
    missed: u64,
    drawn: Nanos,
}

impl Bar {
    /// A bar for a recording that ends after `duration`, if that is known.
    pub fn new(duration: Option<Duration>, quiet: bool) -> Self {
        let target =
            if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let total = duration.map(Nanos::from);
        let length = total.map(|total| total.as_nanos() / 1_000_000);
        let bar = ProgressBar::with_draw_target(length, target);
        let template = match total {
            Some(_) => "{bar:24} {msg}",
            None => "{spinner} {msg}",
        };
        // The templates are constant; were one wrong, the default style would do.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, total, quiet, samples: 0, processes: 0, missed: 0, drawn: Nanos::ZERO }
    }

    fn draw(&mut self, at: Nanos) {
        self.drawn = at;
        let missed = match self.missed {
            0 => String::new(),
            missed => format!(", {} missed", numbers::of(missed, "tick")),
        };
        let of = match self.total {
            Some(total) => format!(" of {}", numbers::seconds(total.as_secs_f64())),
            None => String::new(),
        };
        self.bar.set_message(format!(
            "{}{of}, {} in {}{missed}",
            numbers::seconds(at.as_secs_f64()),
            numbers::of(self.samples, "sample"),
            numbers::of(self.processes, "process"),
        ));
        self.bar.set_position(at.as_nanos() / 1_000_000);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Sink for Bar {
    fn begin(&mut self, _: &Session) -> io::Result<()> {
        Ok(())
    }

    fn process(&mut self, tables: &Tables, _: ProcessId, _: &ProcessFacts) -> io::Result<()> {
        self.processes = tables.processes().len() as u64;
        Ok(())
    }

    fn tick(&mut self, _: &Tables, tick: &Tick, samples: &[Sample]) -> io::Result<()> {
        self.samples += samples.len() as u64;
        if tick.at.saturating_sub(self.drawn) >= REDRAW {
            self.draw(tick.at);
        }
        Ok(())
    }

    fn progress(&mut self, _: &Tables, progress: &Progress) -> io::Result<()> {
        self.missed = progress.missed_ticks;
        self.draw(progress.elapsed);
        Ok(())
    }

    fn listen(&mut self, _: &Tables, _: &ListenQueue) -> io::Result<()> {
        Ok(())
    }

    fn note(&mut self, _: &Tables, note: &Note) -> io::Result<()> {
        if !self.quiet {
            let text = crate::report::visible(&note.text);
            self.bar.suspend(|| anstream::eprintln!("farrier: {text}"));
        }
        Ok(())
    }

    fn end(&mut self, _: &Tables, _: &Progress) -> io::Result<()> {
        self.bar.finish_and_clear();
        Ok(())
    }
}
