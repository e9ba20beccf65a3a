//! `farrier ps`: the requests in flight.

use std::sync::atomic::Ordering;

use super::exit::{Failure, Status};
use super::live::looking;
use super::options::Ps as Options;
use super::screen::Screen;
use super::stop::on_signals;
use crate::live::{Looking, Ps, PsOptions, PsPage};
use crate::units::Nanos;

/// How often `--watch` looks.
const INTERVAL: Nanos = Nanos::from_millis(1000);

/// Shows what is asked for.
///
/// # Errors
/// It could not attach, or not write.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let stop = on_signals().map_err(|error| Failure::failed(format!("signals: {error}")))?;
    let stopped = || stop.load(Ordering::Relaxed);
    let mut session = looking("ps", &options.look, &stop)?;
    let failed = |error| Failure::failed(format!("looking failed: {error}"));
    let mut looking = Looking::begin(&session).map_err(failed)?;
    let filter = PsOptions { slower_than: options.slower_than.into() };
    let mut screen = Screen::new(options.watch);
    loop {
        let found = Ps::take(&mut session, &mut looking, filter).map_err(failed)?;
        if session.processes().is_empty() {
            return Err(Failure::new(Status::Gone, "the target has ended"));
        }
        if !screen.draw(&lines(&found, options, &screen)?)? || !options.watch {
            return Ok(());
        }
        session.wait(INTERVAL, stopped);
        if stopped() {
            return Ok(());
        }
        session.follow(&mut looking).map_err(failed)?;
        for note in looking.take_notes() {
            anstream::eprintln!("farrier: note: {note}");
        }
    }
}

fn lines(found: &Ps, options: &Options, screen: &Screen) -> Result<Vec<String>, Failure> {
    if options.json {
        let json = if options.watch {
            serde_json::to_string(found)
        } else {
            serde_json::to_string_pretty(found)
        };
        let json = json.map_err(|error| Failure::failed(error.to_string()))?;
        return Ok(vec![json]);
    }
    let page = PsPage { width: screen.width(), colour: screen.colour, route: options.route };
    let mut lines = found.lines(&page);
    if options.watch
        && let Some(first) = lines.first_mut()
    {
        *first = format!("{}  {first}", jiff::Zoned::now().strftime("%H:%M:%S"));
    }
    Ok(lines)
}
