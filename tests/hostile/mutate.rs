//! Damage to saved memory, the same for the same seed.

use farrier::process::SnapshotMemory;
use farrier::units::RemoteAddress;
use fastrand::Rng;

/// Lengths, counts and offsets that something might believe.
const HUGE: [u64; 12] = [
    u64::MAX,
    1 << 63,
    (1 << 63) - 1,
    1 << 40,
    1 << 32,
    u32::MAX as u64,
    1 << 31,
    (1 << 31) - 1,
    1 << 20,
    1 << 18,
    1025,
    1024,
];

/// How many words of a structure hold what is read of it.
const HEAD: usize = 48;

/// A snapshot that is being damaged.
#[derive(Clone)]
pub(crate) struct Mutant<'a> {
    ranges: Vec<(u64, Vec<u8>)>,
    /// Thread states: everything that is read hangs on them.
    roots: &'a [RemoteAddress],
    random: Rng,
}

/// A word of a range: the range's position and the word's offset.
type Word = (usize, usize);

impl<'a> Mutant<'a> {
    /// Still undamaged.
    pub(crate) fn new(memory: &SnapshotMemory, roots: &'a [RemoteAddress], seed: u64) -> Self {
        let ranges = memory.ranges().map(|(start, bytes)| (start.get(), bytes.to_vec())).collect();
        Self { ranges, roots, random: Rng::with_seed(seed) }
    }

    pub(crate) fn into_memory(self) -> SnapshotMemory {
        let mut memory = SnapshotMemory::new();
        for (start, bytes) in self.ranges {
            memory.insert(RemoteAddress::new(start), bytes);
        }
        memory
    }

    /// One to four injuries.
    pub(crate) fn damage(&mut self) {
        for _ in 0..self.random.u32(1..=4) {
            // What hangs on threads is read at every look, the rest seldom.
            let word = if self.random.u8(..) < 200 { self.hot_word() } else { self.any_word() };
            match self.random.u32(0..12) {
                0 => {
                    let bit = 1 << self.random.u32(0..64);
                    self.set(word, self.get(word) ^ bit);
                }
                1 => {
                    let noise = self.random.u64(..);
                    self.set(word, noise);
                }
                2 | 3 => {
                    let other = self.some_address();
                    self.set(word, other);
                }
                // Itself, or near itself: a ring, or overlapping structures.
                4 => {
                    let near = self.address(word).wrapping_sub(8 * self.random.u64(0..16));
                    self.set(word, near);
                }
                5 => {
                    let crooked = self.some_address().wrapping_add(self.random.u64(1..8));
                    self.set(word, crooked);
                }
                6 => self.fill(word, |_| 0),
                // Each word points to the next, or to the first.
                7 => {
                    let (first, step) = (self.address(word), self.random.u64(0..3) * 8);
                    self.fill(word, |nth| first + nth * step);
                }
                8 => self.ranges[word.0].1.truncate(word.1),
                9 => {
                    let huge = self.huge();
                    self.set(word, huge);
                }
                10 => {
                    let far = self.get(word).wrapping_add(1 << self.random.u32(3..22));
                    self.set(word, far);
                }
                // Half a word: lengths of 32 bits, and single bytes.
                _ => {
                    let (old, huge) = (self.get(word), self.huge());
                    let mask = [0xffff_ffff, 0xffff_ffff << 32, 0xff, 0xff << 32];
                    let mask = mask[self.random.usize(..4)];
                    self.set(word, old & !mask | huge & mask);
                }
            }
        }
    }

    fn huge(&mut self) -> u64 {
        let huge = HUGE[self.random.usize(..HUGE.len())];
        if self.random.bool() { huge } else { huge.wrapping_sub(self.random.u64(0..9)) }
    }

    fn address(&self, (range, offset): Word) -> u64 {
        self.ranges[range].0 + offset as u64
    }

    fn get(&self, (range, offset): Word) -> u64 {
        let bytes = self.ranges[range].1.get(offset..offset + 8);
        bytes.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
    }

    fn set(&mut self, (range, offset): Word, value: u64) {
        if let Some(bytes) = self.ranges[range].1.get_mut(offset..offset + 8) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Fills up to 64 words from here on.
    fn fill(&mut self, (range, offset): Word, value: impl Fn(u64) -> u64) {
        for nth in 0..self.random.usize(1..=64) {
            self.set((range, offset + 8 * nth), value(nth as u64));
        }
    }

    fn any_word(&mut self) -> Word {
        let range = self.random.usize(..self.ranges.len());
        let words = (self.ranges[range].1.len() / 8).max(1);
        (range, self.random.usize(..words) * 8)
    }

    /// The word at this address, if the snapshot has it.
    fn find(&self, address: u64) -> Option<Word> {
        let range = self.ranges.partition_point(|&(start, _)| start <= address).checked_sub(1)?;
        let offset = usize::try_from(address - self.ranges[range].0).ok()?;
        (offset + 8 <= self.ranges[range].1.len()).then_some((range, offset))
    }

    /// How many words of the structure here there are, at least one.
    fn words(&self, (range, offset): Word) -> usize {
        (self.ranges[range].1.len().saturating_sub(offset) / 8).clamp(1, HEAD)
    }

    /// What the words of the structure here point to.
    fn pointers(&self, at: Word) -> Vec<Word> {
        let words = (0..self.words(at)).map(|nth| self.get((at.0, at.1 + 8 * nth)));
        words.filter_map(|value| self.find(value)).collect()
    }

    /// Each word of the thread states and of what they point to, changed in each way that
    /// makes a ring, an end or a wrong size, one at a time.
    pub(crate) fn one_by_one(self) -> impl Iterator<Item = Self> {
        let roots: Vec<Word> = self.roots.iter().filter_map(|root| self.find(root.get())).collect();
        let mut structures = roots.clone();
        structures.extend(roots.iter().flat_map(|&root| self.pointers(root)));
        structures.sort_unstable();
        structures.dedup();
        structures.into_iter().flat_map(move |start| {
            let this = self.clone();
            let own = this.address(start);
            (0..this.words(start)).flat_map(move |nth| {
                let word = (start.0, start.1 + 8 * nth);
                let old = this.get(word);
                let this = this.clone();
                [own, 0, old.wrapping_add(1 << 19), u64::MAX >> 1].map(move |value| {
                    let mut mutant = this.clone();
                    mutant.set(word, value);
                    mutant
                })
            })
        })
    }

    /// A word near the start of a structure that a few pointers lead to from a thread
    /// state: an interpreter, a data stack, a frame, code, a string, a dict's keys.
    fn hot_word(&mut self) -> Word {
        let root = self.roots[self.random.usize(..self.roots.len())];
        let Some(mut at) = self.find(root.get()) else { return self.any_word() };
        for _ in 0..self.random.u32(0..7) {
            let pointers: Vec<Word> =
                (0..48).filter_map(|nth| self.find(self.get((at.0, at.1 + 8 * nth)))).collect();
            if pointers.is_empty() {
                break;
            }
            at = pointers[self.random.usize(..pointers.len())];
        }
        (at.0, at.1 + 8 * self.random.usize(..self.words(at)))
    }

    /// Somewhere in the snapshot: where some pointer leads, or anywhere.
    fn some_address(&mut self) -> u64 {
        let word = if self.random.bool() { self.hot_word() } else { self.any_word() };
        let value = self.get(word);
        if self.find(value).is_some() { value } else { self.address(word) }
    }
}
