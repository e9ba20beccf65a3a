//! Refuses a layout that cannot be: each field must lie inside what is read of its
//! structure, and every size must be one that makes sense.

use super::{CollectingPlace, CurrentFrame, GilPlace, Instruction, Layout, Liveness};
use crate::python::Error;

/// # Errors
/// A field lies outside its structure.
pub(super) fn plausible(layout: &Layout) -> Result<(), Error> {
    let thread = &layout.thread;
    let frame = &layout.frame;
    let code = &layout.code;
    let current = match thread.current_frame {
        CurrentFrame::Direct(offset) => offset,
        CurrentFrame::ThroughCFrame { cframe, .. } => cframe,
    };
    let instruction = match frame.instruction {
        Instruction::Index { offset, .. } | Instruction::Pointer { offset } => offset,
    };
    let alive = match frame.liveness {
        Liveness::Executing { offset, .. } => offset,
        Liveness::Tiling { owner, .. } => owner,
    };
    let (GilPlace::InRuntime(gil) | GilPlace::BehindInterpreter(gil)) = layout.gil.place;
    let (CollectingPlace::InRuntime(collecting) | CollectingPlace::InInterpreter(collecting)) =
        layout.collecting;
    let small = 1 << 12;
    let large = 1 << 19;
    let generation = layout.interpreter.code_object_generation;
    let fields: [(&'static str, usize, usize); 27] = [
        ("PyThreadState.next", thread.next, thread.read_size),
        ("PyThreadState.interp", thread.interp, thread.read_size),
        ("PyThreadState.current_frame", current, thread.read_size),
        ("PyThreadState.thread_id", thread.thread_id, thread.read_size),
        ("PyThreadState", thread.read_size, small),
        ("frame.code", frame.code, frame.size),
        ("frame.previous", frame.previous, frame.size),
        ("frame.instruction", instruction, frame.size),
        ("frame.owner", alive, frame.size),
        ("frame.localsplus", frame.localsplus, frame.size.saturating_add(8)),
        ("frame", frame.size, small),
        ("code.co_filename", code.filename, code.size),
        ("code.co_name", code.name, code.size),
        ("code.co_firstlineno", code.firstlineno, code.size),
        ("code.co_linetable", code.linetable, code.size),
        ("code.co_tlbc", code.thread_copies.unwrap_or(0), code.size),
        ("code", code.size, small),
        ("str.state", layout.object.unicode_state, small),
        ("str.data", layout.object.unicode_compact_data, small),
        ("type.tp_flags", layout.object.type_flags, small),
        ("interpreter.threads", layout.interpreter.threads_head, large),
        ("interpreter.id", layout.interpreter.id, large),
        ("interpreter.imports.modules", layout.interpreter.modules, large),
        ("interpreter.next", layout.interpreter.next, large),
        ("interpreter.code_object_generation", generation.unwrap_or(0), large),
        ("gc.collecting", collecting, large),
        ("gil", gil, large),
    ];
    for (what, offset, end) in fields {
        // A code object's instructions start at its very end, every other field has
        // at least one byte.
        if offset >= end {
            return Err(Error::Damaged { what });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Machine;
    use super::*;
    use crate::python::version::Version;

    #[test]
    fn the_gil_is_as_large_as_each_architectures_mutexes_make_it() {
        for minor in 8..=12 {
            let version = Version { major: 3, minor, patch: None };
            let [x86, arm] = [Machine::X86_64, Machine::Aarch64]
                .map(|machine| super::super::tables::row(version, machine).unwrap());
            assert_eq!((x86.gil.size, arm.gil.size), (208, 224), "3.{minor}");
            // Nothing else that is read lies after a mutex.
            assert_eq!(Layout { gil: x86.gil, ..arm }, x86, "3.{minor}");
        }
    }

    #[test]
    fn every_row_is_plausible_and_a_wrong_one_is_refused() {
        for minor in 8..=12 {
            let version = Version { major: 3, minor, patch: None };
            let layout = Layout::from_table(version).unwrap();
            let mut wrong = layout;
            wrong.frame.previous = wrong.frame.size;
            assert!(plausible(&wrong).is_err(), "3.{minor}");
        }
        for minor in [7, 13] {
            let version = Version { major: 3, minor, patch: None };
            assert!(matches!(Layout::from_table(version), Err(Error::UnsupportedVersion { .. })));
        }
    }
}
