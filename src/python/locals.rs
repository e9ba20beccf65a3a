//! Named locals of a frame, and what can be read of the objects they refer to.
//!
//! This is how an endpoint is found: a server's or framework's own function has the
//! request in a local of a known name.

use super::arguments::Kinds;
use super::code::Codes;
use super::layout::Layout;
use super::objects::Objects;
use super::stack::FoundFrame;
use super::view::View;
use crate::process::Batch;
use crate::units::RemoteAddress;

/// The words of a frame's `localsplus` that hold one local: one, or two where an argument
/// is also a cell (up to 3.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Local {
    slots: [Option<u16>; 2],
    /// Whether a cell is there, with the object in it: inner functions use the local too.
    pub(super) is_cell: bool,
}

/// Reads locals and objects. What was read may have changed a moment later: whoever
/// relies on it compares the local again afterwards ([`Locals::reread`]).
#[derive(Debug)]
pub struct Locals<'a> {
    pub(super) codes: &'a Codes,
    pub(super) layout: &'a Layout,
    /// What was read of threads and of suspended tasks.
    looks: [&'a Batch; 2],
    pub(super) objects: Objects<'a>,
    pub(super) kinds: &'a mut Kinds,
}

impl<'a> Locals<'a> {
    pub(super) const fn new(
        codes: &'a Codes,
        layout: &'a Layout,
        looks: [&'a Batch; 2],
        objects: Objects<'a>,
        kinds: &'a mut Kinds,
    ) -> Self {
        Self { codes, layout, looks, objects, kinds }
    }

    /// Where the frame's function keeps the local of this name, if it has one. It is the
    /// same for every frame with the same [`FoundFrame::code_index`].
    pub fn find(&mut self, frame: &FoundFrame, name: &str) -> Option<Local> {
        let slots = self.codes.local_slots(frame.raw().code, name, &mut self.objects, self.layout);
        let mut slots = slots.into_iter().map(|slot| u16::try_from(slot).ok());
        let slots = [slots.next().flatten(), slots.next().flatten()];
        slots[0].is_some().then_some(Local { slots, is_cell: false })
    }

    /// The same, for [`Locals::object`]. The frame tells whether it is in a cell.
    pub fn find_object(&mut self, frame: &FoundFrame, name: &str) -> Option<Local> {
        let local = self.find(frame, name)?;
        let value = self.object(frame, local, false);
        let is_cell = value.is_some_and(|value| self.is_of_type(value, "cell"));
        Some(Local { is_cell, ..local })
    }

    /// The bytes among which a frame was read, and where it begins in them.
    pub(super) fn read_with(&self, frame: &FoundFrame) -> Option<(View<'a>, usize)> {
        let [threads, tasks] = self.looks;
        let batch = if frame.raw().is_suspended { tasks } else { threads };
        let (slot, start) = frame.raw().place?;
        Some((View(batch.prefix(slot)?), start))
    }

    /// The object that a local referred to when the frame was read; `None` when it was
    /// unbound, or its word was not among what was read.
    pub fn value(&self, frame: &FoundFrame, local: Local) -> Option<RemoteAddress> {
        let (bytes, start) = self.read_with(frame)?;
        let mask = self.layout.frame.tag_mask;
        local.slots.into_iter().flatten().find_map(|word| {
            let at = start
                .checked_add(self.layout.frame.localsplus)?
                .checked_add(usize::from(word).checked_mul(8)?)?;
            let value = RemoteAddress::new(bytes.u64(at)? & !mask);
            value.is_plausible().then_some(value)
        })
    }

    /// Where the word of a local is that refers to `value`, with that value.
    pub(super) fn word_of(
        &self,
        frame: &FoundFrame,
        local: Local,
        value: RemoteAddress,
    ) -> Option<(RemoteAddress, RemoteAddress)> {
        let mask = self.layout.frame.tag_mask;
        let (bytes, start) = self.read_with(frame)?;
        let fields = self.layout.frame.localsplus;
        let words = local.slots.into_iter().flatten().map(|word| usize::from(word).checked_mul(8));
        let mut words = words.flatten().filter_map(|word| fields.checked_add(word));
        let word = words.find(|&word| {
            let at = start.checked_add(word).and_then(|at| bytes.u64(at));
            at.is_some_and(|it| it & !mask == value.get())
        })?;
        Some((frame.raw().address.plus(word as u64), value))
    }

    /// What locals refer to and `B` bytes of memory, all read now and at once.
    pub fn reread<const N: usize, const B: usize>(
        &mut self,
        frame: &FoundFrame,
        locals: [Local; N],
        memory: RemoteAddress,
    ) -> ([Option<RemoteAddress>; N], Option<[u8; B]>) {
        let Objects { batch, memory: process, .. } = &mut self.objects;
        let mask = self.layout.frame.tag_mask;
        let start = frame.raw().address.plus(self.layout.frame.localsplus as u64);
        batch.clear();
        let bytes = batch.ask(memory, B);
        let words = locals.map(|local| {
            local.slots.map(|word| {
                word.map(|word| batch.ask(start.plus(u64::from(word).wrapping_mul(8)), 8))
            })
        });
        if process.read(batch).is_err() {
            return ([None; N], None);
        }
        let value = |slot| {
            let value = RemoteAddress::new(View(batch.bytes(slot)?).u64(0)? & !mask);
            value.is_plausible().then_some(value)
        };
        let values = words.map(|slots| slots.into_iter().flatten().find_map(value));
        (values, batch.bytes(bytes).and_then(|bytes| bytes.try_into().ok()))
    }

    /// Attributes from the object's own `__dict__`.
    pub fn attributes<const N: usize>(
        &mut self,
        object: RemoteAddress,
        names: [&'static str; N],
    ) -> [Option<RemoteAddress>; N] {
        self.objects.attributes(object, names)
    }

    /// The value under a `str` key of a dict.
    pub fn dict_item(&mut self, dict: RemoteAddress, name: &'static str) -> Option<RemoteAddress> {
        let [item] = self.objects.dict_items(dict, [name])?;
        item
    }

    /// The values under several `str` keys of a dict; `None` if it does not hold together.
    pub fn dict_items<const N: usize>(
        &mut self,
        dict: RemoteAddress,
        names: [&'static str; N],
    ) -> Option<[Option<RemoteAddress>; N]> {
        self.objects.dict_items(dict, names)
    }

    /// The characters of several `str`; `None` for what is no `str`.
    pub fn strings<const N: usize>(
        &mut self,
        objects: [Option<RemoteAddress>; N],
    ) -> [Option<String>; N] {
        let string_type = self.codes.string_type();
        self.objects
            .strings(objects)
            .map(|(string, class)| string.filter(|_| class.is_some() && class == string_type))
    }

    /// The value of a `float`, as its bits. What is no `float` gives any value.
    pub fn float_bits(&mut self, object: RemoteAddress) -> Option<u64> {
        // ob_fval comes right after the head, as the size does in objects that have one.
        let offset = self.layout.object.ob_size as u64;
        self.bytes(object.plus(offset)).map(u64::from_le_bytes)
    }

    /// The value of an `int` that is not negative. `int_type` is the type `int` once it was
    /// found: asking a type for its name is dear.
    pub fn whole_number(
        &mut self,
        object: RemoteAddress,
        int_type: &mut Option<RemoteAddress>,
    ) -> Option<u64> {
        let (value, class) = self.objects.whole_number(object)?;
        if *int_type != Some(class) {
            self.objects.type_name(class).filter(|name| name == "int")?;
            *int_type = Some(class);
        }
        Some(value)
    }

    /// Exactly `N` bytes of memory.
    pub fn bytes<const N: usize>(&mut self, address: RemoteAddress) -> Option<[u8; N]> {
        self.objects.bytes(address, N)?.try_into().ok()
    }
}
