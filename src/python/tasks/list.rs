//! Which tasks there are.
//!
//! ```text
//! 3.8–3.13   sys.modules ─► asyncio.tasks ─► WeakSet ─► data: a set ─► weak references
//! 3.14, 3.15 interpreter and thread states ─► a ring of nodes, one in each task
//! ```
//!
//! A ring can only be followed from node to node, and a read each would be too much for a
//! thousand tasks. So the nodes of the last time are read all at once, and only those that
//! are new are read one by one.

use rustc_hash::FxHashMap;

use super::layout::{Listed, STATED, Stated, TaskLayout, set};
use crate::process::{Batch, ReadMemory};
use crate::python::objects::Objects;
use crate::python::threads::{Interpreter, ThreadState};
use crate::python::view::View;
use crate::units::RemoteAddress;

/// The most tasks of a process that are told apart. What is beyond is counted where the
/// interpreter counts.
const MOST_TASKS: usize = 1 << 14;

/// The most modules that are looked through for `asyncio.tasks`.
const MOST_MODULES: usize = 1 << 14;

/// The most nodes that are read one by one for one list.
const MOST_STEPS: usize = 2048;

/// Where a process has its tasks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// In the set at this address: weak references to them.
    Set(RemoteAddress),
    /// In rings.
    Rings(Stated),
}

impl Source {
    /// Finds it. `debug` is where the target's `.AsyncioDebug` is. `None` if `asyncio` is
    /// not in use there (yet).
    pub(super) fn find(
        objects: &mut Objects<'_>,
        interpreter: RemoteAddress,
        layout: &TaskLayout,
        debug: Option<RemoteAddress>,
    ) -> Option<Self> {
        match layout.listed {
            Listed::Lists => Some(Self::Rings(Stated::parse(objects.bytes(debug?, STATED)?)?)),
            Listed::WeakSet(name) => {
                let globals = globals_of(interpreter, objects)?;
                let [weak_set] = objects.dict_items(globals, [name])?;
                let [data] = objects.attributes(weak_set?, ["data"]);
                let class = objects.type_of(data?)?;
                (objects.type_name(class)? == "set").then_some(())?;
                data.map(Self::Set)
            }
        }
    }
}

/// The globals of the module `asyncio.tasks`.
fn globals_of(interpreter: RemoteAddress, objects: &mut Objects<'_>) -> Option<RemoteAddress> {
    let (modules, dict) = (objects.layout.interpreter.modules, objects.layout.object.ob_size);
    let modules = objects.address(interpreter.plus(modules as u64))?;
    let modules = objects.combined_entries(modules, MOST_MODULES)?;
    let place = objects.find_string(modules.iter().map(|entry| entry.key), "asyncio.tasks")?;
    // md_dict comes right after the head, as the size does in objects that have one.
    objects.address(modules.get(place)?.value.plus(dict as u64))
}

/// The tasks of a process.
#[derive(Debug, Default)]
pub(super) struct List {
    /// Weak references to tasks, or tasks.
    pub(super) entries: Vec<RemoteAddress>,
    /// Whether the entries are weak references.
    pub(super) are_references: bool,
    /// How many there are, told apart or not.
    pub(super) count: usize,
    /// By node: the next one, as just read.
    next: FxHashMap<RemoteAddress, RemoteAddress>,
    nodes: Vec<RemoteAddress>,
}

impl List {
    /// Reads it anew; `None` if it does not hold together.
    pub(super) fn read(
        &mut self,
        source: Source,
        interpreters: &[Interpreter],
        threads: impl Iterator<Item = ThreadState> + Clone,
        batch: &mut Batch,
        memory: &dyn ReadMemory,
    ) -> Option<()> {
        self.entries.clear();
        match source {
            Source::Set(address) => {
                self.are_references = true;
                self.read_set(address, batch, memory)
            }
            Source::Rings(stated) => {
                self.are_references = false;
                let of_interpreters = interpreters
                    .iter()
                    .map(|interpreter| interpreter.address.plus(stated.interpreter_head));
                let of_threads = threads.map(|thread| thread.address.plus(stated.thread_head));
                self.follow(of_interpreters.chain(of_threads), stated.node, batch, memory)
            }
        }
    }

    fn read_set(
        &mut self,
        address: RemoteAddress,
        batch: &mut Batch,
        memory: &dyn ReadMemory,
    ) -> Option<()> {
        batch.clear();
        let head = batch.ask(address, set::TABLE.saturating_add(8));
        memory.read(batch).ok()?;
        let head = View(batch.bytes(head)?);
        let used = head.length(set::USED, usize::MAX)?;
        let size = head.length(set::MASK, usize::MAX)?.saturating_add(1);
        let table = head.address(set::TABLE).filter(|table| table.is_plausible())?;
        let length = size.min(MOST_TASKS.saturating_mul(4)).checked_mul(set::ENTRY)?;
        let slot = batch.ask(table, length);
        memory.read(batch).ok()?;
        let keys = batch.prefix(slot)?.chunks_exact(set::ENTRY);
        let keys = keys.filter_map(|entry| {
            let (key, hash) = (View(entry).address(0)?, View(entry).u64(8)?);
            // An entry that was deleted has the hash -1 (`Objects/setobject.c`, dummy).
            (key.is_plausible() && hash != u64::MAX).then_some(key)
        });
        self.entries.extend(keys.take(MOST_TASKS));
        self.count = used.max(self.entries.len());
        // What is read while the table is exchanged for another one is neither.
        (used <= size).then_some(())
    }

    fn follow(
        &mut self,
        heads: impl Iterator<Item = RemoteAddress> + Clone,
        node: u64,
        batch: &mut Batch,
        memory: &dyn ReadMemory,
    ) -> Option<()> {
        batch.clear();
        let mut nodes = std::mem::take(&mut self.nodes);
        nodes.extend(heads.clone());
        for &node in &nodes {
            batch.ask(node, 8);
        }
        memory.read(batch).ok()?;
        self.next.clear();
        for (node, bytes) in batch.read_from(0) {
            self.next.extend(View(bytes).address(0).map(|next| (node, next)));
        }
        nodes.clear();
        let mut steps = 0_usize;
        for head in heads {
            let mut at = head;
            loop {
                let next = match self.next.get(&at) {
                    Some(&next) => next,
                    None if steps >= MOST_STEPS => break,
                    None => {
                        steps = steps.saturating_add(1);
                        batch.clear();
                        let slot = batch.ask(at, 8);
                        memory.read(batch).ok()?;
                        let Some(next) = batch.bytes(slot).and_then(|b| View(b).address(0)) else {
                            break;
                        };
                        next
                    }
                };
                if next == head || !next.is_plausible() || nodes.len() >= MOST_TASKS {
                    break;
                }
                nodes.push(next);
                at = next;
            }
        }
        let tasks = nodes.iter().filter_map(|at| at.get().checked_sub(node));
        self.entries.extend(tasks.map(RemoteAddress::new));
        self.count = self.entries.len();
        self.nodes = nodes;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::SnapshotMemory;

    const NODE: u64 = 152;

    fn at(address: u64) -> RemoteAddress {
        RemoteAddress::new(address)
    }

    /// Memory in which words at these addresses are these.
    fn memory(words: impl IntoIterator<Item = (u64, u64)>) -> SnapshotMemory {
        let mut memory = SnapshotMemory::new();
        for (address, word) in words {
            memory.insert(at(address), word.to_le_bytes().to_vec());
        }
        memory
    }

    fn followed(memory: &SnapshotMemory, list: &mut List) -> (Vec<u64>, u64) {
        let (mut batch, heads) = (Batch::new(), [at(0x10_0000)]);
        list.entries.clear();
        list.follow(heads.into_iter(), NODE, &mut batch, memory).unwrap();
        (list.entries.iter().map(|entry| entry.get()).collect(), batch.calls())
    }

    #[test]
    fn a_ring_is_followed_to_its_head_and_known_nodes_are_read_at_once() {
        let (head, nodes) = (0x10_0000, [0x20_0000, 0x30_0000, 0x40_0000]);
        let [one, two, three] = nodes;
        let ring = memory([(head, one), (one, two), (two, three), (three, head)]);
        let mut list = List::default();
        let tasks: Vec<u64> = nodes.iter().map(|node| node - NODE).collect();
        assert_eq!(followed(&ring, &mut list), (tasks.clone(), 4));
        assert_eq!(followed(&ring, &mut list), (tasks, 1));
    }

    #[test]
    fn a_ring_without_an_end_is_bounded() {
        let head = 0x10_0000;
        let ring = memory([(head, 0x20_0000), (0x20_0000, 0x30_0000), (0x30_0000, 0x20_0000)]);
        let mut list = List::default();
        assert!(followed(&ring, &mut list).0.len() <= MOST_STEPS + 1);
        // What is known is read at once, and followed as far as there may be tasks.
        assert_eq!(followed(&ring, &mut list).0.len(), MOST_TASKS);
        assert!(followed(&ring, &mut list).1 <= 20);
        let long = memory((0..5000).map(|step| (head + step * 64, head + (step + 1) * 64)));
        let (tasks, calls) = followed(&long, &mut List::default());
        assert!(tasks.len() <= MOST_STEPS + 1 && calls <= MOST_STEPS as u64 + 1);
        let nowhere = memory([(head, 8)]);
        assert_eq!(followed(&nowhere, &mut List::default()).0, [0_u64; 0]);
    }

    #[test]
    fn a_set_without_an_end_is_bounded() {
        let (set, table) = (0x10_0000_u64, 0x20_0000_u64);
        let mut memory = SnapshotMemory::new();
        let mut head = vec![0; set::TABLE + 8];
        let mut put = |offset: usize, word: u64| {
            head[offset..offset + 8].copy_from_slice(&word.to_le_bytes());
        };
        put(set::USED, 3);
        put(set::MASK, i64::MAX as u64);
        put(set::TABLE, table);
        memory.insert(at(set), head);
        // A key, one that was deleted, none, another key; then the memory ends.
        let entries = [[0x5000_u64, 7], [0x6000, u64::MAX], [0, 0], [0x7000, 9]];
        let bytes = entries.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
        memory.insert(at(table), bytes);
        let mut list = List::default();
        list.read_set(at(set), &mut Batch::new(), &memory).unwrap();
        assert_eq!(list.entries, [at(0x5000), at(0x7000)]);
        assert_eq!(list.count, 3);
    }
}
