//! Built-in objects of a target: strings, bytes, tuples, dicts, attributes.
//!
//! This is the cold path: it is walked when a code object or a request is seen for the
//! first time. The target runs on meanwhile, so anything may change between two reads:
//! every length is capped, every type that matters is compared, and `None` means "does
//! not hold together", which callers show as such.

use super::Error;
use super::layout::{Attributes, DictKeysLayout, Layout};
use super::view::View;
use crate::process::{Batch, ReadMemory};
use crate::units::RemoteAddress;

/// The longest string or bytes object that is read, in bytes. Line tables of generated
/// functions reach tens of kilobytes.
pub(crate) const LONGEST_BYTES: usize = 1 << 18;

/// The most entries of a dict or a tuple that are looked at.
const MOST_ENTRIES: usize = 1024;

/// `Py_TPFLAGS_*` (`Include/object.h`).
mod type_flag {
    pub(super) const INLINE_VALUES: u64 = 1 << 2;
    pub(super) const MANAGED_DICT: u64 = 1 << 4;
}

/// Reads objects, one at a time.
pub(crate) struct Objects<'a> {
    memory: &'a dyn ReadMemory,
    layout: &'a Layout,
    batch: &'a mut Batch,
}

impl std::fmt::Debug for Objects<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Objects").finish_non_exhaustive()
    }
}

impl<'a> Objects<'a> {
    /// Objects in `memory`. `batch` is room to work in; what it holds is lost.
    pub(crate) fn new(
        memory: &'a dyn ReadMemory,
        layout: &'a Layout,
        batch: &'a mut Batch,
    ) -> Self {
        Self { memory, layout, batch }
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
    fn prefix(&mut self, address: RemoteAddress, length: usize) -> Option<&[u8]> {
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
        // Most names fit in the first read; the rest needs a second one.
        const USUAL: usize = 160;
        let layout = self.layout.object;
        let head = self.prefix(object, layout.unicode_compact_data.saturating_add(USUAL))?;
        let text = Text::parse(View(head), &layout)?;
        if let Place::Inline { offset } = text.place
            && let Some(bytes) = View(head).bytes(offset, text.size)
        {
            return text.decode(bytes);
        }
        let address = match text.place {
            Place::Inline { offset } => object.plus(offset as u64),
            Place::Behind { pointer } => pointer,
        };
        let bytes = self.bytes(address, text.size)?;
        text.decode(bytes)
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

    fn words(&mut self, address: RemoteAddress, count: usize) -> Option<Vec<RemoteAddress>> {
        if count == 0 {
            return Some(Vec::new());
        }
        let bytes = self.bytes(address, count.checked_mul(8)?)?;
        (0..count).map(|index| View(bytes).address(index.checked_mul(8)?)).collect()
    }

    /// The value of an instance's attribute that lies in its own `__dict__` (class
    /// attributes, slots and properties are not looked for).
    pub(crate) fn attribute(&mut self, object: RemoteAddress, name: &str) -> Option<RemoteAddress> {
        let layout = self.layout.object;
        let class = self.type_of(object)?;
        self.batch.clear();
        let size = self.batch.ask(object, layout.ob_size.checked_add(8)?);
        let basicsize = self.batch.ask(class.plus(layout.type_basicsize as u64), 8);
        let itemsize = self.batch.ask(class.plus(layout.type_itemsize as u64), 8);
        let flags = self.batch.ask(class.plus(layout.type_flags as u64), 8);
        let dictoffset = self.batch.ask(class.plus(layout.type_dictoffset as u64), 8);
        let keys = self.batch.ask(class.plus(layout.heap_type_cached_keys as u64), 8);
        self.memory.read(self.batch).ok()?;
        let word = |slot| View(self.batch.bytes(slot)?).i64(0);
        let shape = Shape {
            object,
            size: self.batch.bytes(size).and_then(|bytes| View(bytes).i64(layout.ob_size)),
            basicsize: word(basicsize)?,
            itemsize: word(itemsize)?,
            flags: word(flags)?.cast_unsigned(),
            dictoffset: word(dictoffset)?,
            // Only a heap type has these; what lies there in another is not used.
            cached_keys: word(keys).map(|keys| RemoteAddress::new(keys.cast_unsigned())),
        };
        match self.storage(&shape)? {
            Storage::Dict(dict) => self.dict_item(dict, name),
            Storage::Values(values) => self.value(shape.cached_keys?, Some(values), name),
        }
    }

    /// Where an instance keeps its attributes (`Objects/object.c`,
    /// `_PyObject_GetDictPtr`; `Objects/dictobject.c`, inline values).
    fn storage(&mut self, shape: &Shape) -> Option<Storage> {
        let managed = shape.flags & type_flag::MANAGED_DICT != 0;
        let before = |offset: i64| shape.object.plus(offset.cast_unsigned());
        let non_null = |address: &RemoteAddress| !address.is_null();
        match self.layout.attributes {
            Attributes::ManagedTwoWords { values, dict } if managed => {
                match self.address(before(values)).filter(non_null) {
                    Some(values) => Some(Storage::Values(values)),
                    None => self.address(before(dict)).filter(non_null).map(Storage::Dict),
                }
            }
            Attributes::ManagedTagged { word } if managed => {
                let word = self.address(before(word)).filter(non_null)?;
                Some(if word.get() & 1 == 1 {
                    Storage::Values(word.plus(1))
                } else {
                    Storage::Dict(word)
                })
            }
            Attributes::ManagedInline { dict } if managed => {
                if let Some(dict) = self.address(before(dict)).filter(non_null) {
                    return Some(Storage::Dict(dict));
                }
                // struct _dictvalues: capacity, size, embedded, valid, then the values.
                let header = shape.object.plus(shape.basicsize.cast_unsigned());
                let inline = shape.flags & type_flag::INLINE_VALUES != 0;
                let valid = View(self.bytes(header, 8)?).u8(3)?;
                (inline && valid == 1).then(|| Storage::Values(header.plus(8)))
            }
            _ => {
                let offset = match shape.dictoffset {
                    0 => return None,
                    offset if offset > 0 => offset,
                    offset => {
                        let items = shape.size?.checked_abs()?.checked_mul(shape.itemsize)?;
                        let end = shape.basicsize.checked_add(items)?.checked_add(7)? & !7;
                        end.checked_add(offset)?
                    }
                };
                self.address(before(offset)).filter(non_null).map(Storage::Dict)
            }
        }
    }

    /// The value under a `str` key of a dict.
    pub(crate) fn dict_item(&mut self, dict: RemoteAddress, name: &str) -> Option<RemoteAddress> {
        let layout = self.layout.object;
        let end = layout.dict_values.max(layout.dict_keys).checked_add(8)?;
        let head = View(self.bytes(dict, end)?);
        let keys = head.address(layout.dict_keys)?;
        let values = head.address(layout.dict_values)?;
        let values = (!values.is_null()).then(|| match self.layout.attributes {
            Attributes::ManagedInline { .. } => values.plus(8),
            _ => values,
        });
        self.value(keys, values, name)
    }

    /// The value under a key of a keys object; `values` is where a split table has them.
    fn value(
        &mut self,
        keys: RemoteAddress,
        values: Option<RemoteAddress>,
        name: &str,
    ) -> Option<RemoteAddress> {
        let layout = self.layout;
        let table = KeyTable::parse(View(self.bytes(keys, 48)?), layout)?;
        let words = self.words(
            keys.plus(table.entries as u64),
            table.count.checked_mul(table.words_per_entry)?,
        )?;
        let entries: Vec<(RemoteAddress, RemoteAddress)> = words
            .chunks_exact(table.words_per_entry)
            .filter_map(|entry| match *entry {
                [key, value] | [_, key, value] => Some((key, value)),
                _ => None,
            })
            .collect();
        let index = self.find_string(entries.iter().map(|&(key, _)| key), name)?;
        let value = match values {
            None => entries.get(index)?.1,
            Some(values) => self.address(values.plus((index as u64).checked_mul(8)?))?,
        };
        value.is_plausible().then_some(value)
    }

    /// Which of these strings is `name`: one read for all. Only ASCII names are found,
    /// as attribute names of servers and frameworks are.
    pub(crate) fn find_string(
        &mut self,
        strings: impl Iterator<Item = RemoteAddress>,
        name: &str,
    ) -> Option<usize> {
        let layout = self.layout.object;
        let wanted = layout.unicode_ascii_data.checked_add(name.len())?;
        self.batch.clear();
        let slots: Vec<_> = strings.map(|string| self.batch.ask(string, wanted)).collect();
        self.memory.read(self.batch).ok()?;
        slots.iter().position(|&slot| {
            self.batch.bytes(slot).is_some_and(|bytes| {
                View(bytes).u64(layout.unicode_length) == Some(name.len() as u64)
                    && bytes.get(layout.unicode_ascii_data..) == Some(name.as_bytes())
            })
        })
    }
}

/// What decides where an instance's attributes are.
struct Shape {
    object: RemoteAddress,
    size: Option<i64>,
    basicsize: i64,
    itemsize: i64,
    flags: u64,
    dictoffset: i64,
    cached_keys: Option<RemoteAddress>,
}

enum Storage {
    Dict(RemoteAddress),
    /// The first value of a split table whose keys the type caches.
    Values(RemoteAddress),
}

/// Where a keys object has its entries (`Include/internal/pycore_dict.h`).
struct KeyTable {
    entries: usize,
    count: usize,
    words_per_entry: usize,
}

impl KeyTable {
    fn parse(head: View<'_>, layout: &Layout) -> Option<Self> {
        match layout.object.dict_keys_layout {
            DictKeysLayout::Sized => {
                let size = head.length(8, 1 << 20)?;
                let width = match size {
                    0..=0xff => 1,
                    0x100..=0xffff => 2,
                    _ => 4,
                };
                Some(Self {
                    entries: size.checked_mul(width)?.checked_add(40)?,
                    count: head.length(32, MOST_ENTRIES)?,
                    words_per_entry: 3,
                })
            }
            DictKeysLayout::Logarithmic => {
                let index_bytes = head.u8(9).filter(|&log2| log2 <= 22)?;
                Some(Self {
                    entries: (1_usize << index_bytes).checked_add(32)?,
                    count: head.length(24, MOST_ENTRIES)?,
                    words_per_entry: if head.u8(10)? == 0 { 3 } else { 2 },
                })
            }
        }
    }
}

/// Where a string's characters are.
enum Place {
    Inline { offset: usize },
    Behind { pointer: RemoteAddress },
}

/// The header of a string.
struct Text {
    /// Bytes per character: 1, 2 or 4.
    width: u8,
    ascii: bool,
    /// In bytes.
    size: usize,
    place: Place,
}

impl Text {
    /// `PyASCIIObject.state`: interned bits 0-1, kind 2-4, compact 5, ascii 6.
    fn parse(head: View<'_>, layout: &super::layout::ObjectLayout) -> Option<Self> {
        let state = head.u32(layout.unicode_state)?;
        let width = match state >> 2 & 7 {
            1 => 1,
            2 => 2,
            4 => 4,
            _ => return None,
        };
        let length = head.length(layout.unicode_length, LONGEST_BYTES)?;
        let size = length.checked_mul(usize::from(width)).filter(|&size| size <= LONGEST_BYTES)?;
        let ascii = state & 1 << 6 != 0;
        let place = match (state & 1 << 5 != 0, ascii) {
            (true, true) => Place::Inline { offset: layout.unicode_ascii_data },
            (true, false) => Place::Inline { offset: layout.unicode_compact_data },
            (false, _) => Place::Behind { pointer: head.address(layout.unicode_compact_data)? },
        };
        Some(Self { width, ascii, size, place })
    }

    /// Characters that cannot be are replaced, except that what is said to be ASCII and
    /// is not is no string at all.
    fn decode(&self, bytes: &[u8]) -> Option<String> {
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
