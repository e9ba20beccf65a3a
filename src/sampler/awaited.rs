//! What suspended tasks wait on, in words. A task is in no system call that would name a
//! descriptor, but the process that it is in has the connection open.

use super::names::Names;
use crate::model::{On, OnId, Tables};
use crate::process::{Descriptor, Process};
use crate::state::{Awaited, Connection, peers};
use crate::units::Nanos;

/// How long a list of connections is believed.
const BELIEVED: Nanos = Nanos::from_millis(1000);

/// The most descriptors of a process that are looked at.
const MOST_DESCRIPTORS: usize = 4096;

/// The most connections that are told apart.
const MOST_UPSTREAMS: usize = 64;

/// The connections that a process has made, each far end once.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    all: Vec<Upstream>,
    read: Option<Nanos>,
    /// What was said of a wait since then.
    known: Vec<(Awaited, Option<OnId>)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Upstream {
    /// What is spoken there by the program that listens or the port, if that says it.
    protocol: Option<&'static str>,
    /// By the protocol that a library speaks: its name in words.
    peer: Descriptor,
    program: Option<&'static str>,
}

impl Upstreams {
    /// What a task waits on. A client library on its chain says what is spoken; if all the
    /// connections of the process that are spoken so lead to one place, it is that place.
    pub(super) fn on(
        &mut self,
        awaited: Awaited,
        process: &Process,
        namespace: Option<u64>,
        now: Nanos,
        names: &mut Names,
        tables: &mut Tables,
    ) -> Option<OnId> {
        if self.read.is_none_or(|read| now.saturating_sub(read) >= BELIEVED) {
            self.read = Some(now);
            self.known.clear();
            self.all.clear();
        }
        if let Some((_, known)) = self.known.iter().find(|(of, _)| *of == awaited) {
            return *known;
        }
        let words = match (awaited.protocol, awaited.kind) {
            (Some(protocol), _) => {
                if self.all.is_empty() {
                    self.read_connections(process, namespace, names);
                }
                Some(self.only(protocol, names).unwrap_or_else(|| protocol.to_owned()))
            }
            (None, kind) => kind.map(str::to_owned),
        };
        let on = words.map(|words| {
            let words = tables.intern_string(&words);
            tables.intern_on(On::Named(words))
        });
        self.known.push((awaited, on));
        on
    }

    fn read_connections(&mut self, process: &Process, namespace: Option<u64>, names: &mut Names) {
        let descriptors = process.descriptors().unwrap_or_default();
        for number in descriptors.into_iter().take(MOST_DESCRIPTORS) {
            let (peer, program, protocol) = match names.descriptors.resolve(process, number) {
                Descriptor::Tcp { local, peer, accepted: false } => {
                    let connection = Connection { local: Some(local), peer };
                    let program = names.program_at(namespace, connection);
                    let protocol = peers::protocol(program, peer.port());
                    // The near end is another for each connection.
                    let local = peer;
                    (Descriptor::Tcp { local, peer, accepted: false }, program, protocol)
                }
                unix @ Descriptor::Unix { path: Some(path), accepted: false } => {
                    (unix, None, peers::protocol_of_path(names.descriptors.path(path)))
                }
                _ => continue,
            };
            let upstream = Upstream { protocol, peer, program };
            if self.all.len() < MOST_UPSTREAMS && !self.all.contains(&upstream) {
                self.all.push(upstream);
            }
        }
    }

    /// The one place where this is spoken.
    fn only(&self, protocol: &'static str, names: &Names) -> Option<String> {
        let mut all = self.all.iter().filter(|upstream| upstream.protocol == Some(protocol));
        let (only, None) = (all.next()?, all.next()) else { return None };
        match only.peer {
            Descriptor::Tcp { peer, .. } => {
                let service = peers::service(Some(protocol), only.program, peer.port());
                Some(peers::describe(peer, service, None))
            }
            Descriptor::Unix { path, .. } => {
                let path = path.map(|path| names.descriptors.path(path));
                Some(peers::describe_path(path, Some(protocol)))
            }
            _ => None,
        }
    }
}
