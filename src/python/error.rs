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
    /// It is a build without a GIL, which is laid out differently.
    #[error("it runs a free-threaded CPython {version}, which is not supported")]
    FreeThreaded {
        /// Its version.
        version: Version,
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
            Self::UnsupportedVersion { .. } | Self::FreeThreaded { .. } => 4,
        };
        rank(self) > rank(other)
    }
}
