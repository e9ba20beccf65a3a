//! CPython 3.8 to 3.10: frames are objects of their own, linked by `f_back`.
//!
//! A frame that has returned keeps its links and its code, so each one must say that it
//! is alive: a positive reference count and the mark of a frame that executes. With
//! that, functions were never wrong in thousands of torn reads; lines of callers were,
//! which the second read tells.

use super::collector::{Collector, FixedPart};
use super::{MOST_FRAMES, Outcome, extra_frame_size};
use crate::python::layout::Liveness;
use crate::units::RemoteAddress;

/// How many dead frames are passed on the way to a caller.
const MOST_DEAD: u32 = 12;

impl Collector<'_, '_> {
    pub(super) fn collect_heap(&mut self) -> Outcome {
        let Some(thread) = self.thread() else { return Outcome::Torn };
        let mut next = match self.current_frame(&thread) {
            Ok(address) => address,
            Err(outcome) => return outcome,
        };
        let layout = self.context.layout;
        let Liveness::Executing { offset: alive, values } = layout.frame.liveness else {
            return Outcome::Torn;
        };
        // Leaf first here; turned round at the end. After a dead frame nothing that was
        // collected so far is known to be on the stack, but its callers may be: a frame
        // that just returned still has its caller. One that was put on the list of free
        // frames has the next free one instead, hundreds of them: those lead nowhere.
        let (mut torn, mut steps, mut dead) = (false, 0_usize, 0_u32);
        if let Some((from, was_torn)) = self.pass.resume.take() {
            (next, torn) = (from, was_torn);
        } else {
            self.pass.found.clear();
        }
        while !next.is_null() {
            steps = steps.saturating_add(1);
            let slot = self.pass.frames.get(&next).copied();
            if steps > MOST_FRAMES || !next.is_plausible() || (slot.is_none() && !self.may_ask) {
                torn = true;
                self.pass.found.clear();
                break;
            }
            let Some(slot) = slot else {
                let slot = self.context.batch.ask(next, extra_frame_size(layout));
                self.pass.frames.insert(next, slot);
                self.pass.resume = Some((next, torn));
                return Outcome::Needs;
            };
            // The object may end before its last locals, at the end of its arena.
            let copy = FixedPart::of(self.context.batch.prefix(slot), 0, layout.frame.size);
            let Some(copy) = copy else {
                torn = true;
                self.pass.found.clear();
                break;
            };
            let view = copy.view();
            let is_alive = view.i64(0).is_some_and(|count| count > 0)
                && view.i8(alive).is_some_and(|state| values.contains(&state));
            let Some(back) = view.address(layout.frame.previous) else { return Outcome::Torn };
            match self.decode(next, view, Some((slot, 0)), false).map_err(Outcome::from) {
                Ok(frame) if is_alive => self.pass.found.push(frame),
                Err(Outcome::Load(address)) => {
                    self.pass.resume = Some((next, torn));
                    return Outcome::Load(address);
                }
                Ok(_) | Err(_) => {
                    torn = true;
                    self.pass.found.clear();
                    dead = dead.saturating_add(1);
                    if dead > MOST_DEAD {
                        break;
                    }
                }
            }
            next = back;
        }
        self.pass.found.reverse();
        if torn { Outcome::Torn } else { Outcome::Complete }
    }

    /// Of the last walk's frames, those that are still called from the root up. When the
    /// topmost frame has ended (or yielded) before it was read, nothing leads from it to
    /// its callers; but most of them are where they were.
    pub(super) fn collect_known_callers(&mut self, leaf_first: &[RemoteAddress]) {
        let layout = self.context.layout.frame;
        let Liveness::Executing { offset: alive, values } = layout.liveness else { return };
        self.pass.found.clear();
        let mut caller = RemoteAddress::NULL;
        for &address in leaf_first.iter().rev() {
            let Some(&slot) = self.pass.frames.get(&address) else { return };
            let copy = FixedPart::of(self.context.batch.prefix(slot), 0, layout.size);
            let Some(copy) = copy else { return };
            let view = copy.view();
            let lives = view.i64(0).is_some_and(|count| count > 0)
                && view.i8(alive).is_some_and(|state| values.contains(&state))
                && view.address(layout.previous) == Some(caller);
            match self.decode(address, view, Some((slot, 0)), false) {
                Ok(frame) if lives => self.pass.found.push(frame),
                _ => return,
            }
            caller = address;
        }
    }
}
