//! The frame walk: from a thread state to its frames, as a state machine that never
//! reads by itself. It asks for ranges, is given bytes, and says what it wants next.
//!
//! The target runs on while it is read, so one walk is two reads:
//!
//! ```text
//! ask   A: generator frames, thread, data stack │ thread │ B: the same, in reverse order
//!       └───────────────────────── one process_vm_readv ─────────────────────────┘
//! A and B give the same links                                          → exact
//! A (or B) holds together from root to leaf                            → functions
//! only the callers are the same in both            → partial, the leaf is (unsettled)
//! nothing                                                              → lost
//! ```
//!
//! What to ask for is taken from the thread's last walk, so in the steady state a
//! walk is *verified*, not discovered, and all threads of a process share one call.
//! Where the guess was wrong the missing ranges are asked for in a next round. No walk
//! is repeated in the hope of a better one: that would favour code that stands still.

mod collector;
mod datastack;
mod heap;

use rustc_hash::FxHashMap;

use super::code::{CodeId, Codes};
use super::layout::{CurrentFrame, Layout, Liveness};
use crate::model::Grade;
use crate::process::{Batch, Slot};
use crate::units::RemoteAddress;
use collector::Collector;

/// The most frames of one stack that are read.
pub(crate) const MOST_FRAMES: usize = 16_384;

/// The most chunks of one data stack that are read.
const MOST_CHUNKS: usize = 512;

/// Rounds in which a thread may ask for more before what there is has to do. Heap frames
/// are found one by one, so that a deep stack's first walk takes many.
const MOST_ROUNDS: usize = 4096;

/// Rounds in which everything is read again together with what was missing.
const FRESH_ROUNDS: usize = 3;

/// How many frames of a data stack one walk decodes, counting again those that it comes by
/// in every round: a stack may be deep, or take many rounds, but not both without end.
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

impl RawFrame {
    /// Whether this is the same frame at the same instruction.
    fn same_place(&self, other: &Self) -> bool {
        self.same_function(other) && self.offset == other.offset
    }

    fn same_function(&self, other: &Self) -> bool {
        self.address == other.address && self.code == other.code
    }
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

/// What one read of the thread gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// From root to leaf, everything holds together.
    Complete,
    /// It does not; what was collected are the callers that may hold.
    Torn,
    /// More of the stack itself has been asked for.
    Needs,
    /// Frames that lie outside the data stack have been asked for.
    NeedsFrames,
    /// A code object is not known.
    Load(RemoteAddress),
}

/// Which read of the thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    First,
    Between,
    Second,
}

/// One of the two reads.
#[derive(Debug, Default)]
struct Pass {
    thread: Option<Slot>,
    cframe: Option<(RemoteAddress, Slot)>,
    chunks: Vec<ChunkRead>,
    /// The chunks of the thread's data stack, root first, and where each one's use ends.
    in_use: Vec<(ChunkRead, usize)>,
    frames: FxHashMap<RemoteAddress, Slot>,
    /// The topmost frame and the end of the data stack, as the thread state had them.
    anchor: Option<(RemoteAddress, RemoteAddress)>,
    /// The frames outside the data stack that were passed through.
    visited: Vec<RemoteAddress>,
    /// What was collected, root first.
    found: Vec<RawFrame>,
    /// Where to go on along heap frames once the next one is read, and whether what was
    /// found so far is torn.
    resume: Option<(RemoteAddress, bool)>,
}

#[derive(Debug, Clone, Copy)]
struct ChunkRead {
    address: RemoteAddress,
    length: usize,
    slot: Slot,
}

impl Pass {
    fn clear(&mut self) {
        self.thread = None;
        self.cframe = None;
        self.chunks.clear();
        self.in_use.clear();
        self.anchor = None;
        self.frames.clear();
        self.visited.clear();
        self.found.clear();
        self.resume = None;
    }
}

/// The walk of one thread, and what it remembers from tick to tick.
#[derive(Debug)]
pub(crate) struct Walk {
    thread: RemoteAddress,
    interpreter: RemoteAddress,
    first: Pass,
    /// The thread state once more, between the two reads.
    between: Pass,
    second: Pass,
    /// What the next tick asks for: the `_PyCFrame`, the chunks of the data stack and the
    /// frames that lie elsewhere.
    expected_cframe: Option<RemoteAddress>,
    expected_chunks: Vec<(RemoteAddress, usize)>,
    expected_frames: Vec<RemoteAddress>,
    /// Addresses that turned out to be no code object in this tick.
    not_code: Vec<RemoteAddress>,
    rounds: usize,
    /// Whether the frames are the first read's.
    first_counts: bool,
    steps: usize,
    frames: Vec<RawFrame>,
    grade: Grade,
}

impl Walk {
    /// The walk of the thread whose `PyThreadState` is at `thread`.
    pub(crate) fn new(thread: RemoteAddress, interpreter: RemoteAddress) -> Self {
        Self {
            thread,
            interpreter,
            first: Pass::default(),
            between: Pass::default(),
            second: Pass::default(),
            expected_cframe: None,
            expected_chunks: Vec::new(),
            expected_frames: Vec::new(),
            not_code: Vec::new(),
            rounds: 0,
            first_counts: true,
            steps: 0,
            frames: Vec::new(),
            grade: Grade::Lost,
        }
    }

    /// The frames that hold, root first. With [`Grade::Partial`] the leaf is missing.
    pub(crate) fn frames(&self) -> &[RawFrame] {
        &self.frames
    }

    /// How far the reads agree.
    pub(crate) const fn grade(&self) -> Grade {
        self.grade
    }

    /// Asks for what the last walk found.
    pub(crate) fn start(&mut self, layout: &Layout, batch: &mut Batch) {
        self.rounds = 0;
        self.steps = 0;
        self.not_code.clear();
        self.first.clear();
        self.second.clear();
        let first = &mut self.first;
        // Frames that lie elsewhere come first here and last in the second read: they move
        // least, and the less there is between the two reads of the rest, the better.
        for &address in &self.expected_frames {
            first.frames.insert(address, batch.ask(address, extra_frame_size(layout)));
        }
        first.thread = Some(batch.ask(self.thread, layout.thread.read_size));
        if let Some(cframe) = self.expected_cframe {
            first.cframe = Some((cframe, batch.ask(cframe, CFRAME_SIZE)));
        }
        for &(address, length) in &self.expected_chunks {
            if batch.bytes_wanted() >= MOST_ASKED {
                break;
            }
            let slot = batch.ask(address, length);
            first.chunks.push(ChunkRead { address, length, slot });
        }
        self.ask_again(layout, batch);
    }

    /// Both reads of all that is known by now, in one call. What was only just asked for
    /// serves as it is.
    fn ask_both(&mut self, layout: &Layout, batch: &mut Batch) {
        let first = &mut self.first;
        for (&address, slot) in &mut first.frames {
            if batch.is_read(*slot) {
                *slot = batch.ask(address, extra_frame_size(layout));
            }
        }
        first.thread = Some(batch.ask(self.thread, layout.thread.read_size));
        if let Some((address, slot)) = &mut first.cframe
            && batch.is_read(*slot)
        {
            *slot = batch.ask(*address, CFRAME_SIZE);
        }
        for chunk in &mut first.chunks {
            if batch.is_read(chunk.slot) {
                chunk.slot = batch.ask(chunk.address, chunk.length);
            }
        }
        self.ask_again(layout, batch);
    }

    /// The second read of everything that the first one has, in reverse order: what is
    /// unchanged in both was true in the moment between them.
    fn ask_again(&mut self, layout: &Layout, batch: &mut Batch) {
        let (first, between, second) = (&self.first, &mut self.between, &mut self.second);
        between.clear();
        if let Some((address, _)) = first.cframe {
            between.cframe = Some((address, batch.ask(address, CFRAME_SIZE)));
        }
        between.thread = Some(batch.ask(self.thread, layout.thread.read_size));
        second.clear();
        for chunk in first.chunks.iter().rev() {
            let slot = batch.ask(chunk.address, chunk.length);
            second.chunks.push(ChunkRead { slot, ..*chunk });
        }
        if let Some((address, _)) = first.cframe {
            second.cframe = Some((address, batch.ask(address, CFRAME_SIZE)));
        }
        second.thread = Some(batch.ask(self.thread, layout.thread.read_size));
        for &address in first.frames.keys() {
            second.frames.insert(address, batch.ask(address, extra_frame_size(layout)));
        }
    }

    /// That `address` is no code object.
    pub(crate) fn refuse_code(&mut self, address: RemoteAddress) {
        self.not_code.push(address);
    }

    /// Goes on with the bytes that were read.
    pub(crate) fn advance(&mut self, context: &mut Context<'_>) -> Step {
        let mut may_ask = self.rounds < MOST_ROUNDS
            && self.steps < MOST_STEPS
            && context.batch.bytes_wanted() < MOST_ASKED;
        let first = loop {
            match self.collect(Which::First, may_ask, context) {
                Outcome::Load(address) => return Step::Load(address),
                Outcome::Needs if may_ask => {
                    self.rounds = self.rounds.saturating_add(1);
                    match context.layout.frame.liveness {
                        // What is missing of a data stack mostly comes in one round, so
                        // both reads can come with it. Not in every round: the work would
                        // grow with the square of a chain of chunks or generators.
                        Liveness::Tiling { .. } if self.rounds <= FRESH_ROUNDS => {
                            self.ask_both(context.layout, context.batch);
                        }
                        _ => self.second.clear(),
                    }
                    return Step::Read;
                }
                Outcome::NeedsFrames if may_ask => {
                    self.rounds = self.rounds.saturating_add(1);
                    // The two reads of the data stack belong together, so they stay; a
                    // frame found by them is read once, for both.
                    for (&address, &slot) in &self.first.frames {
                        self.second.frames.entry(address).or_insert(slot);
                    }
                    return Step::Read;
                }
                Outcome::Needs | Outcome::NeedsFrames => may_ask = false,
                settled => break settled,
            }
        };
        if self.second.thread.is_none() && self.rounds < MOST_ROUNDS {
            match context.layout.frame.liveness {
                Liveness::Tiling { .. } => {
                    // What was found one by one is of many moments: all of it once more.
                    self.rounds = MOST_ROUNDS;
                    self.ask_both(context.layout, context.batch);
                }
                Liveness::Executing { .. } => {
                    self.rounds = self.rounds.saturating_add(1);
                    self.ask_again(context.layout, context.batch);
                }
            }
            return Step::Read;
        }
        // Of heap frames the second read holds only those that the first one met. If that
        // one is torn there is nothing to compare: so the second may go on by itself.
        let heap = matches!(context.layout.frame.liveness, Liveness::Executing { .. });
        let may_ask = heap && first == Outcome::Torn && self.rounds < MOST_ROUNDS;
        let second = self.collect(Which::Second, may_ask, context);
        if second == Outcome::Needs {
            self.rounds = self.rounds.saturating_add(1);
            return Step::Read;
        }
        if !context.unchecked.is_empty() && self.rounds < MOST_ROUNDS {
            self.rounds = self.rounds.saturating_add(1);
            return Step::Read;
        }
        let none = self.first.found.is_empty() && self.second.found.is_empty();
        if heap && none && first == Outcome::Torn {
            let known = std::mem::take(&mut self.expected_frames);
            self.collector(Which::First, false, context).collect_known_callers(&known);
            self.expected_frames = known;
        }
        self.first_counts = first == Outcome::Complete;
        self.between.anchor = self.collector(Which::Between, false, context).anchor();
        self.judge(self.first_counts, second == Outcome::Complete, context.layout);
        self.remember(context);
        Step::Done
    }

    fn collector<'a, 'b>(
        &'a mut self,
        which: Which,
        may_ask: bool,
        context: &'a mut Context<'b>,
    ) -> Collector<'a, 'b> {
        let pass = match which {
            Which::First => &mut self.first,
            Which::Between => &mut self.between,
            Which::Second => &mut self.second,
        };
        Collector {
            interpreter: self.interpreter,
            pass,
            context,
            not_code: &self.not_code,
            may_ask,
            // A code object that only the second read met says that the stack changed;
            // its name is of no use unless that read goes on by itself.
            may_load: (which == Which::First || may_ask) && self.steps < MOST_STEPS,
            links_left: MOST_FRAMES,
        }
    }

    fn collect(&mut self, which: Which, may_ask: bool, context: &mut Context<'_>) -> Outcome {
        let mut collector = self.collector(which, may_ask, context);
        match collector.context.layout.frame.liveness {
            Liveness::Tiling { .. } => {
                let outcome = collector.collect_data_stack();
                let links = MOST_FRAMES.saturating_sub(collector.links_left);
                let steps = links.saturating_add(collector.pass.found.len());
                self.steps = self.steps.saturating_add(steps);
                outcome
            }
            // Each round goes on where the last one was.
            Liveness::Executing { .. } => collector.collect_heap(),
        }
    }

    /// The grade and the frames, from what both reads found.
    fn judge(&mut self, first_complete: bool, second_complete: bool, layout: &Layout) {
        let is_heap = matches!(layout.frame.liveness, Liveness::Executing { .. });
        let is_split = matches!(layout.thread.current_frame, CurrentFrame::ThroughCFrame { .. });
        let (first, second) = (&self.first.found, &self.second.found);
        self.frames.clear();
        let callers = first.len().saturating_sub(1);
        let linked = first_complete
            && second_complete
            && first.len() == second.len()
            && first.iter().zip(second).enumerate().all(|(depth, (one, other))| {
                // The leaf moves on from instruction to instruction.
                // What was read once only is not verified.
                one.place != other.place
                    && if depth < callers {
                        one.same_place(other)
                    } else {
                        one.same_function(other)
                    }
            });
        // Where the current frame is read apart from the end of the data stack (through a
        // `_PyCFrame`), the two may be of different moments, and the last tile what an earlier
        // call left behind at the same place: nothing in it would show that. So there the
        // thread state, read before, between and after, must not have changed around a read.
        // Read in one piece, as in 3.13, the two never let such a stack pass.
        let [before, between, after] = [self.first.anchor, self.between.anchor, self.second.anchor];
        let first_holds = first_complete && (!is_split || before == between);
        let second_holds = second_complete && (!is_split || between == after);
        self.grade = if linked {
            self.frames.extend_from_slice(first);
            Grade::Exact
        } else if first_holds {
            self.frames.extend_from_slice(first);
            Grade::Functions
        } else if second_holds {
            self.frames.extend_from_slice(second);
            Grade::Functions
        } else {
            let common = first.iter().zip(second).take_while(|(one, two)| one.same_function(two));
            self.frames.extend(common.map(|(one, _)| *one));
            if self.frames.is_empty() && is_heap {
                // Each frame says that it is alive and who called it, so what one read found
                // from a live frame down to the root holds by itself.
                let longer = if first.len() >= second.len() { first } else { second };
                self.frames.extend_from_slice(longer);
            }
            if self.frames.is_empty() { Grade::Lost } else { Grade::Partial }
        };
    }

    /// What the next tick asks for. A torn walk tells as well as another where the thread
    /// keeps its frames.
    fn remember(&mut self, context: &Context<'_>) {
        let pass = if self.first_counts || self.second.in_use.is_empty() {
            &self.first
        } else {
            &self.second
        };
        self.expected_cframe = pass.cframe.map(|(address, _)| address).or(self.expected_cframe);
        match context.layout.frame.liveness {
            Liveness::Executing { .. } => {
                if matches!(self.grade, Grade::Exact | Grade::Functions) {
                    self.expected_frames.clear();
                    let leaf_first = self.frames.iter().rev();
                    self.expected_frames.extend(leaf_first.map(|frame| frame.address));
                }
            }
            Liveness::Tiling { .. } if !pass.in_use.is_empty() => {
                let chunks = pass.in_use.iter().map(|(read, _)| (read.address, read.length));
                self.expected_chunks.clear();
                self.expected_chunks.extend(chunks);
                self.expected_frames.clear();
                self.expected_frames.extend_from_slice(&pass.visited);
            }
            Liveness::Tiling { .. } => {}
        }
    }
}

/// `sizeof(_PyCFrame)` as far as it is needed.
const CFRAME_SIZE: usize = 16;

/// How much is read of a frame that lies outside the data stack. Heap frames are read
/// with their first locals, for whoever looks for a request in them.
fn extra_frame_size(layout: &Layout) -> usize {
    const LOCALS: usize = 16 * 8;
    match layout.frame.liveness {
        Liveness::Executing { .. } => layout.frame.localsplus.saturating_add(LOCALS),
        Liveness::Tiling { .. } => layout.frame.size,
    }
}
