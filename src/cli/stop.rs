//! Ending early: politely the first time, at once the second.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::process::Process;
use crate::units::Pid;

/// What a second signal ends with, as a shell reports an interrupted command.
const INTERRUPTED: i32 = 130;

/// A flag that becomes true with the first SIGINT, SIGTERM or SIGHUP. The second
/// ends the process at once with status 130; what a recording has flushed by then
/// stays readable.
///
/// A signal that is ignored when we start stays ignored: that is how `nohup` and a
/// shell's `&` ask for it.
///
/// # Errors
/// If the handlers cannot be installed.
pub fn on_signals() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let ignored = Process::open(Pid::new(std::process::id()))
        .and_then(|own| own.read_text("status"))
        .map_or(0, |status| ignored_mask(&status));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        if ignored & 1 << (signal - 1) == 0 {
            // In this order, so that the first signal finds the flag still down.
            flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&stop))?;
            flag::register(signal, Arc::clone(&stop))?;
        }
    }
    Ok(stop)
}

/// The ignored signals in the text of `/proc/PID/status`: signal 1 is the lowest bit
/// (proc_pid_status(5), `SigIgn`).
fn ignored_mask(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn the_first_signal_raises_the_flag() {
        let stop = on_signals().unwrap();
        assert!(!stop.load(Ordering::SeqCst));
        signal_hook::low_level::raise(SIGTERM).unwrap();
        assert!(stop.load(Ordering::SeqCst));
    }

    #[test]
    fn ignored_signals_are_read_from_the_status() {
        let status = "Name:\tsh\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert_eq!(ignored_mask(status), 1 << (SIGHUP - 1) | 1 << 12);
        assert_eq!(ignored_mask("Name:\tsh\n"), 0);
    }
}
