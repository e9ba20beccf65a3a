//! The rounds of a look: what is asked for in each, and what is made of the answers.

use super::super::code::Codes;
use super::super::gil::GilReads;
use super::super::layout::{CollectingPlace, Layout};
use super::super::objects::Objects;
use super::super::stack::{FoundFrame, RawPlace};
use super::super::view::View;
use super::super::walk::{Context, RawFrame, Step};
use super::Runtime;
use crate::model::Tables;
use crate::process::ReadMemory;
use crate::units::RemoteAddress;

impl Runtime {
    pub(super) fn ask_first_round(&mut self, wanted: &[usize]) {
        let Self { batch, layout, interpreters, codes, heads, .. } = self;
        heads.clear();
        let first = interpreters.first().map_or(RemoteAddress::NULL, |first| first.address);
        let head = self.address.plus(layout.runtime.interpreters_head as u64);
        heads.push((batch.ask(head, 8), first));
        self.gil_reads.clear();
        for interpreter in interpreters.iter() {
            let head = interpreter.address.plus(layout.interpreter.threads_head as u64);
            heads.push((batch.ask(head, 8), interpreter.threads_head));
            if self.gil_reads.iter().all(|gil| gil.address != interpreter.gil) {
                let read = GilReads::before(interpreter.gil, layout, batch);
                self.gil_reads.push(read);
            }
        }
        for &index in wanted {
            if let Some(thread) = self.threads.get_mut(index) {
                thread.walk.start(layout, batch);
            }
        }
        self.fingerprints.clear();
        self.generations.clear();
        if let Some(generation) = layout.interpreter.code_object_generation {
            // One word instead of a fingerprint for each code object. It is read after the
            // frames: what is freed later was there when they were.
            for interpreter in interpreters.iter() {
                self.generations.push(batch.ask(interpreter.address.plus(generation as u64), 8));
            }
        } else {
            let checks = self.used.iter().filter_map(|&id| codes.ask(id, layout, batch));
            self.fingerprints.extend(checks);
        }
        // Between the two readings of the GIL, whose holder it is that collects.
        self.collecting.clear();
        match layout.collecting {
            // There every thread may collect, and none says that it does.
            _ if layout.free_threaded => {}
            CollectingPlace::InRuntime(offset) => {
                let slot = batch.ask(self.address.plus(offset as u64), 4);
                self.collecting.push((None, slot));
            }
            CollectingPlace::InInterpreter(offset) => {
                for interpreter in interpreters.iter() {
                    let slot = batch.ask(interpreter.address.plus(offset as u64), 4);
                    self.collecting.push((Some(interpreter.address), slot));
                }
            }
        }
        for read in &mut self.gil_reads {
            read.ask_after(batch);
        }
    }

    /// How many code objects all interpreters together have freed, where they count.
    pub(super) fn code_stamp(&self) -> Option<u64> {
        let counts = self.generations.iter().map(|&slot| View(self.batch.bytes(slot)?).u64(0));
        counts.reduce(|sum, count| Some(sum?.wrapping_add(count?)))?
    }

    /// Whether a new thread or interpreter stands at the head of a list: they are always
    /// put there. One that left is noticed when its thread ends.
    pub(super) fn lists_changed(&self) -> bool {
        self.heads.iter().any(|&(slot, expected)| {
            let word = self.batch.bytes(slot).and_then(|bytes| View(bytes).address(0));
            word != Some(expected)
        })
    }

    pub(super) fn ask_fingerprints(&mut self) {
        let Self { codes, layout, batch, .. } = self;
        let checks = self.unchecked.drain(..).filter_map(|id| codes.ask(id, layout, batch));
        self.fingerprints.extend(checks);
    }

    pub(super) fn check_fingerprints(&mut self) {
        for check in self.fingerprints.drain(..) {
            self.codes.check(check, &self.batch, self.tick);
        }
    }

    /// Lets one thread's walk go on; whether it waits for the next read.
    pub(super) fn advance(
        &mut self,
        index: usize,
        memory: &dyn ReadMemory,
        tables: &mut Tables,
    ) -> bool {
        let Some(thread) = self.threads.get_mut(index) else { return false };
        loop {
            let mut context = Context {
                layout: &self.layout,
                batch: &mut self.batch,
                codes: &self.codes,
                tick: self.tick,
                unchecked: &mut self.unchecked,
            };
            match thread.walk.advance(&mut context) {
                Step::Done => return false,
                Step::Read => return true,
                Step::Load(address) => {
                    let spent = &self.objects_batch;
                    let (calls, bytes) = self.most_for_codes;
                    if spent.calls() >= calls || spent.bytes_read() >= bytes {
                        thread.walk.refuse_code(address);
                        continue;
                    }
                    let mut objects = Objects::new(
                        memory,
                        &self.layout,
                        &mut self.objects_batch,
                        &mut self.names,
                    );
                    let loaded =
                        self.codes.load(address, &mut objects, &self.layout, tables, self.tick);
                    if loaded.is_none() {
                        thread.walk.refuse_code(address);
                    }
                }
            }
        }
    }

    /// From raw frames to functions and lines; and which codes the next look checks.
    pub(super) fn resolve(&mut self, wanted: &[usize], tables: &mut Tables) {
        self.used.clear();
        for &index in wanted {
            let Some(thread) = self.threads.get_mut(index) else { continue };
            thread.frames.clear();
            let frames = thread.walk.frames();
            for (position, raw) in frames.iter().enumerate() {
                self.used.push(raw.code);
                // A frame that is being set up is not shown; one that has called another was,
                // and its instruction was read too early.
                let is_leaf = position.saturating_add(1) == frames.len();
                let is_internal = self.codes.get(raw.code).is_some_and(|code| code.is_internal);
                if !raw.shown && (is_leaf || is_internal) {
                    continue;
                }
                if let Some(found) = found(raw, &mut self.codes, &self.layout, tables) {
                    thread.frames.push(found);
                }
            }
        }
        self.used.sort_unstable();
        self.used.dedup();
    }
}

fn found(
    raw: &RawFrame,
    codes: &mut Codes,
    layout: &Layout,
    tables: &mut Tables,
) -> Option<FoundFrame> {
    let frame = codes.frame(raw.code, raw.offset, layout, tables)?;
    let function = tables.frame(frame).function;
    let place =
        RawPlace { code: raw.code, address: raw.address, place: raw.place, is_suspended: false };
    Some(FoundFrame { frame, function, raw: place })
}
