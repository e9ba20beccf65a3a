//! From a profile to bytes: draws, never measures and never decides.
//!
//! ```text
//! Profile ─┬─► Tree (group; frames) ─► flamegraph, folded
//!          ├─► stacks one by one ────► speedscope, pprof, pstats
//!          └─► Summary ──────────────► json, text
//! ```

mod escape;
mod files;
mod flamegraph;
mod folded;
mod format;
mod frames;
mod json;
pub(crate) mod numbers;
mod pprof;
mod pstats;
mod speedscope;
mod stacks;
mod table;
mod text;
mod tree;

use std::io::{self, Write};

pub(crate) use escape::visible;
pub(crate) use files::{Files, Origin};
pub use flamegraph::FlameGraph;
pub use folded::Folded;
pub use format::{Format, UnknownFormat};
pub use frames::{FrameLine, FrameStyle};
pub use json::Json;
pub use pprof::Pprof;
pub use pstats::Pstats;
pub use speedscope::Speedscope;
pub(crate) use table::{Column, Field, Table, cut, paint};
pub use text::Text;
pub use tree::{Drawing, GroupBy};

use crate::profile::Profile;

/// One way to show a profile.
pub trait Report {
    /// Writes it all.
    ///
    /// # Errors
    /// Only those of `out`.
    fn write(&self, profile: &Profile, out: &mut dyn Write) -> io::Result<()>;
}

#[cfg(test)]
mod tests;
