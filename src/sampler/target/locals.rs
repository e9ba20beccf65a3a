//! What a person asks of a thread beyond its sample.

use super::Target;
use crate::python::{PythonThread, RenderLimits, RenderedLocal};

/// What the locals of one thread may read together, in frames of that many objects.
const MOST_FRAMES: usize = 256;

impl Target {
    fn thread(&self, position: usize) -> Option<&PythonThread> {
        self.runtime.threads().get(*self.sampled.get(position)?)
    }

    /// See [`crate::sampler::Session::thread_ident`].
    pub(in crate::sampler) fn ident(&self, position: usize) -> Option<u64> {
        self.thread(position).map(PythonThread::ident)
    }

    /// See [`crate::sampler::Session::locals`]. Of a very deep stack the frames next to the
    /// leaf have theirs.
    pub(in crate::sampler) fn locals(
        &mut self,
        position: usize,
        limits: RenderLimits,
    ) -> Vec<Vec<RenderedLocal>> {
        let frames = self.thread(position).map(|thread| thread.frames().to_vec());
        let frames = frames.unwrap_or_default();
        let without = frames.len().saturating_sub(MOST_FRAMES);
        let mut locals = vec![Vec::new(); without];
        for frame in frames.iter().skip(without) {
            locals.push(self.runtime.render_locals(&self.memory, frame, limits));
        }
        locals
    }
}
