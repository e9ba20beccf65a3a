//! CPython 3.8 to 3.10: frames are objects of their own, linked by `f_back`.
//!
//! A frame that has returned keeps its links and its code, so each one must say that it
//! is alive: a positive reference count and the mark of a frame that executes. With
//! that, functions were never wrong in thousands of torn reads; lines of callers were,
//! which the second read tells.

use super::{Collector, FixedPart, MOST_FRAMES, Outcome, extra_frame_size};
use crate::python::layout::Liveness;

impl Collector<'_, '_> {
    pub(super) fn collect_heap(&mut self) -> Outcome {
        let Some(thread) = self.thread() else { return Outcome::Torn };
        let mut next = match self.current_frame(&thread) {
            Ok(address) => address,
            Err(outcome) => return outcome,
        };
        let layout = self.context.layout;
        let Liveness::Executing { offset: alive, value } = layout.frame.liveness else {
            return Outcome::Torn;
        };
        // Leaf first here; turned round at the end. After a dead frame nothing that was
        // collected so far is known to be on the stack, but its callers may be.
        let mut torn = false;
        while !next.is_null() {
            if self.pass.found.len() >= MOST_FRAMES || !next.is_plausible() {
                torn = true;
                break;
            }
            let Some(&slot) = self.pass.frames.get(&next) else {
                if !self.may_ask {
                    torn = true;
                    self.pass.found.clear();
                    break;
                }
                let slot = self.context.batch.ask(next, extra_frame_size(layout));
                self.pass.frames.insert(next, slot);
                return Outcome::Needs;
            };
            // The object may end before its last locals, at the end of its arena.
            let bytes = self.context.batch.prefix(slot);
            let Some(copy) = FixedPart::of(bytes, 0, layout.frame.size) else {
                torn = true;
                self.pass.found.clear();
                break;
            };
            let view = copy.view();
            let is_alive =
                view.i64(0).is_some_and(|count| count > 0) && view.i8(alive) == Some(value);
            let Some(back) = view.address(layout.frame.previous) else { return Outcome::Torn };
            match self.decode(next, view, Some((slot, 0)), false) {
                Ok(frame) if is_alive => self.pass.found.push(frame),
                Ok(_) => {
                    torn = true;
                    self.pass.found.clear();
                }
                Err(bad) => match bad.into() {
                    Outcome::Torn => {
                        torn = true;
                        self.pass.found.clear();
                        break;
                    }
                    outcome => return outcome,
                },
            }
            next = back;
        }
        self.pass.found.reverse();
        if torn { Outcome::Torn } else { Outcome::Complete }
    }
}
