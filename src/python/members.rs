//! Attributes that are not in a dict: `__slots__`, and the members of classes made in C.
//!
//! ```text
//! type ─► tp_members: [ name, kind, offset ] … ─┐      (each class has its own;
//!   └─► tp_base ─► tp_members …                 └─► object + offset    the nearest counts)
//! ```

use super::objects::Objects;
use super::view::View;
use crate::units::RemoteAddress;

/// Where `tp_members` and `tp_base` are behind `tp_flags`: 9 and 11 words
/// (`Include/cpython/object.h`, the same from 3.8 to 3.15).
const MEMBERS: usize = 72;
const BASE: usize = 88;

/// `PyMemberDef`: name, kind, offset, flags, text (`Include/structmember.h`, from 3.12
/// `Include/descrobject.h`).
const ENTRY: usize = 40;
const KIND: usize = 8;
const OFFSET: usize = 16;

/// `T_OBJECT` and `T_OBJECT_EX`: the word is a reference.
const REFERENCES: [u32; 2] = [6, 16];

/// The most members of one class and the most classes that are looked through.
const MOST_MEMBERS: usize = 96;
const MOST_CLASSES: usize = 12;

/// The largest object, in bytes, in which a member is believed to lie.
const LARGEST: usize = 1 << 16;

/// Places that are remembered.
const MOST_KNOWN: usize = 512;

impl Objects<'_> {
    /// What a member of an object refers to; `None` if its classes have no such member, or
    /// nothing is there.
    pub(super) fn member(
        &mut self,
        object: RemoteAddress,
        name: &'static str,
    ) -> Option<RemoteAddress> {
        let class = self.type_of(object)?;
        let offset = match self.names.members.get(&(class, name)) {
            Some(&known) => known?,
            None => {
                let found = self.find_member(class, name);
                if self.names.members.len() >= MOST_KNOWN {
                    self.names.members.clear();
                }
                self.names.members.insert((class, name), found);
                found?
            }
        };
        self.address(object.plus(offset as u64)).filter(|value| value.is_plausible())
    }

    fn find_member(&mut self, class: RemoteAddress, name: &str) -> Option<usize> {
        let flags = self.layout.object.type_flags;
        let mut class = class;
        for _ in 0..MOST_CLASSES {
            let start = class.plus(flags.checked_add(MEMBERS)? as u64);
            let words = View(self.bytes(start, BASE.checked_sub(MEMBERS)?.checked_add(8)?)?);
            let members = words.address(0)?;
            let base = words.address(BASE.checked_sub(MEMBERS)?)?;
            if members.is_plausible()
                && let Some(found) = self.member_of(members, name)
            {
                return Some(found);
            }
            class = Some(base).filter(|base| base.is_plausible())?;
        }
        None
    }

    /// The offset of the member of this name in a list of members.
    fn member_of(&mut self, members: RemoteAddress, name: &str) -> Option<usize> {
        let list = self.prefix(members, MOST_MEMBERS.checked_mul(ENTRY)?)?.to_vec();
        let entries = list.chunks_exact(ENTRY).map(View);
        let named = |entry: &View<'_>| entry.address(0).is_some_and(|name| name.is_plausible());
        let entries: Vec<View<'_>> = entries.take_while(named).collect();
        let length = name.len().checked_add(1)?;
        self.batch.clear();
        let ask = |entry: &View<'_>| Some(self.batch.ask(entry.address(0)?, length));
        let slots: Vec<_> = entries.iter().map(ask).collect();
        self.memory.read(self.batch).ok()?;
        let is_it = |slot: &Option<_>| {
            let text = slot.and_then(|slot| self.batch.bytes(slot));
            text.and_then(|text| text.split_last())
                .is_some_and(|(end, text)| *end == 0 && text == name.as_bytes())
        };
        let entry = entries.get(slots.iter().position(is_it)?)?;
        let is_reference = REFERENCES.contains(&entry.u32(KIND)?);
        entry.length(OFFSET, LARGEST).filter(|_| is_reference)
    }
}
