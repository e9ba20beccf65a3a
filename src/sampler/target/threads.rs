//! Which threads a process has: its list, their numbers, their names.

use rustc_hash::FxHashMap;

use super::{FIRST_RETRY, Gone, LIST_INTERVAL, Target, Track};
use crate::python;
use crate::units::{Nanos, Tid};

impl Target {
    /// Reads the list of threads anew.
    pub(super) fn relist(&mut self, now: Nanos) -> Result<(), Gone> {
        self.listed = now;
        match self.runtime.refresh(&self.memory) {
            Ok(()) => {}
            // In the middle of a change: the old list stays until the next time.
            Err(python::Error::NotReady) if self.process.is_alive() => return Ok(()),
            Err(_) => return Err(Gone),
        }
        if !self.process.is_alive() {
            return Err(Gone);
        }
        self.follow_threads();
        self.name_threads();
        // A thread that was only just made has no number of its own yet, or no name.
        let is_new =
            |track: &Track| track.tid.is_none() || track.shares_tid || track.may_get_a_name();
        self.list_interval = if !self.tracks.iter().any(is_new) {
            LIST_INTERVAL
        } else if self.list_interval == LIST_INTERVAL {
            FIRST_RETRY
        } else {
            LIST_INTERVAL.min(self.list_interval.saturating_add(self.list_interval))
        };
        Ok(())
    }

    /// Whether a thread state is the one that its thread runs on. One that is not has
    /// nothing to be sampled: its thread is looked at through the other one.
    ///
    /// Interpreters are listed newest first, and a thread that calls from one into another
    /// mostly calls into the newer one.
    pub(super) fn runs_on_its_thread(&self, index: usize) -> bool {
        let Some(track) = self.tracks.get(index) else { return false };
        if track.tid.is_none() || track.may_get_a_name() && !track.begun {
            // Without frames it was only just made, and has not begun.
            return self.has_frames(index);
        }
        if !track.shares_tid {
            return true;
        }
        let same = |(other, _): &(usize, &Track)| self.tracks[*other].tid == track.tid;
        let mut states = self.tracks.iter().enumerate().filter(same).map(|(other, _)| other);
        let runs = |other: &usize| self.tracks[*other].begun && self.has_frames(*other);
        let running = states.clone().find(runs);
        running.or_else(|| states.next_back()) == Some(index)
    }

    /// Threads that run for the first time have a number of their own by now, and a name.
    pub(super) fn follow_beginners(&mut self) {
        let begins = |index: &usize| {
            let track = &self.tracks[*index];
            let unsure = track.tid.is_none() || track.shares_tid || track.name.is_none();
            unsure && !track.begun && self.has_frames(*index)
        };
        let beginners: Vec<usize> = self.wanted.iter().copied().filter(begins).collect();
        if beginners.is_empty() {
            return;
        }
        for &index in &beginners {
            self.runtime.renew_tids(&self.memory, index);
        }
        self.follow_threads();
        for index in beginners {
            self.tracks[index].begun = true;
        }
        self.name_threads();
    }

    /// Whether a thread had frames at the last look.
    fn has_frames(&self, index: usize) -> bool {
        self.runtime.threads().get(index).is_some_and(|thread| !thread.frames().is_empty())
    }

    /// Looks for the names of threads that have none yet: what `threading` calls them, or
    /// else the kernel, unless that is merely the program's name.
    pub(super) fn name_threads(&mut self) {
        let unnamed = |index: &usize| self.tracks[*index].may_get_a_name();
        let wanted: Vec<usize> = (0..self.tracks.len()).filter(unnamed).collect();
        if wanted.is_empty() {
            return;
        }
        for (index, name) in self.runtime.thread_names(&self.memory, &wanted) {
            self.tracks[index].name = Some(name);
        }
        let kernel_name = |tid| self.process.thread_name(tid).ok();
        let program = kernel_name(Tid::new(self.process.pid().get()));
        for &index in &wanted {
            let track = &mut self.tracks[index];
            if track.name.is_none() {
                track.nameless += 1;
                if track.nameless > 1 {
                    let name = track.tid.and_then(kernel_name).filter(|name| !name.is_empty());
                    track.name = name.filter(|name| Some(name) != program.as_ref());
                }
            }
        }
        // A thread has one name, whichever interpreter it runs in: that of the oldest.
        for index in 0..self.tracks.len() {
            if self.tracks[index].shares_tid {
                let tid = self.tracks[index].tid;
                let oldest = self.tracks.iter().rev().find(|track| track.tid == tid);
                self.tracks[index].name = oldest.and_then(|track| track.name.clone());
            }
        }
    }

    /// Brings the tracks into the order of the runtime's threads; a thread that is still
    /// the same keeps its own.
    pub(super) fn follow_threads(&mut self) {
        let threads = self.runtime.threads();
        let by_address: FxHashMap<_, _> =
            threads.iter().map(|thread| (thread.address(), thread)).collect();
        for track in &mut self.tracks {
            let same = by_address.get(&track.address).filter(|thread| track.is_of(thread));
            track.begun |= same.is_some_and(|thread| !thread.frames().is_empty());
        }
        if threads.len() == self.tracks.len()
            && threads.iter().zip(&self.tracks).all(|(thread, track)| track.is_of(thread))
        {
            return;
        }
        let inner = self.process.inner_tids().unwrap_or_default();
        let old = std::mem::take(&mut self.tracks).into_iter();
        let mut old: FxHashMap<_, _> = old.map(|track| (track.address, track)).collect();
        for thread in threads {
            let known = old.remove(&thread.address()).filter(|track| track.is_of(thread));
            let track = known.unwrap_or_else(|| Track::new(thread, &self.process, &inner));
            self.tracks.push(track);
        }
        let mut tids: Vec<_> = self.tracks.iter().filter_map(|track| track.tid).collect();
        tids.sort_unstable();
        for track in &mut self.tracks {
            track.shares_tid = track.tid.is_some_and(|tid| {
                let first = tids.partition_point(|&other| other < tid);
                tids.get(first + 1) == Some(&tid)
            });
        }
    }
}
