//! Where CPython keeps what a profiler reads: offsets in bytes, grouped by the C
//! structure they are offsets into and named as CPython names them.
//!
//! Up to 3.12 the offsets are rows of [`tables`]; from 3.13 on the target states them
//! itself in `_Py_DebugOffsets` ([`debug_offsets`]). Where versions differ in kind
//! and not only in number, the difference is an enum here, so that the code that
//! reads has one `match` and no version in it. [`check`] refuses what cannot be.

mod check;
mod debug_offsets;
mod tables;

pub(crate) use debug_offsets::COOKIE;

use super::{Error, version::Version};

/// All offsets for one version and build of CPython.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) trust: Trust,
    /// Whether it is of a build without a GIL (PEP 703).
    pub(crate) free_threaded: bool,
    pub(crate) runtime: RuntimeLayout,
    pub(crate) interpreter: InterpreterLayout,
    pub(crate) collecting: CollectingPlace,
    pub(crate) gil: GilLayout,
    pub(crate) thread: ThreadLayout,
    pub(crate) frame: FrameLayout,
    pub(crate) code: CodeLayout,
    pub(crate) object: ObjectLayout,
    pub(crate) lines: LineTable,
    pub(crate) attributes: Attributes,
}

/// How sure it is that the offsets are those of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// They were compared with interpreters of that version.
    Known,
    /// No such interpreter was at hand, or the version is newer than this table: what is
    /// read with them has to hold together before it is believed.
    Trial,
}

/// A processor architecture. CPython's structures differ only by what the C library puts
/// into them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    X86_64,
    Aarch64,
}

impl Machine {
    /// The one that farrier runs on, and so its targets.
    pub(crate) const HERE: Self =
        if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 };
}

/// `_PyRuntimeState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RuntimeLayout {
    pub(crate) interpreters_head: usize,
}

/// `PyInterpreterState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InterpreterLayout {
    pub(crate) next: usize,
    pub(crate) id: usize,
    pub(crate) threads_head: usize,
    /// The dict `sys.modules`.
    pub(crate) modules: usize,
    /// `code_object_generation` (from 3.14): a `uint64_t` that goes up whenever a code
    /// object of this interpreter is freed, so that as long as it stands still, every
    /// code object that was read before is still the one at its address.
    pub(crate) code_object_generation: Option<usize>,
}

/// Where `gc.collecting` is found: an `int` that is 1 while the cyclic collector is at work,
/// with the callbacks and finalizers that it calls, and else 0. The thread that began the
/// collection holds the GIL, but for what a finalizer written in Python may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CollectingPlace {
    /// In `_PyRuntime`, one for all interpreters (3.8).
    InRuntime(usize),
    /// In the interpreter (from 3.9).
    InInterpreter(usize),
}

/// The GIL: where it lies, and `struct _gil_runtime_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GilLayout {
    pub(crate) place: GilPlace,
    /// Where it says whether it is in use: in builds that can do without.
    pub(crate) enabled: Option<usize>,
    /// After how many microseconds it is asked for.
    pub(crate) interval: usize,
    pub(crate) last_holder: usize,
    pub(crate) locked: usize,
    pub(crate) switch_number: usize,
    /// Its whole size: a futex anywhere inside belongs to the GIL.
    pub(crate) size: usize,
}

/// Where the GIL's structure is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GilPlace {
    /// In `_PyRuntime`, one for all interpreters (up to 3.11).
    InRuntime(usize),
    /// Behind a pointer in the interpreter (from 3.12).
    BehindInterpreter(usize),
}

/// `PyThreadState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThreadLayout {
    /// How many bytes to read so that all fields below are among them.
    pub(crate) read_size: usize,
    pub(crate) next: usize,
    pub(crate) interp: usize,
    pub(crate) current_frame: CurrentFrame,
    /// `pthread_self()` of the thread.
    pub(crate) thread_id: usize,
    /// `gettid()` of the thread in its own PID namespace (from 3.11).
    pub(crate) native_thread_id: Option<usize>,
    /// The data stack (from 3.11).
    pub(crate) datastack: Option<DataStackLayout>,
}

/// How a thread state leads to its topmost frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CurrentFrame {
    /// A field of the thread state.
    Direct(usize),
    /// `cframe` of the thread state points to a `_PyCFrame` on the C stack, which
    /// has `current_frame` (3.11, 3.12).
    ThroughCFrame { cframe: usize, current_frame: usize },
}

/// `datastack_chunk`, `_top` and `_limit` of the thread state, and `_PyStackChunk`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DataStackLayout {
    pub(crate) chunk: usize,
    pub(crate) top: usize,
}

/// `struct _stack_chunk` (`Include/cpython/pystate.h`): the same in all versions.
pub(crate) mod chunk {
    pub(crate) const PREVIOUS: usize = 0;
    pub(crate) const TOP_WORDS: usize = 16;
    pub(crate) const DATA: usize = 24;
    pub(crate) const SIZE: usize = 8;
}

/// A frame: `PyFrameObject` up to 3.10, `_PyInterpreterFrame` after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameLayout {
    /// How many bytes to read so that all fields below are among them.
    pub(crate) size: usize,
    pub(crate) code: usize,
    pub(crate) previous: usize,
    pub(crate) instruction: Instruction,
    /// Whether the frame is running.
    pub(crate) liveness: Liveness,
    /// The low bits of `code` and of locals that are tags and no address.
    pub(crate) tag_mask: u64,
    pub(crate) localsplus: usize,
}

/// Where a frame says how far it has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// `f_lasti`, an index in units of so many bytes; negative before the start.
    Index { offset: usize, unit: u32 },
    /// `prev_instr` or `instr_ptr`, an address in the code object.
    Pointer { offset: usize },
}

/// How to tell a live frame from a stale one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// Heap frame: `ob_refcnt` is positive and the state has one of these values (3.8,
    /// 3.9: `f_executing` is 1; 3.10: `f_state` is `FRAME_EXECUTING` 0, or
    /// `FRAME_UNWINDING` 2 while destructors run on an exception's way up).
    /// `generator` is `f_gen`, not null in a frame that a generator or coroutine owns.
    Executing { offset: usize, values: [i8; 2], generator: usize },
    /// Data stack: frames tile it without gaps. `owner` says who keeps the frame.
    Tiling { owner: usize, shim_from: u8, size: FrameSize },
}

/// How large a function's frames are on the data stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameSize {
    /// `co_framesize` words (from 3.12).
    Stated { framesize: usize },
    /// `co_nlocalsplus + co_stacksize` and so many words more (3.11).
    Computed { nlocalsplus: usize, stacksize: usize, specials: u32 },
}

/// `PyCodeObject`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CodeLayout {
    /// How many bytes to read so that all fields below are among them.
    pub(crate) size: usize,
    pub(crate) filename: usize,
    pub(crate) name: usize,
    /// From 3.11.
    pub(crate) qualname: Option<usize>,
    pub(crate) firstlineno: usize,
    pub(crate) linetable: usize,
    /// The tuples whose names, one after the other, are those of `localsplus`.
    pub(crate) local_names: LocalNames,
    /// Where the instructions begin, for versions whose frames point into them.
    pub(crate) instructions: Option<usize>,
    /// `co_tlbc`: each thread's own copy of the instructions (from 3.14, without a GIL).
    pub(crate) thread_copies: Option<usize>,
    /// `ob_size`: the number of two-byte code units (from 3.11).
    pub(crate) code_units: Option<usize>,
    /// `_co_firsttraceable`: frames before that unit are still being set up and are
    /// not shown (from 3.11).
    pub(crate) firsttraceable: Option<usize>,
}

/// Which tuples of a code object name a frame's locals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LocalNames {
    /// `co_varnames`, `co_cellvars`, `co_freevars` (up to 3.10).
    Three { varnames: usize, cellvars: usize, freevars: usize },
    /// `co_localsplusnames` (from 3.11).
    One { localsplusnames: usize },
}

/// Built-in objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ObjectLayout {
    pub(crate) ob_type: usize,
    /// `ob_size` of objects with a variable size.
    pub(crate) ob_size: usize,
    pub(crate) unicode_length: usize,
    pub(crate) unicode_state: usize,
    /// How many bits further up in that word the kind, `compact` and `ascii` are than bits
    /// 2, 5 and 6.
    pub(crate) unicode_state_shift: u32,
    /// `sizeof(PyASCIIObject)`: where a compact ASCII string's characters begin.
    pub(crate) unicode_ascii_data: usize,
    /// `sizeof(PyCompactUnicodeObject)`: likewise for other compact strings.
    pub(crate) unicode_compact_data: usize,
    pub(crate) bytes_data: usize,
    pub(crate) tuple_items: usize,
    pub(crate) dict_keys: usize,
    pub(crate) dict_values: usize,
    pub(crate) type_name: usize,
    pub(crate) type_basicsize: usize,
    pub(crate) type_itemsize: usize,
    pub(crate) type_flags: usize,
    pub(crate) type_dictoffset: usize,
    pub(crate) heap_type_cached_keys: usize,
    pub(crate) cell_value: usize,
    pub(crate) dict_keys_layout: DictKeysLayout,
    pub(crate) int_format: IntFormat,
}

/// `PyDictKeysObject`, by the age of its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DictKeysLayout {
    /// `dk_size` itself, 24-byte entries (up to 3.10).
    Sized,
    /// `dk_log2_size`, `dk_log2_index_bytes`, `dk_kind` (from 3.11).
    Logarithmic,
}

/// How an `int` says its sign and the number of its digits, in the word after the head; the
/// digits follow, 30 bits in each four bytes (`Include/cpython/longintrepr.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IntFormat {
    /// `ob_size`: the number of digits, negative for a negative one (up to 3.11).
    SignedSize,
    /// `lv_tag`: three low bits for the sign, of which the lowest two are 0 for positive,
    /// 1 for zero, 2 for negative; the number of digits above (from 3.12).
    Tagged,
}

/// The format of `co_linetable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineTable {
    /// `co_lnotab` (up to 3.9).
    Lnotab,
    /// The line table of PEP 626 (3.10).
    Pep626,
    /// The location table of `Objects/locations.md` (from 3.11).
    Locations,
}

/// Where an instance keeps its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attributes {
    /// In a dict at `tp_dictoffset` (up to 3.10).
    DictOffset,
    /// Values or a dict before the object: two words (3.11).
    ManagedTwoWords { values: i64, dict: i64 },
    /// One word before the object, its lowest bit telling values from a dict (3.12).
    ManagedTagged { word: i64 },
    /// A dict pointer before the object, or values inline after it (from 3.13).
    ManagedInline { dict: i64 },
}

impl Layout {
    /// Whether an `int` has `lv_tag` (from 3.12, like one word for all attributes) in the place
    /// of `ob_size`: the number of digits above three bits, of which the lowest two are 0 for
    /// a positive number and 1 for none at all (`Include/cpython/longintrepr.h`).
    pub(crate) const fn ints_are_tagged(&self) -> bool {
        matches!(
            self.attributes,
            Attributes::ManagedTagged { .. } | Attributes::ManagedInline { .. }
        )
    }

    /// The layout for a version that does not state its own offsets.
    ///
    /// # Errors
    /// There is no row for that version.
    pub(crate) fn from_table(version: Version) -> Result<Self, Error> {
        let layout =
            tables::row(version, Machine::HERE).ok_or(Error::UnsupportedVersion { version })?;
        check::plausible(&layout)?;
        Ok(layout)
    }

    /// The layout that a target's `_Py_DebugOffsets` states.
    ///
    /// # Errors
    /// The version is older than these statements, or an offset cannot be.
    pub(crate) fn from_debug_offsets(bytes: &[u8]) -> Result<(Version, Self), Error> {
        let (version, layout) = debug_offsets::parse(bytes, Machine::HERE)?;
        match check::plausible(&layout) {
            Err(Error::Damaged { what }) if layout.trust == Trust::Trial => {
                Err(Error::Untrusted { version, what })
            }
            other => other.map(|()| (version, layout)),
        }
    }

    /// How many bytes of `_Py_DebugOffsets` are enough for any version.
    pub(crate) const DEBUG_OFFSETS_SIZE: usize = 1024;
}
