//! The interpreter of a target, read through [`crate::process::ReadMemory`]: its threads, their stacks,
//! who holds the GIL, and the objects that a frame's locals refer to. No `/proc` and no
//! system call of its own, so a saved image of memory serves as well as a live process.
//!
//! ```text
//! locate   images ─► _PyRuntime, version ─► Layout (a table's row, or _Py_DebugOffsets)
//! threads  interpreters ─► thread states ─► names
//! look     every tick: walk (asks) ─► Batch ─► walk (frames) ─► code ─► FrameId
//! tasks    what tasks of asyncio are suspended in
//! trial    an interpreter that is not known: does what is read of it make sense?
//! locals   when a request is first seen: names, str, dict, attributes
//! render   when a person asks for them: the values of locals, as text
//! ```
//!
//! Every byte is hostile: lengths are capped, pointers are tried and not believed, lists
//! are bounded, and what does not hold together is said to be so.

// What is parsed here comes from a target and may be anything.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

mod arguments;
mod attributes;
mod code;
mod dict_keys;
mod error;
mod follow;
mod gil;
mod layout;
mod lines;
mod locals;
mod locate;
mod locks;
mod members;
mod objects;
mod reader;
mod render;
mod stack;
mod tasks;
mod thread_names;
mod threads;
mod trial;
mod version;
mod view;
mod walk;

pub use crate::process::ReadMemory;
pub use arguments::{Argument, RawText};
pub use error::Error;
pub use follow::Step;
pub use gil::Gil;
pub use locals::{Local, Locals};
pub use reader::{Look, Runtime};
pub use render::{RenderLimits, RenderedLocal};
pub use stack::{FoundFrame, PythonThread, Stack};
pub use tasks::{SuspendedTask, Tasks};
pub use version::Version;
