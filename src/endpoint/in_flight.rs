//! The requests of a process that are in progress. Several take turns on one thread where
//! they are served by coroutines or on greenlets.

use rustc_hash::FxHashMap;

use super::key::Key;
use super::request::Current;

/// The most that are remembered. Beyond, the half that was not seen for longest is forgotten:
/// nothing says that a coroutine's request has ended.
const MOST: usize = 1024;

/// The requests in progress.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    known: FxHashMap<Key, Current>,
    looks: u64,
}

impl InFlight {
    /// Notes that a request was seen; whether it is known.
    pub(super) fn sees(&mut self, key: &Key) -> bool {
        self.looks += 1;
        let looks = self.looks;
        self.known.get_mut(key).map(|current| current.seen = looks).is_some()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Current> {
        self.known.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Current> {
        self.known.get_mut(key)
    }

    pub(super) fn insert(&mut self, key: Key, mut current: Current) {
        current.seen = self.looks;
        if self.known.len() >= MOST {
            let mut seen: Vec<u64> = self.known.values().map(|current| current.seen).collect();
            let (_, &mut median, _) = seen.select_nth_unstable(MOST / 2);
            self.known.retain(|_, current| current.seen > median);
        }
        self.known.insert(key, current);
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.known.remove(key);
    }
}
