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
    let info = include_str!("../../../fixtures/proc/fdinfo-epoll.txt");
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
