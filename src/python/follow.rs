//! From an object to those that it refers to: by the name of an attribute or a key, step by
//! step.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::layout::Layout;
use super::locals::{Local, Locals};
use super::objects::Objects;
use super::stack::FoundFrame;
use super::view::View;
use crate::units::RemoteAddress;

/// One step from an object to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The attribute of this name: in the object's own `__dict__`, or in a slot.
    Attribute(&'static str),
    /// The value under this `str` key of a dict.
    Item(&'static str),
}

/// How many bytes of a text tell it from others.
const CHARACTERS: usize = 40;

impl Locals<'_> {
    /// The object that a local referred to when the frame was read, or with `now`, and if its
    /// word was not among what was read, the one that it refers to now. The local is from [`Locals::find_object`].
    pub fn object(&mut self, frame: &FoundFrame, local: Local, now: bool) -> Option<RemoteAddress> {
        let value = match self.value(frame, local).filter(|_| !now) {
            Some(value) => value,
            // Of a coroutine's frame not much more than the head comes with a look.
            None => {
                let ([value], _) = self.reread::<1, 8>(frame, [local], frame.raw().address);
                value?
            }
        };
        if !local.is_cell {
            return Some(value);
        }
        let content = self.objects.address(value.plus(self.layout.object.cell_value as u64));
        content.filter(|content| content.is_plausible())
    }

    /// Bytes of an object that begin so far behind its head.
    pub fn field<const N: usize>(&mut self, object: RemoteAddress, offset: u64) -> Option<[u8; N]> {
        let head = self.layout.object.ob_type.checked_add(8)? as u64;
        self.bytes(object.plus(head).plus(offset))
    }

    /// Where steps lead from an object.
    pub fn follow(&mut self, object: RemoteAddress, steps: &[Step]) -> Option<RemoteAddress> {
        steps.iter().try_fold(object, |object, step| match *step {
            Step::Attribute(name) => self.attribute(object, name),
            Step::Item(name) => self.dict_item(object, name),
        })
    }

    /// An attribute: in the object's own `__dict__`, or in a slot.
    pub fn attribute(
        &mut self,
        object: RemoteAddress,
        name: &'static str,
    ) -> Option<RemoteAddress> {
        let [found] = self.attributes(object, [name]);
        found.or_else(|| self.objects.member(object, name))
    }

    /// The characters of a `str`, or of a `bytes` object in UTF-8.
    pub fn text_of(&mut self, object: RemoteAddress) -> Option<String> {
        let [text] = self.strings([Some(object)]);
        text.or_else(|| {
            self.is_of_type(object, "bytes").then_some(())?;
            let bytes = self.objects.bytes_object(object)?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        })
    }

    /// Whether the name of an object's type is this.
    pub fn is_of_type(&mut self, object: RemoteAddress, name: &str) -> bool {
        let class = self.objects.type_of(object);
        class.and_then(|class| self.objects.type_name(class)).is_some_and(|found| {
            // `tp_name` of a class made in C has its module.
            found.rsplit('.').next() == Some(name)
        })
    }

    /// A number for these objects: the same as long as they are the same. It is of where they
    /// are, and of the first characters of a `str` with ASCII characters alone.
    pub fn print_of<const N: usize>(&mut self, objects: [Option<RemoteAddress>; N]) -> Option<u64> {
        let string_type = self.codes.string_type();
        let Objects { batch, memory, layout, .. } = &mut self.objects;
        let Layout { object: layout, .. } = layout;
        let length = layout.unicode_ascii_data.saturating_add(CHARACTERS);
        batch.clear();
        let slots = objects.map(|object| object.map(|object| batch.ask(object, length)));
        memory.read(batch).ok()?;
        let mut hasher = DefaultHasher::new();
        for (object, slot) in objects.into_iter().zip(slots) {
            object.hash(&mut hasher);
            let Some(slot) = slot else { continue };
            let head = View(batch.prefix(slot)?);
            if string_type.is_some() && head.address(layout.ob_type) == string_type {
                let count = head.length(layout.unicode_length, usize::MAX >> 3)?;
                count.hash(&mut hasher);
                head.bytes(layout.unicode_ascii_data, count.min(CHARACTERS)).hash(&mut hasher);
            }
        }
        Some(hasher.finish())
    }
}
