//! Memory that was made to cost as much as can be: long chains of what is followed one by
//! one, each link as large as is believed.

use farrier::model::Tables;
use farrier::process::SnapshotMemory;
use farrier::python::Runtime;
use farrier::units::RemoteAddress;

use crate::common::{Counted, Saved};
use crate::{MOST_MEMORY, allocations, look_around};

/// Where nothing was.
const FREE: u64 = 0x1000_0000_0000;

/// The longest string or line table that is believed.
const LONGEST: u64 = 1 << 18;

/// A snapshot and what is being made of it.
struct Trap {
    saved: Saved,
    /// The thread state of the main thread, the oldest.
    thread: u64,
}

impl Trap {
    fn new(version: &str) -> Self {
        let saved = Saved::all().into_iter().find(|saved| saved.version == version);
        let saved = saved.expect("there is a snapshot");
        let runtime = Runtime::locate(&saved.images, &saved.memory).expect("it is undamaged");
        let thread = runtime.threads().last().expect("a thread").address().get();
        Self { saved, thread }
    }

    fn copy(&self, address: u64, length: usize) -> Vec<u8> {
        let mut copy = SnapshotMemory::clone(&self.saved.memory);
        (0..length as u64)
            .map(|nth| *copy.byte_mut(RemoteAddress::new(address + nth)).expect("it was saved"))
            .collect()
    }

    fn word(&self, address: u64) -> u64 {
        u64::from_le_bytes(self.copy(address, 8).try_into().expect("eight bytes"))
    }

    fn set(&mut self, address: u64, value: u64) {
        for (nth, byte) in value.to_le_bytes().into_iter().enumerate() {
            let place = RemoteAddress::new(address + nth as u64);
            *self.saved.memory.byte_mut(place).expect("it was saved") = byte;
        }
    }

    fn insert(&mut self, address: u64, bytes: Vec<u8>) {
        self.saved.memory.insert(RemoteAddress::new(address), bytes);
    }

    /// Looks at it from the start, within bounds.
    fn spring(self) {
        let memory = &self.saved.memory;
        let (peak, ()) = allocations::peak_of(|| {
            let mut runtime = Runtime::locate(&self.saved.images, memory).expect("it is found");
            look_around(&mut runtime, &mut Tables::new(), memory);
        });
        println!("at the most {peak} bytes allocated");
        assert!(peak <= MOST_MEMORY, "{peak} bytes allocated");
    }
}

fn put(bytes: &mut [u8], offset: usize, value: u64) {
    bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn a_chain_of_heap_frames_with_huge_code_each() {
    // CPython 3.8: PyThreadState.frame 24; PyFrameObject.f_back 24, f_code 32;
    // PyCodeObject.co_filename 104, co_name 112, co_lnotab 120.
    let mut trap = Trap::new("3.8");
    let frame = trap.copy(trap.word(trap.thread + 24), 360);
    let code_address = u64::from_le_bytes(frame[32..40].try_into().expect("eight bytes"));
    let code = trap.copy(code_address, 176);
    let (string, lines) = (trap.word(code_address + 104), trap.word(code_address + 120));
    let (name, table) = (FREE, FREE + 2 * LONGEST);
    for (object, head, place) in [(string, 48, name), (lines, 32, table)] {
        let mut bytes = trap.copy(object, head);
        put(&mut bytes, 16, LONGEST);
        bytes.resize(head + LONGEST as usize, b'a');
        trap.insert(place, bytes);
    }
    let (frames, codes, links) = (FREE + (1 << 24), FREE + (1 << 28), 6000);
    let (mut all_frames, mut all_codes) = (Vec::new(), Vec::new());
    for link in 0..links {
        let mut code = code.clone();
        put(&mut code, 104, name);
        put(&mut code, 112, name);
        put(&mut code, 120, table);
        all_codes.extend(code);
        let mut frame = frame.clone();
        put(&mut frame, 24, frames + 360 * (link + 1));
        put(&mut frame, 32, codes + 176 * link);
        all_frames.extend(frame);
    }
    trap.insert(frames, all_frames);
    trap.insert(codes, all_codes);
    trap.set(trap.thread + 24, frames);
    trap.spring();
}

/// Gives the main thread a data stack of chunks that overlap, each as large as is believed.
/// CPython 3.12: PyThreadState.datastack_chunk 232, datastack_top 240; _PyStackChunk:
/// previous 0, size 8, top 16 (in words).
fn with_the_largest_chunks() -> Trap {
    let mut trap = Trap::new("3.12");
    let largest = 1 << 20;
    let mut bytes = vec![0; 2 * largest];
    for start in (0..largest).step_by(64) {
        put(&mut bytes, start, FREE + start as u64 + 64);
        put(&mut bytes, start + 8, largest as u64);
        put(&mut bytes, start + 16, largest as u64 / 8 - 3);
    }
    trap.insert(FREE, bytes);
    trap.set(trap.thread + 232, FREE);
    trap.set(trap.thread + 240, FREE + largest as u64);
    trap
}

#[test]
fn a_chain_of_the_largest_chunks() {
    with_the_largest_chunks().spring();
}

#[test]
fn many_threads_with_the_largest_chunks() {
    // PyThreadState.next 8.
    let mut trap = with_the_largest_chunks();
    let (states, size, links) = (FREE + (1 << 24), 256, 200);
    let main = trap.copy(trap.thread, size as usize);
    let mut all = Vec::new();
    for link in 0..links {
        let mut state = main.clone();
        put(&mut state, 8, if link + 1 < links { states + size * (link + 1) } else { 0 });
        all.extend(state);
    }
    trap.insert(states, all);
    trap.set(trap.thread + 8, states);
    trap.spring();
}

#[test]
fn a_chain_of_generators() {
    // CPython 3.12: PyThreadState.cframe 56, _PyCFrame.current_frame 0;
    // _PyInterpreterFrame.previous 8, owner 70.
    let mut trap = Trap::new("3.12");
    let cframe = trap.word(trap.thread + 56);
    let frame = trap.copy(trap.word(cframe), 72);
    let links = 6000;
    let mut frames = Vec::new();
    for link in 0..links {
        let mut frame = frame.clone();
        put(&mut frame, 8, FREE + 72 * (link + 1));
        frame[70] = 1;
        frames.extend(frame);
    }
    trap.insert(FREE, frames);
    trap.set(cframe, FREE);
    trap.spring();
}

#[test]
fn a_ring_of_threads_and_one_of_interpreters() {
    // PyThreadState.next 8, interp 16; PyInterpreterState.next 0: the same up to 3.12.
    for version in ["3.8", "3.12"] {
        for interpreters in [false, true] {
            let mut trap = Trap::new(version);
            let interpreter = trap.word(trap.thread + 16);
            let (place, target) = if interpreters {
                (interpreter, interpreter)
            } else {
                (trap.thread + 8, trap.thread)
            };
            trap.set(place, target);
            let counted = Counted::new(&trap.saved.memory);
            assert!(Runtime::locate(&trap.saved.images, &counted).is_err(), "{version}");
            counted.check("locating");
        }
    }
}
