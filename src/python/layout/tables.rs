//! The offsets of CPython 3.8 to 3.12: a row for each field, a column for each version.
//!
//! They were computed by a compiler from each version's own headers (`offsetof` and
//! `sizeof` with `Py_BUILD_CORE`; `scripts/offsets.py`) and hold for release builds and
//! builds `--with-pydebug` on 64-bit Linux. The two architectures differ only in
//! `sizeof(pthread_mutex_t)`, which lies inside the GIL: 40 bytes on x86_64, 48 on aarch64.

// Constant tables, indexed at compile time: a wrong index is a build failure.
#![allow(clippy::indexing_slicing)]

use super::super::version::Version;
use super::{
    Attributes, CodeLayout, CollectingPlace, CurrentFrame, DataStackLayout, DictKeysLayout,
    FrameLayout, FrameSize, GilLayout, GilPlace, Instruction, IntFormat, InterpreterLayout, Layout,
    LineTable, Liveness, LocalNames, Machine, ObjectLayout, RuntimeLayout, ThreadLayout, Trust,
};

/// `struct _gil_runtime_state` in builds with a GIL, the same from 3.8 to 3.15
/// (`Include/internal/pycore_gil.h`): four fields of 32 bytes, then twice a condition
/// variable of 48 bytes and a mutex.
pub(super) const fn gil(place: GilPlace, machine: Machine) -> GilLayout {
    let size = match machine {
        Machine::X86_64 => 208,
        Machine::Aarch64 => 224,
    };
    GilLayout {
        place,
        enabled: None,
        interval: 0,
        last_holder: 8,
        locked: 16,
        switch_number: 24,
        size,
    }
}

/// The same in builds that can do without: `enabled` comes first, then all of that.
pub(super) const fn optional_gil(place: GilPlace, machine: Machine) -> GilLayout {
    let size = match machine {
        Machine::X86_64 => 216,
        Machine::Aarch64 => 232,
    };
    GilLayout {
        place,
        enabled: Some(0),
        interval: 8,
        last_holder: 16,
        locked: 24,
        switch_number: 32,
        size,
    }
}

/// The row of a version, if there is one.
pub(super) fn row(version: Version, machine: Machine) -> Option<Layout> {
    if version.major != 3 {
        return None;
    }
    let column = usize::from(version.minor).checked_sub(8)?;
    let layout = *COLUMNS.get(column)?;
    Some(Layout { gil: gil(layout.gil.place, machine), ..layout })
}

static COLUMNS: [Layout; 5] = [column(0), column(1), column(2), column(3), column(4)];

const fn column(v: usize) -> Layout {
    //  fields                                 3.8   3.9  3.10  3.11  3.12
    Layout {
        trust: Trust::Known,
        free_threaded: false,
        // Include/internal/pycore_runtime.h
        runtime: RuntimeLayout { interpreters_head: [32, 32, 32, 40, 40][v] },
        // Include/internal/pycore_interp.h (3.8: pycore_pystate.h)
        interpreter: InterpreterLayout {
            next: 0,
            id: [16, 24, 24, 48, 8][v],
            threads_head: [8, 8, 8, 16, 72][v],
            modules: [56, 856, 856, 888, 944][v],
            code_object_generation: None,
        },
        // Include/internal/pycore_gc.h (3.8: pycore_pymem.h)
        collecting: [
            CollectingPlace::InRuntime(544),
            CollectingPlace::InInterpreter(816),
            CollectingPlace::InInterpreter(816),
            CollectingPlace::InInterpreter(848),
            CollectingPlace::InInterpreter(312),
        ][v],
        // Include/internal/pycore_runtime.h and pycore_ceval_state.h
        gil: gil(
            [
                GilPlace::InRuntime(1152),
                GilPlace::InRuntime(352),
                GilPlace::InRuntime(352),
                GilPlace::InRuntime(360),
                GilPlace::BehindInterpreter(384),
            ][v],
            Machine::X86_64,
        ),
        // Include/cpython/pystate.h
        thread: ThreadLayout {
            read_size: [184, 184, 184, 320, 256][v],
            next: 8,
            interp: 16,
            current_frame: [
                CurrentFrame::Direct(24),
                CurrentFrame::Direct(24),
                CurrentFrame::Direct(24),
                CurrentFrame::ThroughCFrame { cframe: 56, current_frame: 8 },
                CurrentFrame::ThroughCFrame { cframe: 56, current_frame: 0 },
            ][v],
            thread_id: [176, 176, 176, 152, 136][v],
            native_thread_id: [None, None, None, Some(160), Some(144)][v],
            datastack: [
                None,
                None,
                None,
                Some(DataStackLayout { chunk: 296, top: 304 }),
                Some(DataStackLayout { chunk: 232, top: 240 }),
            ][v],
        },
        // Include/cpython/frameobject.h; from 3.11 Include/internal/pycore_frame.h
        frame: FrameLayout {
            size: [360, 360, 352, 72, 72][v],
            code: [32, 32, 32, 32, 0][v],
            previous: [24, 24, 24, 48, 8][v],
            instruction: [
                Instruction::Index { offset: 104, unit: 1 },
                Instruction::Index { offset: 104, unit: 1 },
                Instruction::Index { offset: 96, unit: 2 },
                Instruction::Pointer { offset: 56 },
                Instruction::Pointer { offset: 56 },
            ][v],
            liveness: [
                Liveness::Executing { offset: 116, values: [1, 1], generator: 96 },
                Liveness::Executing { offset: 116, values: [1, 1], generator: 96 },
                Liveness::Executing { offset: 108, values: [0, 2], generator: 88 },
                Liveness::Tiling {
                    owner: 69,
                    shim_from: u8::MAX,
                    size: FrameSize::Computed { nlocalsplus: 76, stacksize: 68, specials: 9 },
                },
                Liveness::Tiling {
                    owner: 70,
                    shim_from: 3,
                    size: FrameSize::Stated { framesize: 76 },
                },
            ][v],
            tag_mask: 0,
            localsplus: [360, 360, 352, 72, 72][v],
        },
        // Include/cpython/code.h (3.8: Include/code.h)
        code: CodeLayout {
            size: [176, 176, 176, 192, 200][v],
            filename: [104, 104, 104, 112, 112][v],
            name: [112, 112, 112, 120, 120][v],
            qualname: [None, None, None, Some(128), Some(128)][v],
            firstlineno: [40, 40, 40, 72, 68][v],
            linetable: [120, 120, 120, 136, 136][v],
            local_names: [
                LocalNames::Three { varnames: 72, cellvars: 88, freevars: 80 },
                LocalNames::Three { varnames: 72, cellvars: 88, freevars: 80 },
                LocalNames::Three { varnames: 72, cellvars: 88, freevars: 80 },
                LocalNames::One { localsplusnames: 96 },
                LocalNames::One { localsplusnames: 96 },
            ][v],
            instructions: [None, None, None, Some(184), Some(192)][v],
            thread_copies: None,
            code_units: [None, None, None, Some(16), Some(16)][v],
            firsttraceable: [None, None, None, Some(168), Some(176)][v],
        },
        // Include/object.h, cpython/{unicodeobject,bytesobject,dictobject,object}.h
        object: ObjectLayout {
            ob_type: 8,
            ob_size: 16,
            unicode_length: 16,
            unicode_state: 32,
            unicode_state_shift: 0,
            unicode_ascii_data: [48, 48, 48, 48, 40][v],
            unicode_compact_data: [72, 72, 72, 72, 56][v],
            bytes_data: 32,
            tuple_items: 24,
            dict_keys: 32,
            dict_values: 40,
            type_name: 24,
            type_basicsize: 32,
            type_itemsize: 40,
            type_flags: 168,
            type_dictoffset: 288,
            heap_type_cached_keys: [872, 864, 872, 872, 880][v],
            cell_value: 16,
            dict_keys_layout: [
                DictKeysLayout::Sized,
                DictKeysLayout::Sized,
                DictKeysLayout::Sized,
                DictKeysLayout::Logarithmic,
                DictKeysLayout::Logarithmic,
            ][v],
            // Include/cpython/longintrepr.h
            int_format: [
                IntFormat::SignedSize,
                IntFormat::SignedSize,
                IntFormat::SignedSize,
                IntFormat::SignedSize,
                IntFormat::Tagged,
            ][v],
        },
        // Objects/lnotab_notes.txt, PEP 626, Objects/locations.md
        lines: [
            LineTable::Lnotab,
            LineTable::Lnotab,
            LineTable::Pep626,
            LineTable::Locations,
            LineTable::Locations,
        ][v],
        // Objects/dictobject.c, Include/internal/pycore_object.h
        attributes: [
            Attributes::DictOffset,
            Attributes::DictOffset,
            Attributes::DictOffset,
            Attributes::ManagedTwoWords { values: -32, dict: -24 },
            Attributes::ManagedTagged { word: -24 },
        ][v],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `scripts/offsets.py` makes of each version's own headers, on x86_64.
    const FROM_HEADERS: [&str; 5] = [
        include_str!("../../../fixtures/layouts/3.8.txt"),
        include_str!("../../../fixtures/layouts/3.9.txt"),
        include_str!("../../../fixtures/layouts/3.10.txt"),
        include_str!("../../../fixtures/layouts/3.11.txt"),
        include_str!("../../../fixtures/layouts/3.12.txt"),
    ];

    #[test]
    fn every_row_is_what_the_headers_say() {
        for (layout, from_headers) in COLUMNS.iter().zip(FROM_HEADERS) {
            assert_eq!(format!("{layout:#?}\n"), from_headers);
        }
    }
}
