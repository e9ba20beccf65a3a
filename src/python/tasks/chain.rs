//! From a task to the frames of its coroutines and what the innermost one awaits.
//!
//! ```text
//! round 1    reference ─► task
//! round 2    task ─► its coroutine, the future that it waits for
//! round 3…   coroutine ─► (heap frame) ─► top of its stack of values: what it awaits,
//!            until that is no coroutine        all tasks of a look together, level by level
//! ```
//!
//! The loop runs on meanwhile. A coroutine awaits the same object at the same instruction
//! from when it is suspended until that object is done. So if the innermost coroutine is
//! found suspended at the end, all that led to it still waits at that moment, and the chain
//! is of one instant. One that is not is left out: its task has gone on.

use rustc_hash::FxHashMap;

use super::layout::{Generator, HeapState, REFERENT, StackTop, TYPE_BASE, TaskLayout, WRAPPED};
use crate::process::{Batch, Slot};
use crate::python::code::{CodeId, Codes};
use crate::python::layout::{Instruction, Layout};
use crate::python::objects::Objects;
use crate::python::view::View;
use crate::units::RemoteAddress;

/// What is read of a coroutine or a frame at first; a frame of fifty locals is in that.
const USUAL: usize = 640;

/// The most coroutines of one task that are followed.
const MOST_AWAITS: usize = 256;

/// Types that are remembered. More would be made by a program that makes types all the time.
const MOST_TYPES: usize = 1024;

/// What an object is to whoever follows a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Task,
    /// It has a frame.
    Generator,
    /// It stands between a coroutine and what is awaited.
    Wrapper,
    Other,
}

/// A type and its name.
#[derive(Debug)]
pub(super) struct Type {
    pub(super) kind: Kind,
    pub(super) name: Box<str>,
}

/// Types by address.
#[derive(Debug, Default)]
pub(super) struct Types(FxHashMap<RemoteAddress, Type>);

/// Types by name, in all versions.
const KINDS: &[(&str, Kind)] = &[
    ("_asyncio.Task", Kind::Task),
    ("coroutine", Kind::Generator),
    ("generator", Kind::Generator),
    ("async_generator", Kind::Generator),
    ("coroutine_wrapper", Kind::Wrapper),
    ("async_generator_asend", Kind::Wrapper),
    ("async_generator_athrow", Kind::Wrapper),
    ("anext_awaitable", Kind::Wrapper),
    // 3.8 to 3.11, and after.
    ("FutureIter", Kind::Wrapper),
    ("_asyncio.FutureIter", Kind::Wrapper),
];

impl Types {
    /// The name of a type that was met.
    pub(super) fn name(&self, class: RemoteAddress) -> Option<&str> {
        self.0.get(&class).map(|class| &*class.name)
    }

    pub(super) fn of(&mut self, class: RemoteAddress, objects: &mut Objects<'_>) -> Option<&Type> {
        if !class.is_plausible() {
            return None;
        }
        if !self.0.contains_key(&class) {
            if self.0.len() >= MOST_TYPES {
                self.0.clear();
            }
            let name = objects.type_name(class)?;
            let kind = KINDS.iter().find(|(known, _)| *known == name).map(|&(_, kind)| kind);
            let kind = kind.unwrap_or_else(|| inherited(class, objects));
            self.0.insert(class, Type { kind, name: name.into() });
        }
        self.0.get(&class)
    }
}

/// A class of the application's own may be a task too.
fn inherited(class: RemoteAddress, objects: &mut Objects<'_>) -> Kind {
    const MOST_BASES: usize = 6;
    let mut at = class;
    for _ in 0..MOST_BASES {
        let Some(base) = objects.address(at.plus(TYPE_BASE)).filter(|at| at.is_plausible()) else {
            break;
        };
        if objects.type_name(base).as_deref() == Some("_asyncio.Task") {
            return Kind::Task;
        }
        at = base;
    }
    Kind::Other
}

/// A coroutine's frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    /// The link of whoever awaits it.
    pub(super) awaited_by: Option<u32>,
    pub(super) frame: RemoteAddress,
    pub(super) code: CodeId,
    /// How far it is, in bytes.
    pub(super) offset: i64,
    /// Where it was read, and how far the frame is behind the start of that.
    pub(super) place: Option<(Slot, usize)>,
}

/// What is to be read next of a task.
#[derive(Debug, Clone, Copy)]
enum Want {
    Reference(RemoteAddress),
    Task(RemoteAddress),
    Object(RemoteAddress),
    HeapFrame(RemoteAddress),
    /// The word that says what is awaited.
    Word(RemoteAddress),
}

/// How a task was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Suspended: its innermost coroutine awaits this.
    Awaits { object: RemoteAddress, class: RemoteAddress },
    /// It has not begun.
    NotBegun,
    /// It runs, or has ended, or changed while it was read.
    Moved,
}

/// A task on its way to an [`End`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Walking {
    want: Want,
    slot: Option<Slot>,
    pub(super) task: RemoteAddress,
    /// The object whose frame is read, when that is another one.
    pub(super) waiter: RemoteAddress,
    pub(super) innermost: Option<u32>,
    depth: usize,
    pub(super) end: Option<End>,
}

impl Walking {
    pub(super) const fn new(entry: RemoteAddress, is_reference: bool) -> Self {
        let want = if is_reference { Want::Reference(entry) } else { Want::Task(entry) };
        Self {
            want,
            slot: None,
            task: RemoteAddress::NULL,
            waiter: RemoteAddress::NULL,
            innermost: None,
            depth: 0,
            end: None,
        }
    }
}

/// What a walk works with.
pub(super) struct Context<'a> {
    pub(super) layout: &'a Layout,
    pub(super) tasks: &'a TaskLayout,
    pub(super) types: &'a mut Types,
    pub(super) links: &'a mut Vec<Link>,
    pub(super) codes: &'a Codes,
}

impl Walking {
    /// Asks for what comes next.
    pub(super) fn ask(&mut self, tasks: &TaskLayout, batch: &mut Batch) {
        let (address, length) = match self.want {
            Want::Reference(at) => (at.plus(REFERENT), 8),
            Want::Task(at) => (at, tasks.coroutine.saturating_add(8)),
            Want::Object(at) | Want::HeapFrame(at) => (at, USUAL),
            Want::Word(at) => (at, 8),
        };
        self.slot = Some(batch.ask(address, length));
    }

    /// Goes on with what was read. If it is the address of a code object that has
    /// to be read first, this is called again then.
    pub(super) fn advance(
        &mut self,
        batch: &Batch,
        context: &mut Context<'_>,
        objects: &mut Objects<'_>,
    ) -> Option<RemoteAddress> {
        let bytes = self.slot.and_then(|slot| batch.prefix(slot)).unwrap_or_default();
        match self.step(View(bytes), context, objects) {
            Ok(lookup) => lookup,
            Err(end) => {
                self.end = Some(end);
                None
            }
        }
    }

    fn step(
        &mut self,
        view: View<'_>,
        context: &mut Context<'_>,
        objects: &mut Objects<'_>,
    ) -> Result<Option<RemoteAddress>, End> {
        let address = |offset| view.address(offset).filter(|at| at.is_plausible());
        match self.want {
            Want::Reference(_) => {
                self.want = Want::Task(address(0).ok_or(End::Moved)?);
                Ok(None)
            }
            Want::Task(at) => {
                let class = address(context.layout.object.ob_type).ok_or(End::Moved)?;
                let kind = context.types.of(class, objects).map(|class| class.kind);
                if kind != Some(Kind::Task) {
                    return Err(End::Moved);
                }
                self.task = at;
                let waiter = context.tasks.coroutine.checked_sub(8).and_then(address);
                self.waiter = waiter.unwrap_or(RemoteAddress::NULL);
                self.want = Want::Object(address(context.tasks.coroutine).ok_or(End::Moved)?);
                Ok(None)
            }
            Want::Object(at) => self.object(at, view, context, objects),
            Want::HeapFrame(at) => self.frame(at, 0, view, context),
            Want::Word(_) => {
                let word = view.u64(0).ok_or(End::Moved)?;
                self.awaits(word, context)?;
                Ok(None)
            }
        }
    }

    fn object(
        &mut self,
        at: RemoteAddress,
        view: View<'_>,
        context: &mut Context<'_>,
        objects: &mut Objects<'_>,
    ) -> Result<Option<RemoteAddress>, End> {
        let class = view.address(context.layout.object.ob_type).ok_or(End::Moved)?;
        let kind = context.types.of(class, objects).map_or(Kind::Other, |class| class.kind);
        match kind {
            Kind::Generator if self.depth < MOST_AWAITS => match context.tasks.generator {
                Generator::Pointer { frame, .. } => {
                    let frame = view.address(frame).filter(|at| at.is_plausible());
                    self.want = Want::HeapFrame(frame.ok_or(End::Moved)?);
                    Ok(None)
                }
                Generator::Embedded { frame, state, suspended: [first, last], created } => {
                    let state = view.i8(state).ok_or(End::Moved)?;
                    if state == created && self.innermost.is_none() {
                        return Err(End::NotBegun);
                    }
                    if !(first..=last).contains(&state) {
                        return Err(End::Moved);
                    }
                    let rest = view.0.get(frame..).unwrap_or_default();
                    self.frame(at.plus(frame as u64), frame, View(rest), context)
                }
            },
            Kind::Wrapper if self.depth < MOST_AWAITS => {
                self.depth = self.depth.saturating_add(1);
                let wrapped = usize::try_from(WRAPPED).ok().and_then(|at| view.address(at));
                let wrapped = wrapped.filter(|at| at.is_plausible()).ok_or(End::Moved)?;
                self.want = Want::Object(wrapped);
                Ok(None)
            }
            // A task without any frame is not suspended in one of ours.
            _ if self.innermost.is_none() => Err(End::Moved),
            _ => Err(End::Awaits { object: at, class }),
        }
    }

    /// The frame that begins with these bytes, so many behind the start of what was read.
    fn frame(
        &mut self,
        at: RemoteAddress,
        behind: usize,
        view: View<'_>,
        context: &mut Context<'_>,
    ) -> Result<Option<RemoteAddress>, End> {
        if let Generator::Pointer { suspended, .. } = context.tasks.generator {
            let is_suspended = match suspended {
                HeapState::NotExecuting { executing, stacktop } => {
                    view.u8(executing) == Some(0)
                        && view.address(stacktop).is_some_and(|top| top.is_plausible())
                }
                HeapState::State { state, suspended, created } => {
                    let state = view.i8(state);
                    if state == Some(created) && self.innermost.is_none() {
                        return Err(End::NotBegun);
                    }
                    state == Some(suspended)
                }
            };
            if !is_suspended {
                return Err(End::Moved);
            }
        }
        let fields = &context.layout.frame;
        let code = view.u64(fields.code).ok_or(End::Moved)? & !fields.tag_mask;
        let code = RemoteAddress::new(code);
        let Some(id) = context.codes.at(code) else { return Ok(Some(code)) };
        let offset = match fields.instruction {
            Instruction::Index { offset, unit } => {
                let index = view.i32(offset).ok_or(End::Moved)?;
                if index < 0 && self.innermost.is_none() {
                    return Err(End::NotBegun);
                }
                i64::from(index).saturating_mul(i64::from(unit))
            }
            Instruction::Pointer { offset } => {
                let instruction = view.u64(offset).ok_or(End::Moved)?;
                let code = context.codes.get(id).ok_or(End::Moved)?;
                code.offset_of(instruction).ok_or(End::Moved)?
            }
        };
        let place = u32::try_from(context.links.len()).map_err(|_| End::Moved)?;
        let place_in = self.slot.map(|slot| (slot, behind));
        let awaited_by = self.innermost;
        context.links.push(Link { awaited_by, frame: at, code: id, offset, place: place_in });
        self.innermost = Some(place);
        self.depth = self.depth.saturating_add(1);
        let top = stack_top(at, view, context).ok_or(End::Moved)?;
        let within = top.bytes_since(at).and_then(|offset| usize::try_from(offset).ok());
        match within.and_then(|offset| view.u64(offset)) {
            Some(word) => self.awaits(word, context)?,
            None => self.want = Want::Word(top),
        }
        Ok(None)
    }

    fn awaits(&mut self, word: u64, context: &Context<'_>) -> Result<(), End> {
        let object = RemoteAddress::new(word & !context.layout.frame.tag_mask);
        if !object.is_plausible() {
            return Err(End::Moved);
        }
        self.want = Want::Object(object);
        Ok(())
    }
}

/// Where the topmost word of a suspended frame's stack of values is.
fn stack_top(at: RemoteAddress, view: View<'_>, context: &Context<'_>) -> Option<RemoteAddress> {
    let before = |top: RemoteAddress, words: u64| {
        let address = top.get().checked_sub(words.checked_mul(8)?)?;
        Some(RemoteAddress::new(address)).filter(|at| at.is_plausible())
    };
    match context.tasks.stack_top {
        StackTop::Pointer(offset) => before(view.address(offset)?, 1),
        StackTop::Stackpointer { offset, words_before } => {
            before(view.address(offset)?, words_before)
        }
        StackTop::Depth { values, depth } => {
            let depth = u64::try_from(view.i32(depth)?).ok().filter(|&depth| depth > 0)?;
            before(view.address(values)?.plus(depth.checked_mul(8)?), 1)
        }
        StackTop::Index(offset) => {
            let words = u64::try_from(view.i32(offset)?).ok().filter(|&words| words > 0)?;
            let end = at.plus(context.layout.frame.localsplus as u64);
            before(end.plus(words.checked_mul(8)?), 1)
        }
    }
}
