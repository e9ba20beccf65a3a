//! Dicts, and the attributes of instances: where each version keeps them, read in as few
//! calls as can be, since a request's route is a few attributes away from a local.
//!
//! ```text
//! 1  the object's head and the words before it   ─► its type, where its values may be
//! 2  the type's shape, the dict's head           ─► which of those it is, its keys
//! 3  the keys                                    ─► names by address
//! 4  the values, and the names' characters again
//! ```

use rustc_hash::FxHashMap;

use super::layout::{Attributes, DictKeysLayout, Layout};
use super::objects::{MOST_ENTRIES, Objects};
use super::view::View;
use crate::process::Slot;
use crate::units::RemoteAddress;

/// Where names were found before. Attribute names are interned: the same `str` object
/// stands for a name in all dicts of an interpreter. The address is a guess, compared
/// with the characters each time that it is used.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: FxHashMap<&'static str, RemoteAddress>,
}

/// `Py_TPFLAGS_*` (`Include/object.h`).
mod type_flag {
    pub(super) const INLINE_VALUES: u64 = 1 << 2;
    pub(super) const MANAGED_DICT: u64 = 1 << 4;
}

/// How many bytes before an object may belong to it: two words of the managed dict and
/// two of the garbage collector's head.
const BEFORE: u64 = 32;

/// How many bytes of an object's start are read: its head, and `__dict__` and
/// `__weakref__` of a plain instance.
const HEAD: usize = 48;

/// What is read of a keys object at first: the usual ones whole.
const USUAL_KEYS: usize = 1024;

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

/// Where attributes are.
enum Storage {
    Dict(RemoteAddress),
    /// The first value of a split table whose keys the type caches.
    Values(RemoteAddress),
}

impl Objects<'_> {
    /// The values of attributes that lie in an instance's own `__dict__` (class
    /// attributes, slots and properties are not looked for). `None` in all if the object
    /// does not hold together.
    pub(crate) fn attributes<const N: usize>(
        &mut self,
        object: RemoteAddress,
        names: [&'static str; N],
    ) -> [Option<RemoteAddress>; N] {
        self.storage_of(object)
            .and_then(|(storage, keys)| match storage {
                Storage::Dict(dict) => self.dict_items(dict, names),
                Storage::Values(values) => self.values(keys?, Some(values), names),
            })
            .unwrap_or([None; N])
    }

    /// Where an object keeps its attributes, and the keys that its type caches.
    fn storage_of(&mut self, object: RemoteAddress) -> Option<(Storage, Option<RemoteAddress>)> {
        let layout = self.layout.object;
        let start = RemoteAddress::new(object.get().checked_sub(BEFORE)?);
        let window = usize::try_from(BEFORE).ok()?.checked_add(HEAD)?;
        let window = self.bytes(start, window)?.to_vec();
        let view = View(&window);
        // A word of the object, by its offset from the object's start.
        let word = |offset: i64| {
            let at = offset.checked_add(BEFORE.cast_signed())?;
            view.address(usize::try_from(at).ok()?)
        };
        let class = word(i64::try_from(layout.ob_type).ok()?).filter(|at| at.is_plausible())?;
        self.batch.clear();
        let ask = |offset: usize, batch: &mut crate::process::Batch| {
            batch.ask(class.plus(offset as u64), 8)
        };
        let basicsize = ask(layout.type_basicsize, self.batch);
        let itemsize = ask(layout.type_itemsize, self.batch);
        let flags = ask(layout.type_flags, self.batch);
        let dictoffset = ask(layout.type_dictoffset, self.batch);
        let keys = ask(layout.heap_type_cached_keys, self.batch);
        self.memory.read(self.batch).ok()?;
        let read = |slot: Slot| View(self.batch.bytes(slot)?).i64(0);
        let shape = Shape {
            object,
            size: word(i64::try_from(layout.ob_size).ok()?).map(|size| size.get().cast_signed()),
            basicsize: read(basicsize)?,
            itemsize: read(itemsize)?,
            flags: read(flags)?.cast_unsigned(),
            dictoffset: read(dictoffset)?,
            // Only a heap type has these; what lies there in another is not used.
            cached_keys: read(keys).map(|keys| RemoteAddress::new(keys.cast_unsigned())),
        };
        let cached_keys = shape.cached_keys;
        self.storage(&shape, word).map(|storage| (storage, cached_keys))
    }

    /// Where an instance keeps its attributes (`Objects/object.c`,
    /// `_PyObject_GetDictPtr`; `Objects/dictobject.c`, inline values). `word` gives words
    /// of the object that were read already.
    fn storage(
        &mut self,
        shape: &Shape,
        word: impl Fn(i64) -> Option<RemoteAddress>,
    ) -> Option<Storage> {
        let managed = shape.flags & type_flag::MANAGED_DICT != 0;
        let non_null = |address: &RemoteAddress| !address.is_null();
        match self.layout.attributes {
            Attributes::ManagedTwoWords { values, dict } if managed => {
                match word(values).filter(non_null) {
                    Some(values) => Some(Storage::Values(values)),
                    None => word(dict).filter(non_null).map(Storage::Dict),
                }
            }
            Attributes::ManagedTagged { word: offset } if managed => {
                let word = word(offset).filter(non_null)?;
                Some(if word.get() & 1 == 1 {
                    Storage::Values(word.plus(1))
                } else {
                    Storage::Dict(word)
                })
            }
            Attributes::ManagedInline { dict } if managed => {
                if let Some(dict) = word(dict).filter(non_null) {
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
                let dict = match word(offset) {
                    Some(dict) => Some(dict),
                    None => self.address(shape.object.plus(offset.cast_unsigned())),
                };
                dict.filter(non_null).map(Storage::Dict)
            }
        }
    }

    /// The values under `str` keys of a dict.
    pub(crate) fn dict_items<const N: usize>(
        &mut self,
        dict: RemoteAddress,
        names: [&'static str; N],
    ) -> Option<[Option<RemoteAddress>; N]> {
        let layout = self.layout.object;
        let end = layout.dict_values.max(layout.dict_keys).checked_add(8)?;
        let head = View(self.bytes(dict, end)?);
        let keys = head.address(layout.dict_keys)?;
        let values = head.address(layout.dict_values)?;
        let values = (!values.is_null()).then(|| match self.layout.attributes {
            Attributes::ManagedInline { .. } => values.plus(8),
            _ => values,
        });
        self.values(keys, values, names)
    }

    /// The values under keys of a keys object; `values` is where a split table has them.
    fn values<const N: usize>(
        &mut self,
        keys: RemoteAddress,
        values: Option<RemoteAddress>,
        names: [&'static str; N],
    ) -> Option<[Option<RemoteAddress>; N]> {
        let entries = self.entries(keys)?;
        let places = self.places(&entries, names);
        // The values, and the names once more: the guess was an address only.
        let layout = self.layout.object;
        self.batch.clear();
        let reads = places.map(|place| {
            let (index, &(key, value)) = place.and_then(|at| Some((at, entries.get(at)?)))?;
            let split = values
                .map(|values| self.batch.ask(values.plus((index as u64).saturating_mul(8)), 8));
            Some((key, value, split))
        });
        let checks = std::array::from_fn::<_, N, _>(|nth| {
            let (key, _, _) = reads.get(nth).copied().flatten()?;
            let name = names.get(nth)?;
            Some(self.batch.ask(key, layout.unicode_ascii_data.saturating_add(name.len())))
        });
        self.memory.read(self.batch).ok()?;
        Some(std::array::from_fn(|nth| {
            let (_, value, split) = reads.get(nth).copied().flatten()?;
            let name = names.get(nth)?;
            let check = checks.get(nth).copied().flatten()?;
            if !is_string(self.batch.bytes(check)?, name, self.layout) {
                // The name's object is gone; the next time finds the new one.
                self.names.known.remove(name);
                return None;
            }
            let value = match split {
                Some(slot) => View(self.batch.bytes(slot)?).address(0)?,
                None => value,
            };
            value.is_plausible().then_some(value)
        }))
    }

    /// Key and value of each entry of a keys object, in order.
    fn entries(&mut self, keys: RemoteAddress) -> Option<Vec<(RemoteAddress, RemoteAddress)>> {
        let entries = self.all_entries(keys, MOST_ENTRIES)?;
        Some(entries.into_iter().map(|entry| (entry.key, entry.value)).collect())
    }

    /// The entries of a dict that shares its keys with no other, in order; those that were
    /// deleted have no value. `None` if there are more than `most`.
    pub(super) fn combined_entries(
        &mut self,
        dict: RemoteAddress,
        most: usize,
    ) -> Option<Vec<Entry>> {
        let keys = self.address(dict.plus(self.layout.object.dict_keys as u64))?;
        self.all_entries(keys, most)
    }

    fn all_entries(&mut self, keys: RemoteAddress, most: usize) -> Option<Vec<Entry>> {
        let layout = self.layout;
        let head = self.prefix(keys, USUAL_KEYS)?;
        let table = KeyTable::parse(View(head), layout, most)?;
        let count = table.count.checked_mul(table.words_per_entry)?;
        let words = match View(head).bytes(table.entries, count.checked_mul(8)?) {
            Some(bytes) => bytes.chunks_exact(8).filter_map(|word| View(word).address(0)).collect(),
            None => self.words(keys.plus(table.entries as u64), count)?,
        };
        let entry = |entry: &[RemoteAddress]| match *entry {
            [key, value] => Some(Entry { hash: None, key, value }),
            [hash, key, value] => Some(Entry { hash: Some(hash.get()), key, value }),
            _ => None,
        };
        Some(words.chunks_exact(table.words_per_entry).filter_map(entry).collect())
    }

    /// Which entry has which name: by the address at which the name was found before,
    /// else by comparing the characters of all.
    fn places<const N: usize>(
        &mut self,
        entries: &[(RemoteAddress, RemoteAddress)],
        names: [&'static str; N],
    ) -> [Option<usize>; N] {
        names.map(|name| {
            let known = self.names.known.get(name).copied();
            let place = known.and_then(|known| entries.iter().position(|&(key, _)| key == known));
            place.or_else(|| {
                let place = self.find_string(entries.iter().map(|&(key, _)| key), name)?;
                self.names.known.insert(name, entries.get(place)?.0);
                Some(place)
            })
        })
    }

    /// Which of these strings is `name`: one read for all. Only ASCII names are found,
    /// as attribute names of servers and frameworks are.
    pub(crate) fn find_string(
        &mut self,
        strings: impl Iterator<Item = RemoteAddress>,
        name: &str,
    ) -> Option<usize> {
        let wanted = self.layout.object.unicode_ascii_data.checked_add(name.len())?;
        self.batch.clear();
        let slots: Vec<_> = strings.map(|string| self.batch.ask(string, wanted)).collect();
        self.memory.read(self.batch).ok()?;
        slots.iter().position(|&slot| {
            self.batch.bytes(slot).is_some_and(|bytes| is_string(bytes, name, self.layout))
        })
    }
}

/// Whether these bytes of a compact ASCII string's object are this text.
fn is_string(bytes: &[u8], text: &str, layout: &Layout) -> bool {
    let layout = layout.object;
    View(bytes).u64(layout.unicode_length) == Some(text.len() as u64)
        && bytes.get(layout.unicode_ascii_data..) == Some(text.as_bytes())
}

/// An entry of a keys object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// `me_hash`; tables with `str` keys only do not keep it (from 3.11).
    pub(super) hash: Option<u64>,
    pub(super) key: RemoteAddress,
    pub(super) value: RemoteAddress,
}

/// Where a keys object has its entries (`Include/internal/pycore_dict.h`).
struct KeyTable {
    entries: usize,
    count: usize,
    words_per_entry: usize,
}

impl KeyTable {
    fn parse(head: View<'_>, layout: &Layout, most: usize) -> Option<Self> {
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
                    count: head.length(32, most)?,
                    words_per_entry: 3,
                })
            }
            DictKeysLayout::Logarithmic => {
                let index_bytes = head.u8(9).filter(|&log2| log2 <= 22)?;
                Some(Self {
                    entries: (1_usize << index_bytes).checked_add(32)?,
                    count: head.length(24, most)?,
                    words_per_entry: if head.u8(10)? == 0 { 3 } else { 2 },
                })
            }
        }
    }
}
