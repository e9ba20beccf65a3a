//! One frame's fixed fields, in any version.

use super::{Context, RawFrame};
use crate::process::Slot;
use crate::python::layout::{FrameLayout, Instruction};
use crate::python::view::View;
use crate::units::RemoteAddress;

/// The words of a frame that say what it runs, for whom, and how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Header {
    /// Its code object, tags included.
    pub(super) code: u64,
    pub(super) previous: RemoteAddress,
    /// The instruction as the frame has it: an address or an index.
    pub(super) instruction: u64,
}

/// What a frame's words come to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Decoded {
    Frame(RawFrame),
    /// Its code object is not known.
    Load(RemoteAddress),
    /// They do not belong together.
    Bad,
}

impl Header {
    /// The header of the frame that begins at `at` in these bytes.
    pub(super) fn read(bytes: &[u8], at: usize, layout: &FrameLayout) -> Option<Self> {
        let bytes = View(bytes.get(at..)?);
        let instruction = match layout.instruction {
            Instruction::Pointer { offset } => bytes.u64(offset)?,
            Instruction::Index { offset, .. } => i64::from(bytes.i32(offset)?).cast_unsigned(),
        };
        Some(Self {
            code: bytes.u64(layout.code)?,
            previous: bytes.address(layout.previous)?,
            instruction,
        })
    }

    /// Whether this is a call of the same code by the same caller.
    pub(super) fn same_function(&self, other: &Self) -> bool {
        self.code == other.code && self.previous == other.previous
    }

    /// The frame with this header at `address`. Notes its code to be checked.
    pub(super) fn decode(
        &self,
        address: RemoteAddress,
        place: Option<(Slot, usize)>,
        owned_by_generator: bool,
        not_code: &[RemoteAddress],
        context: &mut Context<'_>,
    ) -> Decoded {
        let layout = &context.layout.frame;
        let code_address = RemoteAddress::new(self.code & !layout.tag_mask);
        let Some(id) = context.codes.at(code_address) else {
            return if code_address.is_plausible() && !not_code.contains(&code_address) {
                Decoded::Load(code_address)
            } else {
                Decoded::Bad
            };
        };
        let Some(code) = context.codes.get(id) else { return Decoded::Bad };
        let offset = match layout.instruction {
            Instruction::Index { unit, .. } => {
                self.instruction.cast_signed().wrapping_mul(i64::from(unit))
            }
            Instruction::Pointer { .. } => {
                let Some(offset) = code.offset_of(self.instruction) else {
                    // A thread may have made its own copy of them meanwhile.
                    let copied = context.layout.code.thread_copies.is_some();
                    return if copied && !context.codes.is_new(id, context.tick) {
                        Decoded::Load(code_address)
                    } else {
                        Decoded::Bad
                    };
                };
                offset
            }
        };
        let shown = owned_by_generator || offset >= code.first_traceable || code.frame_size == 0;
        if !context.codes.is_checked(id, context.tick) && !context.unchecked.contains(&id) {
            context.unchecked.push(id);
        }
        Decoded::Frame(RawFrame { address, code: id, offset, shown, place })
    }
}
