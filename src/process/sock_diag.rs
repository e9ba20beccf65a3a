//! The kernel's lists of sockets through `NETLINK_SOCK_DIAG`, of our own network
//! namespace only.
//!
//! It says the same as `/proc/net/tcp` at a small part of the cost, because sockets
//! that are closing are left out before they are printed; and of a unix socket it
//! says to which one it is connected, which `/proc` does not.
//!
//! The messages are those of `include/uapi/linux/{netlink,sock_diag,inet_diag,
//! unix_diag}.h`; see sock_diag(7). Integers are in the machine's own byte order, but
//! ports and addresses in the network's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

use rustc_hash::FxHashMap;

use super::net_tables::{ListenAddress, Listening, Socket};

/// `AF_INET`.
const IPV4: u8 = 2;
const AF_UNIX: u8 = 1;
const TCP_LISTEN: u8 = 10;
/// `TCP_LISTEN` again: unix sockets use TCP's names for their states.
const UNIX_LISTEN: u8 = 10;
/// Every state of `include/net/tcp_states.h` in which a socket can belong to a
/// process: all but TIME_WAIT (6) and those of a connection that is still to come
/// (3 and 12).
const TCP_STATES: u32 = 0xfff & !(1 | 1 << 3 | 1 << 6);

/// Adds all TCP sockets that belong to a process.
pub(super) fn tcp(sockets: &mut Vec<(u64, Socket)>) -> Result<(), Errno> {
    dump_tcp(TCP_STATES, |found| {
        let socket = if found.state == TCP_LISTEN {
            Socket::Listening(found.listening())
        } else {
            Socket::Tcp { local: found.local, peer: found.peer }
        };
        sockets.push((found.inode, socket));
    })
}

/// Adds the TCP sockets that listen: the kernel has a list of its own for them.
pub(super) fn listening_tcp(sockets: &mut Vec<(u64, Socket)>) -> Result<(), Errno> {
    dump_tcp(1 << TCP_LISTEN, |found| {
        sockets.push((found.inode, Socket::Listening(found.listening())));
    })
}

/// Hands over the TCP sockets in these states, of IPv4 and IPv6 in one walk: the newer
/// request of sock_diag(7) is for one family, and the kernel goes through the table of both
/// for each. This older one (`inet_diag_dump_compat` of `net/ipv4/inet_diag.c`) is for both.
fn dump_tcp(states: u32, mut each: impl FnMut(Tcp)) -> Result<(), Errno> {
    const TCPDIAG_GETSOCK: u16 = 18;
    // struct inet_diag_req: family, lengths of addresses, extensions, 48 bytes for one
    // socket's addresses, which a dump leaves empty, states, and a place to begin.
    let mut request = vec![0; 52];
    request.extend_from_slice(&states.to_ne_bytes());
    request.resize(60, 0);
    dump(TCPDIAG_GETSOCK, &request, |message| {
        each_of_a_process(parse_tcp(message), |found| found.inode, &mut each);
    })
}

fn each_of_a_process<T>(found: Option<T>, inode: impl Fn(&T) -> u64, each: &mut impl FnMut(T)) {
    if let Some(found) = found.filter(|found| inode(found) != 0) {
        each(found);
    }
}

/// What to say of unix sockets: `UDIAG_SHOW_*`.
const SHOW_NAME: u32 = 1;
const SHOW_PEER: u32 = 4;
const SHOW_QUEUE: u32 = 0x10;

/// `struct unix_diag_req`: family, protocol, padding, states, inode, what to show and a
/// cookie.
fn unix_request(states: u32, show: u32) -> Vec<u8> {
    let mut request = vec![AF_UNIX, 0, 0, 0];
    for word in [states, 0, show, 0, 0] {
        request.extend_from_slice(&word.to_ne_bytes());
    }
    request
}

/// Adds all unix sockets. One without a path of its own has that of the one it is connected
/// to.
pub(super) fn unix(sockets: &mut Vec<(u64, Socket)>) -> Result<(), Errno> {
    let mut names = FxHashMap::default();
    let mut unnamed = Vec::new();
    dump(SOCK_DIAG_BY_FAMILY, &unix_request(u32::MAX, SHOW_NAME | SHOW_PEER), |message| {
        let Some(found) = parse_unix(message) else { return };
        let inode = found.inode;
        match (found.state, &found.name) {
            (UNIX_LISTEN, _) => {
                sockets.push((inode, Socket::Listening(found.clone().listening())));
            }
            (_, None) => unnamed.push((inode, found.peer)),
            (_, Some(name)) => {
                let socket = Socket::Unix { path: Some(name.clone()), accepting: true };
                sockets.push((inode, socket));
            }
        }
        if let Some(name) = found.name {
            names.insert(inode, name);
        }
    })?;
    sockets.extend(unnamed.into_iter().map(|(inode, peer)| {
        let path = peer.and_then(|peer| names.get(&peer).cloned());
        (inode, Socket::Unix { path, accepting: false })
    }));
    Ok(())
}

/// Adds the unix sockets that listen.
pub(super) fn listening_unix(sockets: &mut Vec<(u64, Socket)>) -> Result<(), Errno> {
    let request = unix_request(1 << UNIX_LISTEN, SHOW_NAME | SHOW_QUEUE);
    dump(SOCK_DIAG_BY_FAMILY, &request, |message| {
        each_of_a_process(parse_unix(message), |found| found.inode, &mut |found: Unix| {
            sockets.push((found.inode, Socket::Listening(found.listening())))
        });
    })
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// Asks for all sockets of a kind and hands over each one's message, without its
/// netlink header.
fn dump(kind: u16, request: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Errno> {
    // NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH.
    const DUMP: u16 = 0x301;
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    let length = u32::try_from(request.len().saturating_add(HEADER)).map_err(|_| Errno::EINVAL)?;
    // struct nlmsghdr: length, type, flags, sequence number, port.
    let mut message = Vec::with_capacity(request.len().saturating_add(HEADER));
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&DUMP.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(request);
    send(netlink.as_raw_fd(), &message, MsgFlags::empty())?;
    let mut buffer = vec![0; 32 << 10];
    loop {
        // The kernel has the next part ready before it hands over the last one.
        let count = recv(netlink.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)?;
        let part = buffer.get(..count).unwrap_or_default();
        if part.is_empty() {
            return Err(Errno::EPROTO);
        }
        for message in messages(part) {
            match message {
                Message::Data(data) => each(data),
                Message::Done => return Ok(()),
                Message::Failed(errno) => return Err(errno),
            }
        }
    }
}

/// `sizeof(struct nlmsghdr)`.
const HEADER: usize = 16;

#[derive(Debug, PartialEq, Eq)]
enum Message<'b> {
    Data(&'b [u8]),
    Done,
    Failed(Errno),
}

fn messages(mut part: &[u8]) -> impl Iterator<Item = Message<'_>> {
    const NLMSG_ERROR: u16 = 2;
    const NLMSG_DONE: u16 = 3;
    std::iter::from_fn(move || {
        let length = usize::try_from(word(part, 0)?).ok()?;
        let kind = u16::from_ne_bytes(chunk(part, 4)?);
        let body = part.get(HEADER..length)?;
        part = part.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(match kind {
            NLMSG_DONE => Message::Done,
            NLMSG_ERROR => {
                // The number is negative, as the kernel has it.
                let errno = word(body, 0)?.cast_signed().wrapping_neg();
                Message::Failed(Errno::from_raw(errno))
            }
            _ => Message::Data(body),
        })
    })
}

struct Tcp {
    state: u8,
    local: SocketAddr,
    peer: SocketAddr,
    inode: u64,
    /// Of a listening socket, how many connections wait and how many may
    /// (`inet_diag_msg_common_fill` and `tcp_diag_get_info`: `sk_ack_backlog`,
    /// `sk_max_ack_backlog`).
    queues: [u32; 2],
}

impl Tcp {
    const fn listening(&self) -> Listening {
        let [waiting, limit] = self.queues;
        let at = ListenAddress::Tcp(self.local);
        Listening { at, waiting: Some(waiting), limit: Some(limit) }
    }
}

/// `struct inet_diag_msg`.
fn parse_tcp(message: &[u8]) -> Option<Tcp> {
    let [family, state, ..] = *message else { return None };
    let address = |port: usize, start: usize| {
        let port = u16::from_be_bytes(chunk(message, port)?);
        let ip = if family == IPV4 {
            IpAddr::V4(Ipv4Addr::from(chunk::<4>(message, start)?))
        } else {
            IpAddr::V6(Ipv6Addr::from(chunk::<16>(message, start)?)).to_canonical()
        };
        Some(SocketAddr::new(ip, port))
    };
    Some(Tcp {
        state,
        local: address(4, 8)?,
        peer: address(6, 24)?,
        inode: u64::from(word(message, 68)?),
        queues: [word(message, 56)?, word(message, 60)?],
    })
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Unix {
    state: u8,
    inode: u64,
    name: Option<String>,
    peer: Option<u64>,
    /// As for TCP, if it was asked for.
    queues: Option<[u32; 2]>,
}

impl Unix {
    fn listening(self) -> Listening {
        Listening {
            at: ListenAddress::Unix(self.name),
            waiting: self.queues.map(|[waiting, _]| waiting),
            limit: self.queues.map(|[_, limit]| limit),
        }
    }
}

/// `struct unix_diag_msg` and its attributes.
fn parse_unix(message: &[u8]) -> Option<Unix> {
    const NAME: u16 = 0;
    const PEER: u16 = 2;
    const QUEUE: u16 = 4;
    let [_, _, state, ..] = *message else { return None };
    let inode = u64::from(word(message, 4)?);
    let mut found = Unix { state, inode, name: None, peer: None, queues: None };
    let mut attributes = message.get(16..)?;
    // struct nlattr: length with this header, type.
    while let (Some(length), Some(kind)) = (chunk(attributes, 0), chunk(attributes, 2)) {
        let length = usize::from(u16::from_ne_bytes(length));
        let Some(value) = attributes.get(4..length) else { break };
        match u16::from_ne_bytes(kind) {
            NAME => found.name = socket_name(value),
            PEER => found.peer = word(value, 0).map(u64::from),
            // struct unix_diag_rqlen.
            QUEUE => found.queues = word(value, 0).zip(word(value, 4)).map(<[u32; 2]>::from),
            _ => {}
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(found)
}

/// A path, or a name that begins with a zero byte, which is written as `@`.
fn socket_name(value: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(value);
    let name = match text.strip_prefix('\0') {
        Some(name) => format!("@{name}"),
        None => text.trim_end_matches('\0').to_owned(),
    };
    (!name.is_empty()).then_some(name)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    chunk(bytes, at).map(u32::from_ne_bytes)
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    use nix::sys::stat::fstat;

    use super::*;

    fn inode(file: &impl AsFd) -> u64 {
        fstat(file).unwrap().st_ino
    }

    #[test]
    fn tcp_sockets_are_as_the_library_says() {
        let listeners = ["127.0.0.1:0", "[::1]:0"].map(|at| TcpListener::bind(at).unwrap());
        for listener in &listeners {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, _) = listener.accept().unwrap();
            let mut sockets = Vec::new();
            tcp(&mut sockets).unwrap();
            let sockets: FxHashMap<_, _> = sockets.into_iter().collect();
            let Socket::Listening(listening) = &sockets[&inode(listener)] else { panic!() };
            assert_eq!(listening.at, ListenAddress::Tcp(listener.local_addr().unwrap()));
            for stream in [&client, &server] {
                let (local, peer) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
                assert_eq!(sockets[&inode(stream)], Socket::Tcp { local, peer });
            }
        }
    }

    #[test]
    fn listening_sockets_tell_how_many_wait() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let unix = UnixListener::bind(&path).unwrap();
        let _three: Vec<_> =
            (0..3).map(|_| TcpStream::connect(tcp.local_addr().unwrap()).unwrap()).collect();
        let _two: Vec<_> = (0..2).map(|_| UnixStream::connect(&path).unwrap()).collect();
        let mut sockets = Vec::new();
        listening_tcp(&mut sockets).unwrap();
        listening_unix(&mut sockets).unwrap();
        let sockets: FxHashMap<_, _> = sockets.into_iter().collect();
        let path = Some(path.to_str().unwrap().to_owned());
        for (inode, waits, expected) in [
            (inode(&tcp), 3, ListenAddress::Tcp(tcp.local_addr().unwrap())),
            (inode(&unix), 2, ListenAddress::Unix(path)),
        ] {
            let Socket::Listening(Listening { at, waiting, limit }) = &sockets[&inode] else {
                panic!("{:?}", sockets[&inode])
            };
            assert_eq!((at, *waiting), (&expected, Some(waits)));
            // The library asks for 128 or as many as there may be.
            assert!(limit.unwrap() >= 64, "{limit:?}");
        }
    }

    #[test]
    fn a_unix_client_has_its_server_s_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a b.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let client = UnixStream::connect(&path).unwrap();
        let (server, _) = listener.accept().unwrap();
        let (one, _other) = UnixStream::pair().unwrap();
        let mut sockets = Vec::new();
        super::unix(&mut sockets).unwrap();
        let sockets: FxHashMap<_, _> = sockets.into_iter().collect();
        let name = Some(path.to_str().unwrap().to_owned());
        let Socket::Listening(listening) = &sockets[&inode(&listener)] else { panic!() };
        assert_eq!(listening.at, ListenAddress::Unix(name.clone()));
        assert_eq!(sockets[&inode(&client)], Socket::Unix { path: name.clone(), accepting: false });
        assert_eq!(sockets[&inode(&server)], Socket::Unix { path: name, accepting: true });
        let pair = Socket::Unix { path: None, accepting: false };
        assert_eq!(sockets[&inode(&one)], pair);
    }

    #[test]
    fn damaged_messages_end_and_do_not_loop() {
        let mut part = Vec::new();
        part.extend_from_slice(&20_u32.to_ne_bytes());
        part.extend_from_slice(&2_u16.to_ne_bytes());
        part.extend_from_slice(&[0; 10]);
        part.extend_from_slice(&(-2_i32).to_ne_bytes());
        assert_eq!(messages(&part).collect::<Vec<_>>(), [Message::Failed(Errno::ENOENT)]);
        // A length of nothing, of more than there is, of less than a header.
        for length in [0_u32, 4096, 15, u32::MAX] {
            part.splice(..4, length.to_ne_bytes());
            assert_eq!(messages(&part).count(), 0, "{length}");
        }
        assert!(parse_tcp(&[2; 71]).is_none());
        assert!(parse_unix(&[1; 15]).is_none());
        let mut unix = vec![0; 16];
        unix.extend_from_slice(&[3, 0, 2, 0]);
        let found = parse_unix(&unix).unwrap();
        assert_eq!((found.name, found.peer), (None, None));
        assert_eq!(socket_name(b"\0x"), Some("@x".into()));
        assert_eq!(socket_name(b"/run/x\0"), Some("/run/x".into()));
    }
}
