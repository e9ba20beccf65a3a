//! The frame walk: from a thread state to its frames, as a state machine that never
//! reads by itself. It asks for ranges, is given bytes, and says what it wants next.
//!
//! The target runs on while it is read, so one walk is two reads:
//!
//! ```text
//! ask   A: thread, data stack, generator frames   B: the same, in reverse order
//!       └────────────── one process_vm_readv ──────────────┘
//! A and B give the same links                  → exact
//! A (or B) tiles from root to leaf by itself   → functions
//! only the callers are the same in both        → partial, the leaf is (unsettled)
//! nothing                                      → lost
//! ```
//!
//! What to ask for is taken from the thread's last walk, so in the steady state a
//! walk is *verified*, not discovered, and all threads of a process share one call.
//! Where the guess was wrong the missing ranges are asked for in a next round. No walk
//! is repeated in the hope of a better one: that would favour code that stands still.

mod datastack;
mod heap;

use rustc_hash::FxHashMap;

use super::code::{CodeId, Codes};
use super::layout::{CurrentFrame, Instruction, Layout, Liveness};
use super::view::View;
use crate::model::Grade;
use crate::process::{Batch, Slot};
use crate::units::RemoteAddress;

/// The most frames of one stack that are read.
pub(crate) const MOST_FRAMES: usize = 16_384;

/// The most chunks of one data stack that are read.
const MOST_CHUNKS: usize = 512;

/// Rounds in which a thread may ask for more before what there is has to do. Heap frames
/// are found one by one, so that a deep stack's first walk takes many.
const MOST_ROUNDS: usize = 4096;

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
    /// More has been asked for.
    Needs,
    /// A code object is not known.
    Load(RemoteAddress),
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
        self.frames.clear();
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
    second: Pass,
    /// What the next tick asks for: the `_PyCFrame`, the chunks of the data stack (the
    /// current one last) and the frames that lie elsewhere.
    expected_cframe: Option<RemoteAddress>,
    expected_chunks: Vec<(RemoteAddress, usize)>,
    expected_frames: Vec<RemoteAddress>,
    /// Addresses that turned out to be no code object in this tick.
    not_code: Vec<RemoteAddress>,
    rounds: usize,
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
            second: Pass::default(),
            expected_cframe: None,
            expected_chunks: Vec::new(),
            expected_frames: Vec::new(),
            not_code: Vec::new(),
            rounds: 0,
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
        for &address in &self.expected_frames {
            first.frames.insert(address, batch.ask(address, extra_frame_size(layout)));
        }
        self.ask_again(layout, batch);
    }

    /// The second read of everything that the first one has, in reverse order: what is
    /// unchanged in both was true in the moment between them.
    fn ask_again(&mut self, layout: &Layout, batch: &mut Batch) {
        let (first, second) = (&self.first, &mut self.second);
        second.clear();
        for &address in first.frames.keys() {
            second.frames.insert(address, batch.ask(address, extra_frame_size(layout)));
        }
        for chunk in &first.chunks {
            let slot = batch.ask(chunk.address, chunk.length);
            second.chunks.push(ChunkRead { slot, ..*chunk });
        }
        if let Some((address, _)) = first.cframe {
            second.cframe = Some((address, batch.ask(address, CFRAME_SIZE)));
        }
        second.thread = Some(batch.ask(self.thread, layout.thread.read_size));
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
            match self.collect(false, may_ask, context) {
                Outcome::Load(address) => return Step::Load(address),
                Outcome::Needs if may_ask => {
                    self.rounds = self.rounds.saturating_add(1);
                    match context.layout.frame.liveness {
                        // What is missing of a data stack mostly comes in one round, so
                        // the second read can come with it. Not in every round: the work
                        // would grow with the square of a chain of chunks or generators.
                        Liveness::Tiling { .. } if self.rounds == 1 => {
                            self.ask_again(context.layout, context.batch);
                        }
                        _ => self.second.clear(),
                    }
                    return Step::Read;
                }
                Outcome::Needs => may_ask = false,
                settled => break settled,
            }
        };
        if self.second.thread.is_none() && self.rounds < MOST_ROUNDS {
            self.rounds = self.rounds.saturating_add(1);
            self.ask_again(context.layout, context.batch);
            return Step::Read;
        }
        let second = self.collect(true, false, context);
        if !context.unchecked.is_empty() && self.rounds < MOST_ROUNDS {
            self.rounds = self.rounds.saturating_add(1);
            return Step::Read;
        }
        self.judge(first == Outcome::Complete, second == Outcome::Complete);
        self.remember(context);
        Step::Done
    }

    fn collect(&mut self, second: bool, may_ask: bool, context: &mut Context<'_>) -> Outcome {
        let pass = if second { &mut self.second } else { &mut self.first };
        let mut collector = Collector {
            interpreter: self.interpreter,
            pass,
            context,
            not_code: &self.not_code,
            may_ask,
            may_load: !second && self.steps < MOST_STEPS,
            links_left: MOST_FRAMES,
        };
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
    fn judge(&mut self, first_complete: bool, second_complete: bool) {
        let (first, second) = (&self.first.found, &self.second.found);
        self.frames.clear();
        let callers = first.len().saturating_sub(1);
        let linked = first_complete
            && second_complete
            && first.len() == second.len()
            && first.iter().zip(second).enumerate().all(|(depth, (one, other))| {
                // The leaf moves on from instruction to instruction.
                if depth < callers { one.same_place(other) } else { one.same_function(other) }
            });
        self.grade = if linked {
            self.frames.extend_from_slice(first);
            Grade::Exact
        } else if first_complete {
            self.frames.extend_from_slice(first);
            Grade::Functions
        } else if second_complete {
            self.frames.extend_from_slice(second);
            Grade::Functions
        } else {
            let common = first.iter().zip(second).take_while(|(one, two)| one.same_function(two));
            self.frames.extend(common.map(|(one, _)| *one));
            if self.frames.is_empty() { Grade::Lost } else { Grade::Partial }
        };
    }

    /// What the next tick asks for. After a torn walk the old guess stays: most of it
    /// will be right again.
    fn remember(&mut self, context: &Context<'_>) {
        if !matches!(self.grade, Grade::Exact | Grade::Functions) {
            return;
        }
        self.expected_cframe = self.first.cframe.map(|(address, _)| address);
        self.expected_frames.clear();
        let chunks = &self.first.chunks;
        let inside = |address: RemoteAddress| {
            chunks.iter().any(|chunk| {
                address.bytes_since(chunk.address).is_some_and(|at| at < chunk.length as u64)
            })
        };
        match context.layout.frame.liveness {
            Liveness::Executing { .. } => {
                self.expected_frames.extend(self.frames.iter().rev().map(|frame| frame.address));
            }
            Liveness::Tiling { .. } => {
                // Only those that this walk passed through: see `Collector::linked`.
                let asked = self.first.frames.keys().copied();
                self.expected_frames.extend(asked.filter(|&address| !inside(address)));
                // Frames come and go; a bound keeps the guesses from growing.
                let most = self.frames.len().saturating_mul(2).saturating_add(8);
                self.expected_frames.truncate(most);
            }
        }
        self.expected_chunks.clear();
        self.expected_chunks.extend(chunks.iter().map(|chunk| (chunk.address, chunk.length)));
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

/// Turns the bytes of one pass into frames.
struct Collector<'a, 'b> {
    interpreter: RemoteAddress,
    pass: &'a mut Pass,
    context: &'a mut Context<'b>,
    not_code: &'a [RemoteAddress],
    /// Whether what is missing may be asked for.
    may_ask: bool,
    /// Whether an unknown code object may be loaded.
    may_load: bool,
    /// How many more frames outside the data stack are followed: they may form a ring.
    links_left: usize,
}

/// Why a frame could not be decoded.
enum Bad {
    Torn,
    Load(RemoteAddress),
}

/// A copy of the first bytes of a frame, which hold all its fixed fields in any version,
/// so that the batch can be asked meanwhile.
struct FixedPart {
    bytes: [u8; Self::SIZE],
    length: usize,
}

impl FixedPart {
    const SIZE: usize = 128;

    /// The frame of `size` bytes at `at`, if it was read whole.
    fn of(bytes: Option<&[u8]>, at: usize, size: usize) -> Option<Self> {
        let bytes = View(bytes?).bytes(at, size)?;
        let length = size.min(Self::SIZE);
        let mut copy = Self { bytes: [0; Self::SIZE], length };
        copy.bytes.get_mut(..length)?.copy_from_slice(bytes.get(..length)?);
        Some(copy)
    }

    fn view(&self) -> View<'_> {
        View(self.bytes.get(..self.length).unwrap_or_default())
    }
}

impl From<Bad> for Outcome {
    fn from(bad: Bad) -> Self {
        match bad {
            Bad::Torn => Self::Torn,
            Bad::Load(address) => Self::Load(address),
        }
    }
}

/// What the thread state said.
struct ThreadBytes {
    current_frame: Current,
    chunk: RemoteAddress,
    top: RemoteAddress,
}

enum Current {
    Frame(RemoteAddress),
    /// The `_PyCFrame` here has to be read first.
    Behind(RemoteAddress),
    Torn,
}

impl Collector<'_, '_> {
    fn thread(&self) -> Option<ThreadBytes> {
        let layout = &self.context.layout.thread;
        let bytes = View(self.context.batch.bytes(self.pass.thread?)?);
        if bytes.address(layout.interp)? != self.interpreter {
            return None;
        }
        let current_frame = match layout.current_frame {
            CurrentFrame::Direct(offset) => Current::Frame(bytes.address(offset)?),
            CurrentFrame::ThroughCFrame { cframe, current_frame } => {
                let wanted = bytes.address(cframe)?;
                match self.pass.cframe {
                    Some((address, slot)) if address == wanted => {
                        let cframe = self.context.batch.bytes(slot);
                        match cframe.and_then(|bytes| View(bytes).address(current_frame)) {
                            Some(frame) => Current::Frame(frame),
                            None => Current::Torn,
                        }
                    }
                    _ => Current::Behind(wanted),
                }
            }
        };
        let (chunk, top) = match layout.datastack {
            Some(datastack) => (bytes.address(datastack.chunk)?, bytes.address(datastack.top)?),
            None => (RemoteAddress::NULL, RemoteAddress::NULL),
        };
        Some(ThreadBytes { current_frame, chunk, top })
    }

    /// The topmost frame's address, or what is to be done before it is known.
    fn current_frame(&mut self, thread: &ThreadBytes) -> Result<RemoteAddress, Outcome> {
        match thread.current_frame {
            Current::Frame(address) => Ok(address),
            Current::Torn => Err(Outcome::Torn),
            Current::Behind(cframe) => {
                if !self.may_ask || !cframe.is_plausible() {
                    return Err(Outcome::Torn);
                }
                let slot = self.context.batch.ask(cframe, CFRAME_SIZE);
                self.pass.cframe = Some((cframe, slot));
                Err(Outcome::Needs)
            }
        }
    }

    /// The code object at `address`, if it is a known one; noted to be checked.
    fn code(&mut self, address: RemoteAddress) -> Result<CodeId, Bad> {
        let address = RemoteAddress::new(address.get() & !self.context.layout.frame.tag_mask);
        match self.context.codes.at(address) {
            Some(id) => {
                if !self.context.codes.is_checked(id, self.context.tick)
                    && !self.context.unchecked.contains(&id)
                {
                    self.context.unchecked.push(id);
                }
                Ok(id)
            }
            None if !self.may_load
                || !address.is_plausible()
                || self.not_code.contains(&address) =>
            {
                Err(Bad::Torn)
            }
            None => Err(Bad::Load(address)),
        }
    }

    /// The frame in these bytes.
    fn decode(
        &mut self,
        address: RemoteAddress,
        bytes: View<'_>,
        place: Option<(Slot, usize)>,
        owned_by_generator: bool,
    ) -> Result<RawFrame, Bad> {
        let layout = &self.context.layout.frame;
        let code_address = bytes.address(layout.code).ok_or(Bad::Torn)?;
        let instruction = layout.instruction;
        let id = self.code(code_address)?;
        let code = self.context.codes.get(id).ok_or(Bad::Torn)?;
        let offset = match instruction {
            Instruction::Index { offset, unit } => bytes
                .i32(offset)
                .and_then(|index| i64::from(index).checked_mul(i64::from(unit)))
                .ok_or(Bad::Torn)?,
            Instruction::Pointer { offset } => {
                let pointer = bytes.u64(offset).ok_or(Bad::Torn)?;
                let start = code.instructions.ok_or(Bad::Torn)?.get();
                let offset = pointer.wrapping_sub(start).cast_signed();
                // A frame that has not started points one unit before the first.
                let end = code.instruction_bytes.cast_signed();
                if offset < -2 || offset >= end {
                    return Err(Bad::Torn);
                }
                offset
            }
        };
        let shown = owned_by_generator || offset >= code.first_traceable || code.frame_size == 0;
        Ok(RawFrame { address, code: id, offset, shown, place })
    }
}
