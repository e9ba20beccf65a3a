//! Finding the interpreter in a process: where `_PyRuntime` is, and which version it is.
//!
//! | what | from | works on |
//! |---|---|---|
//! | place | section `.PyRuntime` | 3.10 and later, stripped too |
//! | place | symbol `_PyRuntime` | 3.8 and later, where symbols are exported |
//! | place | the first bytes of `_Py_DebugOffsets`, in writable memory | 3.13 and later |
//! | place | the shape of `_PyRuntime.interpreters`, in writable memory | 3.8 to 3.12, found out by trial |
//! | version | `_Py_DebugOffsets` | 3.13 and later |
//! | version | symbol `Py_Version` | 3.11 and later |
//! | version | the text that `Py_GetVersion()` returns, in `.bss` | all |
//! | version | the file's name (`libpython3.9.so`) | the last resort |
//!
//! A file may be mapped more than once and a process may hold two interpreters, so every
//! place is tried until one holds together.

use super::attributes::Names;
use super::layout::{COOKIE, Layout, Trust};
use super::objects::Objects;
use super::threads::{self, Lists};
use super::view::View;
use super::{Error, Version};
use crate::process::{Batch, Image, ReadMemory};
use crate::units::RemoteAddress;

/// An interpreter that was found.
#[derive(Debug, Clone)]
pub(super) struct Located {
    pub(super) runtime: RemoteAddress,
    pub(super) version: Version,
    pub(super) layout: Layout,
    pub(super) lists: Lists,
}

/// Where `_PyRuntime` is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Search {
    /// Where a file or its exported symbols say.
    Stated,
    /// By its first bytes.
    Cookie,
    /// By what its list of interpreters looks like.
    Shape,
}

/// Tries every place that `images` suggest.
///
/// # Errors
/// What was wrong with the place that came nearest: an interpreter that is not supported
/// says more than one that is not up yet, and that more than none at all.
pub(super) fn locate(
    images: &[Image],
    memory: &dyn ReadMemory,
    batch: &mut Batch,
    names: &mut Names,
) -> Result<Located, Error> {
    let mut nearest = Error::NotPython;
    let mut any = false;
    for search in [Search::Stated, Search::Cookie, Search::Shape] {
        // Files without sections and symbols are searched only where nothing is stated.
        if any {
            break;
        }
        for image in images {
            let places = match search {
                Search::Stated => stated(image),
                Search::Cookie => cookies(image, memory, batch),
                Search::Shape => shapes(image, memory, batch),
            };
            for runtime in places {
                // Much has that shape by chance: that says nothing of the next place.
                any |= search != Search::Shape;
                match at(runtime, search, image, memory, batch, names) {
                    Ok(located) => return Ok(located),
                    Err(error) if error.is_nearer_than(&nearest) => nearest = error,
                    Err(_) => {}
                }
            }
        }
    }
    Err(nearest)
}

/// The places that an image's file or its exported symbols name.
fn stated(image: &Image) -> Vec<RemoteAddress> {
    let mut places: Vec<_> =
        [image.section(".PyRuntime"), image.symbol("_PyRuntime")].into_iter().flatten().collect();
    places.dedup();
    places
}

/// The places in an image's writable memory that begin as `_Py_DebugOffsets` does.
fn cookies(image: &Image, memory: &dyn ReadMemory, batch: &mut Batch) -> Vec<RemoteAddress> {
    /// There is one in an interpreter, and not many interpreters in a file.
    const MOST: usize = 8;
    let mut places = Vec::new();
    search(image, memory, batch, |address, bytes| {
        let words = (0_u64..).step_by(8).zip(bytes.chunks_exact(8));
        for (offset, _) in words.filter(|(_, word)| word == COOKIE) {
            let place = address.plus(offset);
            // Where two pieces overlap it is found twice.
            if places.len() < MOST && !places.contains(&place) {
                places.push(place);
            }
        }
        None::<()>
    });
    places
}

/// The places in an image's writable memory that look as `_PyRuntime` does where it lists
/// the interpreters. For a program that exports nothing and was stripped, of a version that
/// the text of its version tells.
fn shapes(image: &Image, memory: &dyn ReadMemory, batch: &mut Batch) -> Vec<RemoteAddress> {
    /// A process has one; how many look so is the target's choice.
    const MOST: usize = 64;
    let Some(version) = banner(image, memory, batch) else { return Vec::new() };
    let Ok(layout) = Layout::from_table(version) else { return Vec::new() };
    let head = layout.runtime.interpreters_head as u64;
    let mut places = Vec::new();
    search(image, memory, batch, |address, bytes| {
        for offset in (0..bytes.len()).step_by(8) {
            if places.len() < MOST
                && let Some(true) = bytes.get(offset..).and_then(lists_interpreters)
            {
                let listed = address.plus(offset.saturating_add(LISTED) as u64);
                let place = RemoteAddress::new(listed.get().wrapping_sub(head));
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        None::<()>
    });
    places
}

/// How far before `interpreters.head` the words begin that [`lists_interpreters`] wants.
const LISTED: usize = 16;

/// Whether these words are `finalizing` (null while the interpreter is up) and then
/// `interpreters`: its `mutex`, `head`, `main` and `next_id`, which follow one another in
/// `struct pyruntimestate` from 3.8 to 3.12 (`Include/internal/pycore_runtime.h`).
fn lists_interpreters(bytes: &[u8]) -> Option<bool> {
    /// Interpreters that were ever made, at the most: fewer than the least address of a
    /// program's own data.
    const MOST_EVER: u64 = 1 << 16;
    let view = View(bytes);
    let (finalizing, mutex) = (view.address(0)?, view.address(8)?);
    let (head, main, next) = (view.address(LISTED)?, view.address(24)?, view.u64(32)?);
    let only = next != 1 || head == main;
    Some(
        finalizing.is_null()
            && [mutex, head, main].into_iter().all(RemoteAddress::is_plausible)
            && (1..MOST_EVER).contains(&next)
            && only,
    )
}

fn at(
    runtime: RemoteAddress,
    search: Search,
    image: &Image,
    memory: &dyn ReadMemory,
    batch: &mut Batch,
    names: &mut Names,
) -> Result<Located, Error> {
    let (version, mut layout) = match debug_offsets(runtime, memory, batch) {
        Some(header) => Layout::from_debug_offsets(&header)?,
        None => {
            let version = version(image, memory, batch).ok_or(Error::NotPython)?;
            (version, Layout::from_table(version)?)
        }
    };
    if search == Search::Shape {
        layout.trust = Trust::Trial;
    }
    let mut objects = Objects::new(memory, &layout, batch, names);
    // Threads come and go while their list is read.
    const TRIES: usize = 3;
    let mut known = Lists::default();
    for _ in 0..TRIES {
        match threads::discover(runtime, &known, &mut objects, &layout) {
            Ok(lists) if lists.threads.is_empty() => return Err(Error::NotReady),
            Ok(lists) => return Ok(Located { runtime, version, layout, lists }),
            Err(lists) => known = lists,
        }
    }
    Err(match layout.trust {
        Trust::Known => Error::NotReady,
        // It was somebody else's memory.
        Trust::Trial if search == Search::Shape => Error::NotPython,
        Trust::Trial => Error::Untrusted { version, what: "lists of threads" },
    })
}

/// The bytes at the start of `_PyRuntime`, if they are debug offsets.
fn debug_offsets(
    runtime: RemoteAddress,
    memory: &dyn ReadMemory,
    batch: &mut Batch,
) -> Option<Vec<u8>> {
    batch.clear();
    let slot = batch.ask(runtime, Layout::DEBUG_OFFSETS_SIZE);
    memory.read(batch).ok()?;
    let bytes = batch.prefix(slot)?;
    bytes.starts_with(COOKIE).then(|| bytes.to_vec())
}

fn version(image: &Image, memory: &dyn ReadMemory, batch: &mut Batch) -> Option<Version> {
    if let Some(address) = image.symbol("Py_Version") {
        batch.clear();
        let slot = batch.ask(address, 4);
        memory.read(batch).ok()?;
        let hex = batch.bytes(slot).and_then(|bytes| View(bytes).u32(0));
        if let Some(version) = hex.and_then(|hex| Version::from_hex(hex.into())) {
            return Some(version);
        }
    }
    banner(image, memory, batch).or_else(|| {
        let name = image.path().file_name()?.to_string_lossy();
        Version::from_file_name(&name)
    })
}

/// Looks through the image's writable memory for the buffer of `Py_GetVersion()`.
fn banner(image: &Image, memory: &dyn ReadMemory, batch: &mut Batch) -> Option<Version> {
    search(image, memory, batch, |_, bytes| {
        let found = bytes.windows(2).enumerate().filter(|(_, pair)| *pair == b"3.");
        found
            .filter_map(|(index, _)| Version::from_banner(bytes.get(index..)?))
            .find(|version| (0..=99).contains(&version.minor))
    })
}

/// Shows the image's writable memory to `find`, piece by piece with each one's address, until
/// it finds something. Pieces begin at multiples of eight and overlap a little.
fn search<T>(
    image: &Image,
    memory: &dyn ReadMemory,
    batch: &mut Batch,
    mut find: impl FnMut(RemoteAddress, &[u8]) -> Option<T>,
) -> Option<T> {
    const STEP: usize = 64 * 1024;
    /// A text that lies across two pieces is found in the second.
    const OVERLAP: usize = 64;
    /// The static data of an interpreter is below a megabyte; an embedding executable's
    /// may be larger. All ranges together: how many there are is the target's choice.
    const MOST: u64 = 64 << 20;
    let mut left = MOST;
    for &(start, end) in image.writable() {
        let length = end.bytes_since(start).unwrap_or(0).min(left);
        left = left.saturating_sub(length);
        let mut at = 0;
        while at < length {
            let step =
                usize::try_from(length.saturating_sub(at)).map_or(STEP, |rest| rest.min(STEP));
            batch.clear();
            let slot = batch.ask(start.plus(at), step);
            memory.read(batch).ok()?;
            let found = find(start.plus(at), batch.prefix(slot).unwrap_or_default());
            if found.is_some() {
                return found;
            }
            at = at.saturating_add((STEP - OVERLAP) as u64);
        }
    }
    None
}
