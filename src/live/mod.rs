//! What runs now, shown to a person or a program at once: no recording, no waiting.
//!
//! ```text
//! Session::look ─► Seen (samples of one instant) ─┬─► Dump: every thread's stack ─┬─► lines
//!                                                 └─► Ps: the requests in flight ─┴─► JSON
//! ```
//!
//! A single look has no interval before it: states are what that instant says, and there
//! are no shares and no rates.

mod dump;
mod ps;
mod seen;

pub use dump::{Dump, DumpedFrame, DumpedLocal, DumpedProcess, DumpedThread};
pub use ps::{InFlight, Ps, PsOptions, PsPage, WorkerNow};
pub use seen::Looking;
