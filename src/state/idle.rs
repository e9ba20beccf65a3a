//! What a Python function says about a wait: a table.
//!
//! ```text
//! leaf ─► Condition.wait     through, "threading.Condition"
//!         Queue.get          through, "queue.Queue"
//!         WorkerThread.run   idle: a pool's thread with nothing to do
//! ```
//!
//! Frames are looked at from the leaf up, through those that only wait on behalf of
//! their caller, to the first that does anything else. So the pool's thread above is
//! idle, and a view that waits on the same queue is not: the view stands between.

/// What a function means when the thread is blocked and it is at the leaf, or above
/// functions that all wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Nothing has been given to do.
    Idle,
    /// It waits on behalf of its caller; nothing is known of what for.
    Through,
    /// It waits on behalf of its caller for this kind of lock, queue or pool.
    Lock(&'static str),
    /// The same, by a name that two functions share in interpreters before 3.11,
    /// which do not qualify names: the first is right at the leaf, the second above.
    Either(&'static str, &'static str),
}

/// Where a function is defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In this file of the standard library.
    Library(&'static str),
    /// In an installed package: the path ends so.
    Package(&'static str),
    /// The file has exactly this name.
    Exactly(&'static str),
}

mod table;

use super::clients::{Client, HostPlace};
use table::TABLE;

#[derive(Debug, PartialEq, Eq)]
struct Row {
    place: Place,
    /// The qualified name. An interpreter that keeps only the last part is matched by
    /// that.
    function: &'static str,
    meaning: Meaning,
}

/// What is known of a function's waits. Worked out once, when the function is first
/// seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    row: Option<&'static Row>,
    client: Client,
    host: Option<&'static HostPlace>,
}

/// What the topmost frames say of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing has been given to do.
    Idle,
    /// It waits for this kind of lock, queue or pool.
    Lock(&'static str),
    /// Nothing.
    Nothing,
}

impl Marks {
    /// How many frames from the leaf are worth giving to [`super::classify`].
    pub const FRAMES: usize = 10;

    /// The marks of a function, by its name (qualified where the interpreter has that)
    /// and its file.
    pub fn of(function_name: &str, file: &str) -> Self {
        let matches = |row: &&Row| row.place.holds(file) && names(row.function, function_name);
        Self {
            row: TABLE.iter().find(matches),
            client: Client::of(function_name, file),
            host: HostPlace::of(function_name, file),
        }
    }

    /// What these frames, leaf first, say of a wait at the leaf.
    pub(super) fn say(frames: &[Self]) -> Said {
        let mut said = Said::Nothing;
        for (depth, Self { row, .. }) in frames.iter().enumerate() {
            let Some(row) = row else { break };
            match row.meaning {
                Meaning::Idle => return Said::Idle,
                Meaning::Through => {}
                Meaning::Lock(name) => said = Said::Lock(name),
                Meaning::Either(leaf, above) => {
                    said = Said::Lock(if depth == 0 { leaf } else { above });
                }
            }
        }
        said
    }

    /// The protocol that is spoken by the client library in which these frames, leaf first,
    /// wait: that of the first frame which is not the standard library's, or that of one
    /// which is.
    pub fn protocol(frames: &[Self]) -> Option<&'static str> {
        let first = frames.iter().find(|frame| frame.client != Client::Through)?;
        match first.client {
            Client::Speaks(protocol) => Some(protocol),
            Client::Unknown | Client::Through => None,
        }
    }

    /// Which of these frames, leaf first, has the name of the host that it is connected to,
    /// and where. Frames of the application have none, and none is looked for beyond them.
    pub fn host(frames: &[Self]) -> Option<(usize, &'static HostPlace)> {
        let of_client = frames.iter().take_while(|frame| frame.client != Client::Unknown);
        of_client.enumerate().find_map(|(depth, frame)| Some((depth, frame.host?)))
    }
}

impl Place {
    pub(super) fn holds(self, file: &str) -> bool {
        // What comes before a whole number of path components at the end.
        let before = |end| match file.strip_suffix(end) {
            Some("") => Some(""),
            Some(before) => before.strip_suffix('/'),
            None => None,
        };
        match self {
            Self::Exactly(name) => file == name,
            Self::Package(end) => before(end).is_some(),
            // `…/lib/python3.11/queue.py`, `…/python311.zip/queue.py`, a source tree's
            // `…/Lib/queue.py`, or `queue.py` in a frozen program; a package's own
            // `queue.py` is none of these.
            Self::Library(end) => before(end).is_some_and(|before| {
                let parent = before.rsplit('/').next().unwrap_or_default();
                parent.is_empty() || parent.starts_with("python") || parent == "Lib"
            }),
        }
    }
}

/// Whether a table's qualified name is this one, or this is all of it that an
/// interpreter before 3.11 keeps.
pub(super) fn names(qualified: &str, name: &str) -> bool {
    qualified == name || qualified.rsplit('.').next() == Some(name)
}

#[cfg(test)]
mod tests;
