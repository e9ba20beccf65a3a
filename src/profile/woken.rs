//! Tells threads that wait for the GIL from threads that run without it.
//!
//! A waiter wakes up every five milliseconds, asks the holder to let go and waits on
//! (`take_gil` in CPython's `ceval_gil.c`). Where CPUs are short, and be it only because the
//! profiler is on one, it then queues for a CPU, and the kernel calls it `running` like a
//! thread in native code that let go of the GIL. Two things tell them apart: a waiter is at
//! the very place where it was seen waiting, before or after, and it has used next to no CPU
//! time in between. It is `runnable`, and what it wants the CPU for is the GIL: its `on` is
//! the holder that was seen at the other look.

use crate::model::{OnId, Sample, StackId, State};
use crate::units::Nanos;

/// No more looks than this are held back until it is clear what they are.
const MOST_UNDECIDED: usize = 64;

/// The looks at one thread, on their way into the profile.
#[derive(Debug, Default)]
pub(super) struct Woken {
    /// Where it waits for the GIL, if that was its last look.
    waits: Option<Wait>,
    /// Looks in a row that found it running without the GIL, all at the same place.
    undecided: Vec<(Nanos, Sample)>,
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    stack: Option<StackId>,
    on: Option<OnId>,
}

impl Woken {
    /// Takes a look in, and gives on those that are decided, in order.
    pub(super) fn push(
        &mut self,
        at: Nanos,
        sample: &Sample,
        mut give: impl FnMut(Nanos, &Sample),
    ) {
        let stays = has_not_run(sample);
        let is_wait = sample.state == State::GilWait;
        let before = self.undecided.last().map(|(_, before)| before.stack);
        if before != Some(sample.stack) || !stays {
            self.decide(None, &mut give);
        } else if is_wait {
            self.decide(Some(sample.on), &mut give);
        }
        if sample.state == State::Running && !sample.holds_gil {
            match self.waits.filter(|wait| stays && wait.stack == sample.stack) {
                Some(wait) => give(at, &queueing(sample, wait.on)),
                None => {
                    self.waits = None;
                    self.undecided.push((at, *sample));
                    if self.undecided.len() >= MOST_UNDECIDED {
                        self.decide(None, &mut give);
                    }
                }
            }
            return;
        }
        self.decide(None, &mut give);
        self.waits = is_wait.then_some(Wait { stack: sample.stack, on: sample.on });
        give(at, sample);
    }

    /// Gives on what was held back: as waiters behind that holder, or as what they seemed.
    pub(super) fn decide(
        &mut self,
        behind: Option<Option<OnId>>,
        give: &mut impl FnMut(Nanos, &Sample),
    ) {
        for (at, sample) in self.undecided.drain(..) {
            match behind {
                Some(on) => give(at, &queueing(&sample, on)),
                None => give(at, &sample),
            }
        }
    }
}

/// Whether a thread has used so little CPU time since the look before that it did no more
/// than wake up: less than a sixteenth of the time.
fn has_not_run(sample: &Sample) -> bool {
    sample.cpu.as_nanos() <= sample.weight.as_nanos() / 16
}

/// The same thread, known to queue for a CPU on its way to the GIL.
fn queueing(sample: &Sample, on: Option<OnId>) -> Sample {
    Sample { state: State::Runnable, on, ..*sample }
}
