//! What the walks of all versions share: from the bytes of one pass to the thread state,
//! the topmost frame's address, and single frames.

use super::{CFRAME_SIZE, Context, Outcome, Pass, RawFrame};
use crate::process::Slot;
use crate::python::code::CodeId;
use crate::python::layout::{CurrentFrame, Instruction};
use crate::python::view::View;
use crate::units::RemoteAddress;

/// Turns the bytes of one pass into frames.
pub(super) struct Collector<'a, 'b> {
    pub(super) interpreter: RemoteAddress,
    pub(super) pass: &'a mut Pass,
    pub(super) context: &'a mut Context<'b>,
    pub(super) not_code: &'a [RemoteAddress],
    /// Whether what is missing may be asked for.
    pub(super) may_ask: bool,
    /// Whether an unknown code object may be loaded.
    pub(super) may_load: bool,
    /// How many more frames outside the data stack are followed: they may form a ring.
    pub(super) links_left: usize,
}

/// Why a frame could not be decoded.
pub(super) enum Bad {
    Torn,
    Load(RemoteAddress),
}

/// A copy of the first bytes of a frame, which hold all its fixed fields in any version,
/// so that the batch can be asked meanwhile.
pub(super) struct FixedPart {
    bytes: [u8; Self::SIZE],
    length: usize,
}

impl FixedPart {
    const SIZE: usize = 128;

    /// The frame of `size` bytes at `at`, if it was read whole.
    pub(super) fn of(bytes: Option<&[u8]>, at: usize, size: usize) -> Option<Self> {
        let bytes = View(bytes?).bytes(at, size)?;
        let length = size.min(Self::SIZE);
        let mut copy = Self { bytes: [0; Self::SIZE], length };
        copy.bytes.get_mut(..length)?.copy_from_slice(bytes.get(..length)?);
        Some(copy)
    }

    pub(super) fn view(&self) -> View<'_> {
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
pub(super) struct ThreadBytes {
    pub(super) current_frame: Current,
    pub(super) chunk: RemoteAddress,
    pub(super) top: RemoteAddress,
}

pub(super) enum Current {
    Frame(RemoteAddress),
    /// The `_PyCFrame` here has to be read first.
    Behind(RemoteAddress),
    Torn,
}

impl Collector<'_, '_> {
    pub(super) fn thread(&self) -> Option<ThreadBytes> {
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

    /// What the thread state says of the top of the stack: the current frame, and where the
    /// data stack ends.
    pub(super) fn anchor(&mut self) -> Option<(RemoteAddress, RemoteAddress)> {
        let thread = self.thread()?;
        Some((self.current_frame(&thread).ok()?, thread.top))
    }

    /// The topmost frame's address, or what is to be done before it is known.
    pub(super) fn current_frame(&mut self, thread: &ThreadBytes) -> Result<RemoteAddress, Outcome> {
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
    pub(super) fn code(&mut self, address: RemoteAddress) -> Result<CodeId, Bad> {
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
    pub(super) fn decode(
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
