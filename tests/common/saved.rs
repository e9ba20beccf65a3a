//! The snapshots of `fixtures/memory`, which `scripts/snapshot.sh` makes.

use std::io::Read;
use std::path::Path;

use flate2::read::DeflateDecoder;
use serde_json::Value;

use farrier::process::{Image, SnapshotMemory};
use farrier::units::RemoteAddress;

use super::interpreters::VERSIONS;

/// What farrier reads of `known_stack.py`, as it was on one version.
pub(crate) struct Saved {
    /// Such as `3.11`.
    pub(crate) version: &'static str,
    /// The memory.
    pub(crate) memory: SnapshotMemory,
    /// Where the interpreter is in it.
    pub(crate) images: Vec<Image>,
    /// What the target said of itself: `version`, `threads`.
    pub(crate) truth: Value,
}

impl Saved {
    /// Of every version that farrier supports.
    pub(crate) fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/memory");
        VERSIONS.into_iter().map(|version| Self::load(&folder, version)).collect()
    }

    /// Of one version, in this folder.
    pub(crate) fn load(folder: &Path, version: &'static str) -> Self {
        let path = folder.join(version);
        let read = |ending: &str| {
            let path = format!("{}.{ending}", path.display());
            std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
        };
        let mut file = Vec::new();
        DeflateDecoder::new(&read("snapshot")[..]).read_to_end(&mut file).expect("deflated");
        let truth: Value = serde_json::from_slice(&read("json")).expect("JSON");
        let at = |value: &Value| RemoteAddress::new(value.as_u64().expect("an address"));
        let places = |kind: &str| -> Vec<(&str, RemoteAddress)> {
            let places = truth[kind].as_object().expect("an object");
            places.iter().map(|(name, address)| (name.as_str(), at(address))).collect()
        };
        let ranges = truth["writable"].as_array().expect("a list").iter();
        let image = Image::described(
            truth["path"].as_str().expect("a path"),
            &places("sections"),
            &places("symbols"),
            ranges.map(|range| (at(&range[0]), at(&range[1]))).collect(),
        );
        Self { version, memory: SnapshotMemory::parse(&file), images: vec![image], truth }
    }
}
