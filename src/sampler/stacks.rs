//! From a walk's frames to one [`StackId`].

use crate::model::{Frame, FrameId, Grade, StackId, StackNode, Tables};
use crate::python::PythonThread;

/// The last stack of one thread, root first, with the handle of each prefix. Most of a
/// stack is the same from tick to tick, so that only what changed is looked up.
#[derive(Debug, Default)]
pub(super) struct StackCache {
    nodes: Vec<(FrameId, StackId)>,
}

/// The name of the leaf that did not hold.
const UNSETTLED: &str = "(unsettled)";

/// The name of what stands for the middle of a stack that is deeper than it may be.
const LEFT_OUT: &str = "(frames left out)";

/// The name of a stack of which nothing held.
const LOST: &str = "(lost)";

impl StackCache {
    /// The handle of what was found of a thread's stack; `None` for a thread without a
    /// Python frame. Of a stack deeper than `most` frames the middle is left out: the root
    /// says what was served, the leaf what was done.
    pub(super) fn intern(
        &mut self,
        thread: &PythonThread,
        most: usize,
        tables: &mut Tables,
    ) -> Option<StackId> {
        let frames = thread.frames();
        let left_out = frames.len().saturating_sub(most);
        let gap = (left_out > 0).then(|| marker(LEFT_OUT, tables));
        let (root, leaf) = frames.split_at(if left_out > 0 { most / 2 } else { frames.len() });
        let shown = || {
            let leaf = leaf.iter().skip(left_out).map(|found| found.frame);
            root.iter().map(|found| found.frame).chain(gap).chain(leaf)
        };
        let same =
            self.nodes.iter().zip(shown()).take_while(|((known, _), frame)| known == frame).count();
        self.nodes.truncate(same);
        for frame in shown().skip(same) {
            let parent = self.nodes.last().map(|&(_, stack)| stack);
            let stack = tables.intern_stack(StackNode { parent, frame });
            self.nodes.push((frame, stack));
        }
        let top = self.nodes.last().map(|&(_, stack)| stack);
        let name = match thread.grade() {
            Grade::Exact | Grade::Functions => return top,
            Grade::Partial => UNSETTLED,
            Grade::Lost => LOST,
        };
        let frame = marker(name, tables);
        Some(tables.intern_stack(StackNode { parent: top, frame }))
    }
}

/// The frame of a name that is no function's.
fn marker(name: &str, tables: &mut Tables) -> FrameId {
    let function = tables.intern_function_named(name, "", 0);
    tables.intern_frame(Frame { function, line: 0 })
}
