//! A self-check for interpreters that farrier was never compared with: versions newer than
//! the tables, pre-releases, builds without a GIL, and those that were found by what they
//! look like.
//!
//! Such an interpreter states most of its offsets itself, but what it does not state may
//! have changed. So before anything is shown of it, what is read with the offsets has to
//! make sense: thread numbers that are some, a GIL whose settings are such, and at least
//! one stack of functions with names, files and lines. Memory read at wrong offsets does
//! not come to that.

use rustc_hash::FxHashSet;

use super::layout::GilLayout;
use super::view::View;
use super::{Error, Runtime};
use crate::model::{Grade, Tables};
use crate::process::{Batch, ReadMemory};
use crate::units::RemoteAddress;

/// How often the stacks are looked at before it is given up: threads that run may not hold
/// still for one look.
const MOST_LOOKS: usize = 20;

/// How many threads are looked at.
const MOST_THREADS: usize = 64;

/// # Errors
/// [`Error::Untrusted`] with what made no sense.
pub(super) fn hold(
    runtime: &mut Runtime,
    gil: &GilLayout,
    memory: &dyn ReadMemory,
) -> Result<(), Error> {
    let version = runtime.version();
    let untrusted = |what| Error::Untrusted { version, what };
    if !numbers_hold(runtime) {
        return Err(untrusted("thread numbers"));
    }
    let gils: FxHashSet<_> = runtime.threads().iter().map(|thread| thread.gil()).collect();
    if !gils.into_iter().all(|address| gil_holds(address, gil, memory)) {
        return Err(untrusted("the GIL"));
    }
    let mut tables = Tables::new();
    for _ in 0..MOST_LOOKS {
        let wanted: Vec<usize> = (0..runtime.threads().len().min(MOST_THREADS)).collect();
        runtime.look(memory, &mut tables, &wanted)?;
        match stacks_hold(runtime, &tables, &wanted) {
            Some(true) => return Ok(()),
            Some(false) => return Err(untrusted("names, files and lines of functions")),
            None => {}
        }
    }
    Err(untrusted("stacks"))
}

/// Every thread that is up has a number that a kernel gives (PIDs end at 2^22 on Linux), no
/// two have the same, and there is one.
fn numbers_hold(runtime: &Runtime) -> bool {
    let stated = runtime.threads().iter().map(|thread| thread.stated_tids());
    // Up to 3.10 the interpreter does not say it, and what does may not be there.
    let first = stated.filter_map(|numbers| numbers.into_iter().find(|&number| number != 0));
    let numbers: Vec<u32> = first.collect();
    let distinct: FxHashSet<_> = numbers.iter().collect();
    !numbers.is_empty()
        && distinct.len() == numbers.len()
        && numbers.iter().all(|number| (1..=1 << 22).contains(number))
}

/// The switch interval is one that a person would set, between a microsecond and a minute,
/// and the GIL is held, free, or not made yet (-1).
fn gil_holds(address: RemoteAddress, layout: &GilLayout, memory: &dyn ReadMemory) -> bool {
    let mut batch = Batch::new();
    let slot = batch.ask(address, layout.switch_number);
    let Ok(()) = memory.read(&mut batch) else { return false };
    let Some(view) = batch.bytes(slot).map(View) else { return false };
    let interval = view.u64(layout.interval).is_some_and(|us| (1..=60_000_000).contains(&us));
    interval && view.i32(layout.locked).is_some_and(|locked| (-1..=1).contains(&locked))
}

/// Whether functions were found, and all of them are such as a compiler makes; `None` if
/// no stack held still.
fn stacks_hold(runtime: &Runtime, tables: &Tables, wanted: &[usize]) -> Option<bool> {
    let threads = wanted.iter().filter_map(|&index| runtime.threads().get(index));
    let steady = threads.filter(|thread| matches!(thread.grade(), Grade::Exact | Grade::Functions));
    let frames = steady.flat_map(|thread| thread.frames()).map(|found| tables.frame(found.frame));
    let mut from_files = None;
    for frame in frames {
        let function = tables.function(frame.function);
        let (name, file) = (tables.string(function.name), tables.string(function.file));
        let printable = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
        // 0: the instruction has no line.
        let lined = frame.line == 0 || frame.line >= function.first_line;
        if !printable(name) || !printable(file) || !lined {
            return Some(false);
        }
        // Generated code may be of any file, but something was imported or started.
        let is_path = file.contains('/') || file.ends_with(".py");
        *from_files.get_or_insert(false) |= is_path;
    }
    from_files
}
