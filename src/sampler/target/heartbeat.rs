//! How long a worker has been silent, and for how long its arbiter bears that.
//!
//! Gunicorn's arbiter kills a worker that has not touched a file of its own for `timeout`
//! seconds. When it did is what the file says, whatever the worker class: a `sync` worker
//! touches it between two requests, others from a loop of their own. The timeout is taken from
//! the worker's memory, where it is however it was configured.

use super::Target;
use crate::python::RenderLimits;
use crate::sampler::Heartbeat;
use crate::units::Nanos;

/// Where a server's worker has its timeout.
struct Timeout {
    /// The end of the path of the file of a function that is on the stack all the time.
    file: &'static str,
    /// The function, without its class.
    function: &'static str,
    /// The local with the worker.
    worker: &'static str,
    /// Its attribute.
    attribute: &'static str,
    /// What that is to be multiplied with, to be in seconds.
    factor: f64,
}

/// `Arbiter.spawn_worker` gives each worker half of `cfg.timeout` (19.9 to 27).
const TIMEOUTS: [Timeout; 1] = [Timeout {
    file: "/gunicorn/workers/base.py",
    function: "init_process",
    worker: "self",
    attribute: "timeout",
    factor: 2.0,
}];

impl Target {
    /// See [`crate::sampler::Session::heartbeat`].
    pub(in crate::sampler) fn heartbeat(&mut self, common: &super::Common) -> Option<Heartbeat> {
        let descriptor = match self.heartbeat_descriptor {
            Some(known) => known,
            None => {
                let found = self.process.heartbeat_descriptor();
                self.heartbeat_descriptor = Some(found);
                found
            }
        }?;
        let silent = self.process.untouched_for(descriptor)?;
        if self.timeout.is_none() {
            self.timeout = self.find_timeout(common);
        }
        // 0 is for ever.
        Some(Heartbeat { silent, timeout: self.timeout.filter(|&timeout| timeout > Nanos::ZERO) })
    }

    fn find_timeout(&mut self, common: &super::Common) -> Option<Nanos> {
        let tables = &common.tables;
        let threads = self.runtime.threads().iter();
        let (place, frame) = threads.flat_map(|thread| thread.frames()).find_map(|frame| {
            let function = tables.function(frame.function);
            let (name, file) = (tables.string(function.name), tables.string(function.file));
            let plain = name.rsplit('.').next().unwrap_or(name);
            let is_it = |it: &&Timeout| it.function == plain && file.ends_with(it.file);
            Some((TIMEOUTS.iter().find(is_it)?, *frame))
        })?;
        // An inner function shares the local, so that it is in a cell.
        let limits = RenderLimits::times(1);
        let locals = self.runtime.render_locals(&self.memory, &frame, limits);
        let worker = locals.into_iter().find(|local| local.name == place.worker)?.address;
        let [value] = self.runtime.locals(&self.memory).attributes(worker, [place.attribute]);
        let text = self.runtime.render(&self.memory, value?, limits);
        let seconds = text.parse::<f64>().ok()? * place.factor;
        std::time::Duration::try_from_secs_f64(seconds).ok().map(Nanos::from)
    }
}
