//! Code objects: read once, remembered by address, and checked each time they are used.
//!
//! An address alone names nothing: a freed code object's memory is soon another's. So
//! each entry keeps its *fingerprint*, the run of bytes from `co_firstlineno` to
//! `co_linetable`, which holds the pointers to name, file and line table and never
//! changes in a code object's life. A tick reads the fingerprints of the codes it uses
//! together with the frames; one that differs is another function.
//!
//! Where functions are made and freed all the time, one may take the memory of another
//! and of all that belonged to it, and have its first line: then only the characters of
//! its name differ (1 of 2,000 stacks of functions that live for milliseconds). So from
//! the first entry on that turned out to be another, the name is read as well. (Its hash alone
//! would not do: a name that was never looked up has none.)

use rustc_hash::FxHashMap;

use super::layout::{FrameSize, Layout, Liveness, LocalNames};
use super::lines::line_at;
use super::objects::Objects;
use super::view::View;
use crate::model::{Frame, FrameId, FunctionId, Tables};
use crate::process::{Batch, Slot};
use crate::units::RemoteAddress;

/// A code object of one process, until it is found to be another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CodeId(u32);

impl CodeId {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is remembered of a code object.
#[derive(Debug)]
pub(crate) struct Code {
    pub(crate) address: RemoteAddress,
    pub(crate) function: FunctionId,
    /// How many bytes a frame of it takes on the data stack; 0 for heap frames.
    pub(crate) frame_size: usize,
    /// Where its instructions begin, for versions whose frames point into them.
    pub(crate) instructions: Option<RemoteAddress>,
    /// Copies of them that threads have made for themselves (`co_tlbc`); more are made as
    /// more threads run it.
    pub(crate) copies: Box<[RemoteAddress]>,
    /// How many bytes of instructions it has; 0 where that is not needed.
    pub(crate) instruction_bytes: u64,
    /// Frames before this byte of it are still being set up.
    pub(crate) first_traceable: i64,
    /// Whether it is the interpreter's own, between a class that is called and its
    /// `__init__` (from 3.13): not shown even as a caller.
    pub(crate) is_internal: bool,
    first_line: u32,
    line_table: Box<[u8]>,
    fingerprint: Box<[u8]>,
    /// Where its name has its length and, soon after, its characters, and these bytes.
    name: (RemoteAddress, Box<[u8]>),
    /// The tick in which its fingerprint was last found unchanged.
    checked: u64,
    /// The target's count of freed code objects at that time, where it keeps one.
    stamp: Option<u64>,
    /// The tick in which it was read.
    loaded: u64,
}

impl Code {
    /// How many bytes a frame's pointer to an instruction is behind the first one of the
    /// code or of a thread's copy; -2 in a frame that has not started.
    pub(crate) fn offset_of(&self, instruction: u64) -> Option<i64> {
        let starts = self.instructions.iter().chain(&*self.copies);
        let mut offsets = starts.map(|start| instruction.wrapping_sub(start.get()).cast_signed());
        offsets.find(|offset| (-2..self.instruction_bytes.cast_signed()).contains(offset))
    }
}

/// The code objects of one process.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    by_address: FxHashMap<RemoteAddress, CodeId>,
    codes: Vec<Code>,
    frames: FxHashMap<(CodeId, i64), FrameId>,
    code_type: Option<RemoteAddress>,
    string_type: Option<RemoteAddress>,
    generation: u64,
    stamp: Option<u64>,
    /// Whether an address was ever found to be another code object's.
    churns: bool,
}

/// What is read to see whether an entry is still the same code object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Check {
    id: CodeId,
    fingerprint: Slot,
    name: Option<Slot>,
}

/// The run of bytes of a code object that is its fingerprint: offset and length.
fn fingerprint_range(layout: &Layout) -> (usize, usize) {
    let start = layout.code.firstlineno;
    (start, layout.code.linetable.saturating_add(8).saturating_sub(start))
}

impl Codes {
    /// Whether most entries are of code objects that are gone: an application that makes
    /// functions and drops them again would fill the memory with them.
    pub(crate) fn is_mostly_stale(&self) -> bool {
        const FEW: usize = 4096;
        self.codes.len() > self.by_address.len().saturating_mul(2).saturating_add(FEW)
    }

    /// Forgets all entries; what is still in use is read anew.
    pub(crate) fn forget(&mut self) {
        self.by_address.clear();
        self.codes.clear();
        self.frames.clear();
        self.generation = self.generation.wrapping_add(1);
    }

    /// How often the entries have been forgotten.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn at(&self, address: RemoteAddress) -> Option<CodeId> {
        self.by_address.get(&address).copied()
    }

    /// The entry behind an id that this cache gave out.
    pub(crate) fn get(&self, id: CodeId) -> Option<&Code> {
        self.codes.get(id.index())
    }

    /// The target's count of the code objects that it has freed, as this tick read it;
    /// `None` where there is none. While it stands still, all entries hold.
    pub(crate) const fn set_stamp(&mut self, stamp: Option<u64>) {
        self.stamp = stamp;
    }

    /// Whether the entry was found unchanged in this tick.
    pub(crate) fn is_checked(&self, id: CodeId, tick: u64) -> bool {
        self.get(id).is_some_and(|code| {
            code.checked == tick || (self.stamp.is_some() && code.stamp == self.stamp)
        })
    }

    /// Whether the entry was made in this tick.
    pub(crate) fn is_new(&self, id: CodeId, tick: u64) -> bool {
        self.get(id).is_none_or(|code| code.loaded == tick)
    }

    /// Asks for what tells whether an entry is still the same code object.
    pub(crate) fn ask(&self, id: CodeId, layout: &Layout, batch: &mut Batch) -> Option<Check> {
        let code = self.get(id)?;
        let (start, length) = fingerprint_range(layout);
        let fingerprint = batch.ask(code.address.plus(start as u64), length);
        let name = self.churns.then(|| batch.ask(code.name.0, code.name.1.len()));
        Some(Check { id, fingerprint, name })
    }

    /// Compares what was asked for. A code object that is another by now is forgotten.
    pub(crate) fn check(&mut self, check: Check, batch: &Batch, tick: u64) {
        let Some(code) = self.codes.get_mut(check.id.index()) else { return };
        let same_name = check.name.is_none_or(|slot| batch.bytes(slot) == Some(&code.name.1));
        if same_name && batch.bytes(check.fingerprint) == Some(&code.fingerprint) {
            code.checked = tick;
            code.stamp = self.stamp;
            return;
        }
        self.churns = true;
        if self.by_address.get(&code.address) == Some(&check.id) {
            self.by_address.remove(&code.address);
        }
    }

    /// Reads the code object at `address`; `None` if there is none.
    pub(crate) fn load(
        &mut self,
        address: RemoteAddress,
        objects: &mut Objects<'_>,
        layout: &Layout,
        tables: &mut Tables,
        tick: u64,
    ) -> Option<CodeId> {
        if !address.is_plausible() {
            return None;
        }
        let fields = &layout.code;
        let head = objects.bytes(address, fields.size)?.to_vec();
        let view = View(&head);
        self.is_code(view.address(layout.object.ob_type)?, objects)?;
        let name = view.address(fields.qualname.unwrap_or(fields.name))?;
        let filename = view.address(fields.filename)?;
        let line_table = view.address(fields.linetable)?;
        let first_line = u32::try_from(view.i32(fields.firstlineno)?).ok()?;
        let (start, length) = fingerprint_range(layout);
        let fingerprint: Box<[u8]> = view.bytes(start, length)?.into();
        let (frame_size, first_traceable) = match layout.frame.liveness {
            Liveness::Executing { .. } => (0, 0),
            Liveness::Tiling { size, .. } => {
                let units = view.i32(fields.firsttraceable?)?;
                (frame_size(size, view)?, i64::from(units).checked_mul(2)?)
            }
        };
        let instruction_bytes = match fields.code_units {
            Some(offset) => view.u64(offset).filter(|&units| units < 1 << 28)?.checked_mul(2)?,
            None => 0,
        };
        let copies = match fields.thread_copies {
            Some(offset) => thread_copies(view.address(offset)?, objects),
            None => Box::default(),
        };
        self.is_string(name, objects)?;
        let name_object = name;
        let name = objects.string(name_object)?;
        let name_bytes = name_bytes(name_object, &name, objects, layout)?;
        let filename = objects.string(filename)?;
        let line_table = objects.bytes_object(line_table)?.into_boxed_slice();
        let id = CodeId(u32::try_from(self.codes.len()).ok()?);
        self.codes.push(Code {
            address,
            function: tables.intern_function_named(&name, &filename, first_line),
            frame_size,
            instructions: fields.instructions.map(|offset| address.plus(offset as u64)),
            copies,
            instruction_bytes,
            first_traceable,
            is_internal: filename == "__init__",
            first_line,
            line_table,
            fingerprint,
            name: name_bytes,
            // It may have been another's when the frame was read: it counts once it is found
            // unchanged after that.
            checked: 0,
            stamp: None,
            loaded: tick,
        });
        self.by_address.insert(address, id);
        Some(id)
    }

    /// One compare in the usual case; by the type's name the first time.
    fn is_code(&mut self, class: RemoteAddress, objects: &mut Objects<'_>) -> Option<()> {
        is_type(&mut self.code_type, class, "code", objects)
    }

    fn is_string(&mut self, object: RemoteAddress, objects: &mut Objects<'_>) -> Option<()> {
        let class = objects.type_of(object)?;
        is_type(&mut self.string_type, class, "str", objects)
    }

    /// The type `str` of this process, once a code object was read.
    pub(crate) const fn string_type(&self) -> Option<RemoteAddress> {
        self.string_type
    }

    /// The frame for a function at a place of its instructions, in bytes.
    pub(crate) fn frame(
        &mut self,
        id: CodeId,
        offset: i64,
        layout: &Layout,
        tables: &mut Tables,
    ) -> Option<FrameId> {
        if let Some(&known) = self.frames.get(&(id, offset)) {
            return Some(known);
        }
        let code = self.codes.get(id.index())?;
        let line = line_at(layout.lines, &code.line_table, code.first_line, offset).unwrap_or(0);
        let frame = tables.intern_frame(Frame { function: code.function, line });
        self.frames.insert((id, offset), frame);
        Some(frame)
    }

    /// Which word of `localsplus` holds the local of that name. A name that is both an
    /// argument and a cell has two up to 3.10; both are given, if there.
    pub(crate) fn local_slots(
        &self,
        id: CodeId,
        name: &str,
        objects: &mut Objects<'_>,
        layout: &Layout,
    ) -> Vec<usize> {
        let Some(code) = self.get(id) else { return Vec::new() };
        let tuples: &[usize] = match layout.code.local_names {
            LocalNames::Three { varnames, cellvars, freevars } => &[varnames, cellvars, freevars],
            LocalNames::One { localsplusnames } => &[localsplusnames],
        };
        let mut slots = Vec::new();
        let mut before = 0_usize;
        for &offset in tuples {
            let Some(names) = objects
                .address(code.address.plus(offset as u64))
                .and_then(|tuple| objects.tuple(tuple))
            else {
                break;
            };
            if let Some(index) = objects.find_string(names.iter().copied(), name) {
                slots.extend(before.checked_add(index));
            }
            before = before.saturating_add(names.len());
        }
        slots
    }
}

/// The addresses in a `_PyCodeArray` (`Include/cpython/code.h`). The first is of the code
/// object's own instructions, and threads that never ran it have none.
fn thread_copies(array: RemoteAddress, objects: &mut Objects<'_>) -> Box<[RemoteAddress]> {
    const MOST: usize = 8192;
    let count = objects.bytes(array, 8).and_then(|head| View(head).length(0, MOST)).unwrap_or(0);
    let mut copies = objects.words(array.plus(8), count).unwrap_or_default();
    copies.retain(|copy| copy.is_plausible());
    copies.into_boxed_slice()
}

/// The bytes of a name that tell it from others: its length and the first characters.
fn name_bytes(
    object: RemoteAddress,
    name: &str,
    objects: &mut Objects<'_>,
    layout: &Layout,
) -> Option<(RemoteAddress, Box<[u8]>)> {
    const MOST_CHARACTERS: usize = 64;
    let layout = layout.object;
    // Of what is not ASCII the characters come later and take more room: never too much.
    let characters = name.chars().take(MOST_CHARACTERS).count();
    let end = layout.unicode_ascii_data.checked_add(characters)?;
    let start = object.plus(layout.unicode_length as u64);
    let bytes = objects.bytes(start, end.checked_sub(layout.unicode_length)?)?;
    Some((start, bytes.into()))
}

fn is_type(
    known: &mut Option<RemoteAddress>,
    class: RemoteAddress,
    name: &str,
    objects: &mut Objects<'_>,
) -> Option<()> {
    match *known {
        Some(known) => (known == class).then_some(()),
        None => {
            (objects.type_name(class)? == name).then_some(())?;
            *known = Some(class);
            Some(())
        }
    }
}

/// The size in bytes of a function's frames, if it is one that can be.
fn frame_size(size: FrameSize, code: View<'_>) -> Option<usize> {
    let words = match size {
        FrameSize::Stated { framesize } => u32::try_from(code.i32(framesize)?).ok()?,
        FrameSize::Computed { nlocalsplus, stacksize, specials } => {
            u32::try_from(code.i32(nlocalsplus)?)
                .ok()?
                .checked_add(u32::try_from(code.i32(stacksize)?).ok()?)?
                .checked_add(specials)?
        }
    };
    usize::try_from(words).ok()?.checked_mul(8).filter(|&bytes| bytes <= 1 << 20)
}
