//! What a process' threads ask databases, and whether they still do a moment later.

use super::{Clock, Common, Second, Target};
use crate::model::Grade;
use crate::python::Stack;
use crate::units::Nanos;

/// How often a second look is taken of threads whose stacks do not hold.
const TRIES: u32 = 3;

impl Target {
    /// Reads what the threads of this look ask.
    pub(super) fn read_statements(&mut self, clock: &Clock, common: &mut Common) {
        if !common.statements {
            return;
        }
        for position in 0..self.wanted.len() {
            let index = self.wanted[position];
            let grade = self.runtime.threads().get(index).map(|thread| thread.grade());
            if !matches!(grade, Some(Grade::Exact | Grade::Functions)) {
                continue;
            }
            let mut stack = Stack::of_thread(&mut self.runtime, &self.memory, index);
            let (known, tables) = (&mut common.known_statements, &mut common.tables);
            let execution = self.statements.read(&mut stack, known, tables);
            self.tracks[index].read = execution.map(|execution| (execution, clock.now()));
        }
    }

    /// When the second look at threads in a statement is due; `None` if there are none.
    pub(in crate::sampler) fn second_look(&self, common: &Common) -> Option<Nanos> {
        let in_progress = self.tracks.iter().filter_map(|track| track.in_progress.as_ref());
        in_progress.map(|first| first.at.saturating_add(common.executions.delay(first))).min()
    }

    /// Tells of the threads that were in a statement at this tick whether the same execution
    /// goes on. A thread that has not run is in it still; of one that has, the stack says.
    pub(in crate::sampler) fn look_again(&mut self, clock: &Clock, common: &mut Common) {
        self.again.clear();
        for (index, track) in self.tracks.iter_mut().enumerate() {
            let Some(first) = track.in_progress else { continue };
            if track.has_not_run(&mut common.calls) {
                common.executions.looked_again(&first, clock.now(), Second::GoesOn);
            } else {
                self.again.push(index);
            }
        }
        let mut again = std::mem::take(&mut self.again);
        for _ in 0..TRIES {
            if again.is_empty() {
                break;
            }
            for &index in &again {
                self.runtime.set_moves(index, true);
            }
            if self.runtime.look(&self.memory, &mut common.tables, &again).is_err() {
                // Gone; the next tick finds out.
                break;
            }
            again.retain(|&index| !self.tell(index, clock, common));
        }
        self.again = again;
    }

    /// What a thread's stack says of its execution; `false` if that does not hold together.
    fn tell(&mut self, index: usize, clock: &Clock, common: &mut Common) -> bool {
        let Some(first) = self.tracks.get(index).and_then(|track| track.in_progress) else {
            return true;
        };
        // Of a stack that holds but for its leaf, the call is among what holds if the thread
        // is still in it.
        let grade = self.runtime.threads().get(index).map(|thread| thread.grade());
        if !matches!(grade, Some(Grade::Exact | Grade::Functions | Grade::Partial)) {
            return false;
        }
        let mut stack = Stack::of_thread(&mut self.runtime, &self.memory, index);
        let (known, tables) = (&mut common.known_statements, &mut common.tables);
        let now = self.statements.read(&mut stack, known, tables);
        let found = if now == Some(first.execution) { Second::GoesOn } else { Second::Ended };
        common.executions.looked_again(&first, clock.now(), found);
        true
    }
}
