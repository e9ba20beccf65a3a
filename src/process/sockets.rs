//! What a descriptor of a process leads to.
//!
//! ```text
//! fd 7 ─readlink─► socket:[27794] ─cache─► Tcp { local, peer, accepted }
//!                        └ new: read the list of sockets again, of the target's
//!                          own network namespace, but not often
//! ```
//!
//! A descriptor number is used again and again and an inode number is not, so the
//! link is read every time and the cache is keyed by inode. Links are read rather
//! than followed: looking at the file itself could hang on a dead file server.
//!
//! All sockets of the machine have their inodes from one counter, whatever their
//! namespace, so one cache serves all processes, and workers that share a namespace share
//! the reading of its lists. The kernel would tell of a single socket too
//! (`pidfd_getfd`, then `getpeername`), but for that moment it is ours as well: if the
//! target closed it just then, the connection would end when *we* let go of it. So it is
//! not asked.

use std::net::SocketAddr;

use nix::time::ClockId;
use rustc_hash::{FxHashMap, FxHashSet};

use super::net_tables::{ListenAddress, Socket, Table};
use super::{Process, Result, hot};
use crate::units::{Nanos, Pid};

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
        /// Whether it came in on a port that is listened on in its namespace, so that the
        /// peer is a client. A connection that a process makes itself never has such a
        /// port, unless it asks for it: the kernel passes over those that are bound
        /// (`net/ipv4/inet_hashtables.c`, `__inet_hash_connect`).
        accepted: bool,
    },
    /// A socket, TCP or unix, that waits for connections.
    Listening,
    /// A unix socket.
    Unix {
        /// The path that its connection was made to, if it has one and the kernel
        /// says it; for the end that made it, only in our own network namespace.
        path: Option<PathId>,
        /// Whether it came in on a path that is listened on in its namespace.
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
    /// A file or directory; for a file that has no name any more, the folder it was in.
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

/// What is known of the descriptors of processes.
#[derive(Debug, Default)]
pub struct Descriptors {
    /// By inode: the sockets that there were when the lists were last read.
    sockets: FxHashMap<u64, Known>,
    /// By inode: sockets that no list held, and when to look again.
    unlisted: FxHashMap<u64, Backoff>,
    /// By number.
    namespaces: FxHashMap<u64, Namespace>,
    /// The number of our own.
    own_namespace: Option<u64>,
    paths: Vec<String>,
    path_index: FxHashMap<String, PathId>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    descriptor: Descriptor,
    /// Where that was read.
    namespace: u64,
    table: Table,
}

/// A network namespace.
#[derive(Debug, Default)]
struct Namespace {
    /// Its lists, in the order of [`Table::ALL`], are not read again before these moments.
    next_scan: [Nanos; Table::ALL.len()],
    listening_ports: FxHashSet<u16>,
    listening_paths: FxHashSet<String>,
}

#[derive(Debug, Clone, Copy)]
struct Backoff {
    retry: Nanos,
    delay: Nanos,
}

impl Descriptors {
    /// The least time between two readings of a list, so that a connection which lives for
    /// a tick or two is seen.
    const SCAN_INTERVAL: Nanos = Nanos::from_millis(15);
    /// And the least multiple of what the last one cost: at the most 2 % of a CPU for each
    /// list of a namespace, however many sockets the machine has.
    const SCAN_SHARE: u64 = 50;
    /// A socket that no list holds is looked for again after this.
    const FIRST_BACKOFF: Nanos = Nanos::from_millis(100);
    /// And then after an interval that doubles up to this.
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
            return known.descriptor;
        }
        let mut now = hot::clock(ClockId::CLOCK_MONOTONIC);
        if self.unlisted.get(&inode).is_some_and(|backoff| now < backoff.retry) {
            return Descriptor::Socket;
        }
        let Some(number) = process.net_namespace() else { return Descriptor::Socket };
        let mut looked_everywhere = true;
        for (position, table) in Table::ALL.into_iter().enumerate() {
            let namespace = self.namespaces.entry(number).or_default();
            let Some(next_scan) = namespace.next_scan.get_mut(position) else { continue };
            if now < *next_scan {
                looked_everywhere = false;
                continue;
            }
            // Not again at once, whatever comes of it.
            *next_scan = now.saturating_add(Self::SCAN_INTERVAL);
            let used = hot::clock(ClockId::CLOCK_THREAD_CPUTIME_ID);
            self.scan(process, number, table);
            let cost = hot::clock(ClockId::CLOCK_THREAD_CPUTIME_ID).saturating_sub(used).as_nanos();
            let after = hot::clock(ClockId::CLOCK_MONOTONIC);
            let pause = Nanos::from_nanos(cost.saturating_mul(Self::SCAN_SHARE));
            if let Some(namespace) = self.namespaces.get_mut(&number)
                && let Some(next_scan) = namespace.next_scan.get_mut(position)
            {
                *next_scan = after.saturating_add(pause.max(Self::SCAN_INTERVAL));
            }
            now = after;
            if let Some(found) = self.sockets.get(&inode) {
                return found.descriptor;
            }
        }
        if looked_everywhere {
            self.back_off(inode, now);
        }
        Descriptor::Socket
    }

    /// No list holds this socket: it is not looked for again so soon.
    fn back_off(&mut self, inode: u64, now: Nanos) {
        let delay = self
            .unlisted
            .get(&inode)
            .map_or(Self::FIRST_BACKOFF, |backoff| backoff.delay.saturating_add(backoff.delay))
            .min(Self::LONGEST_BACKOFF);
        if self.unlisted.len() >= Self::UNLISTED {
            self.unlisted.clear();
        }
        self.unlisted.insert(inode, Backoff { retry: now.saturating_add(delay), delay });
    }

    /// Reads a list of the namespace that a process is in, and keeps what it says.
    fn scan(&mut self, process: &Process, number: u64, table: Table) {
        let own = *self.own_namespace.get_or_insert_with(own_namespace);
        let sockets = table.read(process, own == number);
        self.sockets.retain(|_, known| known.namespace != number || known.table != table);
        let mut namespace = self.namespaces.remove(&number).unwrap_or_default();
        namespace.take_listening(table, &sockets);
        for (inode, socket) in sockets {
            let descriptor = match socket {
                Socket::Listening(_) => Descriptor::Listening,
                Socket::Tcp { local, peer } => {
                    let accepted = namespace.listening_ports.contains(&local.port());
                    Descriptor::Tcp { local, peer, accepted }
                }
                Socket::Udp { peer } => Descriptor::Udp { peer },
                Socket::Unix { path, accepting } => {
                    let listened =
                        |path: &String| accepting && namespace.listening_paths.contains(path);
                    let accepted = path.as_ref().is_some_and(listened);
                    Descriptor::Unix { path: path.map(|path| self.intern(&path)), accepted }
                }
            };
            self.sockets.insert(inode, Known { descriptor, namespace: number, table });
        }
        self.namespaces.insert(number, namespace);
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

impl Namespace {
    fn take_listening(&mut self, table: Table, sockets: &[(u64, Socket)]) {
        let listening = sockets.iter().filter_map(|(_, socket)| match socket {
            Socket::Listening(listening) => Some(&listening.at),
            _ => None,
        });
        match table {
            Table::Tcp => self.listening_ports.clear(),
            Table::Unix => self.listening_paths.clear(),
            Table::Udp => {}
        }
        for at in listening {
            match at {
                ListenAddress::Tcp(at) => {
                    self.listening_ports.insert(at.port());
                }
                ListenAddress::Unix(path) => self.listening_paths.extend(path.clone()),
            }
        }
    }
}

/// The number of our own network namespace; 0, which none has, if it cannot be told.
pub(super) fn own_namespace() -> u64 {
    let own = Process::open(Pid::new(std::process::id()));
    own.ok().and_then(|own| own.net_namespace()).unwrap_or(0)
}

impl Process {
    /// The number of the network namespace that its main thread is in; `None` where we may
    /// not see it, or when it has ended.
    pub fn net_namespace(&self) -> Option<u64> {
        let link = self.link("ns/net").ok()?;
        link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
    }

    /// The inodes of its sockets, of those descriptors that come first.
    pub(super) fn socket_inodes(&self) -> FxHashSet<u64> {
        /// A server with more connections than this has opened what it listens on before.
        const MOST: usize = 4096;
        let inode =
            |number| match parse_link(&self.descriptor_target(number).ok()?.to_string_lossy()) {
                Link::Socket(inode) => Some(inode),
                _ => None,
            };
        let descriptors = self.descriptors().unwrap_or_default();
        descriptors.into_iter().take(MOST).filter_map(inode).collect()
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
fn parse_link<'t>(target: &'t str) -> Link<'t> {
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
            // A file without a name is a temporary one. There may be any number of them, and
            // their numbers say nothing: the folder stands for all.
            let folder = |path: &'t str| path.rfind('/').and_then(|at| path.get(..=at));
            let deleted = path.strip_suffix(" (deleted)");
            Link::File(deleted.map_or(path, |path| folder(path).unwrap_or(path)))
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
        assert_eq!(parse_link("/tmp/x y (deleted)"), Link::File("/tmp/"));
        assert_eq!(parse_link("/srv/x y"), Link::File("/srv/x y"));
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
        let wait = |known: &mut Descriptors, until| {
            for namespace in known.namespaces.values_mut() {
                namespace.next_scan = [until; 3];
            }
        };
        wait(&mut known, Nanos::from_nanos(u64::MAX));
        assert_eq!(known.resolve(&process, second.as_raw_fd()), Descriptor::Socket);
        wait(&mut known, Nanos::ZERO);
        assert_eq!(known.resolve(&process, second.as_raw_fd()), Descriptor::Udp { peer: None });
        assert!(known.namespaces.values().all(|one| one.next_scan[2] > Nanos::ZERO));
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
            known.namespaces.clear();
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
