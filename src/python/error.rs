//! Why an interpreter could not be read.

use super::Version;

/// Why an interpreter could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no Python interpreter in the process, or none that could be found.
    #[error("no Python interpreter was found in it")]
    NotPython,
    /// There is one, and it is not up yet (or on its way down).
    #[error("its Python interpreter is still starting, or ending")]
    NotReady,
    /// It is one of a version that farrier cannot read.
    #[error("it runs CPython {version}, which is not supported (3.8 to 3.15 are)")]
    UnsupportedVersion {
        /// That version.
        version: Version,
    },
    /// It is one that farrier was never compared with (a newer version, a pre-release or a
    /// build without a GIL), and what was read of it makes no sense.
    #[error(
        "it runs a CPython {version} that farrier does not know, and its memory is not laid out \
         as expected (at {what})"
    )]
    Untrusted {
        /// Its version.
        version: Version,
        /// What made no sense.
        what: &'static str,
    },
    /// What it says of itself cannot be.
    #[error("its interpreter's memory is not laid out as its version says (at {what})")]
    Damaged {
        /// What cannot be.
        what: &'static str,
    },
    /// Its memory could not be read at all.
    #[error(transparent)]
    Process(#[from] crate::process::Error),
}

impl Error {
    /// Whether this says more than `other` about why an interpreter could not be read.
    pub(super) fn is_nearer_than(&self, other: &Self) -> bool {
        let rank = |error: &Self| match error {
            Self::NotPython => 0,
            Self::Process(_) => 1,
            Self::Damaged { .. } => 2,
            Self::NotReady => 3,
            Self::UnsupportedVersion { .. } | Self::Untrusted { .. } => 4,
        };
        rank(self) > rank(other)
    }
}
