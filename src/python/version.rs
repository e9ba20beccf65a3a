//! Which CPython a target runs.

use std::fmt;

/// A CPython version, as `PY_VERSION_HEX` encodes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The 3 of 3.12.1.
    pub major: u8,
    /// The 12 of 3.12.1.
    pub minor: u8,
    /// The 1 of 3.12.1; `None` where it could not be told.
    pub patch: Option<u8>,
}

impl Version {
    /// The version in `Py_Version` or `_Py_DebugOffsets.version` (major, minor, patch
    /// a byte each, then level and serial; `Include/patchlevel.h`).
    pub fn from_hex(hex: u64) -> Option<Self> {
        let [_, patch, minor, major] = u32::try_from(hex).ok()?.to_le_bytes();
        (major == 3).then_some(Self { major, minor, patch: Some(patch) })
    }

    /// The version at the start of what `Py_GetVersion()` returns, such as
    /// `3.8.18 (default, …) \n[GCC …]`.
    pub(crate) fn from_banner(banner: &[u8]) -> Option<Self> {
        let end = banner.windows(2).take(24).position(|pair| pair == b" (")?;
        let text = std::str::from_utf8(banner.get(..end)?).ok()?;
        let mut parts = text.split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        // A pre-release or a local build follows with letters or a plus sign.
        let patch = parts.next()?;
        let digits = patch.find(|c: char| !c.is_ascii_digit()).unwrap_or(patch.len());
        let patch = patch.get(..digits)?.parse().ok()?;
        (major == 3).then_some(Self { major, minor, patch: Some(patch) })
    }

    /// Major and minor from a file name such as `libpython3.8.so.1.0` or `python3.10`.
    pub(crate) fn from_file_name(name: &str) -> Option<Self> {
        let (_, rest) = name.split_once("python3.")?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let minor = rest.get(..digits)?.parse().ok()?;
        Some(Self { major: 3, minor, patch: None })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)?;
        match self.patch {
            Some(patch) => write!(formatter, ".{patch}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_from_numbers_banners_and_file_names() {
        let version = |minor, patch| Some(Version { major: 3, minor, patch });
        assert_eq!(Version::from_hex(0x030d_00f0), version(13, Some(0)));
        assert_eq!(Version::from_hex(0x0207_12f0), None);
        assert_eq!(Version::from_hex(u64::MAX), None);
        assert_eq!(Version::from_banner(b"3.8.18 (default, Oct  4 2023"), version(8, Some(18)));
        assert_eq!(Version::from_banner(b"3.10.0rc2+ (main"), version(10, Some(0)));
        assert_eq!(Version::from_banner(b"3.8.18\0(default"), None);
        assert_eq!(Version::from_file_name("libpython3.9.so.1.0"), version(9, None));
        assert_eq!(Version::from_file_name("python3"), None);
    }
}
