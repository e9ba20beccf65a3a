//! Interned strings, functions, frames, stacks and what else a sample names.
//!
//! Everything is stored once and named by a handle: a small index that is private
//! to this module and valid only for the [`Tables`] that made it. Tables only
//! grow, so a handle never goes stale and a writer can emit "all that is new since
//! last time" by remembering lengths. A stack is a node (parent and frame) in a
//! tree, so two stacks with common callers share them and a sample holds one
//! integer.

use std::hash::Hash;
use std::num::NonZeroU32;

use rustc_hash::FxHashMap;

use super::endpoint::Endpoint;
use super::state::On;
use super::statement::Statement;
use crate::units::{Pid, Tid};

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        // One more than the position, so that an `Option` takes no more room.
        pub struct $name(NonZeroU32);

        impl Handle for $name {
            fn from_index(index: usize) -> Self {
                // 4 billion distinct entries would be hundreds of gigabytes first.
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                Self(NonZeroU32::MIN.saturating_add(index))
            }
        }

        impl $name {
            /// The position in its table: entries are numbered from 0 in the order
            /// in which they were first interned.
            pub const fn index(self) -> usize {
                (self.0.get() - 1) as usize
            }
        }
    )*};
}

trait Handle: Copy {
    fn from_index(index: usize) -> Self;
}

handles! {
    /// A string of a [`Tables`].
    StringId;
    /// A function of a [`Tables`].
    FunctionId;
    /// A frame of a [`Tables`].
    FrameId;
    /// A stack of a [`Tables`].
    StackId;
    /// An endpoint of a [`Tables`].
    EndpointId;
    /// What a thread waits on, in a [`Tables`].
    OnId;
    /// A process of a [`Tables`].
    ProcessId;
    /// A thread of a [`Tables`].
    ThreadId;
    /// A routing of a [`Tables`].
    RoutingId;
    /// A statement of a [`Tables`].
    StatementId;
}

/// A function: told apart by its qualified name, its file and its first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Function {
    /// Qualified (`Class.method`) where the Python version keeps that, else plain.
    pub name: StringId,
    /// The file as the interpreter names it; empty for a synthetic function such
    /// as `(unsettled)`.
    pub file: StringId,
    /// The line of its `def` or first decorator; 0 when there is none.
    pub first_line: u32,
}

/// A function and the line in it that was being executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The function.
    pub function: FunctionId,
    /// The line, from 1; 0 when it is not known.
    pub line: u32,
}

/// One node of the tree of stacks: a frame on top of its callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StackNode {
    /// The callers; `None` for a root.
    pub parent: Option<StackId>,
    /// The topmost frame.
    pub frame: FrameId,
}

/// A process that was profiled. A PID that the kernel gave out twice is two of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TargetProcess {
    /// Its number.
    pub pid: Pid,
    /// When it started, in kernel clock ticks since boot (field 22 of
    /// `/proc/PID/stat`): with the PID, its identity.
    pub start_time: u64,
}

/// A thread that was profiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thread {
    /// The process it belongs to.
    pub process: ProcessId,
    /// Its number.
    pub tid: Tid,
    /// The name that Python's `threading` or else the kernel has for it.
    pub name: StringId,
}

/// That a request under an endpoint named by its path was found to have a route. A
/// request may be looked at before the framework has routed it or after it has let go of
/// it; whoever adds up joins the two, as long as a path has one route only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Routing {
    /// The endpoint by method and folded path.
    pub path: EndpointId,
    /// The endpoint by the framework's route.
    pub route: EndpointId,
}

/// One append-only table with a reverse index.
#[derive(Debug, Clone)]
struct Table<T, H> {
    entries: Vec<T>,
    index: FxHashMap<T, H>,
}

impl<T, H> Default for Table<T, H> {
    fn default() -> Self {
        Self { entries: Vec::new(), index: FxHashMap::default() }
    }
}

impl<T: Copy + Eq + Hash, H: Handle> Table<T, H> {
    fn intern(&mut self, entry: T) -> H {
        *self.index.entry(entry).or_insert_with(|| {
            self.entries.push(entry);
            H::from_index(self.entries.len() - 1)
        })
    }
}

/// All that samples refer to. See the module's description.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    strings: Vec<Box<str>>,
    string_index: FxHashMap<Box<str>, StringId>,
    functions: Table<Function, FunctionId>,
    frames: Table<Frame, FrameId>,
    stacks: Table<StackNode, StackId>,
    endpoints: Table<Endpoint, EndpointId>,
    ons: Table<On, OnId>,
    processes: Table<TargetProcess, ProcessId>,
    threads: Table<Thread, ThreadId>,
    routings: Table<Routing, RoutingId>,
    statements: Table<Statement, StatementId>,
}

macro_rules! accessors {
    ($($table:ident, $entry:ty, $handle:ty, $intern:ident, $get:ident, $all:ident, $what:literal;)*) => {$(
        #[doc = concat!("The handle of this ", $what, ", new or known.")]
        pub fn $intern(&mut self, entry: $entry) -> $handle {
            self.$table.intern(entry)
        }

        #[doc = concat!("The ", $what, " behind a handle of these tables.")]
        ///
        /// # Panics
        /// If the handle is of other tables and lies beyond the end of these.
        pub fn $get(&self, handle: $handle) -> $entry {
            self.$table.entries[handle.index()]
        }

        #[doc = concat!("Every ", $what, ", in the order of first use.")]
        pub fn $all(&self) -> &[$entry] {
            &self.$table.entries
        }
    )*};
}

impl Tables {
    /// Empty tables.
    pub fn new() -> Self {
        Self::default()
    }

    /// The handle of this string, new or known.
    pub fn intern_string(&mut self, string: &str) -> StringId {
        if let Some(&known) = self.string_index.get(string) {
            return known;
        }
        let handle = StringId::from_index(self.strings.len());
        self.strings.push(string.into());
        self.string_index.insert(string.into(), handle);
        handle
    }

    /// The string behind a handle of these tables.
    ///
    /// # Panics
    /// If the handle is of other tables and lies beyond the end of these.
    pub fn string(&self, handle: StringId) -> &str {
        &self.strings[handle.index()]
    }

    /// Every string, in the order of first use.
    pub fn strings(&self) -> &[Box<str>] {
        &self.strings
    }

    accessors! {
        functions, Function, FunctionId, intern_function, function, functions, "function";
        frames, Frame, FrameId, intern_frame, frame, frames, "frame";
        stacks, StackNode, StackId, intern_stack, stack, stacks, "stack node";
        endpoints, Endpoint, EndpointId, intern_endpoint, endpoint, endpoints, "endpoint";
        ons, On, OnId, intern_on, on, ons, "thing waited on";
        processes, TargetProcess, ProcessId, intern_process, process, processes, "process";
        threads, Thread, ThreadId, intern_thread, thread, threads, "thread";
        routings, Routing, RoutingId, intern_routing, routing, routings, "routing";
        statements, Statement, StatementId, intern_statement, statement, statements, "statement";
    }

    /// The handle of a function given in words.
    pub fn intern_function_named(&mut self, name: &str, file: &str, first_line: u32) -> FunctionId {
        let name = self.intern_string(name);
        let file = self.intern_string(file);
        self.intern_function(Function { name, file, first_line })
    }

    /// The handle of a stack given root first, or `None` for no frames.
    pub fn intern_stack_of(
        &mut self,
        frames: impl IntoIterator<Item = FrameId>,
    ) -> Option<StackId> {
        frames
            .into_iter()
            .fold(None, |parent, frame| Some(self.intern_stack(StackNode { parent, frame })))
    }

    /// The frames of a stack, leaf first.
    pub fn frames_from_leaf(&self, stack: StackId) -> impl Iterator<Item = FrameId> + '_ {
        let mut next = Some(stack);
        std::iter::from_fn(move || {
            let node = self.stack(next?);
            next = node.parent;
            Some(node.frame)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_entries_share_a_handle_and_stacks_share_their_callers() {
        let mut tables = Tables::new();
        let main = tables.intern_function_named("main", "app.py", 1);
        let view = tables.intern_function_named("view", "app.py", 10);
        assert_eq!(main, tables.intern_function_named("main", "app.py", 1));
        let main = tables.intern_frame(Frame { function: main, line: 3 });
        let first = tables.intern_frame(Frame { function: view, line: 11 });
        let second = tables.intern_frame(Frame { function: view, line: 12 });
        let one = tables.intern_stack_of([main, first]).unwrap();
        let two = tables.intern_stack_of([main, second]).unwrap();
        assert_ne!(one, two);
        assert_eq!(tables.stacks().len(), 3);
        assert_eq!(tables.frames_from_leaf(two).collect::<Vec<_>>(), [second, main]);
        assert_eq!(tables.intern_stack_of([]), None);
    }
}
