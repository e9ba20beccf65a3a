//! An allocator that counts, for each thread on its own: tests run side by side. Only those
//! test programs that name this file have it.

// There is no other way to see what is allocated; the system's allocator does the work.
#![allow(unsafe_code, dead_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

struct Counting;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
    /// Whether the next allocation notes where it is.
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static PLACES: RefCell<Vec<Backtrace>> = const { RefCell::new(Vec::new()) };
}

fn count(change: isize) {
    let now = NOW.get() + change;
    NOW.set(now);
    PEAK.set(PEAK.get().max(now));
}

// SAFETY: every call is passed on unchanged; counting allocates nothing, and noting a place
// is not itself watched.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        COUNT.set(COUNT.get() + 1);
        if WATCHED.replace(false) {
            PLACES.with_borrow_mut(|places| places.push(Backtrace::force_capture()));
        }
        // SAFETY: the caller keeps the contract of `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the pointer came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work`: the most bytes that it had allocated at one time, and what it returned.
pub(crate) fn peak_of<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = NOW.get();
    PEAK.set(before);
    let result = work();
    ((PEAK.get() - before).cast_unsigned(), result)
}

/// The bytes that this thread has allocated and not freed; below zero if others' were.
pub(crate) fn bytes_now() -> isize {
    NOW.get()
}

/// How often this thread has allocated.
pub(crate) fn count_now() -> u64 {
    COUNT.get()
}

/// Whether the next allocation is to note where it is made; of a few, to be told by
/// [`places`].
pub(crate) fn watch(watched: bool) {
    const ENOUGH: usize = 500;
    WATCHED.set(watched && PLACES.with_borrow(Vec::len) < ENOUGH);
}

/// Where allocations were made while they were watched, below a function with this in its
/// name: farrier's own functions, innermost first, and how many of the noted ones.
pub(crate) fn places(below: &str) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for trace in PLACES.take() {
        let text = trace.to_string();
        if !text.contains(below) {
            continue;
        }
        let own = text.lines().filter(|line| line.contains(": farrier::"));
        let names = own.filter_map(|line| line.split_once(": ")).map(|(_, name)| name);
        let place = names.take(3).collect::<Vec<_>>().join(" < ");
        *counts.entry(place).or_default() += 1;
    }
    counts
}
