//! The sockets that wait for connections: how many wait at those of the targets, and which
//! program is behind those that the targets connect to.
//!
//! ```text
//! about once a second ─► list of each namespace ─► the targets' own, by their descriptors
//!                                               └► new ones: whose are they? (/proc/*/fd)
//! ten times a second  ─► list of our namespace  ─► connections that wait
//! ```

use std::fs;
use std::net::SocketAddr;

use rustc_hash::{FxHashMap, FxHashSet};

use super::net_tables::{ListenAddress, Listening, Table};
use super::sockets::own_namespace;
use super::{Process, Result};
use crate::units::Pid;

/// What a program serves, by the name that the kernel has for it (`/proc/PID/comm`, up to
/// 15 bytes) and, if that is not enough, its command line.
pub type ServiceOf = fn(name: &str, command_line: &dyn Fn() -> Vec<String>) -> Option<&'static str>;

/// What is known of listening sockets.
#[derive(Debug)]
pub struct Listeners {
    service_of: ServiceOf,
    own_namespace: u64,
    namespaces: Vec<Namespace>,
    /// By inode: what the program behind it serves, if that is known; all that were looked
    /// at are here.
    services: FxHashMap<u64, Option<&'static str>>,
    /// The processes whose descriptors were looked at, by PID and start time.
    looked_at: FxHashSet<(Pid, u64)>,
}

/// A network namespace that a target is in.
#[derive(Debug)]
struct Namespace {
    number: u64,
    /// A process in it, to read through.
    process: Process,
    sockets: Vec<(u64, Listening)>,
    /// The inodes of those that a serving target has.
    of_serving: FxHashSet<u64>,
}

/// Connections that wait at one address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AcceptQueue {
    /// `0.0.0.0:8000`, or `unix:/run/app.sock`.
    pub address: String,
    /// How many wait to be accepted, of all sockets that share the address; `None` where
    /// the kernel does not tell.
    pub waiting: Option<u32>,
    /// How many may wait; `None` where the kernel does not tell.
    pub limit: Option<u32>,
}

/// Processes of which the name is read when a new listening socket's is looked for.
const MOST_PROCESSES: usize = 8192;

impl Listeners {
    /// Nothing known yet; programs are told by `service_of`.
    pub fn new(service_of: ServiceOf) -> Self {
        Self {
            service_of,
            own_namespace: own_namespace(),
            namespaces: Vec::new(),
            services: FxHashMap::default(),
            looked_at: FxHashSet::default(),
        }
    }

    /// Reads the lists of the targets' namespaces anew, and looks for the programs behind
    /// sockets that were not there before. The queues are of the sockets that the `serving`
    /// among them have.
    pub fn refresh<'p>(
        &mut self,
        targets: impl Iterator<Item = &'p Process>,
        serving: impl Iterator<Item = &'p Process> + Clone,
    ) {
        let mut namespaces = Vec::new();
        for target in targets {
            let Some(number) = target.net_namespace() else { continue };
            if !namespaces.iter().any(|known: &Namespace| known.number == number) {
                let process = target.clone();
                let (sockets, of_serving) = (Vec::new(), FxHashSet::default());
                namespaces.push(Namespace { number, process, sockets, of_serving });
            }
        }
        for namespace in &mut namespaces {
            namespace.read(self.own_namespace);
        }
        let inodes = |namespaces: &[Namespace]| -> FxHashSet<u64> {
            let all = namespaces.iter().flat_map(|namespace| &namespace.sockets);
            all.map(|&(inode, _)| inode).collect()
        };
        let (before, now) = (inodes(&self.namespaces), inodes(&namespaces));
        let who: FxHashSet<_> =
            serving.clone().map(|process| (process.pid(), process.start_time())).collect();
        if now == before && who == self.looked_at {
            for (namespace, known) in namespaces.iter_mut().zip(&mut self.namespaces) {
                namespace.of_serving = std::mem::take(&mut known.of_serving);
            }
        } else {
            let own: FxHashSet<u64> = serving.flat_map(Process::socket_inodes).collect();
            for namespace in &mut namespaces {
                let sockets = namespace.sockets.iter().map(|&(inode, _)| inode);
                namespace.of_serving = sockets.filter(|inode| own.contains(inode)).collect();
            }
        }
        self.looked_at = who;
        self.namespaces = namespaces;
        self.services.retain(|inode, _| now.contains(inode));
        if now.iter().any(|inode| !self.services.contains_key(inode)) {
            self.find_services(&now);
        }
    }

    /// The connections that wait at the targets' own sockets now, by address. Other
    /// namespaces than ours, where that is dear, are as they were at the last
    /// [`Listeners::refresh`]: they are given only if `after_refresh`.
    pub fn queues(&mut self, after_refresh: bool) -> Vec<AcceptQueue> {
        let mut queues: Vec<AcceptQueue> = Vec::new();
        for namespace in &mut self.namespaces {
            let is_ours = namespace.number == self.own_namespace;
            if namespace.of_serving.is_empty() || !(is_ours || after_refresh) {
                continue;
            }
            if is_ours && !after_refresh {
                namespace.read_served(self.own_namespace);
            }
            for (inode, listening) in &namespace.sockets {
                if namespace.of_serving.contains(inode) {
                    add_queue(&mut queues, listening);
                }
            }
        }
        queues
    }

    /// What the program serves that listens at an address in a namespace; `None` if nothing
    /// listens there, or it is not a program that is known.
    pub fn service_at(&self, namespace: Option<u64>, address: SocketAddr) -> Option<&'static str> {
        let namespace = self.namespaces.iter().find(|known| Some(known.number) == namespace)?;
        let exact = |at: &SocketAddr| *at == address;
        let any = |at: &SocketAddr| at.port() == address.port() && at.ip().is_unspecified();
        let find = |matches: &dyn Fn(&SocketAddr) -> bool| {
            namespace.sockets.iter().find_map(|(inode, listening)| match &listening.at {
                ListenAddress::Tcp(at) if matches(at) => Some(*inode),
                _ => None,
            })
        };
        let inode = find(&exact).or_else(|| find(&any))?;
        self.services.get(&inode).copied().flatten()
    }

    /// Looks for known programs and which of these sockets are theirs.
    fn find_services(&mut self, wanted: &FxHashSet<u64>) {
        let found = programs().filter_map(|pid| self.services_of(pid, wanted));
        let found: Vec<_> = found.collect();
        for (service, inodes) in found {
            for inode in inodes {
                self.services.entry(inode).or_insert(Some(service));
            }
        }
        for &inode in wanted {
            self.services.entry(inode).or_insert(None);
        }
    }

    /// What a process serves, and the sockets that it listens on.
    fn services_of(&self, pid: Pid, wanted: &FxHashSet<u64>) -> Option<(&'static str, Vec<u64>)> {
        let name = program_name(pid).ok()?;
        let command_line = || {
            let process = Process::open(pid).and_then(|process| process.command_line());
            process.unwrap_or_default()
        };
        let service = (self.service_of)(&name, &command_line)?;
        // Its number may be another process' by now, but not while this one is held.
        let process = Process::open(pid).ok()?;
        let sockets = process.socket_inodes().into_iter();
        let inodes: Vec<u64> = sockets.filter(|inode| wanted.contains(inode)).collect();
        let same = program_name(pid).is_ok_and(|now| now == name) && process.is_alive();
        (same && !inodes.is_empty()).then_some((service, inodes))
    }
}

impl Namespace {
    /// Reads those lists in which the serving targets' sockets are.
    fn read_served(&mut self, own: u64) {
        let is_ours = self.number == own;
        for table in [Table::Tcp, Table::Unix] {
            let is_of = |at: &ListenAddress| (table == Table::Tcp) == at.is_tcp();
            let mut served =
                self.sockets.iter().filter(|(inode, _)| self.of_serving.contains(inode));
            if !served.any(|(_, listening)| is_of(&listening.at)) {
                continue;
            }
            let new = table.listening(&self.process, is_ours);
            self.sockets.retain(|(_, listening)| !is_of(&listening.at));
            self.sockets.extend(new);
        }
    }

    fn read(&mut self, own: u64) {
        let is_ours = self.number == own;
        self.sockets = Table::Tcp.listening(&self.process, is_ours);
        self.sockets.extend(Table::Unix.listening(&self.process, is_ours));
    }
}

/// Adds one socket's queue to those of its address.
fn add_queue(queues: &mut Vec<AcceptQueue>, listening: &Listening) {
    let address = match &listening.at {
        ListenAddress::Tcp(at) => at.to_string(),
        ListenAddress::Unix(Some(path)) => format!("unix:{path}"),
        ListenAddress::Unix(None) => return,
    };
    let &Listening { waiting, limit, .. } = listening;
    match queues.iter_mut().find(|known| known.address == address) {
        Some(known) => {
            let add = |one: Option<u32>, other: Option<u32>| Some(one?.saturating_add(other?));
            known.waiting = add(known.waiting, waiting);
            known.limit = add(known.limit, limit);
        }
        None => queues.push(AcceptQueue { address, waiting, limit }),
    }
}

/// The numbers of processes that we see.
fn programs() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok().map(Pid::new);
    entries.filter_map(number).take(MOST_PROCESSES)
}

fn program_name(pid: Pid) -> Result<String> {
    let path = format!("/proc/{pid}/comm");
    let name = fs::read_to_string(path).map_err(|_| super::Error::Gone { pid })?;
    Ok(name.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn own() -> Process {
        Process::open(Pid::new(std::process::id())).unwrap()
    }

    /// Every program but ourselves is unknown.
    fn ourselves(name: &str, command_line: &dyn Fn() -> Vec<String>) -> Option<&'static str> {
        let own = own();
        let ours = program_name(own.pid()).unwrap() == name
            && command_line() == own.command_line().unwrap();
        ours.then_some("test")
    }

    #[test]
    fn a_program_is_found_by_where_it_listens() {
        let [one, any] = ["127.0.0.1:0", "0.0.0.0:0"].map(|at| TcpListener::bind(at).unwrap());
        let process = own();
        let mut listeners = Listeners::new(ourselves);
        listeners.refresh([&process].into_iter(), [&process].into_iter());
        let namespace = process.net_namespace();
        let at = |ip: &str, listener: &TcpListener| {
            let port = listener.local_addr().unwrap().port();
            listeners.service_at(namespace, SocketAddr::new(ip.parse().unwrap(), port))
        };
        assert_eq!(at("127.0.0.1", &one), Some("test"));
        assert_eq!(at("127.0.0.2", &one), None);
        assert_eq!(at("127.0.0.2", &any), Some("test"));
        let elsewhere = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(listeners.service_at(namespace, elsewhere), None);
        assert_eq!(listeners.service_at(None, one.local_addr().unwrap()), None);
    }

    #[test]
    fn who_waits_is_counted_at_our_own_sockets() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.sock");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _unix = UnixListener::bind(&path).unwrap();
        let address = listener.local_addr().unwrap();
        let process = own();
        let mut listeners = Listeners::new(|_, _| None);
        listeners.refresh([&process].into_iter(), [&process].into_iter());
        let waiting = |listeners: &mut Listeners, address: &str| {
            let queues = listeners.queues(false);
            let queue = queues.into_iter().find(|queue| queue.address == address).unwrap();
            assert!(queue.limit.unwrap() >= 64);
            queue.waiting
        };
        assert_eq!(waiting(&mut listeners, &address.to_string()), Some(0));
        let _clients = [(); 2].map(|()| TcpStream::connect(address).unwrap());
        assert_eq!(waiting(&mut listeners, &address.to_string()), Some(2));
        let unix = format!("unix:{}", path.display());
        assert_eq!(waiting(&mut listeners, &unix), Some(0));
    }

    #[test]
    fn sockets_that_share_an_address_are_one_queue() {
        let mut queues = Vec::new();
        let at = ListenAddress::Tcp("0.0.0.0:8000".parse().unwrap());
        for (waiting, limit) in [(Some(2), Some(5)), (Some(3), Some(5)), (Some(1), None)] {
            add_queue(&mut queues, &Listening { at: at.clone(), waiting, limit });
        }
        let address = "0.0.0.0:8000".to_owned();
        assert_eq!(queues, [AcceptQueue { address, waiting: Some(6), limit: None }]);
    }
}
