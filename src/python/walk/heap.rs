//! CPython 3.8 to 3.10: frames are objects of their own, linked by `f_back`.
//!
//! A frame that has returned keeps its links and its code, so each one must say that it
//! is alive: a positive reference count and the mark of a frame that executes. With
//! that, functions were never wrong in thousands of torn reads; lines of callers were,
//! which the second reading tells. So one reading that holds from a live leaf to the root
//! is enough for the functions, and either may be that one.

use super::frame::{Decoded, Header};
use super::remembered::Remembered;
use super::{Context, Found, MOST_FRAMES, MOST_STEPS, Need, Outcome, Pass, RawFrame};
use crate::process::{Batch, Slot};
use crate::python::layout::{CurrentFrame, FrameLayout, Layout, Liveness};
use crate::python::view::View;
use crate::units::RemoteAddress;

/// How many dead frames are passed on the way to a caller.
const MOST_DEAD: u32 = 12;

/// How many locals are read along with a frame, for whoever looks for a request in them.
const LOCALS: usize = 16;

/// In how many rounds the second reading is made again at once when a frame was missing.
const MOST_AT_ONCE: usize = 3;

/// The frames of one thread.
#[derive(Debug)]
pub(super) struct Heap {
    thread: RemoteAddress,
    interpreter: RemoteAddress,
    thread_slot: Option<Slot>,
    frames: Remembered,
    /// The last walk's frames, root first.
    callers: Vec<RemoteAddress>,
    verified: usize,
    /// Whether the second reading is of a later round than the instant.
    late: bool,
    unverified: bool,
    steps: usize,
    /// Where a chain of frames that are not known goes on.
    unknown: Option<RemoteAddress>,
    /// The frame that was asked for last.
    last_added: Option<RemoteAddress>,
    /// What the first reading gave, if the second is torn.
    earlier: Vec<Found>,
}

impl Heap {
    pub(super) fn new(thread: RemoteAddress, interpreter: RemoteAddress) -> Self {
        Self {
            thread,
            interpreter,
            thread_slot: None,
            frames: Remembered::default(),
            callers: Vec::new(),
            verified: 0,
            late: false,
            unverified: false,
            steps: 0,
            unknown: None,
            last_added: None,
            earlier: Vec::new(),
        }
    }

    pub(super) const fn start(&mut self) {
        self.verified = 0;
        self.steps = 0;
        self.unknown = None;
    }

    pub(super) fn ask(&mut self, need: Need, layout: &Layout, batch: &mut Batch) {
        self.unverified = need == Need::More;
        if self.unverified {
            return;
        }
        self.late = need == Need::After;
        if need == Need::Everything {
            self.frames.ask(Pass::Before, layout.frame.size, batch);
            self.thread_slot = Some(batch.ask(self.thread, layout.thread.read_size));
        } else {
            self.verified = self.verified.saturating_add(1);
        }
        self.frames.ask(Pass::After, with_locals(&layout.frame), batch);
    }

    /// Collects the frames into `found`, root first, as far as there are bytes for them.
    pub(super) fn collect(
        &mut self,
        may_ask: bool,
        not_code: &[RemoteAddress],
        context: &mut Context<'_>,
        found: &mut Vec<Found>,
    ) -> Outcome {
        let may_ask = may_ask && self.steps < MOST_STEPS;
        found.clear();
        if may_ask && self.follows_unknown(context) {
            return Outcome::Needs(Need::More);
        }
        let Some(current) = self.current(context) else { return Outcome::Torn };
        let outcome = match self.chain(current, Pass::After, may_ask, not_code, context, found) {
            Outcome::Torn => {
                // The running frame may have returned by then, and not yet before.
                let mut earlier = std::mem::take(&mut self.earlier);
                let outcome =
                    self.chain(current, Pass::Before, false, not_code, context, &mut earlier);
                if outcome == Outcome::Complete {
                    std::mem::swap(found, &mut earlier);
                }
                self.earlier = earlier;
                if outcome == Outcome::Complete { outcome } else { Outcome::Torn }
            }
            outcome => outcome,
        };
        match outcome {
            Outcome::Needs(_) if self.verified >= MOST_AT_ONCE => {
                self.unknown = self.last_added;
                Outcome::Needs(Need::More)
            }
            Outcome::Complete | Outcome::Torn if self.unverified && may_ask => {
                Outcome::Needs(Need::After)
            }
            Outcome::Torn if found.is_empty() => {
                self.known_callers(not_code, context, found);
                Outcome::Torn
            }
            outcome => outcome,
        }
    }

    /// Goes on along frames that were never met, one a round, without beginning anew at the
    /// leaf each time; whether there was another.
    fn follows_unknown(&mut self, context: &mut Context<'_>) -> bool {
        let layout = &context.layout.frame;
        let Some(mut next) = self.unknown.take() else { return false };
        while let Some(range) = self.frames.meet(next) {
            self.steps = self.steps.saturating_add(1);
            let bytes = context.batch.prefix(range.slot(Pass::After)).unwrap_or_default();
            // What a dead frame leads to is for the whole chain to judge.
            let header = Header::read(bytes, 0, layout).filter(|_| is_alive(bytes, layout));
            let back = header.map(|header| header.previous);
            match back.filter(|back| back.is_plausible() && self.steps < MOST_STEPS) {
                Some(back) => next = back,
                None => return false,
            }
        }
        let added = self.frames.add(next, with_locals(layout), context.batch);
        self.unknown = added.then_some(next);
        added
    }

    /// The running frame, by the thread state.
    fn current(&self, context: &Context<'_>) -> Option<RemoteAddress> {
        let layout = &context.layout.thread;
        let bytes = View(context.batch.bytes(self.thread_slot?)?);
        let CurrentFrame::Direct(offset) = layout.current_frame else { return None };
        let interpreter = bytes.address(layout.interp)?;
        bytes.address(offset).filter(|_| interpreter == self.interpreter)
    }

    /// Follows `f_back` from the running frame to the root. After a dead frame nothing that
    /// was found so far is known to be on the stack, but its callers may be: a frame that
    /// just returned still has its caller. One that was put on the list of free frames has
    /// the next free one instead, hundreds of them: those lead nowhere.
    fn chain(
        &mut self,
        current: RemoteAddress,
        pass: Pass,
        may_ask: bool,
        not_code: &[RemoteAddress],
        context: &mut Context<'_>,
        found: &mut Vec<Found>,
    ) -> Outcome {
        found.clear();
        let (mut next, mut torn, mut dead, mut steps) = (current, false, 0_u32, 0_usize);
        while !next.is_null() {
            steps = steps.saturating_add(1);
            self.steps = self.steps.saturating_add(1);
            if steps > MOST_FRAMES || !next.is_plausible() {
                torn = true;
                found.clear();
                break;
            }
            let Some(range) = self.frames.meet(next) else {
                let length = with_locals(&context.layout.frame);
                if may_ask && self.frames.add(next, length, context.batch) {
                    self.last_added = Some(next);
                    return Outcome::Needs(Need::After);
                }
                torn = true;
                found.clear();
                break;
            };
            let other = range.slot(pass.other());
            let twice = range.was_read_twice();
            match self.one(next, range.slot(pass), other, twice, not_code, context) {
                Ok((frame, _)) => found.push(frame),
                Err(Outcome::Load(address)) => return Outcome::Load(address),
                Err(_) => {
                    torn = true;
                    found.clear();
                    dead = dead.saturating_add(1);
                    if dead > MOST_DEAD {
                        break;
                    }
                }
            }
            let bytes = context.batch.prefix(range.slot(pass)).unwrap_or_default();
            let Some(header) = Header::read(bytes, 0, &context.layout.frame) else {
                torn = true;
                found.clear();
                break;
            };
            next = header.previous;
        }
        found.reverse();
        if torn { Outcome::Torn } else { Outcome::Complete }
    }

    /// The frame at `address`, if it is alive, and its caller.
    fn one(
        &self,
        address: RemoteAddress,
        slot: Slot,
        other: Slot,
        twice: bool,
        not_code: &[RemoteAddress],
        context: &mut Context<'_>,
    ) -> Result<(Found, RemoteAddress), Outcome> {
        let layout = context.layout.frame;
        // The object may end before its last locals, at the end of its arena.
        let bytes = context.batch.prefix(slot).unwrap_or_default();
        let header = Header::read(bytes, 0, &layout).filter(|_| is_alive(bytes, &layout));
        let header = header.ok_or(Outcome::Torn)?;
        let bytes = context.batch.prefix(other).unwrap_or_default();
        let other = Header::read(bytes, 0, &layout).filter(|_| is_alive(bytes, &layout));
        let place = Some((slot, 0));
        match header.decode(address, place, false, not_code, context) {
            Decoded::Frame(frame) => {
                let same_function = other.is_some_and(|other| header.same_function(&other));
                let same_words = other == Some(header);
                let same_place = twice && same_words && !self.late;
                // If code and caller did not change together, the frame was taken for another
                // call in between, and perhaps while it was read: one may be of either.
                let torn = other.is_some_and(|other| {
                    (other.code == header.code) != (other.previous == header.previous)
                });
                let found = Found {
                    frame,
                    holds: !torn,
                    linked: true,
                    same_function,
                    same_words,
                    same_place,
                };
                Ok((found, header.previous))
            }
            Decoded::Load(address) => Err(Outcome::Load(address)),
            Decoded::Bad => Err(Outcome::Torn),
        }
    }

    /// Of the last walk's frames, those that are still called from the root up. When the
    /// topmost frame has ended (or yielded) before it was read, nothing leads from it to
    /// its callers; but most of them are where they were.
    fn known_callers(
        &self,
        not_code: &[RemoteAddress],
        context: &mut Context<'_>,
        found: &mut Vec<Found>,
    ) {
        let mut caller = RemoteAddress::NULL;
        for &address in &self.callers {
            let Some(range) = self.frames.get(address) else { return };
            let (slot, other) = (range.slot(Pass::After), range.slot(Pass::Before));
            match self.one(address, slot, other, range.was_read_twice(), not_code, context) {
                Ok((frame, back)) if back == caller => found.push(frame),
                _ => return,
            }
            caller = address;
        }
    }

    /// Keeps the frames for the next walk.
    pub(super) fn remember(&mut self, frames: &[RawFrame]) {
        if !frames.is_empty() {
            self.callers.clear();
            self.callers.extend(frames.iter().map(|frame| frame.address));
        }
        for &address in &self.callers {
            self.frames.meet(address);
        }
        self.frames.tidy();
    }
}

/// How many bytes are read of a frame together with its first locals.
fn with_locals(layout: &FrameLayout) -> usize {
    layout.localsplus.saturating_add(LOCALS.saturating_mul(8))
}

fn is_alive(bytes: &[u8], layout: &FrameLayout) -> bool {
    let Liveness::Executing { offset, values, generator } = layout.liveness else {
        return false;
    };
    let view = View(bytes);
    // A generator's frame has no caller once it has yielded, and is never a root.
    let owner = if view.u64(layout.previous) == Some(0) { view.u64(generator) } else { Some(0) };
    owner == Some(0)
        && view.i64(0).is_some_and(|count| count > 0)
        && view.i8(offset).is_some_and(|state| values.contains(&state))
}
