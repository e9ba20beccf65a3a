//! Single looks: one process at this instant, without a recording and without waiting.

use super::{Session, own_cpu};
use crate::model::{ProcessId, Sink};
use crate::python::{RenderLimits, RenderedLocal};
use crate::units::Nanos;

/// How a worker shows that it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// For how long it has not.
    pub silent: Nanos,
    /// After how long of that its arbiter kills it; `None` if never, or if that is not known.
    pub timeout: Option<Nanos>,
}

impl Session {
    /// Tells a sink what there is, before the first [`Session::look`].
    ///
    /// # Errors
    /// The sink's.
    pub fn begin(&self, sink: &mut dyn Sink) -> std::io::Result<()> {
        sink.begin(&self.facts)?;
        for target in &self.targets {
            sink.process(&self.common.tables, target.id, &target.facts)?;
        }
        Ok(())
    }

    /// The processes that can be looked at now: an arbiter before its workers.
    pub fn processes(&self) -> Vec<ProcessId> {
        let mut targets: Vec<_> = self.targets.iter().collect();
        targets.sort_by_key(|target| (target.facts.role as u8, target.process().pid()));
        targets.into_iter().map(|target| target.id).collect()
    }

    /// Looks at all threads of one process at this instant: one tick to the sink, unless the
    /// process is gone; whether it is still there. Nothing is known yet of the time before
    /// the first look, so that weights, CPU times and times in the run queue mean nothing
    /// there. Functions that are new to farrier may cost a thread that runs its grade, so
    /// that the second look at a process shows more than the first.
    ///
    /// # Errors
    /// The sink's.
    pub fn look(&mut self, id: ProcessId, sink: &mut dyn Sink) -> std::io::Result<bool> {
        let index = self.targets.iter().position(|target| target.id == id);
        let Some(index) = index else { return Ok(false) };
        let now = self.clock.now();
        self.progress.ticks += 1;
        self.tick_target(index, now, sink)
    }

    /// The locals of a thread of the last look at its process: for each frame, root first,
    /// those that are bound. `position` is that of its sample. Markers that farrier adds to
    /// a stack are at its end and have none.
    pub fn locals(
        &mut self,
        id: ProcessId,
        position: usize,
        limits: RenderLimits,
    ) -> Vec<Vec<RenderedLocal>> {
        let target = self.targets.iter_mut().find(|target| target.id == id);
        target.map(|target| target.locals(position, limits)).unwrap_or_default()
    }

    /// `pthread_self()` of a thread of the last look at its process: what `threading` calls
    /// its `ident`. `position` is that of its sample.
    pub fn thread_ident(&self, id: ProcessId, position: usize) -> Option<u64> {
        self.targets.iter().find(|target| target.id == id)?.ident(position)
    }

    /// How long a worker has been silent, by what its arbiter goes by; `None` for what is no
    /// Gunicorn worker. The timeout is known once its main thread was looked at.
    pub fn heartbeat(&mut self, id: ProcessId) -> Option<Heartbeat> {
        let Self { targets, common, .. } = self;
        targets.iter_mut().find(|target| target.id == id)?.heartbeat(common)
    }

    /// Lets in who came and lets go who left, and looks anew who listens where.
    ///
    /// # Errors
    /// The sink's.
    pub fn follow(&mut self, sink: &mut dyn Sink) -> std::io::Result<()> {
        if let Some(affinity) = &mut self.common.affinity {
            affinity.release();
        }
        self.renew_fleet(sink)?;
        self.refresh_names();
        Ok(())
    }

    /// Waits that long, or until `stop` says so.
    pub fn wait(&self, time: Nanos, stop: impl Fn() -> bool) {
        self.clock.sleep_until(self.clock.now().saturating_add(time), stop);
    }

    /// System calls made for looks and bytes read so far, and farrier's own CPU time since
    /// it began to attach.
    pub fn costs(&self) -> (u64, u64, Nanos) {
        let costs = self.targets.iter().map(|target| target.costs());
        let (calls, bytes) =
            costs.fold(self.left_costs, |sum, cost| (sum.0 + cost.0, sum.1 + cost.1));
        (calls + self.common.calls, bytes, own_cpu().saturating_sub(self.own_cpu_before))
    }
}
