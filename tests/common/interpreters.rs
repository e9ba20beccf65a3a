//! The Python versions to test with.

use std::path::{Path, PathBuf};

use super::say;

/// The versions that farrier supports.
pub(super) const VERSIONS: [&str; 8] =
    ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"];

/// Those of which there are builds `--with-pydebug` to test with.
const DEBUG_VERSIONS: [&str; 3] = ["3.13", "3.14", "3.15"];

/// One CPython in a virtual environment with the fixture applications' packages.
#[derive(Debug, Clone)]
pub(crate) struct Interpreter {
    /// Such as `3.11`.
    pub(crate) version: &'static str,
    /// Its `python`.
    pub(crate) python: PathBuf,
}

impl Interpreter {
    /// A program beside its `python`, such as `gunicorn`.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.python.with_file_name(name)
    }

    /// Whether functions have qualified names (`co_qualname`, from 3.11 on).
    pub(crate) fn qualifies_names(&self) -> bool {
        VERSIONS.iter().position(|&version| version == self.version) >= Some(3)
    }

    /// Whether it has `_Py_DebugOffsets` (from 3.13 on).
    pub(crate) fn states_its_offsets(&self) -> bool {
        VERSIONS.iter().position(|&version| version == self.version) >= Some(5)
    }
}

/// Whether what is missing is a failure: in CI, or when asked for.
pub(crate) fn required() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
        || std::env::var_os("FARRIER_REQUIRE_PYTHONS").is_some()
}

/// Says that a test, or a part of it, does not run; a failure where it must.
pub(crate) fn skip(reason: &str) {
    say(&format!("skipped: {reason}"));
    assert!(!required(), "{reason}, and it is required here");
}

/// The environments that `scripts/environments.sh` made, oldest version first.
/// `FARRIER_PYTHONS` names another folder of the same shape.
pub(crate) fn interpreters() -> Vec<Interpreter> {
    VERSIONS.iter().filter_map(|version| interpreter(version)).collect()
}

/// The environment of one version.
pub(crate) fn interpreter(version: &str) -> Option<Interpreter> {
    let version = VERSIONS.into_iter().find(|known| *known == version)?;
    in_folder(version, version)
}

/// The builds `--with-pydebug`, oldest version first. They have no packages.
pub(crate) fn debug_builds() -> Vec<Interpreter> {
    let builds = DEBUG_VERSIONS.iter();
    builds.filter_map(|version| in_folder(version, &format!("{version}d"))).collect()
}

fn in_folder(version: &'static str, name: &str) -> Option<Interpreter> {
    let folder = std::env::var_os("FARRIER_PYTHONS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/pythons"),
        PathBuf::from,
    );
    let python = folder.join(name).join("bin/python");
    if python.is_file() {
        return Some(Interpreter { version, python });
    }
    skip(&format!("CPython {name} not found (scripts/environments.sh prepares it)"));
    None
}

/// The newest version at hand.
pub(crate) fn newest() -> Option<Interpreter> {
    interpreters().pop()
}
