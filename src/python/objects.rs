//! Built-in objects of a target: strings, bytes, tuples. Dicts and attributes are in
//! [`super::attributes`].
//!
//! This is the cold path: it is walked when a code object or a request is seen for the
//! first time. The target runs on meanwhile, so anything may change between two reads:
//! every length is capped, every type that matters is compared, and `None` means "does
//! not hold together", which callers show as such.

use super::Error;
use super::attributes::Names;
use super::layout::Layout;
use super::view::View;
use crate::process::{Batch, ReadMemory};
use crate::units::RemoteAddress;

/// The longest string or bytes object that is read, in bytes. Line tables of generated
/// functions reach tens of kilobytes.
pub(crate) const LONGEST_BYTES: usize = 1 << 18;

/// The most entries of a dict or a tuple that are looked at.
pub(super) const MOST_ENTRIES: usize = 1024;

/// Reads objects, one at a time.
pub(crate) struct Objects<'a> {
    pub(super) memory: &'a dyn ReadMemory,
    pub(super) layout: &'a Layout,
    pub(super) batch: &'a mut Batch,
    pub(super) names: &'a mut Names,
}

impl std::fmt::Debug for Objects<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Objects").finish_non_exhaustive()
    }
}

impl<'a> Objects<'a> {
    /// Objects in `memory`. `batch` is room to work in; what it holds is lost. `names`
    /// remembers names that were found in this process.
    pub(crate) const fn new(
        memory: &'a dyn ReadMemory,
        layout: &'a Layout,
        batch: &'a mut Batch,
        names: &'a mut Names,
    ) -> Self {
        Self { memory, layout, batch, names }
    }

    /// Whether the process can still be read.
    pub(crate) fn probe(&mut self, address: RemoteAddress) -> Result<(), Error> {
        self.batch.clear();
        self.batch.ask(address, 8);
        Ok(self.memory.read(self.batch)?)
    }

    /// Exactly so many bytes.
    pub(crate) fn bytes(&mut self, address: RemoteAddress, length: usize) -> Option<&[u8]> {
        self.prefix(address, length).filter(|bytes| bytes.len() == length)
    }

    /// Up to so many bytes: memory may end before.
    pub(super) fn prefix(&mut self, address: RemoteAddress, length: usize) -> Option<&[u8]> {
        if address.is_null() {
            return None;
        }
        self.batch.clear();
        let slot = self.batch.ask(address, length);
        self.memory.read(self.batch).ok()?;
        self.batch.prefix(slot)
    }

    pub(crate) fn address(&mut self, address: RemoteAddress) -> Option<RemoteAddress> {
        View(self.bytes(address, 8)?).address(0)
    }

    /// The type of an object.
    pub(crate) fn type_of(&mut self, object: RemoteAddress) -> Option<RemoteAddress> {
        let offset = self.layout.object.ob_type as u64;
        self.address(object.plus(offset)).filter(|address| address.is_plausible())
    }

    /// `tp_name` of a type, at the most 128 bytes of it.
    pub(crate) fn type_name(&mut self, type_object: RemoteAddress) -> Option<String> {
        let name = self.address(type_object.plus(self.layout.object.type_name as u64))?;
        let bytes = self.prefix(name, 128)?;
        let end = bytes.iter().position(|&byte| byte == 0)?;
        Some(String::from_utf8_lossy(bytes.get(..end)?).into_owned())
    }

    /// The characters of a `str`.
    pub(crate) fn string(&mut self, object: RemoteAddress) -> Option<String> {
        let [(string, _)] = self.strings([Some(object)]);
        string
    }

    /// The characters of a `str` of at the most 256 bytes: one read.
    pub(super) fn short_string(&mut self, object: RemoteAddress) -> Option<String> {
        const MOST: usize = 256;
        let layout = self.layout.object;
        let head = self.prefix(object, layout.unicode_compact_data.checked_add(MOST)?)?;
        let text = Text::parse_up_to(View(head), &layout, MOST)?;
        text.decode(View(head).bytes(text.inline()?, text.size())?)
    }

    /// The characters of several `str`, and their types: one read for all in the usual
    /// case.
    pub(crate) fn strings<const N: usize>(
        &mut self,
        objects: [Option<RemoteAddress>; N],
    ) -> [(Option<String>, Option<RemoteAddress>); N] {
        // Most names fit in the first read; the rest needs a second one.
        const USUAL: usize = 160;
        let layout = self.layout.object;
        let length = layout.unicode_compact_data.saturating_add(USUAL);
        self.batch.clear();
        let slots = objects.map(|object| object.map(|object| self.batch.ask(object, length)));
        let mut found = [const { (None, None) }; N];
        if self.memory.read(self.batch).is_err() {
            return found;
        }
        let mut long = [const { None }; N];
        for ((found, long), (slot, object)) in
            found.iter_mut().zip(&mut long).zip(slots.into_iter().zip(objects))
        {
            let (Some(slot), Some(object)) = (slot, object) else { continue };
            let head = View(self.batch.prefix(slot).unwrap_or_default());
            found.1 = head.address(layout.ob_type);
            let Some(text) = Text::parse(head, &layout) else { continue };
            match text.place {
                Place::Inline { offset } => match head.bytes(offset, text.size) {
                    Some(bytes) => found.0 = text.decode(bytes),
                    None => *long = Some((object.plus(offset as u64), text)),
                },
                Place::Behind { pointer } => *long = Some((pointer, text)),
            }
        }
        for (found, long) in found.iter_mut().zip(long) {
            if let Some((address, text)) = long {
                found.0 = self.bytes(address, text.size).and_then(|bytes| text.decode(bytes));
            }
        }
        found
    }

    /// The value of an `int` that is not negative and fits into 60 bits, and its type.
    pub(super) fn whole_number(&mut self, object: RemoteAddress) -> Option<(u64, RemoteAddress)> {
        /// `PyLong_SHIFT` of all 64-bit builds.
        const DIGIT_BITS: u32 = 30;
        let layout = self.layout;
        let start = layout.object.ob_size;
        let head = View(self.prefix(object, start.checked_add(16)?)?);
        let class = head.address(layout.object.ob_type)?;
        let size = head.u64(start)?;
        let digits = if !layout.ints_are_tagged() {
            size
        } else if size & 3 == 0 {
            size >> 3
        } else {
            (size & 3 == 1).then_some(0)?
        };
        let first = start.checked_add(8)?;
        let digit =
            |at: usize| head.u32(at).map(u64::from).filter(|digit| digit >> DIGIT_BITS == 0);
        let value = match digits {
            0 => 0,
            1 => digit(first)?,
            2 => digit(first)? | digit(first.checked_add(4)?)? << DIGIT_BITS,
            _ => return None,
        };
        Some((value, class))
    }

    /// The content of a `bytes` object.
    pub(crate) fn bytes_object(&mut self, object: RemoteAddress) -> Option<Vec<u8>> {
        const USUAL: usize = 256;
        let layout = self.layout.object;
        let head = self.prefix(object, layout.bytes_data.saturating_add(USUAL))?;
        let length = View(head).length(layout.ob_size, LONGEST_BYTES)?;
        if let Some(bytes) = View(head).bytes(layout.bytes_data, length) {
            return Some(bytes.to_vec());
        }
        self.bytes(object.plus(layout.bytes_data as u64), length).map(<[u8]>::to_vec)
    }

    /// The items of a tuple.
    pub(crate) fn tuple(&mut self, object: RemoteAddress) -> Option<Vec<RemoteAddress>> {
        let layout = self.layout.object;
        let head = self.bytes(object, layout.tuple_items)?;
        let count = View(head).length(layout.ob_size, MOST_ENTRIES)?;
        self.words(object.plus(layout.tuple_items as u64), count)
    }

    pub(super) fn words(
        &mut self,
        address: RemoteAddress,
        count: usize,
    ) -> Option<Vec<RemoteAddress>> {
        if count == 0 {
            return Some(Vec::new());
        }
        let bytes = self.bytes(address, count.checked_mul(8)?)?;
        (0..count).map(|index| View(bytes).address(index.checked_mul(8)?)).collect()
    }
}

/// Where a string's characters are.
#[derive(Debug)]
enum Place {
    Inline { offset: usize },
    Behind { pointer: RemoteAddress },
}

/// The header of a string.
#[derive(Debug)]
pub(super) struct Text {
    /// Bytes per character: 1, 2 or 4.
    width: u8,
    ascii: bool,
    /// In bytes.
    size: usize,
    place: Place,
}

impl Text {
    /// `PyASCIIObject.state`: interned bits 0-1, kind 2-4, compact 5, ascii 6; from 3.14
    /// without a GIL interned is a byte of its own, and the others follow it.
    fn parse(head: View<'_>, layout: &super::layout::ObjectLayout) -> Option<Self> {
        Self::parse_up_to(head, layout, LONGEST_BYTES)
    }

    /// The same for a string of at the most so many bytes.
    pub(super) fn parse_up_to(
        head: View<'_>,
        layout: &super::layout::ObjectLayout,
        most: usize,
    ) -> Option<Self> {
        let state = head.u32(layout.unicode_state)?.checked_shr(layout.unicode_state_shift)?;
        let width = match state >> 2 & 7 {
            1 => 1,
            2 => 2,
            4 => 4,
            _ => return None,
        };
        let length = head.length(layout.unicode_length, most)?;
        let size = length.checked_mul(usize::from(width)).filter(|&size| size <= most)?;
        let ascii = state & 1 << 6 != 0;
        let place = match (state & 1 << 5 != 0, ascii) {
            (true, true) => Place::Inline { offset: layout.unicode_ascii_data },
            (true, false) => Place::Inline { offset: layout.unicode_compact_data },
            (false, _) => Place::Behind { pointer: head.address(layout.unicode_compact_data)? },
        };
        Some(Self { width, ascii, size, place })
    }

    pub(super) const fn width(&self) -> u8 {
        self.width
    }

    /// In bytes.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// Where the characters are, if not behind the header.
    pub(super) const fn pointer(&self) -> Option<RemoteAddress> {
        match self.place {
            Place::Inline { .. } => None,
            Place::Behind { pointer } => Some(pointer),
        }
    }

    /// Where the characters begin behind the header, if that is where they are.
    pub(super) const fn inline(&self) -> Option<usize> {
        match self.place {
            Place::Inline { offset } => Some(offset),
            Place::Behind { .. } => None,
        }
    }

    /// Characters that cannot be are replaced, except that what is said to be ASCII and
    /// is not is no string at all.
    pub(super) fn decode(&self, bytes: &[u8]) -> Option<String> {
        match self.width {
            1 if self.ascii => {
                bytes.is_ascii().then(|| bytes.iter().copied().map(char::from).collect())
            }
            1 => Some(bytes.iter().copied().map(char::from).collect()),
            2 => {
                let units = bytes
                    .chunks_exact(2)
                    .filter_map(|pair| pair.try_into().ok().map(u16::from_le_bytes));
                let text = char::decode_utf16(units)
                    .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER));
                Some(text.collect())
            }
            _ => {
                let text = bytes.chunks_exact(4).filter_map(|quad| {
                    let number = quad.try_into().ok().map(u32::from_le_bytes)?;
                    Some(char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER))
                });
                Some(text.collect())
            }
        }
    }
}
