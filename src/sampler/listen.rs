//! How many connections wait at the sockets on which the targets listen: looked at between
//! ticks, told about once a second.

use crate::model::{ListenQueue, Tables};
use crate::process::AcceptQueue;
use crate::units::Nanos;

/// What was seen since it was last told.
#[derive(Debug, Default)]
pub(super) struct ListenLog {
    addresses: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    address: String,
    looks: u64,
    waiting: u64,
    most: u64,
    limit: Option<u64>,
}

/// Addresses that are told apart. A server listens on a few.
const MOST_ADDRESSES: usize = 256;

impl ListenLog {
    /// Adds one look.
    pub(super) fn look(&mut self, queues: Vec<AcceptQueue>) {
        for AcceptQueue { address, waiting, limit } in queues {
            let known = self.addresses.iter().position(|seen| seen.address == address);
            let position = known.unwrap_or(self.addresses.len());
            if known.is_none() {
                if position >= MOST_ADDRESSES {
                    continue;
                }
                let limit = None;
                self.addresses.push(Seen { address, looks: 0, waiting: 0, most: 0, limit });
            }
            let seen = &mut self.addresses[position];
            seen.limit = limit.map(u64::from).or(seen.limit);
            if let Some(waiting) = waiting.map(u64::from) {
                seen.looks += 1;
                seen.waiting += waiting;
                seen.most = seen.most.max(waiting);
            }
        }
    }

    /// All that was seen until now, which is then forgotten.
    pub(super) fn take(&mut self, at: Nanos, tables: &mut Tables) -> Vec<ListenQueue> {
        let tell = |seen: Seen| {
            let address = tables.intern_string(&seen.address);
            let Seen { looks, waiting, most, limit, .. } = seen;
            ListenQueue { at, address, looks, waiting, most, limit }
        };
        self.addresses.drain(..).map(tell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_add_up_until_they_are_told() {
        let queue = |waiting, limit| AcceptQueue { address: "a".into(), waiting, limit };
        let mut log = ListenLog::default();
        let mut tables = Tables::new();
        for waiting in [2, 6, 1] {
            log.look(vec![queue(Some(waiting), Some(128))]);
        }
        let told = log.take(Nanos::from_millis(5), &mut tables);
        let address = tables.intern_string("a");
        let at = Nanos::from_millis(5);
        let limit = Some(128);
        assert_eq!(told, [ListenQueue { at, address, looks: 3, waiting: 9, most: 6, limit }]);
        log.look(vec![queue(None, None)]);
        let told = log.take(at, &mut tables);
        assert_eq!((told[0].looks, told[0].limit), (0, None));
        assert_eq!(log.take(at, &mut tables), []);
    }
}
