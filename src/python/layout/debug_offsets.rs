//! `_Py_DebugOffsets`: from 3.13 on the interpreter states its own offsets at the very
//! start of `_PyRuntime`, for tools like this one.
//!
//! Each version puts the statements in other places and leaves some facts out, so a
//! version is a row of [`ROWS`]: where to look, and what is not stated. Sources:
//! `Include/internal/pycore_debug_offsets.h` (3.13: `pycore_runtime.h`) of each version.

use super::super::view::View;
use super::super::{Error, version::Version};
use super::{
    Attributes, CodeLayout, CurrentFrame, DataStackLayout, DictKeysLayout, FrameLayout, FrameSize,
    GilPlace, Instruction, InterpreterLayout, Layout, LineTable, Liveness, LocalNames,
    ObjectLayout, RuntimeLayout, ThreadLayout, tables,
};

/// The first eight bytes of `_PyRuntime`.
pub(crate) const COOKIE: &[u8; 8] = b"xdebugpy";

const VERSION: usize = 8;
const FREE_THREADED: usize = 16;

/// Where `interpreter_state.imports_modules` is stated, by minor version.
const IMPORTS_MODULES: [(u8, usize); 3] = [(13, 88), (14, 96), (15, 96)];

/// The positions of one version's statements in the header, and what it does not state.
struct Row {
    minor: u8,
    interpreters_head: usize,
    interpreter_id: usize,
    interpreter_next: usize,
    threads_head: usize,
    ceval_gil: usize,
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
    ob_type: usize,
    type_name: usize,
    type_flags: usize,
    tuple_items: usize,
    tuple_size: usize,
    dict_keys: usize,
    dict_values: usize,
    bytes_data: usize,
    unicode_state: usize,
    unicode_length: usize,
    ascii_object_size: usize,
    /// Not stated: bits of a frame's code and locals that are tags.
    tag_mask: u64,
    /// Not stated: `sizeof(PyCompactUnicodeObject) - sizeof(PyASCIIObject)`.
    compact_unicode_more: usize,
    /// Not stated: `ht_cached_keys` of `PyHeapTypeObject`.
    heap_type_cached_keys: usize,
}

static ROWS: [Row; 1] = [Row {
    minor: 13,
    interpreters_head: 40,
    interpreter_id: 56,
    interpreter_next: 64,
    threads_head: 72,
    ceval_gil: 112,
    thread_next: 168,
    thread_interp: 176,
    thread_current_frame: 184,
    thread_id: 192,
    native_thread_id: 200,
    datastack_chunk: 208,
    frame_size: 224,
    frame_previous: 232,
    frame_executable: 240,
    frame_instr_ptr: 248,
    frame_localsplus: 256,
    frame_owner: 264,
    code_size: 272,
    code_filename: 280,
    code_name: 288,
    code_qualname: 296,
    code_linetable: 304,
    code_firstlineno: 312,
    code_localsplusnames: 328,
    code_instructions: 344,
    ob_type: 360,
    type_name: 376,
    type_flags: 392,
    tuple_items: 408,
    tuple_size: 416,
    dict_keys: 456,
    dict_values: 464,
    bytes_data: 528,
    unicode_state: 544,
    unicode_length: 552,
    ascii_object_size: 560,
    tag_mask: 0,
    compact_unicode_more: 16,
    heap_type_cached_keys: 880,
}];

/// The version and the layout that the header states.
pub(super) fn parse(bytes: &[u8]) -> Result<(Version, Layout), Error> {
    let header = View(bytes);
    let unreadable = || Error::Damaged { what: "_Py_DebugOffsets" };
    if bytes.get(..COOKIE.len()) != Some(COOKIE) {
        return Err(unreadable());
    }
    let version = header.u64(VERSION).and_then(Version::from_hex).ok_or_else(unreadable)?;
    let row = ROWS
        .iter()
        .find(|row| row.minor == version.minor)
        .ok_or(Error::UnsupportedVersion { version })?;
    if header.u64(FREE_THREADED) != Some(0) {
        return Err(Error::FreeThreaded { version });
    }
    row.layout(header).map(|layout| (version, layout)).ok_or_else(unreadable)
}

impl Row {
    fn layout(&self, header: View<'_>) -> Option<Layout> {
        // No structure that is read here is larger than half a megabyte.
        const LARGEST_OFFSET: u64 = 1 << 19;
        let stated = |position: usize| {
            let offset = header.u64(position).filter(|&offset| offset < LARGEST_OFFSET)?;
            usize::try_from(offset).ok()
        };
        let chunk = stated(self.datastack_chunk)?;
        // datastack_top and datastack_limit follow datastack_chunk in every version.
        let top = chunk.checked_add(8)?;
        let firstlineno = stated(self.code_firstlineno)?;
        // co_nlocalsplus and co_framesize, both int, follow co_firstlineno.
        let framesize = firstlineno.checked_add(8)?;
        let instructions = stated(self.code_instructions)?;
        let ascii = stated(self.ascii_object_size)?;
        let size = stated(self.code_size)?;
        let current_frame = stated(self.thread_current_frame)?;
        let thread_id = stated(self.thread_id)?;
        let native_thread_id = stated(self.native_thread_id)?;
        let last = [top, thread_id, native_thread_id, current_frame].into_iter().max()?;
        Some(Layout {
            runtime: RuntimeLayout { interpreters_head: stated(self.interpreters_head)? },
            interpreter: InterpreterLayout {
                modules: IMPORTS_MODULES
                    .iter()
                    .find(|(minor, _)| *minor == self.minor)
                    .and_then(|&(_, position)| stated(position))?,
                next: stated(self.interpreter_next)?,
                id: stated(self.interpreter_id)?,
                threads_head: stated(self.threads_head)?,
            },
            gil: tables::gil(GilPlace::BehindInterpreter(stated(self.ceval_gil)?)),
            thread: ThreadLayout {
                read_size: last.checked_add(8)?,
                next: stated(self.thread_next)?,
                interp: stated(self.thread_interp)?,
                current_frame: CurrentFrame::Direct(current_frame),
                thread_id,
                native_thread_id: Some(native_thread_id),
                datastack: Some(DataStackLayout { chunk, top }),
            },
            frame: FrameLayout {
                size: stated(self.frame_size)?,
                code: stated(self.frame_executable)?,
                previous: stated(self.frame_previous)?,
                instruction: Instruction::Pointer { offset: stated(self.frame_instr_ptr)? },
                liveness: Liveness::Tiling {
                    owner: stated(self.frame_owner)?,
                    shim_from: 3,
                    size: FrameSize::Stated { framesize },
                },
                tag_mask: self.tag_mask,
                localsplus: stated(self.frame_localsplus)?,
            },
            code: CodeLayout {
                size,
                filename: stated(self.code_filename)?,
                name: stated(self.code_name)?,
                qualname: Some(stated(self.code_qualname)?),
                firstlineno,
                linetable: stated(self.code_linetable)?,
                local_names: LocalNames::One {
                    localsplusnames: stated(self.code_localsplusnames)?,
                },
                instructions: Some(instructions),
                code_units: Some(stated(self.tuple_size)?),
                // The last int but one before the instructions: _co_firsttraceable, then
                // the pointer co_extra.
                firsttraceable: Some(instructions.checked_sub(16)?),
            },
            object: ObjectLayout {
                ob_type: stated(self.ob_type)?,
                ob_size: stated(self.tuple_size)?,
                unicode_length: stated(self.unicode_length)?,
                unicode_state: stated(self.unicode_state)?,
                unicode_ascii_data: ascii,
                unicode_compact_data: ascii.checked_add(self.compact_unicode_more)?,
                bytes_data: stated(self.bytes_data)?,
                tuple_items: stated(self.tuple_items)?,
                dict_keys: stated(self.dict_keys)?,
                dict_values: stated(self.dict_values)?,
                type_name: stated(self.type_name)?,
                // tp_basicsize and tp_itemsize follow tp_name; tp_dictoffset is 120
                // bytes after tp_flags (Include/cpython/object.h, unchanged since 3.8).
                type_basicsize: stated(self.type_name)?.checked_add(8)?,
                type_itemsize: stated(self.type_name)?.checked_add(16)?,
                type_flags: stated(self.type_flags)?,
                type_dictoffset: stated(self.type_flags)?.checked_add(120)?,
                heap_type_cached_keys: self.heap_type_cached_keys,
                cell_value: stated(self.tuple_size)?,
                dict_keys_layout: DictKeysLayout::Logarithmic,
            },
            lines: LineTable::Locations,
            attributes: Attributes::ManagedInline { dict: -24 },
        })
    }
}
