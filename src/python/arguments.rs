//! Arguments of a call that is under way: the text that one of them is, and a digest that
//! tells one call from the next.
//!
//! A digest is of addresses and of the first bytes of a few values. It is compared and never
//! kept for longer than its call; nothing of a value can be had back from it.

use std::hash::{DefaultHasher, Hash, Hasher};

use rustc_hash::FxHashMap;

use super::layout::ObjectLayout;
use super::locals::{Local, Locals};
use super::objects::{Objects, Text};
use super::stack::FoundFrame;
use super::view::View;
use crate::units::RemoteAddress;

/// What an argument is, as far as its contents can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Str,
    Bytes,
    Tuple,
    List,
    Dict,
    Cell,
    Other,
}

/// What the types of arguments are, by address. Those with a meaning are the interpreter's
/// own and never freed.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    known: FxHashMap<RemoteAddress, Kind>,
}

/// Types that are remembered. More would be made by a program that makes types all the time.
const MOST_TYPES: usize = 256;

/// How many bytes of one value go into a digest, after its reference count: an `int`'s or a
/// `float`'s value, a `str`'s length and hash.
const VALUE: (usize, usize) = (8, 24);

/// How many values of a tuple go into a digest.
const MOST_VALUES: usize = 8;

/// How many bytes of a dict's keys do: the addresses of its first values among them.
const KEYS: usize = 160;

/// How many frames go into a digest: that of the call, and its callers.
const MOST_FRAMES: usize = 5;

/// How many words of each.
const MOST_WORDS: usize = 64;

/// The text of a `str` or `bytes` as it was read: bounded, and not decoded yet.
#[derive(Debug)]
pub struct RawText<'a> {
    text: Option<Text>,
    bytes: &'a [u8],
    /// How many bytes the object has.
    size: usize,
    /// How many bytes to ask for so that all of it comes with the first read.
    pub expected: usize,
}

impl RawText<'_> {
    /// Whether the end was read too.
    pub const fn is_whole(&self) -> bool {
        self.bytes.len() == self.size
    }

    /// The same for the same text of the same kind, within one run of farrier: with 64 bits
    /// of it, two texts that are not the same are never taken for one in practice.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.text.as_ref().map(Text::width), self.size, self.bytes).hash(&mut hasher);
        hasher.finish()
    }

    /// The characters; what is no character is replaced.
    pub fn decode(&self) -> Option<String> {
        match &self.text {
            Some(text) => text.decode(self.bytes),
            None => Some(String::from_utf8_lossy(self.bytes).into_owned()),
        }
    }
}

/// What a local that should be a text turned out to be.
#[derive(Debug)]
pub enum Argument<'a> {
    /// A `str` or `bytes`.
    Text(RawText<'a>),
    /// An object that has its text in some way of its own.
    Other,
    /// It is not what it was when the frame was read, or cannot be read.
    Gone,
}

impl Locals<'_> {
    /// The text that a local of a frame refers to, at the most `most` bytes of it; with
    /// `in_tuple`, the first item of the tuple that it refers to. `expected` is about how
    /// many bytes it has: all is one read then.
    ///
    /// The local is read again after the text: if it still refers to that object, the object
    /// was not freed in between.
    pub fn text(
        &mut self,
        frame: &FoundFrame,
        local: Local,
        in_tuple: bool,
        expected: usize,
        most: usize,
    ) -> Argument<'_> {
        self.find_text(frame, local, in_tuple, expected, most).unwrap_or(Argument::Gone)
    }

    fn find_text(
        &mut self,
        frame: &FoundFrame,
        local: Local,
        in_tuple: bool,
        expected: usize,
        most: usize,
    ) -> Option<Argument<'_>> {
        let value = self.value(frame, local)?;
        let word = self.word_of(frame, local, value)?;
        let layout = self.layout.object;
        let mut object = value;
        if in_tuple {
            object = self.contents(object, Kind::Cell, layout.cell_value)?;
            object = self.contents(object, Kind::Tuple, layout.tuple_items)?;
        }
        let mut length = layout.unicode_compact_data.saturating_add(expected.clamp(64, most));
        // A cell, a text of another length or elsewhere: each takes one more.
        for _ in 0..4 {
            let (head, still) = self.read_with_word(object, length, word)?;
            if !still {
                return None;
            }
            let class = View(head).address(layout.ob_type).filter(|class| class.is_plausible())?;
            let kind = self.kind(class)?;
            let head = View(self.arguments_head()?);
            let (text, start, size) = match kind {
                Kind::Cell => {
                    object = head.address(layout.cell_value).filter(|it| it.is_plausible())?;
                    continue;
                }
                Kind::Str => {
                    let text = Text::parse_any(head, &layout)?;
                    let size = text.size();
                    match text.inline() {
                        Some(start) => (Some(text), start, size),
                        // Made by C code of before 3.3.
                        None => return Some(Argument::Other),
                    }
                }
                Kind::Bytes => {
                    let size = usize::try_from(head.i64(layout.ob_size)?).ok()?;
                    (None, layout.bytes_data, size)
                }
                _ => return Some(Argument::Other),
            };
            let wanted = size.min(most);
            if head.bytes(start, wanted).is_none() {
                length = start.checked_add(wanted)?;
                continue;
            }
            let bytes = View(self.arguments_head()?).bytes(start, wanted)?;
            return Some(Argument::Text(RawText { text, bytes, size, expected: wanted }));
        }
        None
    }

    /// What tells this call from others of the same function: where it is and by whom it was
    /// called, as of the last look, and the values of `parameters` now.
    pub fn digest<'f>(
        &mut self,
        frame: &'f FoundFrame,
        callers: impl DoubleEndedIterator<Item = &'f FoundFrame>,
        parameters: Option<Local>,
        seed: u64,
    ) -> u64 {
        let mut hasher = DefaultHasher::new();
        seed.hash(&mut hasher);
        for frame in std::iter::once(frame).chain(callers.rev()).take(MOST_FRAMES) {
            (frame.raw().address, frame.code_index()).hash(&mut hasher);
            self.words(frame).hash(&mut hasher);
        }
        if let Some(value) = parameters.and_then(|local| self.value(frame, local)) {
            // Of what cannot be read, where it is has to do.
            let _ = self.digest_of(value, &mut hasher);
        }
        hasher.finish()
    }

    fn digest_of(&mut self, object: RemoteAddress, hasher: &mut DefaultHasher) -> Option<()> {
        let layout = self.layout.object;
        let usual = layout.tuple_items.checked_add(MOST_VALUES.checked_mul(8)?)?;
        let objects = &mut self.objects;
        let head = objects.prefix(object, usual)?;
        let class = View(head).address(layout.ob_type)?;
        let word = |offset: usize| View(head).address(offset);
        let size = View(head).length(layout.ob_size, usize::MAX).unwrap_or(0);
        let mut items = [RemoteAddress::NULL; MOST_VALUES];
        for (index, item) in items.iter_mut().enumerate().take(size) {
            *item = word(layout.tuple_items.checked_add(index.checked_mul(8)?)?)
                .unwrap_or(RemoteAddress::NULL);
        }
        // `ob_item` of a list stands where a tuple has its first item.
        let (array, keys) = (word(layout.tuple_items), word(layout.dict_keys));
        (class, size).hash(hasher);
        match self.kind(class)? {
            Kind::Tuple => {
                items.hash(hasher);
                let objects = &mut self.objects;
                objects.batch.clear();
                for item in items.into_iter().filter(|item| item.is_plausible()) {
                    objects.batch.ask(item.plus(VALUE.0 as u64), VALUE.1);
                }
                objects.memory.read(objects.batch).ok()?;
                for (_, bytes) in objects.batch.read_from(0) {
                    bytes.hash(hasher);
                }
            }
            Kind::List => {
                let length = size.min(MOST_VALUES).checked_mul(8)?;
                self.objects.prefix(array?, length)?.hash(hasher);
            }
            Kind::Dict => {
                let keys = keys?.plus(VALUE.0 as u64);
                self.objects.prefix(keys, KEYS)?.hash(hasher);
            }
            Kind::Str | Kind::Bytes | Kind::Cell | Kind::Other => {}
        }
        Some(())
    }

    /// The words of a frame's locals and stack, as of the last look.
    fn words(&self, frame: &FoundFrame) -> &[u8] {
        let words = || {
            let raw = frame.raw();
            let (bytes, start) = self.read_with(frame)?;
            let bytes = bytes.0.get(start..)?;
            let from = self.layout.frame.localsplus;
            let end = match self.codes.get(raw.code)?.frame_size {
                // A frame object of its own, which says how many there are.
                0 => {
                    let count = View(bytes).length(self.layout.object.ob_size, MOST_WORDS)?;
                    from.checked_add(count.checked_mul(8)?)?
                }
                size => size,
            };
            let most = from.checked_add(MOST_WORDS.checked_mul(8)?)?;
            bytes.get(from..end.min(most).min(bytes.len()))
        };
        words().unwrap_or_default()
    }

    /// What an object of a kind refers to at this offset; the object itself if it is of
    /// another kind and that is a cell.
    fn contents(
        &mut self,
        object: RemoteAddress,
        wanted: Kind,
        offset: usize,
    ) -> Option<RemoteAddress> {
        let layout = self.layout.object;
        let head = self.objects.bytes(object, layout.tuple_items.checked_add(8)?)?;
        let class = View(head).address(layout.ob_type)?;
        let size = View(head).i64(layout.ob_size)?;
        let inner = View(head).address(offset)?;
        let kind = self.kind(class)?;
        if kind != wanted {
            return (wanted == Kind::Cell).then_some(object);
        }
        (kind != Kind::Tuple || size > 0).then_some(inner).filter(|inner| inner.is_plausible())
    }

    /// Reads the start of an object, and after it the word that refers to it: the bytes, and
    /// whether the word is what it was.
    fn read_with_word(
        &mut self,
        object: RemoteAddress,
        length: usize,
        (word, value): (RemoteAddress, RemoteAddress),
    ) -> Option<(&[u8], bool)> {
        let Objects { batch, memory, layout, .. } = &mut self.objects;
        batch.clear();
        let head = batch.ask(object, length);
        let word = batch.ask(word, 8);
        memory.read(batch).ok()?;
        let now = View(batch.bytes(word)?).u64(0)? & !layout.frame.tag_mask;
        Some((batch.prefix(head)?, now == value.get()))
    }

    /// What the first range of the last read was.
    fn arguments_head(&self) -> Option<&[u8]> {
        self.objects.batch.read_from(0).next().map(|(_, bytes)| bytes)
    }

    /// What a type is. Keeps what was read before.
    fn kind(&mut self, class: RemoteAddress) -> Option<Kind> {
        if let Some(&known) = self.kinds.known.get(&class) {
            return Some(known);
        }
        let mut own = crate::process::Batch::new();
        let objects = &mut self.objects;
        let name = Objects::new(objects.memory, objects.layout, &mut own, objects.names)
            .type_name(class)?;
        let kind = match name.as_str() {
            "str" => Kind::Str,
            "bytes" => Kind::Bytes,
            "tuple" => Kind::Tuple,
            "list" => Kind::List,
            "dict" => Kind::Dict,
            "cell" => Kind::Cell,
            _ => Kind::Other,
        };
        if self.kinds.known.len() < MOST_TYPES {
            self.kinds.known.insert(class, kind);
        }
        Some(kind)
    }

    /// The name of the type of what a local refers to.
    pub fn type_name(&mut self, frame: &FoundFrame, local: Local) -> Option<String> {
        let value = self.value(frame, local)?;
        let class = self.objects.type_of(value)?;
        self.objects.type_name(class)
    }
}

impl Text {
    /// The header of a string of any length: it is not read whole.
    fn parse_any(head: View<'_>, layout: &ObjectLayout) -> Option<Self> {
        Self::parse_up_to(head, layout, usize::MAX >> 3)
    }
}
