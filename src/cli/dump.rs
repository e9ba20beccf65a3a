//! `farrier dump`: every thread's stack, once.

use std::io::{self, Write};

use super::exit::{Failure, Status, to_stdout};
use super::live::looking;
use super::options::Dump as Options;
use super::stop::on_signals;
use crate::live::Dump;
use crate::sampler::RenderLimits;

/// Shows what is asked for.
///
/// # Errors
/// It could not attach, or not write.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let stop = on_signals().map_err(|error| Failure::failed(format!("signals: {error}")))?;
    let mut session = looking("dump", &options.look, &stop)?;
    let limits = (options.locals > 0).then(|| RenderLimits::times(options.locals.into()));
    let dump = Dump::take(&mut session, limits)
        .map_err(|error| Failure::failed(format!("looking failed: {error}")))?;
    if dump.threads.is_empty() {
        return Err(Failure::new(Status::Gone, "the target ended before it was looked at"));
    }
    to_stdout(write(&dump, options, &mut io::stdout().lock()))
}

fn write(dump: &Dump, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    if options.json {
        serde_json::to_writer_pretty(&mut *out, dump)?;
        return writeln!(out);
    }
    let colour = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
    for line in dump.lines(options.full_filenames, colour) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
