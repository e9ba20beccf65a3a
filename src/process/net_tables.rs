//! The kernel's lists of sockets, of a whole network namespace: by netlink where the
//! process shares ours, else from `/proc/PID/net/{tcp,tcp6,udp,udp6,unix}`.
//!
//! The formats are those of `net/ipv4/tcp_ipv4.c` (`get_tcp4_sock`),
//! `net/ipv6/tcp_ipv6.c`, `net/ipv4/udp.c` and `net/unix/af_unix.c`
//! (`unix_seq_show`). procfs-core's parsers give up a whole table at a state that they
//! do not know and cut unix paths at a space; here an odd line is left out alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Process, sock_diag};

/// One socket of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Socket {
    Listening(Listening),
    Tcp {
        local: SocketAddr,
        peer: SocketAddr,
    },
    Udp {
        peer: Option<SocketAddr>,
    },
    Unix {
        path: Option<String>,
        /// Whether the path is its own, so that it may have been accepted there.
        accepting: bool,
    },
}

/// A socket that waits for connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listening {
    pub(super) at: ListenAddress,
    /// Connections that are made and wait to be accepted; `None` where the list does not
    /// tell.
    pub(super) waiting: Option<u32>,
    /// How many may wait; `None` where the list does not tell.
    pub(super) limit: Option<u32>,
}

/// Where a socket listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ListenAddress {
    Tcp(SocketAddr),
    /// A path, `@name` for one without a file, or nothing where the list has none.
    Unix(Option<String>),
}

impl ListenAddress {
    pub(super) const fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }
}

/// A list of sockets. Each is read by itself: mostly TCP's is the one that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Tcp,
    Unix,
    Udp,
}

impl Table {
    /// All, those first in which a socket most likely is.
    pub(super) const ALL: [Self; 3] = [Self::Tcp, Self::Unix, Self::Udp];

    /// The sockets of the namespace that a process is in, with their inodes. Those that
    /// belong to no process, such as connections that were not accepted yet, are left out.
    /// `is_ours` says whether it is our own namespace.
    pub(super) fn read(self, process: &Process, is_ours: bool) -> Vec<(u64, Socket)> {
        let mut sockets = Vec::new();
        match self {
            Self::Tcp if is_ours && sock_diag::tcp(&mut sockets).is_ok() => {}
            Self::Tcp => TCP.read(process, &["net/tcp", "net/tcp6"], &mut sockets),
            Self::Unix if is_ours && sock_diag::unix(&mut sockets).is_ok() => {}
            Self::Unix => UNIX.read(process, &["net/unix"], &mut sockets),
            Self::Udp => UDP.read(process, &["net/udp", "net/udp6"], &mut sockets),
        }
        sockets
    }

    /// Those that listen. In our own namespace that is much the cheaper list.
    pub(super) fn listening(self, process: &Process, is_ours: bool) -> Vec<(u64, Listening)> {
        let mut sockets = Vec::new();
        match self {
            Self::Tcp if is_ours && sock_diag::listening_tcp(&mut sockets).is_ok() => {}
            Self::Unix if is_ours && sock_diag::listening_unix(&mut sockets).is_ok() => {}
            _ => sockets = self.read(process, false),
        }
        let listening = |(inode, socket)| match socket {
            Socket::Listening(listening) => Some((inode, listening)),
            _ => None,
        };
        sockets.into_iter().filter_map(listening).collect()
    }
}

/// How a list is written.
struct TextFormat {
    inode_field: usize,
    /// What a row says, if it makes sense.
    socket: fn(&Row<'_>) -> Option<Socket>,
}

impl TextFormat {
    fn read(&self, process: &Process, files: &[&str], sockets: &mut Vec<(u64, Socket)>) {
        for file in files {
            // A kernel without IPv6, say, lacks some of them.
            if let Ok(text) = process.read_bytes(file) {
                self.parse(&text, sockets);
            }
        }
    }

    fn parse(&self, text: &[u8], sockets: &mut Vec<(u64, Socket)>) {
        let of_row = |row: Row<'_>| Some((row.inode, (self.socket)(&row)?));
        sockets.extend(rows(text, self.inode_field).filter_map(of_row));
    }
}

/// `SL: LOCAL REMOTE STATE TX:RX TR:WHEN RETRANSMITS UID TIMEOUT INODE …`. Of a listening
/// socket RX is `sk_ack_backlog`, in hex.
const TCP: TextFormat = TextFormat {
    inode_field: 9,
    socket: |row| {
        // TCP_LISTEN of include/net/tcp_states.h.
        const LISTEN: &str = "0A";
        let (local, peer) = (row.address(1)?, row.address(2)?);
        if row.field(3) != Some(LISTEN) {
            return Some(Socket::Tcp { local, peer });
        }
        let (_, received) = row.field(4)?.split_once(':')?;
        let waiting = u32::from_str_radix(received, 16).ok();
        let at = ListenAddress::Tcp(local);
        Some(Socket::Listening(Listening { at, waiting, limit: None }))
    },
};

/// As for TCP.
const UDP: TextFormat = TextFormat {
    inode_field: 9,
    socket: |row| {
        let peer = row.address(2)?;
        Some(Socket::Udp { peer: (peer.port() != 0).then_some(peer) })
    },
};

/// `NUM: REFS PROTOCOL FLAGS TYPE STATE INODE [PATH]`
const UNIX: TextFormat = TextFormat {
    inode_field: 6,
    socket: |row| {
        // __SO_ACCEPTCON of include/uapi/linux/net.h.
        const LISTENING: u32 = 1 << 16;
        let flags = row.field(3).and_then(|flags| u32::from_str_radix(flags, 16).ok());
        let path = row.rest_after(7);
        Some(if flags.is_some_and(|flags| flags & LISTENING != 0) {
            let at = ListenAddress::Unix(path);
            Socket::Listening(Listening { at, waiting: None, limit: None })
        } else {
            Socket::Unix { accepting: path.is_some(), path }
        })
    },
};

struct Row<'t> {
    line: &'t [u8],
    inode: u64,
}

impl Row<'_> {
    fn field(&self, index: usize) -> Option<&str> {
        std::str::from_utf8(fields(self.line).nth(index)?).ok()
    }

    fn address(&self, index: usize) -> Option<SocketAddr> {
        parse_address(self.field(index)?)
    }

    /// What follows the first `count` fields and one space, if there is any of it.
    fn rest_after(&self, count: usize) -> Option<String> {
        let mut rest = self.line;
        for _ in 0..count {
            rest = rest.trim_ascii_start();
            let end = rest.iter().position(u8::is_ascii_whitespace)?;
            rest = rest.get(end..)?;
        }
        let path = rest.strip_prefix(b" ").filter(|path| !path.is_empty())?;
        Some(String::from_utf8_lossy(path).into_owned())
    }
}

/// The lines with an inode in the field with this index. The header has no number there,
/// and a socket that belongs to no process has 0.
fn rows(text: &[u8], inode_field: usize) -> impl Iterator<Item = Row<'_>> {
    text.split(|&byte| byte == b'\n').filter_map(move |line| {
        let inode = std::str::from_utf8(fields(line).nth(inode_field)?).ok()?.parse().ok()?;
        (inode != 0).then_some(Row { line, inode })
    })
}

fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty())
}

/// `ADDRESS:PORT` in hex. The address is printed as one or four 32-bit words in the
/// machine's own byte order, each of which holds network order; the port is plain.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |index: usize| {
        let start = index.checked_mul(8)?;
        let digits = address.get(start..start.checked_add(8)?)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(index)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    use rustc_hash::FxHashMap;

    fn tables() -> FxHashMap<u64, Socket> {
        let mut sockets = Vec::new();
        TCP.parse(include_bytes!("../../fixtures/proc/net-tcp.txt"), &mut sockets);
        TCP.parse(include_bytes!("../../fixtures/proc/net-tcp6.txt"), &mut sockets);
        UDP.parse(include_bytes!("../../fixtures/proc/net-udp.txt"), &mut sockets);
        UNIX.parse(include_bytes!("../../fixtures/proc/net-unix.txt"), &mut sockets);
        sockets.into_iter().collect()
    }

    fn tcp(local: &str, peer: &str) -> Socket {
        Socket::Tcp { local: local.parse().unwrap(), peer: peer.parse().unwrap() }
    }

    fn listening(at: ListenAddress, waiting: Option<u32>) -> Socket {
        Socket::Listening(Listening { at, waiting, limit: None })
    }

    fn tcp_listening(at: &str) -> Socket {
        listening(ListenAddress::Tcp(at.parse().unwrap()), Some(0))
    }

    #[test]
    fn captured_tables_give_each_socket() {
        let tables = tables();
        assert_eq!(tables[&27792], tcp_listening("127.0.0.1:18000"));
        assert_eq!(tables[&27794], tcp("127.0.0.1:18000", "127.0.0.1:57440"));
        assert_eq!(tables[&27795], tcp_listening("[::]:18001"));
        // A v4 client of a v6 listener.
        assert_eq!(tables[&27797], tcp("127.0.0.1:18001", "127.0.0.1:42394"));
        assert_eq!(tables[&27799], tcp("[::1]:18001", "[::1]:36004"));
        assert!(!tables.contains_key(&0));
    }

    #[test]
    fn captured_unix_and_udp_sockets() {
        let tables = tables();
        let unix = |path: &str| listening(ListenAddress::Unix(Some(path.to_owned())), None);
        let peer = Some("127.0.0.1:53".parse().unwrap());
        assert_eq!(tables[&27800], Socket::Udp { peer });
        assert_eq!(tables[&27801], unix("/run/app sock.sock"));
        assert_eq!(tables[&27802], Socket::Unix { path: None, accepting: false });
        let path = Some("/run/app sock.sock".to_owned());
        assert_eq!(tables[&27803], Socket::Unix { path, accepting: true });
        assert_eq!(tables[&27804], unix("@farrier abstract"));
    }

    #[test]
    fn a_listening_socket_tells_how_many_wait() {
        let line = b"0: 00000000:1F40 00000000:0000 0A 00000000:0000001F 0:0 0 0 0 7 1";
        let mut sockets = Vec::new();
        TCP.parse(line, &mut sockets);
        let at = ListenAddress::Tcp("0.0.0.0:8000".parse().unwrap());
        assert_eq!(sockets, [(7, listening(at, Some(31)))]);
    }

    #[test]
    fn odd_lines_are_left_out_and_the_rest_stays() {
        let good = "0: 0100007F:4650 0100007F:E060 01 0:0 0:0 0 0 0 7 1\n";
        for odd in ["\u{fffd}", "1: x:y z:w 01 0:0 0:0 0 0 0 7 1", "1: 0100007F 0: 01 0 0 0 0 0 7"]
        {
            let mut sockets = Vec::new();
            TCP.parse(format!("{odd}\n{good}{odd}").as_bytes(), &mut sockets);
            assert_eq!(sockets, [(7, tcp("127.0.0.1:18000", "127.0.0.1:57440"))]);
        }
        assert_eq!(parse_address("ÿÿÿÿ:0050"), None);
        assert_eq!(parse_address("0100007F:10000"), None);
    }
}
