//! The frame walk: from a thread state to its frames, as a state machine that never
//! reads by itself. It asks for ranges, is given bytes, and says what it wants next.
//!
//! The target runs on while it is read. So the stack is read twice, around one reading of
//! the thread state, which is the *instant* that a sample is of:
//!
//! ```text
//!       before             instant           after
//! ask   A: stack, frames │ thread state │ B: frames, stack       one process_vm_readv
//!
//! callers the same in A and B, instructions too, and the
//! thread cannot have run meanwhile                           → exact
//! callers the same functions in A and B, the leaf is one     → functions
//! only some callers are the same in both                     → partial, the leaf is (unsettled)
//! nothing                                                    → lost
//! ```
//!
//! What was the same before and after was so at the instant, too. The leaf need not be the
//! same: it is the instant's thread state that says which frame was running, and what was
//! read of that frame afterwards is that call or a later one from the same caller.
//! A walk is never repeated in the hope of a better one: that would favour code that
//! stands still, and bend the profile.
//!
//! What to ask for is taken from the thread's last walk, so in the steady state a walk is
//! *verified*, not discovered, and all threads of a process share one call. What turns out
//! to be missing is asked for in a next round, followed by a new B: the instant stays.

mod datastack;
mod frame;
mod heap;
mod remembered;

use super::code::{CodeId, Codes};
use super::layout::{Layout, Liveness};
use crate::model::Grade;
use crate::process::{Batch, Slot};
use crate::units::RemoteAddress;
use datastack::DataStack;
use heap::Heap;

/// The most frames of one stack that are read.
pub(crate) const MOST_FRAMES: usize = 16_384;

/// Rounds in which a thread may ask for more before what there is has to do. Heap frames
/// are found one by one, so that a deep stack's first walk takes many.
const MOST_ROUNDS: usize = 12_000;

/// How many frames one walk decodes, counting again those that it comes by in every round:
/// a stack may be deep, or take many rounds, but not both without end.
const MOST_STEPS: usize = 1 << 22;

/// How much all walks of a look may ask for before they have to do with what there is, in
/// bytes: thousands of threads with usual stacks, or a few with the largest.
const MOST_ASKED: usize = 48 << 20;

/// A frame as it was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawFrame {
    pub(crate) address: RemoteAddress,
    pub(crate) code: CodeId,
    /// Where in the instructions it is, in bytes; negative before the first.
    pub(crate) offset: i64,
    /// Whether the interpreter itself would show it: not while it is being set up.
    pub(crate) shown: bool,
    /// Where its bytes are, for whoever wants its locals.
    pub(crate) place: Option<(Slot, usize)>,
}

/// What a walk wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The batch to be read, then to be asked again.
    Read,
    /// This code object to be loaded, then to be asked again.
    Load(RemoteAddress),
    /// Nothing: [`Walk::frames`] and [`Walk::grade`] hold.
    Done,
}

/// What a walk works with in one call.
pub(crate) struct Context<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) batch: &'a mut Batch,
    pub(crate) codes: &'a Codes,
    pub(crate) tick: u64,
    /// Codes whose fingerprint has to be read before their frames count.
    pub(crate) unchecked: &'a mut Vec<CodeId>,
}

/// Which of the two readings of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Before,
    After,
}

impl Pass {
    /// The one that it is compared with.
    const fn other(self) -> Self {
        match self {
            Self::Before => Self::After,
            Self::After => Self::Before,
        }
    }
}

/// A frame of a stack, and how far the two readings agree on it.
#[derive(Debug, Clone, Copy)]
struct Found {
    frame: RawFrame,
    /// Whether it counts as a caller of what is above it.
    holds: bool,
    /// Whether what leads from it to its caller is the same in both readings, where that
    /// is not its own words alone: between C and Python functions lie frames that are none.
    linked: bool,
    /// The same function called by the same caller in both readings.
    same_function: bool,
    /// At the same instruction, too.
    same_words: bool,
    /// The same words in two readings right before and right after the instant.
    same_place: bool,
}

/// How one reading of the stack ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// From root to leaf, everything holds together.
    Complete,
    /// It does not; what was found are the callers that may hold.
    Torn,
    /// Something that was not read has been asked for.
    Needs(Need),
    /// A code object is not known.
    Load(RemoteAddress),
}

/// What has to be read along with what was missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing: more is missing, as far as can be told.
    More,
    /// The second reading: what was missing now lies between the two.
    After,
    /// Everything, at a new instant.
    Everything,
}

/// The walk of one thread, and what it remembers from tick to tick.
#[derive(Debug)]
pub(crate) struct Walk {
    stack: Stack,
    /// Addresses that turned out to be no code object in this tick.
    not_code: Vec<RemoteAddress>,
    rounds: usize,
    /// Whether there was no room to ask for anything.
    starved: bool,
    /// Whether a code object was loaded since the stack was last read: its address may
    /// have been another's when the frame was read.
    loaded: bool,
    /// Whether this is its first walk: what it finds it has read once only.
    first: bool,
    /// Whether the thread may run while it is read.
    moves: bool,
    grade: Grade,
    frames: Vec<RawFrame>,
    found: Vec<Found>,
}

/// Where a thread keeps its frames.
#[derive(Debug)]
enum Stack {
    Data(DataStack),
    Heap(Heap),
}

impl Walk {
    /// The walk of the thread whose `PyThreadState` is at `thread`.
    pub(crate) fn new(thread: RemoteAddress, interpreter: RemoteAddress, layout: &Layout) -> Self {
        let stack = match layout.frame.liveness {
            Liveness::Tiling { .. } => Stack::Data(DataStack::new(thread, interpreter)),
            Liveness::Executing { .. } => Stack::Heap(Heap::new(thread, interpreter)),
        };
        Self {
            stack,
            not_code: Vec::new(),
            rounds: 0,
            starved: false,
            loaded: false,
            first: true,
            moves: false,
            grade: Grade::Lost,
            frames: Vec::new(),
            found: Vec::new(),
        }
    }

    /// The frames that hold, root first. With [`Grade::Partial`] the leaf is missing.
    pub(crate) fn frames(&self) -> &[RawFrame] {
        &self.frames
    }

    /// How far the readings agree.
    pub(crate) const fn grade(&self) -> Grade {
        self.grade
    }

    /// Says whether the thread may run while it is read.
    pub(crate) const fn set_moves(&mut self, moves: bool) {
        self.moves = moves;
    }

    /// Asks for what the last walk found.
    pub(crate) fn start(&mut self, layout: &Layout, batch: &mut Batch) {
        self.rounds = 0;
        self.loaded = false;
        self.not_code.clear();
        match &mut self.stack {
            Stack::Data(stack) => stack.start(),
            Stack::Heap(stack) => stack.start(),
        }
        self.ask(Need::Everything, layout, batch);
    }

    fn ask(&mut self, need: Need, layout: &Layout, batch: &mut Batch) {
        self.starved = batch.bytes_wanted() >= MOST_ASKED;
        if self.starved {
            return;
        }
        match &mut self.stack {
            Stack::Data(stack) => stack.ask(need, layout, batch),
            Stack::Heap(stack) => stack.ask(need, layout, batch),
        }
    }

    /// That `address` is no code object.
    pub(crate) fn refuse_code(&mut self, address: RemoteAddress) {
        self.not_code.push(address);
    }

    /// Goes on with the bytes that were read.
    pub(crate) fn advance(&mut self, context: &mut Context<'_>) -> Step {
        if self.starved {
            self.found.clear();
            self.judge(false, context);
            return Step::Done;
        }
        let may_ask = self.rounds < MOST_ROUNDS && context.batch.bytes_wanted() < MOST_ASKED;
        let outcome = match &mut self.stack {
            Stack::Data(stack) => stack.collect(may_ask, &self.not_code, context, &mut self.found),
            Stack::Heap(stack) => stack.collect(may_ask, &self.not_code, context, &mut self.found),
        };
        let need = match outcome {
            Outcome::Load(address) => {
                self.loaded = true;
                return Step::Load(address);
            }
            Outcome::Needs(need) => Some(need),
            // A code object is read after the frame that runs it, and may be another by
            // then: so the frame has to be there still when it is read once more.
            Outcome::Complete | Outcome::Torn if self.loaded && may_ask => Some(Need::After),
            // What a first walk finds one by one is of many moments: once more, of one.
            Outcome::Complete if self.first && may_ask => {
                self.first = false;
                Some(Need::Everything)
            }
            Outcome::Complete | Outcome::Torn => None,
        };
        if let Some(need) = need {
            self.rounds = self.rounds.saturating_add(1);
            if need != Need::More {
                self.loaded = false;
            }
            self.ask(need, context.layout, context.batch);
            return Step::Read;
        }
        if !context.unchecked.is_empty() && self.rounds < MOST_ROUNDS {
            self.rounds = self.rounds.saturating_add(1);
            return Step::Read;
        }
        self.judge(outcome == Outcome::Complete, context);
        match &mut self.stack {
            Stack::Data(stack) => stack.remember(),
            Stack::Heap(stack) => stack.remember(&self.frames),
        }
        Step::Done
    }

    /// The grade and the frames, from what was found.
    fn judge(&mut self, complete: bool, context: &Context<'_>) {
        self.frames.clear();
        let found = &self.found;
        // A code object that was only just read may not be the one that the frame ran: it counts
        // if the thread cannot have gone on meanwhile, and has not.
        let settled = |found: &Found| {
            (found.same_words && !self.moves)
                || !context.codes.is_new(found.frame.code, context.tick)
        };
        let callers = found.len().saturating_sub(usize::from(complete));
        let holds = |found: &Found| found.holds && found.linked && settled(found);
        let broken = found.iter().take(callers).position(|found| !holds(found));
        let agreed = broken.unwrap_or(callers);
        let leaf = found.last().filter(|_| complete && agreed == callers);
        self.grade = match leaf {
            None if complete && found.is_empty() => Grade::Exact,
            Some(leaf) if leaf.linked && settled(leaf) => {
                // A thread that runs may have come to the same words by another way.
                let mut callers = found.iter().take(callers);
                if !self.moves && leaf.same_function && callers.all(|found| found.same_place) {
                    Grade::Exact
                } else {
                    Grade::Functions
                }
            }
            _ if agreed == 0 => Grade::Lost,
            _ => Grade::Partial,
        };
        let count = match self.grade {
            Grade::Exact | Grade::Functions => found.len(),
            Grade::Partial | Grade::Lost => agreed,
        };
        self.frames.extend(found.iter().take(count).map(|found| found.frame));
    }
}
