//! Stacks merged into one tree, grouped by what they served.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use super::frames::{FrameStyle, Frames, Kind, Texts};
use super::stacks::{NO_FRAME, merged};
use crate::model::{StackId, Tables, ThreadId};
use crate::profile::{Key, Profile};
use crate::units::Nanos;

/// What stands at the root of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupBy {
    /// What was served.
    #[default]
    Endpoint,
    /// The process.
    Process,
    /// The thread.
    Thread,
    /// Nothing: the stacks alone.
    None,
}

/// How stacks are drawn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drawing {
    /// What stands at the root.
    pub group_by: GroupBy,
    /// Whether the thread follows after it.
    pub threads: bool,
    /// Whether threads that wait for work are drawn too.
    pub idle: bool,
    /// How a frame is written.
    pub frames: FrameStyle,
}

/// The tree. A node comes after its parent.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) texts: Texts,
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    parent: Option<u32>,
    text: u32,
    own: Nanos,
    total: Nanos,
}

impl Tree {
    /// The tree of a profile.
    pub(super) fn of(profile: &Profile, drawing: &Drawing) -> Self {
        let stacks = merged(profile, drawing);
        let mut grower = Grower::new(profile.tables(), drawing);
        for stacks in stacks.chunk_by(|one, other| one.0 == other.0) {
            grower.group(stacks);
        }
        grower.finish()
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The time of the whole tree.
    pub(super) fn total(&self) -> Nanos {
        self.nodes.iter().filter(|node| node.parent.is_none()).map(|node| node.total).sum()
    }

    /// Gives every stack that has time of its own as a folded line's text, sorted, and
    /// its microseconds. A branch of less than `least` is not given: its time counts
    /// for what it grows from.
    pub(super) fn lines<E>(
        &self,
        least: Nanos,
        mut give: impl FnMut(&str, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let children = Children::of(self);
        let drawn = |&node: &u32| self.nodes[node as usize].total >= least;
        let mut line = String::new();
        // Nodes still to come, each with the length of its parent's line.
        let mut to_come: Vec<(u32, usize)> =
            children.of_node(None).iter().rev().copied().filter(drawn).map(|n| (n, 0)).collect();
        while let Some((number, parent_length)) = to_come.pop() {
            let node = &self.nodes[number as usize];
            line.truncate(parent_length);
            if parent_length > 0 {
                line.push(';');
            }
            line.push_str(self.texts.get(node.text));
            let mut own = node.own;
            for &child in children.of_node(Some(number)).iter().rev() {
                if drawn(&child) {
                    to_come.push((child, line.len()));
                } else {
                    own += self.nodes[child as usize].total;
                }
            }
            let micros = own.as_nanos().saturating_add(500) / 1000;
            if micros > 0 {
                give(&line, micros)?;
            }
        }
        Ok(())
    }
}

/// Each node's children in the order of their texts.
struct Children {
    sorted: Vec<u32>,
    /// Where a node's children begin; the roots come first, and each ends where the
    /// next begins.
    begins: Vec<usize>,
}

impl Children {
    fn of(tree: &Tree) -> Self {
        let texts = tree.texts.all();
        let mut by_text: Vec<u32> = (0..texts.len() as u32).collect();
        by_text.sort_unstable_by_key(|&text| &texts[text as usize].0);
        let mut rank = vec![0; texts.len()];
        for (position, &text) in by_text.iter().enumerate() {
            rank[text as usize] = position;
        }
        let slot = |node: u32| tree.nodes[node as usize].parent.map_or(0, |p| p as usize + 1);
        let mut sorted: Vec<u32> = (0..tree.nodes.len() as u32).collect();
        sorted.sort_unstable_by_key(|&node| {
            (slot(node), rank[tree.nodes[node as usize].text as usize])
        });
        let mut begins = vec![0; tree.nodes.len() + 2];
        for &node in &sorted {
            begins[slot(node) + 1] += 1;
        }
        for at in 1..begins.len() {
            begins[at] += begins[at - 1];
        }
        Self { sorted, begins }
    }

    fn of_node(&self, node: Option<u32>) -> &[u32] {
        let slot = node.map_or(0, |node| node as usize + 1);
        &self.sorted[self.begins[slot]..self.begins[slot + 1]]
    }
}

/// What stands before a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The index of the endpoint, process or thread that it is grouped by.
    group: usize,
    thread: Option<ThreadId>,
}

impl Place {
    pub(super) fn of(key: &Key, tables: &Tables, drawing: &Drawing) -> Self {
        let group = match drawing.group_by {
            GroupBy::Endpoint => key.endpoint.index(),
            GroupBy::Process => tables.thread(key.thread).process.index(),
            GroupBy::Thread | GroupBy::None => 0,
        };
        let thread = drawing.threads || drawing.group_by == GroupBy::Thread;
        Self { group, thread: thread.then_some(key.thread) }
    }

    /// The thread, where threads are told apart.
    pub(super) const fn thread(&self) -> Option<ThreadId> {
        self.thread
    }

    /// What the stack is grouped by, in words.
    pub(super) fn group_text<'a>(
        self,
        tables: &'a Tables,
        drawing: &Drawing,
    ) -> Option<Cow<'a, str>> {
        match drawing.group_by {
            GroupBy::Endpoint => Some(tables.string(tables.endpoints()[self.group].label).into()),
            GroupBy::Process => {
                Some(format!("process (pid {})", tables.processes()[self.group].pid).into())
            }
            GroupBy::Thread | GroupBy::None => None,
        }
    }

    /// The texts that stand before the stack, root first.
    fn texts<'a>(
        self,
        tables: &'a Tables,
        drawing: &Drawing,
    ) -> impl Iterator<Item = Cow<'a, str>> {
        let thread = self.thread.map(|thread| thread_text(thread, tables).into());
        self.group_text(tables, drawing).into_iter().chain(thread)
    }
}

/// A thread in words.
pub(super) fn thread_text(thread: ThreadId, tables: &Tables) -> String {
    let thread = tables.thread(thread);
    let pid = tables.process(thread.process).pid;
    format!("{} (pid {pid}, tid {})", tables.string(thread.name), thread.tid)
}

struct Grower<'a> {
    tables: &'a Tables,
    drawing: &'a Drawing,
    frames: Frames<'a>,
    tree: Tree,
    index: FxHashMap<(Option<u32>, u32), u32>,
    /// The group that a stack was last met in, and its node there.
    met: Vec<(u32, u32)>,
    group: u32,
}

impl<'a> Grower<'a> {
    fn new(tables: &'a Tables, drawing: &'a Drawing) -> Self {
        Self {
            tables,
            drawing,
            frames: Frames::new(tables, drawing.frames),
            tree: Tree { texts: Texts::default(), nodes: Vec::new() },
            index: FxHashMap::default(),
            met: vec![(0, 0); tables.stacks().len()],
            group: 0,
        }
    }

    fn node(&mut self, parent: Option<u32>, text: u32) -> u32 {
        *self.index.entry((parent, text)).or_insert_with(|| {
            let zero = Nanos::ZERO;
            self.tree.nodes.push(Node { parent, text, own: zero, total: zero });
            (self.tree.nodes.len() - 1) as u32
        })
    }

    /// Adds the stacks of one place.
    fn group(&mut self, stacks: &[(Place, Option<StackId>, Nanos)]) {
        let Some(&(place, ..)) = stacks.first() else { return };
        self.group += 1;
        let mut root = None;
        for text in place.texts(self.tables, self.drawing) {
            let text = self.tree.texts.intern(&text, Kind::Group);
            root = Some(self.node(root, text));
        }
        let mut path = Vec::new();
        for &(_, stack, weight) in stacks {
            let node = match stack {
                Some(stack) => self.stack(root, stack, &mut path),
                None => {
                    let kind = Kind::Frame(super::files::Origin::Synthetic);
                    let text = self.tree.texts.intern(NO_FRAME, kind);
                    self.node(root, text)
                }
            };
            self.tree.nodes[node as usize].own += weight;
        }
    }

    /// The node of a stack: goes down to the nearest callers that were met in this
    /// group and from there up again.
    fn stack(&mut self, root: Option<u32>, stack: StackId, path: &mut Vec<StackId>) -> u32 {
        path.clear();
        let mut node = root;
        let mut next = Some(stack);
        while let Some(stack) = next {
            let (group, known) = self.met[stack.index()];
            if group == self.group {
                node = Some(known);
                break;
            }
            path.push(stack);
            next = self.tables.stack(stack).parent;
        }
        while let Some(stack) = path.pop() {
            let frame = self.tables.stack(stack).frame;
            let text = self.frames.text(frame, &mut self.tree.texts);
            let grown = self.node(node, text);
            self.met[stack.index()] = (self.group, grown);
            node = Some(grown);
        }
        node.unwrap_or_default()
    }

    fn finish(mut self) -> Tree {
        let nodes = &mut self.tree.nodes;
        for number in (0..nodes.len()).rev() {
            let Node { parent, own, .. } = nodes[number];
            nodes[number].total += own;
            let total = nodes[number].total;
            if let Some(parent) = parent {
                nodes[parent as usize].total += total;
            }
        }
        self.tree
    }
}
