//! `farrier report`: draws a recording.

use std::fs::File;
use std::io::BufReader;

use super::exit::Failure;
use super::options::Report;
use super::outputs::Outputs;
use crate::profile::{Builder, Selection};
use crate::recording;

/// Draws a recording.
pub(super) fn run(options: &Report) -> Result<(), Failure> {
    let path = &options.recording;
    let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
    // A report is never unnamed, so the stem is not used.
    let outputs = Outputs::open(&options.outputs, String::new)?;
    let mut builder = Builder::new();
    let replayed = recording::replay(BufReader::new(file), &mut builder)
        .map_err(|error| Failure::recording(path, &error))?;
    let profile = builder.finish(replayed.tables);
    if !replayed.complete
        && let Some(note) = profile.notes().last()
    {
        anstream::eprintln!("farrier: note: {}", note.text);
    }
    let selection = &options.view.selection;
    if *selection != Selection::default()
        && !profile.cells().is_empty()
        && profile.select(selection).cells().is_empty()
    {
        return Err(Failure::failed("nothing in the recording matches these filters")
            .advising(format!("see what there is: farrier report {}", path.display())));
    }
    outputs.write_reports(&profile, &options.view)?;
    Ok(())
}
