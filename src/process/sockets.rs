//! What a descriptor of a process leads to.
//!
//! ```text
//! fd 7 ─readlink─► socket:[27794] ─cache─► Tcp { local, peer, accepted }
//!                        └ new: read the lists of sockets again, of the target's
//!                          own network namespace, but not often
//! ```
//!
//! A descriptor number is used again and again and an inode number is not, so the
//! link is read every time and the cache is keyed by inode. Links are read rather
//! than followed: looking at the file itself could hang on a dead file server.

use std::net::SocketAddr;

use nix::time::ClockId;
use rustc_hash::{FxHashMap, FxHashSet};

use super::net_tables::{NetTables, Socket};
use super::{Process, Result, hot};
use crate::units::Nanos;

/// A path kept by a [`Descriptors`]; [`Descriptors::path`] gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PathId(u32);

/// What a descriptor leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descriptor {
    /// A TCP connection. An IPv4 address mapped into IPv6 is given as IPv4.
    Tcp {
        /// The near end.
        local: SocketAddr,
        /// The far end.
        peer: SocketAddr,
        /// Whether it came in on a port that this process listens on, so that the
        /// peer is a client.
        accepted: bool,
    },
    /// A socket, TCP or unix, that waits for connections.
    Listening,
    /// A unix socket.
    Unix {
        /// The path that its connection was made to, if it has one and the kernel
        /// says it; for the end that made it, only in our own network namespace.
        path: Option<PathId>,
        /// Whether it came in on a path that this process listens on.
        accepted: bool,
    },
    /// A UDP socket.
    Udp {
        /// The far end, if the socket has one fixed.
        peer: Option<SocketAddr>,
    },
    /// A socket that is of another kind, or too new to have been looked up.
    Socket,
    /// A pipe.
    Pipe,
    /// An eventfd, signalfd or timerfd: what event loops are woken with.
    EventDescriptor,
    /// A file or directory.
    File(PathId),
    /// An epoll set.
    Epoll,
    /// Anything else, such as a terminal, or what could not be read.
    Other,
}

/// What an epoll set watches, as far as it matters for telling a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// Whether a listening socket is among them.
    pub listens: bool,
    /// Whether a client's connection is among them.
    pub clients: bool,
    /// The first connections that this process made itself.
    pub upstream: [Option<Descriptor>; 4],
}

/// What is known of a process' descriptors.
#[derive(Debug, Default)]
pub struct Descriptors {
    /// By inode: the sockets that the process had when the tables were last read.
    sockets: FxHashMap<u64, Descriptor>,
    /// By inode: sockets that the tables did not hold, and when to look again.
    unlisted: FxHashMap<u64, Backoff>,
    /// The tables are not read again before this moment.
    next_scan: Nanos,
    paths: Vec<String>,
    path_index: FxHashMap<String, PathId>,
}

#[derive(Debug, Clone, Copy)]
struct Backoff {
    retry: Nanos,
    delay: Nanos,
}

impl Descriptors {
    /// The least time between two readings of the socket tables.
    const SCAN_INTERVAL: Nanos = Nanos::from_millis(100);
    /// And the least multiple of what the last one cost: at the most 1 % of a CPU,
    /// however many sockets the machine has.
    const SCAN_SHARE: u64 = 100;
    /// A socket that no table lists is looked for again after an interval that
    /// doubles up to this.
    const LONGEST_BACKOFF: Nanos = Nanos::from_millis(10_000);
    /// As many of those are remembered; they include the pipes in epoll sets.
    const UNLISTED: usize = 1024;
    /// Distinct paths that are kept. An application may open any number of files.
    const PATHS: usize = 4096;

    /// Nothing known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The path behind an identifier of these descriptors.
    pub fn path(&self, id: PathId) -> &str {
        self.paths.get(id.0 as usize).map_or("(another file)", String::as_str)
    }

    /// What a descriptor leads to now. [`Descriptor::Other`] if it is closed or may
    /// not be read.
    pub fn resolve(&mut self, process: &Process, descriptor: i32) -> Descriptor {
        let Ok(target) = process.descriptor_target(descriptor) else { return Descriptor::Other };
        match parse_link(&target.to_string_lossy()) {
            Link::Socket(inode) => self.socket(process, inode),
            Link::Pipe => Descriptor::Pipe,
            Link::Event => Descriptor::EventDescriptor,
            Link::Epoll => Descriptor::Epoll,
            Link::File(path) => Descriptor::File(self.intern(path)),
            Link::Other => Descriptor::Other,
        }
    }

    /// What the epoll set behind a descriptor watches.
    ///
    /// # Errors
    /// The set is closed or may not be read.
    pub fn watched(&mut self, process: &Process, epoll: i32) -> Result<Watched> {
        let info = process.read_text(&format!("fdinfo/{epoll}"))?;
        let mut watched = Watched { listens: false, clients: false, upstream: [None; 4] };
        let mut free = watched.upstream.iter_mut();
        for inode in watched_inodes(&info) {
            match self.socket(process, inode) {
                Descriptor::Listening => watched.listens = true,
                Descriptor::Tcp { accepted: true, .. }
                | Descriptor::Unix { accepted: true, .. } => watched.clients = true,
                known @ (Descriptor::Tcp { .. } | Descriptor::Unix { .. }) => {
                    if let Some(place) = free.next() {
                        *place = Some(known);
                    }
                }
                _ => {}
            }
        }
        Ok(watched)
    }

    fn socket(&mut self, process: &Process, inode: u64) -> Descriptor {
        if let Some(known) = self.sockets.get(&inode) {
            return *known;
        }
        let now = hot::clock(ClockId::CLOCK_MONOTONIC);
        let waits = self.unlisted.get(&inode).is_some_and(|backoff| now < backoff.retry);
        if waits || now < self.next_scan {
            return Descriptor::Socket;
        }
        self.scan(process);
        let after = hot::clock(ClockId::CLOCK_MONOTONIC);
        let cost = after.saturating_sub(now).as_nanos();
        let pause = Nanos::from_nanos(cost.saturating_mul(Self::SCAN_SHARE));
        self.next_scan = after.saturating_add(pause.max(Self::SCAN_INTERVAL));
        if let Some(found) = self.sockets.get(&inode) {
            return *found;
        }
        let delay = self
            .unlisted
            .get(&inode)
            .map_or(Self::SCAN_INTERVAL, |backoff| backoff.delay.saturating_add(backoff.delay))
            .min(Self::LONGEST_BACKOFF);
        if self.unlisted.len() >= Self::UNLISTED {
            self.unlisted.clear();
        }
        self.unlisted.insert(inode, Backoff { retry: after.saturating_add(delay), delay });
        Descriptor::Socket
    }

    /// Reads the tables and keeps what they say of the process' own sockets.
    fn scan(&mut self, process: &Process) {
        let Ok(descriptors) = process.descriptors() else { return };
        let own: FxHashSet<u64> = descriptors
            .into_iter()
            .filter_map(|number| {
                match parse_link(&process.descriptor_target(number).ok()?.to_string_lossy()) {
                    Link::Socket(inode) => Some(inode),
                    _ => None,
                }
            })
            .collect();
        let tables = NetTables::read(process, &own);
        self.sockets.clear();
        for (inode, socket) in &tables.sockets {
            let descriptor = match socket {
                Socket::Listening => Descriptor::Listening,
                Socket::Tcp { local, peer } => Descriptor::Tcp {
                    local: *local,
                    peer: *peer,
                    accepted: tables.listening_ports.contains(&local.port()),
                },
                Socket::Udp { peer } => Descriptor::Udp { peer: *peer },
                Socket::Unix { path, accepting } => Descriptor::Unix {
                    path: path.as_deref().map(|path| self.intern(path)),
                    accepted: *accepting
                        && path.as_ref().is_some_and(|path| tables.listening_paths.contains(path)),
                },
            };
            self.sockets.insert(*inode, descriptor);
        }
    }

    fn intern(&mut self, path: &str) -> PathId {
        if let Some(&known) = self.path_index.get(path) {
            return known;
        }
        let id = PathId(u32::try_from(self.paths.len()).unwrap_or(u32::MAX));
        if self.paths.len() < Self::PATHS {
            self.paths.push(path.to_owned());
            self.path_index.insert(path.to_owned(), id);
        }
        id
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Link<'t> {
    Socket(u64),
    Pipe,
    Event,
    Epoll,
    File(&'t str),
    Other,
}

/// The words that the kernel gives for what has no path are in `fs/pipe.c`,
/// `net/socket.c` and `fs/anon_inodes.c`.
fn parse_link(target: &str) -> Link<'_> {
    let numbered = |rest: &str| rest.strip_suffix(']').and_then(|number| number.parse().ok());
    if let Some(rest) = target.strip_prefix("socket:[") {
        return numbered(rest).map_or(Link::Other, Link::Socket);
    }
    if target.starts_with("pipe:[") {
        return Link::Pipe;
    }
    match target {
        "anon_inode:[eventpoll]" => Link::Epoll,
        "anon_inode:[eventfd]" | "anon_inode:[signalfd]" | "anon_inode:[timerfd]" => Link::Event,
        device if device.starts_with("/dev/") && !device.starts_with("/dev/shm/") => Link::Other,
        path if path.starts_with('/') => {
            Link::File(path.strip_suffix(" (deleted)").unwrap_or(path))
        }
        _ => Link::Other,
    }
}

/// The inodes in the lines `tfd: N events: M data: D pos:P ino:I sdev:S`
/// (`fs/eventpoll.c`, `ep_show_fdinfo`).
fn watched_inodes(info: &str) -> impl Iterator<Item = u64> + '_ {
    info.lines().filter(|line| line.starts_with("tfd:")).filter_map(|line| {
        let (_, rest) = line.split_once(" ino:")?;
        u64::from_str_radix(rest.split_ascii_whitespace().next()?, 16).ok()
    })
}

#[cfg(test)]
mod tests {
    use std::io::pipe;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;
    use crate::units::Pid;

    fn own() -> Process {
        Process::open(Pid::new(std::process::id())).unwrap()
    }

    #[test]
    fn links_are_told_by_their_words() {
        assert_eq!(parse_link("socket:[27794]"), Link::Socket(27794));
        assert_eq!(parse_link("pipe:[27794]"), Link::Pipe);
        assert_eq!(parse_link("anon_inode:[eventpoll]"), Link::Epoll);
        assert_eq!(parse_link("anon_inode:[eventfd]"), Link::Event);
        assert_eq!(parse_link("anon_inode:inotify"), Link::Other);
        assert_eq!(parse_link("/tmp/x y (deleted)"), Link::File("/tmp/x y"));
        assert_eq!(parse_link("/dev/pts/0"), Link::Other);
        for bad in ["", "socket:[", "socket:[x]", "socket:[1", "socket:[99999999999999999999]"] {
            assert_eq!(parse_link(bad), Link::Other, "{bad:?}");
        }
    }

    #[test]
    fn an_epoll_set_names_the_inodes_it_watches() {
        let info = include_str!("../../fixtures/proc/fdinfo-epoll.txt");
        assert_eq!(watched_inodes(info).collect::<Vec<_>>(), [0x6c91, 0x6c9e, 0x6c90]);
        assert_eq!(watched_inodes("tfd: 3 events: 19 ino:zz\ntfd:").count(), 0);
    }

    #[test]
    fn live_sockets_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let bound = directory.path().join("app.sock");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let unix_listener = UnixListener::bind(&bound).unwrap();
        let unix_client = UnixStream::connect(&bound).unwrap();
        let (unix_server, _) = unix_listener.accept().unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.connect("127.0.0.1:53").unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let (reader, _writer) = pipe().unwrap();

        let process = own();
        let mut known = Descriptors::new();
        let mut of = |file: &dyn AsRawFd| known.resolve(&process, file.as_raw_fd());
        assert_eq!(of(&listener), Descriptor::Listening);
        assert_eq!(of(&client), Descriptor::Tcp { local: peer, peer: address, accepted: false });
        assert_eq!(of(&server), Descriptor::Tcp { local: address, peer, accepted: true });
        assert_eq!(of(&unix_listener), Descriptor::Listening);
        assert_eq!(of(&udp), Descriptor::Udp { peer: Some("127.0.0.1:53".parse().unwrap()) });
        assert_eq!(of(&reader), Descriptor::Pipe);
        let (accepted, stored) = (of(&unix_server), of(&file));
        let made = of(&unix_client);
        let Descriptor::Unix { path: Some(path), accepted: true } = accepted else {
            panic!("{accepted:?}")
        };
        assert_eq!(known.path(path), bound.to_str().unwrap());
        assert_eq!(made, Descriptor::Unix { path: Some(path), accepted: false });
        let Descriptor::File(path) = stored else { panic!("{stored:?}") };
        assert_eq!(known.path(path), file.path().to_str().unwrap());
        assert_eq!(known.resolve(&process, 1 << 20), Descriptor::Other);
    }

    #[test]
    fn tables_are_not_read_again_for_every_new_socket() {
        let process = own();
        let mut known = Descriptors::new();
        let first = UdpSocket::bind("127.0.0.1:0").unwrap();
        let found = known.resolve(&process, first.as_raw_fd());
        assert_eq!(found, Descriptor::Udp { peer: None });
        let second = UdpSocket::bind("127.0.0.1:0").unwrap();
        known.next_scan = Nanos::from_nanos(u64::MAX);
        assert_eq!(known.resolve(&process, second.as_raw_fd()), Descriptor::Socket);
        known.next_scan = Nanos::ZERO;
        assert_eq!(known.resolve(&process, second.as_raw_fd()), Descriptor::Udp { peer: None });
        assert!(known.next_scan > Nanos::ZERO);
    }

    #[test]
    fn a_socket_in_no_table_is_looked_for_ever_less_often() {
        let process = own();
        let mut known = Descriptors::new();
        // Inode 1 is never a socket's.
        for doublings in 0..12 {
            assert_eq!(known.socket(&process, 1), Descriptor::Socket);
            let backoff = known.unlisted.get_mut(&1).unwrap();
            let expected = (100 << doublings).min(10_000);
            assert_eq!(backoff.delay, Nanos::from_millis(expected));
            backoff.retry = Nanos::ZERO;
            known.next_scan = Nanos::ZERO;
        }
    }

    #[test]
    fn paths_are_bounded() {
        let mut known = Descriptors::new();
        for number in 0..=Descriptors::PATHS {
            known.intern(&format!("/tmp/{number}"));
        }
        assert_eq!(known.paths.len(), Descriptors::PATHS);
        let over = known.intern("/tmp/one more");
        assert_eq!(known.path(over), "(another file)");
        assert_eq!(known.intern("/tmp/7"), PathId(7));
    }
}
