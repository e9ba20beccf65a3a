//! `_Py_DebugOffsets`: from 3.13 on the interpreter states its own offsets at the very
//! start of `_PyRuntime`, for tools like this one.
//!
//! Each version puts the statements in other places and leaves some facts out, so a
//! version is a column of [`row`]: where to look, and what is not stated, which is not
//! the same in builds with a GIL and without. Sources:
//! `Include/internal/pycore_debug_offsets.h` (3.13: `pycore_runtime.h`) of each version.

// A constant table, indexed at compile time: a wrong index is a build failure.
#![allow(clippy::indexing_slicing)]

use super::super::view::View;
use super::super::{Error, version::Version};
use super::{
    Attributes, CodeLayout, CollectingPlace, CurrentFrame, DataStackLayout, DictKeysLayout,
    FrameLayout, FrameSize, GilPlace, Instruction, IntFormat, InterpreterLayout, Layout, LineTable,
    Liveness, LocalNames, Machine, ObjectLayout, RuntimeLayout, ThreadLayout, Trust, tables,
};

/// The first eight bytes of `_PyRuntime`.
pub(crate) const COOKIE: &[u8; 8] = b"xdebugpy";

const VERSION: usize = 8;
const FREE_THREADED: usize = 16;

/// One version.
struct Row {
    stated: Stated,
    with_gil: Unstated,
    free_threaded: Unstated,
}

/// The positions of the statements in the header.
#[derive(Debug)]
struct Stated {
    minor: u8,
    interpreters_head: usize,
    interpreter_id: usize,
    interpreter_next: usize,
    threads_head: usize,
    imports_modules: usize,
    ceval_gil: usize,
    code_object_generation: Option<usize>,
    interpreter_gc: usize,
    gc_collecting: usize,
    thread_next: usize,
    thread_interp: usize,
    thread_current_frame: usize,
    thread_id: usize,
    native_thread_id: usize,
    datastack_chunk: usize,
    frame_size: usize,
    frame_previous: usize,
    frame_executable: usize,
    frame_instr_ptr: usize,
    frame_localsplus: usize,
    frame_owner: usize,
    code_size: usize,
    code_filename: usize,
    code_name: usize,
    code_qualname: usize,
    code_linetable: usize,
    code_firstlineno: usize,
    code_localsplusnames: usize,
    code_instructions: usize,
    /// Used in builds without a GIL.
    code_thread_copies: Option<usize>,
    ob_type: usize,
    type_name: usize,
    type_flags: usize,
    type_basicsize: Option<usize>,
    type_dictoffset: Option<usize>,
    tuple_items: usize,
    tuple_size: usize,
    dict_keys: usize,
    dict_values: usize,
    bytes_data: usize,
    unicode_state: usize,
    unicode_length: usize,
    ascii_object_size: usize,
    compact_unicode_object_size: Option<usize>,
    heap_type_cached_keys: Option<usize>,
}

/// What no header states and differs between builds with a GIL and without.
#[derive(Debug, Clone, Copy)]
struct Unstated {
    /// Bits of a frame's code and locals that are tags (`_PyStackRef`,
    /// `Include/internal/pycore_stackref.h`; an unbound local is such a tag alone).
    tag_mask: u64,
    /// `ht_cached_keys` of `PyHeapTypeObject`, where it is not stated.
    heap_type_cached_keys: usize,
    /// From an object to its managed dict (`MANAGED_DICT_OFFSET`).
    managed_dict: i64,
    /// From `_co_firsttraceable` to the instructions.
    firsttraceable_before: usize,
    /// [`ObjectLayout::unicode_state_shift`].
    unicode_state_shift: u32,
}

/// How many versions have a column.
const VERSIONS: usize = 3;

static ROWS: [Row; VERSIONS] = [row(0), row(1), row(2)];

const fn row(v: usize) -> Row {
    //  positions                         3.13 3.14 3.15
    Row {
        stated: Stated {
            minor: [13, 14, 15][v],
            interpreters_head: [40, 40, 40][v],
            interpreter_id: [56, 56, 56][v],
            interpreter_next: [64, 64, 64][v],
            threads_head: [72, 72, 72][v],
            imports_modules: [88, 96, 96][v],
            ceval_gil: [112, 120, 120][v],
            code_object_generation: [None, Some(160), Some(160)][v],
            interpreter_gc: [80, 88, 88][v],
            gc_collecting: [576, 656, 760][v],
            thread_next: [168, 192, 192][v],
            thread_interp: [176, 200, 200][v],
            thread_current_frame: [184, 208, 208][v],
            thread_id: [192, 216, 240][v],
            native_thread_id: [200, 224, 248][v],
            datastack_chunk: [208, 232, 256][v],
            frame_size: [224, 248, 312][v],
            frame_previous: [232, 256, 320][v],
            frame_executable: [240, 264, 328][v],
            frame_instr_ptr: [248, 272, 336][v],
            frame_localsplus: [256, 280, 344][v],
            frame_owner: [264, 288, 352][v],
            code_size: [272, 312, 376][v],
            code_filename: [280, 320, 384][v],
            code_name: [288, 328, 392][v],
            code_qualname: [296, 336, 400][v],
            code_linetable: [304, 344, 408][v],
            code_firstlineno: [312, 352, 416][v],
            code_localsplusnames: [328, 368, 432][v],
            code_instructions: [344, 384, 448][v],
            code_thread_copies: [None, Some(392), Some(456)][v],
            ob_type: [360, 408, 472][v],
            type_name: [376, 424, 488][v],
            type_flags: [392, 440, 504][v],
            type_basicsize: [None, None, Some(512)][v],
            type_dictoffset: [None, None, Some(520)][v],
            tuple_items: [408, 456, 552][v],
            tuple_size: [416, 464, 560][v],
            dict_keys: [456, 536, 632][v],
            dict_values: [464, 544, 640][v],
            bytes_data: [528, 608, 704][v],
            unicode_state: [544, 624, 720][v],
            unicode_length: [552, 632, 728][v],
            ascii_object_size: [560, 640, 736][v],
            compact_unicode_object_size: [None, None, Some(744)][v],
            heap_type_cached_keys: [None, None, Some(536)][v],
        },
        with_gil: Unstated {
            tag_mask: [0, 3, 3][v],
            heap_type_cached_keys: [880, 880, 888][v],
            managed_dict: -24,
            firsttraceable_before: 16,
            unicode_state_shift: 0,
        },
        free_threaded: Unstated {
            tag_mask: [1, 3, 3][v],
            heap_type_cached_keys: [896, 896, 904][v],
            managed_dict: -8,
            firsttraceable_before: [16, 24, 24][v],
            unicode_state_shift: [0, 6, 6][v],
        },
    }
}

/// The version and the layout that the header states. A version that is newer than all
/// columns, or not final, is read as the newest or its own, on trial; so is a build without
/// a GIL, since none was at hand to compare with.
pub(super) fn parse(bytes: &[u8], machine: Machine) -> Result<(Version, Layout), Error> {
    let header = View(bytes);
    let unreadable = || Error::Damaged { what: "_Py_DebugOffsets" };
    if bytes.get(..COOKIE.len()) != Some(COOKIE) {
        return Err(unreadable());
    }
    let hex = header.u64(VERSION).ok_or_else(unreadable)?;
    let version = Version::from_hex(hex).ok_or_else(unreadable)?;
    let known = ROWS.iter().find(|row| row.stated.minor == version.minor);
    let newest = ROWS.last().filter(|newest| version.minor > newest.stated.minor);
    let row = known.or(newest).ok_or(Error::UnsupportedVersion { version })?;
    let free_threaded = match header.u64(FREE_THREADED) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(unreadable()),
    };
    // The lowest byte of a final release (`Include/patchlevel.h`).
    const FINAL: u64 = 0xf0;
    let trust = if known.is_some() && hex & 0xff == FINAL && !free_threaded {
        Trust::Known
    } else {
        Trust::Trial
    };
    let layout = row.layout(header, free_threaded, trust, machine).ok_or_else(unreadable)?;
    Ok((version, layout))
}

impl Row {
    fn layout(
        &self,
        header: View<'_>,
        free_threaded: bool,
        trust: Trust,
        machine: Machine,
    ) -> Option<Layout> {
        // No structure that is read here is larger than half a megabyte.
        const LARGEST_OFFSET: u64 = 1 << 19;
        let stated = |position: usize| {
            let offset = header.u64(position).filter(|&offset| offset < LARGEST_OFFSET)?;
            usize::try_from(offset).ok()
        };
        let at = &self.stated;
        let unstated = if free_threaded { self.free_threaded } else { self.with_gil };
        let gil_place = GilPlace::BehindInterpreter(stated(at.ceval_gil)?);
        let chunk = stated(at.datastack_chunk)?;
        // datastack_top and datastack_limit follow datastack_chunk in every version.
        let top = chunk.checked_add(8)?;
        let firstlineno = stated(at.code_firstlineno)?;
        // co_nlocalsplus and co_framesize, both int, follow co_firstlineno.
        let framesize = firstlineno.checked_add(8)?;
        let instructions = stated(at.code_instructions)?;
        let ascii = stated(at.ascii_object_size)?;
        let type_name = stated(at.type_name)?;
        let type_flags = stated(at.type_flags)?;
        let current_frame = stated(at.thread_current_frame)?;
        let thread_id = stated(at.thread_id)?;
        let native_thread_id = stated(at.native_thread_id)?;
        let last = [top, thread_id, native_thread_id, current_frame].into_iter().max()?;
        // What is stated counts; else what is known of it.
        let or = |position: Option<usize>, known: Option<usize>| match position {
            Some(position) => stated(position),
            None => known,
        };
        Some(Layout {
            trust,
            free_threaded,
            runtime: RuntimeLayout { interpreters_head: stated(at.interpreters_head)? },
            interpreter: InterpreterLayout {
                next: stated(at.interpreter_next)?,
                id: stated(at.interpreter_id)?,
                threads_head: stated(at.threads_head)?,
                modules: stated(at.imports_modules)?,
                code_object_generation: match at.code_object_generation {
                    Some(position) => Some(stated(position)?),
                    None => None,
                },
            },
            collecting: CollectingPlace::InInterpreter(
                stated(at.interpreter_gc)?.checked_add(stated(at.gc_collecting)?)?,
            ),
            gil: if free_threaded {
                tables::optional_gil(gil_place, machine)
            } else {
                tables::gil(gil_place, machine)
            },
            thread: ThreadLayout {
                read_size: last.checked_add(8)?,
                next: stated(at.thread_next)?,
                interp: stated(at.thread_interp)?,
                current_frame: CurrentFrame::Direct(current_frame),
                thread_id,
                native_thread_id: Some(native_thread_id),
                datastack: Some(DataStackLayout { chunk, top }),
            },
            frame: FrameLayout {
                size: stated(at.frame_size)?,
                code: stated(at.frame_executable)?,
                previous: stated(at.frame_previous)?,
                instruction: Instruction::Pointer { offset: stated(at.frame_instr_ptr)? },
                liveness: Liveness::Tiling {
                    owner: stated(at.frame_owner)?,
                    shim_from: 3,
                    size: FrameSize::Stated { framesize },
                },
                tag_mask: unstated.tag_mask,
                localsplus: stated(at.frame_localsplus)?,
            },
            code: CodeLayout {
                size: stated(at.code_size)?,
                filename: stated(at.code_filename)?,
                name: stated(at.code_name)?,
                qualname: Some(stated(at.code_qualname)?),
                firstlineno,
                linetable: stated(at.code_linetable)?,
                local_names: LocalNames::One { localsplusnames: stated(at.code_localsplusnames)? },
                instructions: Some(instructions),
                thread_copies: match at.code_thread_copies.filter(|_| free_threaded) {
                    Some(position) => Some(stated(position)?),
                    None => None,
                },
                code_units: Some(stated(at.tuple_size)?),
                firsttraceable: Some(instructions.checked_sub(unstated.firsttraceable_before)?),
            },
            object: ObjectLayout {
                ob_type: stated(at.ob_type)?,
                ob_size: stated(at.tuple_size)?,
                unicode_length: stated(at.unicode_length)?,
                unicode_state: stated(at.unicode_state)?,
                unicode_state_shift: unstated.unicode_state_shift,
                unicode_ascii_data: ascii,
                unicode_compact_data: or(at.compact_unicode_object_size, ascii.checked_add(16))?,
                bytes_data: stated(at.bytes_data)?,
                tuple_items: stated(at.tuple_items)?,
                dict_keys: stated(at.dict_keys)?,
                dict_values: stated(at.dict_values)?,
                type_name,
                // tp_basicsize and tp_itemsize follow tp_name; tp_dictoffset is 120
                // bytes after tp_flags (Include/cpython/object.h, unchanged since 3.8).
                type_basicsize: or(at.type_basicsize, type_name.checked_add(8))?,
                type_itemsize: or(at.type_basicsize, type_name.checked_add(8))?.checked_add(8)?,
                type_flags,
                type_dictoffset: or(at.type_dictoffset, type_flags.checked_add(120))?,
                heap_type_cached_keys: or(
                    at.heap_type_cached_keys,
                    Some(unstated.heap_type_cached_keys),
                )?,
                cell_value: stated(at.tuple_size)?,
                dict_keys_layout: DictKeysLayout::Logarithmic,
                int_format: IntFormat::Tagged,
            },
            lines: LineTable::Locations,
            attributes: Attributes::ManagedInline { dict: unstated.managed_dict },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `scripts/offsets.py` makes of each version's own headers.
    const FROM_HEADERS: [[&str; 2]; VERSIONS] = [
        [
            include_str!("../../../fixtures/layouts/3.13.txt"),
            include_str!("../../../fixtures/layouts/3.13t.txt"),
        ],
        [
            include_str!("../../../fixtures/layouts/3.14.txt"),
            include_str!("../../../fixtures/layouts/3.14t.txt"),
        ],
        [
            include_str!("../../../fixtures/layouts/3.15.txt"),
            include_str!("../../../fixtures/layouts/3.15t.txt"),
        ],
    ];

    #[test]
    fn every_row_is_what_the_headers_say() {
        for (row, [with_gil, free_threaded]) in ROWS.iter().zip(FROM_HEADERS) {
            let told = |unstated| format!("{:#?}\n{unstated:#?}\n", row.stated);
            assert_eq!(told(row.with_gil), with_gil);
            assert_eq!(told(row.free_threaded), free_threaded);
        }
    }
}
