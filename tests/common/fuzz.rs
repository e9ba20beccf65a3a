//! What the fuzzer does with its bytes: `fuzz/` calls it, and `tests/fuzz_corpus.rs` with the
//! inputs that were kept. Needs `counted`, `objects` and `saved` beside it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{LazyLock, Mutex};

use farrier::endpoint::{Attribution, Shared, ThreadRequest};
use farrier::model::{State, Tables, Tee};
use farrier::process::{Batch, ReadMemory, SnapshotMemory};
use farrier::profile::Builder;
use farrier::python::{Runtime, Stack};
use farrier::recording::{Writer, replay};
use farrier::report::{FlameGraph, Folded, Json, Report, Text};
use farrier::units::RemoteAddress;
use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::counted::Counted;
use super::objects::{rendered, strings_behind};
use super::saved::Saved;

/// Lengths, counts and offsets that something might believe.
const HUGE: [u64; 8] =
    [u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 40, u32::MAX as u64, 1 << 31, 1 << 20, 1024];

/// How many words of a structure hold what is read of it.
const HEAD: u64 = 48;

/// Changes and looks that one input may ask for.
const MOST_STEPS: usize = 64;
const MOST_LOOKS: usize = 8;

/// The versions by the first byte of an input.
const VERSIONS: [&str; 8] = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"];

/// Bytes that are used up.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn number<const N: usize>(&mut self) -> u64 {
        let mut bytes = [0; 8];
        for byte in &mut bytes[..N] {
            *byte = self.byte();
        }
        u64::from_le_bytes(bytes)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit.max(1)
    }
}

/// Saved memory and where its thread states are.
struct Base {
    saved: Saved,
    roots: Vec<u64>,
}

/// The snapshot of a version, if there is one; read once.
fn base(folder: &Path, version: &'static str) -> Option<&'static Base> {
    static BASES: LazyLock<Mutex<BTreeMap<&str, Option<&'static Base>>>> =
        LazyLock::new(Mutex::default);
    let mut bases = BASES.lock().expect("nobody panics while it is held");
    *bases.entry(version).or_insert_with(|| {
        if !folder.join(format!("{version}.snapshot")).is_file() {
            return None;
        }
        let saved = Saved::load(folder, version);
        let runtime = Runtime::locate(&saved.images, &saved.memory).expect("it is undamaged");
        let roots = runtime.threads().iter().map(|thread| thread.address().get()).collect();
        Some(Box::leak(Box::new(Base { saved, roots })))
    })
}

/// A process that is being damaged while it is looked at.
struct Victim<'a> {
    base: &'static Base,
    input: Input<'a>,
    memory: SnapshotMemory,
    runtime: Option<Runtime>,
    tables: Tables,
    attribution: Attribution,
    requests: Vec<ThreadRequest>,
    shared: Shared,
}

/// Saved memory, damaged as the input says before it is looked at and between looks.
///
/// ```text
/// version  damaged-before?  ( look | change PLACE VALUE )*
/// ```
pub(crate) fn memory(folder: &Path, data: &[u8]) {
    let mut input = Input(data);
    let version = VERSIONS[input.below(VERSIONS.len())];
    let Some(base) = base(folder, version) else { return };
    let mut victim = Victim {
        base,
        memory: base.saved.memory.clone(),
        runtime: None,
        tables: Tables::new(),
        attribution: Attribution::default(),
        requests: Vec::new(),
        shared: Shared::default(),
        input,
    };
    if victim.input.byte().is_multiple_of(2) {
        victim.look(0);
    }
    let mut looks = 0;
    for _ in 0..MOST_STEPS {
        if victim.input.0.is_empty() {
            break;
        }
        match victim.input.below(8) {
            0 if looks < MOST_LOOKS => {
                looks += 1;
                let how = victim.input.byte();
                victim.look(how);
            }
            kind => victim.change(kind),
        }
    }
    victim.look(0xff);
}

impl Victim<'_> {
    /// One tick, with all that may be read in it; each step within bounds.
    fn look(&mut self, how: u8) {
        let Self { base, memory, runtime, tables, attribution, requests, shared, .. } = self;
        let memory = Counted::new(memory);
        if runtime.is_none() {
            *runtime = Runtime::locate(&base.saved.images, &memory).ok();
            memory.check("locating");
        }
        let Some(runtime) = runtime else { return };
        if how & 1 != 0 {
            let _ = runtime.refresh(&memory);
            memory.check("a refresh");
        }
        let all: Vec<usize> = (0..runtime.threads().len()).collect();
        runtime.look(&memory, tables, &all).expect("a snapshot never goes away");
        memory.check("a look");
        requests.resize_with(all.len().max(requests.len()), ThreadRequest::default);
        for index in all.into_iter().take(4) {
            let thread = &runtime.threads()[index];
            let _ = runtime.gil(thread.gil());
            let is_deep = thread.frames().len() > 100;
            let mut stack = Stack::of_thread(runtime, &memory, index);
            let request = &mut requests[index];
            attribution.attribute(&mut stack, request, State::Running, "thread", shared, tables);
            memory.check("a request");
            if how & 2 != 0 && !is_deep {
                strings_behind(runtime, &memory, tables, index);
                memory.check("objects");
                rendered(runtime, &memory, index, || memory.check("locals of a frame"));
            }
        }
    }

    fn change(&mut self, kind: usize) {
        let Some(at) = self.place() else { return };
        match kind {
            1 => {
                let (offset, bits) = (self.input.number::<1>() % 8, self.input.byte());
                if let Some(byte) =
                    self.memory.byte_mut(RemoteAddress::new(at.wrapping_add(offset)))
                {
                    *byte ^= bits;
                }
            }
            2 => {
                let value = self.input.number::<8>();
                self.set(at, value);
            }
            3 => {
                let other = self.place().unwrap_or(at);
                let near = i64::from(self.input.byte().cast_signed());
                self.set(at, other.wrapping_add_signed(near));
            }
            4 => {
                let old = self.get(at);
                let change = self.input.number::<3>();
                self.set(at, old.wrapping_add(change).wrapping_sub(1 << 23));
            }
            5 => {
                let huge = HUGE[self.input.below(HUGE.len())];
                let less = self.input.number::<1>() % 16;
                self.set(at, huge - less);
            }
            6 => {
                let (count, step) = (self.input.number::<1>(), self.input.number::<1>());
                let first = self.get(at);
                for nth in 0..count {
                    self.set(at.wrapping_add(8 * nth), first.wrapping_add(nth * step));
                }
            }
            // The range ends here; what was read of it once may be gone.
            _ => {
                let cut = self.memory.ranges().find_map(|(start, bytes)| {
                    let length = usize::try_from(at.checked_sub(start.get())?).ok()?;
                    Some((start, bytes.get(..length)?.to_vec()))
                });
                if let Some((start, bytes)) = cut {
                    self.memory.insert(start, bytes);
                }
            }
        }
    }

    /// The address of a word: along pointers from a thread state, or anywhere.
    fn place(&mut self) -> Option<u64> {
        let first = self.input.byte();
        if first >= 224 {
            let count = self.memory.ranges().count();
            let nth = usize::from(self.input.byte()) * 4 + usize::from(first % 4);
            let (start, bytes) = self.memory.ranges().nth(nth % count)?;
            return Some(start.get() + self.input.number::<2>() % (bytes.len() as u64).max(1));
        }
        let mut at = self.base.roots[usize::from(first) / 8 % self.base.roots.len()];
        for _ in 0..first % 8 {
            let nth = usize::from(self.input.byte());
            let mut pointers = self.words(at, HEAD);
            pointers.retain(|&to| !self.words(to, 1).is_empty());
            let Some(&to) = pointers.get(nth % pointers.len().max(1)) else { break };
            at = to;
        }
        Some(at.wrapping_add(8 * (self.input.number::<1>() % HEAD)))
    }

    fn get(&self, address: u64) -> u64 {
        self.words(address, 1).first().copied().unwrap_or(0)
    }

    /// At the most so many words from an address on: as many as there are.
    fn words(&self, address: u64, count: u64) -> Vec<u64> {
        let mut batch = Batch::new();
        let slot = batch.ask(RemoteAddress::new(address), count as usize * 8);
        self.memory.read(&mut batch).expect("a snapshot never goes away");
        let bytes = batch.prefix(slot).unwrap_or_default();
        let (words, _) = bytes.as_chunks::<8>();
        words.iter().map(|word| u64::from_le_bytes(*word)).collect()
    }

    fn set(&mut self, address: u64, value: u64) {
        for (nth, new) in (0..).zip(value.to_le_bytes()) {
            if let Some(byte) = self.memory.byte_mut(RemoteAddress::new(address.wrapping_add(nth)))
            {
                *byte = new;
            }
        }
    }
}

/// A recording: bytes as they are, or blocks that are given their lengths, checksum and
/// packing here, since no fuzzer finds those.
///
/// ```text
/// 0  file…     1  ( kind  times  length: u16  payload )*
/// ```
pub(crate) fn recording(data: &[u8]) {
    let mut input = Input(data);
    let file = if input.byte() == 0 { input.0.to_vec() } else { file_of(input) };
    let mut builder = Builder::new();
    let mut copied = Writer::new(Vec::new());
    let Ok(replayed) = replay(&file[..], &mut Tee(&mut builder, &mut copied)) else { return };
    let profile = builder.finish(replayed.tables);
    let reports: [&dyn Report; 4] =
        [&FlameGraph::default(), &Folded::default(), &Json, &Text::default()];
    for report in reports {
        // A flame graph of nothing is refused.
        let _ = report.write(&profile, &mut io::sink());
    }
}

/// How large payloads may become by repetition.
const MOST_REPEATED: usize = 1 << 20;

fn file_of(mut input: Input<'_>) -> Vec<u8> {
    let mut file = b"\x89FARRIER\x01\0\0\0".to_vec();
    while !input.0.is_empty() {
        let (kind, times) = (u32::from(input.byte() % 6), usize::from(input.byte()) + 1);
        let length = usize::try_from(input.number::<2>()).expect("two bytes");
        let (payload, rest) = input.0.split_at(length.min(input.0.len()));
        input.0 = rest;
        let times = times.min(MOST_REPEATED / payload.len().max(1)).max(1);
        let payload = payload.repeat(times);
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&payload).expect("into memory");
        let packed = packed.finish().expect("into memory");
        let mut header = Vec::new();
        for field in [kind as usize, packed.len(), payload.len()] {
            header.extend(u32::try_from(field).expect("it is small").to_le_bytes());
        }
        let mut check = crc32fast::Hasher::new();
        check.update(&header);
        check.update(&packed);
        file.extend(header);
        file.extend(check.finalize().to_le_bytes());
        file.extend(packed);
    }
    file
}
