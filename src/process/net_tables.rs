//! The kernel's lists of sockets: by netlink where the process shares our network
//! namespace, else from `/proc/PID/net/{tcp,tcp6,udp,udp6,unix}`.
//!
//! The formats are those of `net/ipv4/tcp_ipv4.c` (`get_tcp4_sock`),
//! `net/ipv6/tcp_ipv6.c`, `net/ipv4/udp.c` and `net/unix/af_unix.c`
//! (`unix_seq_show`). procfs-core's parsers give up a whole table at a state that they
//! do not know and cut unix paths at a space; here an odd line is left out alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Process, sock_diag};
use crate::units::Pid;

/// One socket of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Socket {
    Listening,
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

/// Those sockets of the tables that a process has.
#[derive(Debug, Default)]
pub(super) struct NetTables {
    /// By inode.
    pub(super) sockets: FxHashMap<u64, Socket>,
    pub(super) listening_ports: FxHashSet<u16>,
    pub(super) listening_paths: FxHashSet<String>,
}

/// Takes from a table's text the sockets with these inodes.
type Parse = fn(&mut NetTables, &[u8], &FxHashSet<u64>);

impl NetTables {
    /// The sockets of a process with these inodes.
    pub(super) fn read(process: &Process, own: &FxHashSet<u64>) -> Self {
        let mut tables = Self::default();
        let namespace = |process: &Process| process.link("ns/net").ok();
        let is_ours = Process::open(Pid::new(std::process::id()))
            .is_ok_and(|us| namespace(&us).is_some_and(|ours| namespace(process) == Some(ours)));
        if !is_ours || sock_diag::add_tcp(&mut tables, own).is_err() {
            tables.read_files(
                process,
                own,
                &[("net/tcp", Self::add_tcp), ("net/tcp6", Self::add_tcp)],
            );
        }
        if !is_ours || sock_diag::add_unix(&mut tables, own).is_err() {
            tables.read_files(process, own, &[("net/unix", Self::add_unix)]);
        }
        tables.read_files(process, own, &[("net/udp", Self::add_udp), ("net/udp6", Self::add_udp)]);
        tables
    }

    fn read_files(&mut self, process: &Process, own: &FxHashSet<u64>, files: &[(&str, Parse)]) {
        for (file, parse) in files {
            // A kernel without IPv6, say, lacks some of them.
            if let Ok(text) = process.read_bytes(file) {
                parse(self, &text, own);
            }
        }
    }

    /// `SL: LOCAL REMOTE STATE TX:RX TR:WHEN RETRANSMITS UID TIMEOUT INODE …`
    fn add_tcp(&mut self, text: &[u8], own: &FxHashSet<u64>) {
        // TCP_LISTEN of include/net/tcp_states.h.
        const LISTEN: &str = "0A";
        for row in rows(text, own, 9) {
            let (Some(local), Some(peer)) = (row.address(1), row.address(2)) else { continue };
            if row.field(3) == Some(LISTEN) {
                self.listening_ports.insert(local.port());
                self.sockets.insert(row.inode, Socket::Listening);
            } else {
                self.sockets.insert(row.inode, Socket::Tcp { local, peer });
            }
        }
    }

    /// As for TCP.
    fn add_udp(&mut self, text: &[u8], own: &FxHashSet<u64>) {
        for row in rows(text, own, 9) {
            let Some(peer) = row.address(2) else { continue };
            let peer = (peer.port() != 0).then_some(peer);
            self.sockets.insert(row.inode, Socket::Udp { peer });
        }
    }

    /// `NUM: REFS PROTOCOL FLAGS TYPE STATE INODE [PATH]`
    fn add_unix(&mut self, text: &[u8], own: &FxHashSet<u64>) {
        // __SO_ACCEPTCON of include/uapi/linux/net.h.
        const LISTENING: u32 = 1 << 16;
        for row in rows(text, own, 6) {
            let flags = row.field(3).and_then(|flags| u32::from_str_radix(flags, 16).ok());
            let path = row.rest_after(7);
            if flags.is_some_and(|flags| flags & LISTENING != 0) {
                self.listening_paths.extend(path);
                self.sockets.insert(row.inode, Socket::Listening);
            } else {
                self.sockets.insert(row.inode, Socket::Unix { accepting: path.is_some(), path });
            }
        }
    }
}

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

/// The lines whose inode, in the field with this index, is one of these. The header
/// has no number there.
fn rows<'t>(
    text: &'t [u8],
    own: &FxHashSet<u64>,
    inode_field: usize,
) -> impl Iterator<Item = Row<'t>> {
    text.split(|&byte| byte == b'\n').filter_map(move |line| {
        let inode = std::str::from_utf8(fields(line).nth(inode_field)?).ok()?.parse().ok()?;
        own.contains(&inode).then_some(Row { line, inode })
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

    fn tables(own: &[u64]) -> NetTables {
        let own = own.iter().copied().collect();
        let mut tables = NetTables::default();
        tables.add_tcp(include_bytes!("../../fixtures/proc/net-tcp.txt"), &own);
        tables.add_tcp(include_bytes!("../../fixtures/proc/net-tcp6.txt"), &own);
        tables.add_udp(include_bytes!("../../fixtures/proc/net-udp.txt"), &own);
        tables.add_unix(include_bytes!("../../fixtures/proc/net-unix.txt"), &own);
        tables
    }

    fn tcp(local: &str, peer: &str) -> Socket {
        Socket::Tcp { local: local.parse().unwrap(), peer: peer.parse().unwrap() }
    }

    #[test]
    fn captured_tables_give_the_sockets_of_the_process_alone() {
        let tables = tables(&[27792, 27794, 27795, 27797, 27799]);
        assert_eq!(tables.sockets.len(), 5);
        assert_eq!(tables.sockets[&27792], Socket::Listening);
        assert_eq!(tables.sockets[&27794], tcp("127.0.0.1:18000", "127.0.0.1:57440"));
        assert_eq!(tables.sockets[&27795], Socket::Listening);
        // A v4 client of a v6 listener.
        assert_eq!(tables.sockets[&27797], tcp("127.0.0.1:18001", "127.0.0.1:42394"));
        assert_eq!(tables.sockets[&27799], tcp("[::1]:18001", "[::1]:36004"));
        let mut ports: Vec<_> = tables.listening_ports.into_iter().collect();
        ports.sort_unstable();
        assert_eq!(ports, [18000, 18001]);
    }

    #[test]
    fn captured_unix_and_udp_sockets() {
        let tables = tables(&[27800, 27801, 27802, 27803, 27804]);
        let peer = Some("127.0.0.1:53".parse().unwrap());
        assert_eq!(tables.sockets[&27800], Socket::Udp { peer });
        assert_eq!(tables.sockets[&27801], Socket::Listening);
        assert_eq!(tables.sockets[&27802], Socket::Unix { path: None, accepting: false });
        let path = "/run/app sock.sock".to_owned();
        assert!(tables.listening_paths.contains(&path));
        assert_eq!(tables.sockets[&27803], Socket::Unix { path: Some(path), accepting: true });
        assert_eq!(tables.sockets[&27804], Socket::Listening);
        assert!(tables.listening_paths.contains("@farrier abstract"));
        assert_eq!(tables.listening_paths.len(), 2);
    }

    #[test]
    fn odd_lines_are_left_out_and_the_rest_stays() {
        let good = "0: 0100007F:4650 0100007F:E060 01 0:0 0:0 0 0 0 7 1\n";
        for odd in ["\u{fffd}", "1: x:y z:w 01 0:0 0:0 0 0 0 7 1", "1: 0100007F 0: 01 0 0 0 0 0 7"]
        {
            let mut tables = NetTables::default();
            let own = FxHashSet::from_iter([7]);
            tables.add_tcp(format!("{odd}\n{good}{odd}").as_bytes(), &own);
            assert_eq!(tables.sockets.len(), 1);
            assert_eq!(tables.sockets[&7], tcp("127.0.0.1:18000", "127.0.0.1:57440"));
        }
        assert_eq!(parse_address("ÿÿÿÿ:0050"), None);
        assert_eq!(parse_address("0100007F:10000"), None);
    }
}
