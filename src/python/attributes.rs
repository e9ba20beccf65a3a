//! Dicts, and the attributes of instances: where each version keeps them, read in as few
//! calls as can be, since a request's route is a few attributes away from a local.
//!
//! ```text
//! 1  the object's head and the words before it   ─► its type, where its values may be
//! 2  the type's shape                            ─► which of those it is, its keys
//!      the dict's head, if it is a dict          ─► its keys
//! 3  the keys                                    ─► names by address
//! 4  the values, and the names' characters again
//! ```
//!
//! Where a name was found before, it is most often found again: objects of one kind are
//! served one after the other. So 1 and 2 are one read with the type that it had the last
//! time, and 3 and 4 are one with the place that the name had. Both are guesses, compared
//! with what is there now, and a wrong one costs a read and nothing else.

use rustc_hash::FxHashMap;

use super::dict_keys::{Entry, KeyTable};
use super::layout::{Attributes, Layout};
use super::objects::{MOST_ENTRIES, Objects};
use super::view::View;
use crate::process::Slot;
use crate::units::RemoteAddress;

/// Where names were found before. Attribute names are interned: the same `str` object
/// stands for a name in all dicts of an interpreter.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: FxHashMap<&'static str, Place>,
    /// By the first of the names that were asked for: the type of the object that had them.
    types: FxHashMap<&'static str, RemoteAddress>,
    /// By type and name: how far from an object's start its member is.
    pub(super) members: FxHashMap<(RemoteAddress, &'static str), Option<usize>>,
}

/// Where a name was in the keys object in which it was last found.
#[derive(Debug, Clone, Copy)]
struct Place {
    name: RemoteAddress,
    index: usize,
    /// How far its entry is behind the start of the keys object, in bytes.
    offset: usize,
}

/// `Py_TPFLAGS_*` (`Include/object.h`).
mod type_flag {
    pub(super) const INLINE_VALUES: u64 = 1 << 2;
    pub(super) const MANAGED_DICT: u64 = 1 << 4;
}

/// How many bytes before an object may belong to it: two words of the managed dict and
/// two of the garbage collector's head.
const BEFORE: usize = 32;

/// How many bytes of an object's start are read: its head, `__dict__` and `__weakref__`
/// of a plain instance, and the head of the values behind it.
const HEAD: usize = 64;

/// What is read of a keys object at first: the usual ones whole.
const USUAL_KEYS: usize = 1024;

/// An object's start, with what may belong to it before.
struct Window {
    object: RemoteAddress,
    bytes: [u8; WINDOW],
    length: usize,
}

/// The bytes of a [`Window`].
const WINDOW: usize = BEFORE + HEAD;

impl Window {
    /// A word by its offset from the object's start; `None` beyond what was read.
    fn word(&self, offset: i64) -> Option<RemoteAddress> {
        let at = usize::try_from(offset.checked_add_unsigned(BEFORE as u64)?).ok()?;
        View(self.bytes.get(..self.length)?).address(at)
    }
}

/// What the type of an instance says of where its attributes are.
struct Shape {
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
        names
            .first()
            .and_then(|first| self.storage_of(object, first))
            .and_then(|(storage, keys)| match storage {
                Storage::Dict(dict) => self.dict_items(dict, names),
                Storage::Values(values) => self.values(keys?, Some(values), names),
            })
            .unwrap_or([None; N])
    }

    /// Where an object keeps its attributes, and the keys that its type caches. `first` is
    /// the first name that is looked for: objects that have it are mostly of one type.
    fn storage_of(
        &mut self,
        object: RemoteAddress,
        first: &'static str,
    ) -> Option<(Storage, Option<RemoteAddress>)> {
        let known = self.names.types.get(first).copied();
        let (window, guessed) = self.window(object, known)?;
        let class = window.word(i64::try_from(self.layout.object.ob_type).ok()?);
        let class = class.filter(|class| class.is_plausible())?;
        let shape = if Some(class) == known {
            guessed?
        } else {
            self.names.types.insert(first, class);
            self.window(object, Some(class))?.1?
        };
        Some((self.storage(&window, &shape)?, shape.cached_keys))
    }

    /// An object's first words and those before it, and the shape that `class` gives to its
    /// instances, in one read.
    fn window(
        &mut self,
        object: RemoteAddress,
        class: Option<RemoteAddress>,
    ) -> Option<(Window, Option<Shape>)> {
        let layout = self.layout.object;
        self.batch.clear();
        let start = RemoteAddress::new(object.get().checked_sub(BEFORE as u64)?);
        let window = self.batch.ask(start, WINDOW);
        let words = class.map(|class| {
            [
                layout.type_basicsize,
                layout.type_itemsize,
                layout.type_flags,
                layout.type_dictoffset,
                // Only a heap type has these; what lies there in another is not used.
                layout.heap_type_cached_keys,
            ]
            .map(|offset| self.batch.ask(class.plus(offset as u64), 8))
        });
        self.memory.read(self.batch).ok()?;
        let word = |slot: Slot| View(self.batch.bytes(slot)?).i64(0);
        let shape = words.and_then(|[basicsize, itemsize, flags, dictoffset, keys]| {
            Some(Shape {
                basicsize: word(basicsize)?,
                itemsize: word(itemsize)?,
                flags: word(flags)?.cast_unsigned(),
                dictoffset: word(dictoffset)?,
                cached_keys: word(keys).map(|keys| RemoteAddress::new(keys.cast_unsigned())),
            })
        });
        // The memory may end behind a small object: what is not there is asked for again
        // where it is needed.
        let mut bytes = [0; WINDOW];
        let read = self.batch.prefix(window)?;
        bytes.get_mut(..read.len())?.copy_from_slice(read);
        Some((Window { object, bytes, length: read.len() }, shape))
    }

    /// Where an instance keeps its attributes (`Objects/object.c`,
    /// `_PyObject_GetDictPtr`; `Objects/dictobject.c`, inline values).
    fn storage(&mut self, window: &Window, shape: &Shape) -> Option<Storage> {
        let word = |offset| window.word(offset);
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
                let values = window.object.plus(shape.basicsize.cast_unsigned());
                let inline = shape.flags & type_flag::INLINE_VALUES != 0;
                let header = match word(shape.basicsize) {
                    Some(header) => header,
                    None => self.address(values)?,
                };
                let [_, _, _, valid, ..] = header.get().to_le_bytes();
                (inline && valid == 1).then(|| Storage::Values(values.plus(8)))
            }
            _ => {
                let offset = match shape.dictoffset {
                    0 => return None,
                    offset if offset > 0 => offset,
                    offset => {
                        let size = word(i64::try_from(self.layout.object.ob_size).ok()?)?;
                        let size = size.get().cast_signed().checked_abs()?;
                        let items = size.checked_mul(shape.itemsize)?;
                        let end = shape.basicsize.checked_add(items)?.checked_add(7)? & !7;
                        end.checked_add(offset)?
                    }
                };
                let dict = match word(offset) {
                    Some(dict) => Some(dict),
                    None => self.address(window.object.plus(offset.cast_unsigned())),
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
        let places = names.map(|name| self.names.known.get(name).copied());
        if places.iter().all(Option::is_some)
            && let Some(found) = self.values_at(keys, values, names, places)
        {
            return Some(found);
        }
        let (table, entries) = self.all_entries(keys, MOST_ENTRIES)?;
        let places = self.places(&table, &entries, names);
        self.values_at(keys, values, names, places)
    }

    /// The values of names at these places. `None` if any of them has moved.
    fn values_at<const N: usize>(
        &mut self,
        keys: RemoteAddress,
        values: Option<RemoteAddress>,
        names: [&'static str; N],
        places: [Option<Place>; N],
    ) -> Option<[Option<RemoteAddress>; N]> {
        let layout = self.layout.object;
        self.batch.clear();
        let head = self.batch.ask(keys, KeyTable::HEAD);
        let mut named = names.into_iter().zip(places);
        let reads = std::array::from_fn::<_, N, _>(|_| {
            let (name, place) = named.next()?;
            let place = place?;
            let length = layout.unicode_ascii_data.saturating_add(name.len());
            let text = self.batch.ask(place.name, length);
            let entry = self.batch.ask(keys.plus(place.offset as u64), KeyTable::LONGEST_ENTRY);
            let split = values.map(|values| {
                self.batch.ask(values.plus((place.index as u64).saturating_mul(8)), 8)
            });
            Some((name, place, text, entry, split))
        });
        self.memory.read(self.batch).ok()?;
        let table = KeyTable::parse(View(self.batch.bytes(head)?), self.layout, MOST_ENTRIES)?;
        let mut found = [None; N];
        for (found, read) in found.iter_mut().zip(reads) {
            let Some((name, place, text, entry, split)) = read else { continue };
            let is_there = table.offset_of(place.index) == Some(place.offset);
            // The last entry may end where the memory does.
            let entry = table.entry(View(self.batch.prefix(entry)?))?;
            if !is_string(self.batch.bytes(text)?, name, self.layout) {
                // The name's object is gone; the next time finds the new one.
                self.names.known.remove(name);
                return None;
            }
            if !is_there || entry.key != place.name {
                return None;
            }
            let value = match split {
                Some(slot) => View(self.batch.bytes(slot)?).address(0)?,
                None => entry.value,
            };
            *found = value.is_plausible().then_some(value);
        }
        Some(found)
    }

    /// The entries of a dict that shares its keys with no other, in order; those that were
    /// deleted have no value. `None` if there are more than `most`.
    pub(super) fn combined_entries(
        &mut self,
        dict: RemoteAddress,
        most: usize,
    ) -> Option<Vec<Entry>> {
        let keys = self.address(dict.plus(self.layout.object.dict_keys as u64))?;
        Some(self.all_entries(keys, most)?.1)
    }

    /// Up to `most` keys of a dict with their values, in order, from its first `entries`
    /// entries; `None` if it does not hold together.
    pub(super) fn dict_pairs(
        &mut self,
        dict: RemoteAddress,
        entries: usize,
        most: usize,
    ) -> Option<Vec<(RemoteAddress, RemoteAddress)>> {
        let layout = self.layout;
        let end = layout.object.dict_values.max(layout.object.dict_keys).checked_add(8)?;
        let head = View(self.bytes(dict, end)?);
        let keys = head.address(layout.object.dict_keys)?;
        let values = head.address(layout.object.dict_values)?;
        let table = KeyTable::parse(View(self.bytes(keys, KeyTable::HEAD)?), layout, 1 << 30)?;
        let (start, length) = table.extent()?;
        let length = length.min(entries.checked_mul(KeyTable::LONGEST_ENTRY)?);
        let found = table.all(self.bytes(keys.plus(start as u64), length)?);
        let split = if values.is_null() {
            None
        } else {
            let first = match layout.attributes {
                Attributes::ManagedInline { .. } => values.plus(8),
                _ => values,
            };
            Some(self.words(first, found.len())?)
        };
        let pairs = found.iter().enumerate().filter_map(|(index, entry)| {
            let value = match &split {
                Some(values) => *values.get(index)?,
                None => entry.value,
            };
            (entry.key.is_plausible() && value.is_plausible()).then_some((entry.key, value))
        });
        Some(pairs.take(most).collect())
    }

    /// A keys object's table and its entries, in order.
    fn all_entries(&mut self, keys: RemoteAddress, most: usize) -> Option<(KeyTable, Vec<Entry>)> {
        let layout = self.layout;
        let head = self.prefix(keys, USUAL_KEYS)?;
        let table = KeyTable::parse(View(head), layout, most)?;
        let (start, length) = table.extent()?;
        let entries = match View(head).bytes(start, length) {
            Some(bytes) => table.all(bytes),
            None if length == 0 => Vec::new(),
            None => table.all(self.bytes(keys.plus(start as u64), length)?),
        };
        Some((table, entries))
    }

    /// Which entry has which name: by the address at which the name was found before,
    /// else by comparing the characters of all.
    fn places<const N: usize>(
        &mut self,
        table: &KeyTable,
        entries: &[Entry],
        names: [&'static str; N],
    ) -> [Option<Place>; N] {
        names.map(|name| {
            let known = self.names.known.get(name).map(|place| place.name);
            let index = known.and_then(|known| entries.iter().position(|entry| entry.key == known));
            let index = match index {
                Some(index) => index,
                None => self.find_string(entries.iter().map(|entry| entry.key), name)?,
            };
            let name_object = entries.get(index)?.key;
            let place = Place { name: name_object, index, offset: table.offset_of(index)? };
            self.names.known.insert(name, place);
            Some(place)
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
