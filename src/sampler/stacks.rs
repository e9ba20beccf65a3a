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

/// The name of a stack of which nothing held.
const LOST: &str = "(lost)";

impl StackCache {
    /// The handle of what was found of a thread's stack; `None` for a thread without a
    /// Python frame.
    pub(super) fn intern(&mut self, thread: &PythonThread, tables: &mut Tables) -> Option<StackId> {
        let frames = thread.frames();
        let same = self
            .nodes
            .iter()
            .zip(frames)
            .take_while(|((known, _), found)| *known == found.frame)
            .count();
        self.nodes.truncate(same);
        for found in &frames[same..] {
            let parent = self.nodes.last().map(|&(_, stack)| stack);
            let stack = tables.intern_stack(StackNode { parent, frame: found.frame });
            self.nodes.push((found.frame, stack));
        }
        let top = self.nodes.last().map(|&(_, stack)| stack);
        let marker = match thread.grade() {
            Grade::Exact | Grade::Functions => return top,
            Grade::Partial => UNSETTLED,
            Grade::Lost => LOST,
        };
        let function = tables.intern_function_named(marker, "", 0);
        let frame = tables.intern_frame(Frame { function, line: 0 });
        Some(tables.intern_stack(StackNode { parent: top, frame }))
    }
}
