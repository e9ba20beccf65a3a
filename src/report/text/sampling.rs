//! What the sampling is worth, and what else there is to say.

use anstyle::Style;

use super::{DIM, Page};
use crate::analysis::Summary;
use crate::report::numbers;

impl Page<'_> {
    pub(super) fn sampling(&mut self, summary: &Summary) {
        let sampling = &summary.sampling;
        self.lines.push(String::new());
        let samples = sampling.samples.max(1) as f64;
        let grades = [
            (sampling.exact, "exact"),
            (sampling.functions, "functions"),
            (sampling.partial, "partial"),
            (sampling.lost, "lost"),
        ]
        .map(|(count, name)| format!("{} {name}", numbers::share(count as f64 / samples)));
        let text =
            format!("{} of threads: {}", numbers::count(sampling.samples), grades.join(", "));
        self.labelled("samples", &text, Style::new());
        let duration = summary.recorded.duration_s;
        let cpu = if duration > 0.0 { sampling.sampler_cpu_s / duration } else { 0.0 };
        let text = format!(
            "{}, {} missed; farrier itself used {} of one CPU",
            numbers::of(sampling.ticks, "tick"),
            numbers::count(sampling.missed_ticks),
            numbers::share(cpu),
        );
        self.labelled("ticks", &text, Style::new());
        if let (Some(rate), Some(budget)) = (sampling.rate_reached_hz, sampling.cpu_budget)
            && sampling.slowed_s > 0.0
        {
            let text = format!(
                "sampled at {} Hz on average: the CPU budget of {} % was reached; \
                 --max-cpu raises it",
                numbers::plain(rate.round()),
                numbers::plain(budget * 100.0),
            );
            self.labelled("", &text, Style::new());
        }
        if sampling.cut_stacks > 0 {
            let text = format!(
                "{} had more frames than are kept: the middle is left out; --max-depth raises it",
                numbers::of(sampling.cut_stacks, "stack"),
            );
            self.labelled("", &text, Style::new());
        }
    }

    pub(super) fn notes(&mut self, summary: &Summary, left_out: u64) {
        for (number, note) in summary.notes.iter().enumerate() {
            let label = if number == 0 { "notes" } else { "" };
            let text = format!("{}: {}", numbers::seconds(note.at_s), note.text);
            self.labelled(label, &text, Style::new());
        }
        if left_out > 0 {
            self.labelled("", &format!("and {} more", numbers::count(left_out)), DIM);
        }
    }
}
