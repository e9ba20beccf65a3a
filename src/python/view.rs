//! Bounds-checked little-endian reads from bytes of a target: the only decoder.
//!
//! Both supported architectures (x86_64, aarch64) are little-endian.

use crate::units::RemoteAddress;

/// Bytes that were read from a target, at offsets that a layout names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a>(pub(crate) &'a [u8]);

impl<'a> View<'a> {
    fn array<const N: usize>(self, offset: usize) -> Option<[u8; N]> {
        self.0.get(offset..offset.checked_add(N)?)?.try_into().ok()
    }

    pub(crate) fn u8(self, offset: usize) -> Option<u8> {
        self.array(offset).map(u8::from_le_bytes)
    }

    pub(crate) fn i8(self, offset: usize) -> Option<i8> {
        self.array(offset).map(i8::from_le_bytes)
    }

    pub(crate) fn i32(self, offset: usize) -> Option<i32> {
        self.array(offset).map(i32::from_le_bytes)
    }

    pub(crate) fn u32(self, offset: usize) -> Option<u32> {
        self.array(offset).map(u32::from_le_bytes)
    }

    pub(crate) fn i64(self, offset: usize) -> Option<i64> {
        self.array(offset).map(i64::from_le_bytes)
    }

    pub(crate) fn u64(self, offset: usize) -> Option<u64> {
        self.array(offset).map(u64::from_le_bytes)
    }

    pub(crate) fn address(self, offset: usize) -> Option<RemoteAddress> {
        self.u64(offset).map(RemoteAddress::new)
    }

    /// A length that the target states, if it is not negative and not above `limit`.
    pub(crate) fn length(self, offset: usize, limit: usize) -> Option<usize> {
        usize::try_from(self.i64(offset)?).ok().filter(|&length| length <= limit)
    }

    pub(crate) fn bytes(self, offset: usize, length: usize) -> Option<&'a [u8]> {
        self.0.get(offset..offset.checked_add(length)?)
    }
}
