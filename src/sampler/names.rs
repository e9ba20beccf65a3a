//! What a wait is called: the far end of a connection by the client library on the stack,
//! the program that listens, the port, and the host's name where the frames hold it.

use std::net::SocketAddr;

use rustc_hash::FxHashMap;

use crate::model::{On, OnId, StringId, Tables};
use crate::process::{AcceptQueue, Descriptors, Listeners, PathId, Process};
use crate::python::Stack;
use crate::state::{Connection, Marks, Waiting, is_host_name, peers};
use crate::units::RemoteAddress;

/// What waits are called, for all processes of a recording.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) descriptors: Descriptors,
    listeners: Listeners,
    /// What was said of a wait before.
    known: FxHashMap<Key, OnId>,
    /// The hosts' names that frames had, by connection: a later part of an exchange may
    /// have other frames.
    hosts: FxHashMap<Connection, Option<StringId>>,
    /// The type `int` of the process that was last asked for a port.
    int_type: Option<RemoteAddress>,
}

/// All that a name is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    on: Thing,
    library: Option<&'static str>,
    program: Option<&'static str>,
    host: Option<StringId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Thing {
    Kind(&'static str),
    Peer(SocketAddr),
    /// A connection that is too new for its addresses to be known, by the port that the client
    /// library has for it; the host is beside it.
    Port(u16),
    UnixPeer(Option<PathId>),
    File(PathId),
}

/// Connections whose hosts are remembered.
const MOST_CONNECTIONS: usize = 4096;

impl Default for Names {
    fn default() -> Self {
        Self {
            descriptors: Descriptors::new(),
            listeners: Listeners::new(peers::service_of_program),
            known: FxHashMap::default(),
            hosts: FxHashMap::default(),
            int_type: None,
        }
    }
}

impl Names {
    /// See [`Listeners::refresh`].
    pub(super) fn refresh<'p>(
        &mut self,
        targets: impl Iterator<Item = &'p Process> + Clone,
        serving: impl Iterator<Item = &'p Process> + Clone,
    ) {
        self.listeners.refresh(targets, serving);
    }

    /// See [`Listeners::queues`].
    pub(super) fn queues(&mut self, after_refresh: bool) -> Vec<AcceptQueue> {
        self.listeners.queues(after_refresh)
    }

    /// The service of the program that listens at the far end, if that is on this host.
    pub(super) fn program_at(
        &self,
        namespace: Option<u64>,
        connection: Connection,
    ) -> Option<&'static str> {
        let within = connection.is_within_host();
        within.then(|| self.listeners.service_at(namespace, connection.peer)).flatten()
    }

    /// What a thread waits on. `top` are its topmost frames, leaf first, or none if they do
    /// not hold; `namespace` is its process' network namespace.
    pub(super) fn on(
        &mut self,
        waiting: Waiting,
        top: &[Marks],
        namespace: Option<u64>,
        stack: &mut Stack<'_>,
        tables: &mut Tables,
    ) -> Option<OnId> {
        let (mut program, mut host) = (None, None);
        let on = match waiting {
            Waiting::Nothing | Waiting::Gil => return None,
            Waiting::Kind("socket") => match self.stated(top, stack) {
                Some((Some(name), Some(port))) => {
                    host = Some(tables.intern_string(&name));
                    Thing::Port(port)
                }
                _ => Thing::Kind("socket"),
            },
            Waiting::Kind(kind) => Thing::Kind(kind),
            Waiting::File(path) => Thing::File(path),
            Waiting::UnixPeer(path) => Thing::UnixPeer(path),
            Waiting::Peer(connection) => {
                if connection.is_within_host() {
                    program = self.listeners.service_at(namespace, connection.peer);
                }
                host = self.host(connection, top, stack, tables);
                Thing::Peer(connection.peer)
            }
        };
        let library = match on {
            Thing::Peer(_) | Thing::Port(_) | Thing::UnixPeer(_) => Marks::protocol(top),
            Thing::Kind("socket") => Marks::protocol(top),
            Thing::Kind(_) | Thing::File(_) => None,
        };
        let key = Key { on, library, program, host };
        if let Some(&known) = self.known.get(&key) {
            return Some(known);
        }
        let words = match on {
            Thing::Kind(kind) => match library {
                Some(library) => format!("{library} {kind}"),
                None => kind.to_owned(),
            },
            Thing::Peer(peer) => {
                let host = host.map(|host| tables.string(host));
                peers::describe(peer, peers::service(library, program, peer.port()), host)
            }
            Thing::Port(port) => {
                let host = host.map_or("", |host| tables.string(host));
                peers::describe_place(host, port, peers::service(library, None, port))
            }
            Thing::UnixPeer(path) => {
                peers::describe_path(path.map(|path| self.descriptors.path(path)), library)
            }
            Thing::File(path) => format!("disk {}", self.descriptors.path(path)),
        };
        let words = tables.intern_string(&words);
        let on = tables.intern_on(On::Named(words));
        self.known.insert(key, on);
        Some(on)
    }

    /// The name of the host at the far end, where a frame of the client library has it. It
    /// is read once for a connection.
    fn host(
        &mut self,
        connection: Connection,
        top: &[Marks],
        stack: &mut Stack<'_>,
        tables: &mut Tables,
    ) -> Option<StringId> {
        if let Some(known) = self.hosts.get(&connection) {
            return *known;
        }
        let (name, _) = self.stated(top, stack)?;
        let host = name.map(|name| tables.intern_string(&name));
        // Without a near end it is not this connection alone that would be remembered.
        if connection.local.is_some() {
            if self.hosts.len() >= MOST_CONNECTIONS {
                self.hosts.clear();
            }
            self.hosts.insert(connection, host);
        }
        host
    }

    /// The host's name and the port that a frame of the client library has.
    fn stated(
        &mut self,
        top: &[Marks],
        stack: &mut Stack<'_>,
    ) -> Option<(Option<String>, Option<u16>)> {
        let (depth, place) = Marks::host(top)?;
        let frame = *stack.frames().iter().rev().nth(depth)?;
        let mut reader = stack.locals();
        let local = reader.find(&frame, place.local)?;
        let object = reader.value(&frame, local)?;
        let (name, port) = match *place.attributes {
            [] => {
                let port = reader.find(&frame, place.port);
                (Some(object), port.and_then(|port| reader.value(&frame, port)))
            }
            [only] => {
                let [name, port] = reader.attributes(object, [only, place.port]);
                (name, port)
            }
            [first, second, ..] => {
                let [one, other, port] = reader.attributes(object, [first, second, place.port]);
                (one.or(other), port)
            }
        };
        let [name] = reader.strings([name]);
        let port = port.and_then(|port| reader.whole_number(port, &mut self.int_type));
        // The thread may have gone on and the frame be another's.
        let ([now], _) = reader.reread::<1, 8>(&frame, [local], object);
        if now != Some(object) {
            return None;
        }
        let port = port.and_then(|port| u16::try_from(port).ok());
        Some((name.filter(|name| is_host_name(name)), port))
    }
}
