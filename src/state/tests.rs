//! The decision table, row by row.

use super::*;

const GIL: u64 = 0x5600_0000_1000;
const STACK: u64 = 0x7f10_0000_8000;

fn call(number: u64, arguments: [u64; 6]) -> Option<Syscall> {
    Some(Syscall::In(Call {
        number,
        arguments,
        stack_pointer: STACK,
        program_counter: 0x7f20_0000_0000,
    }))
}

fn marks(frames: &[(&str, &str)]) -> Vec<Marks> {
    frames.iter().map(|(function, file)| Marks::of(function, file)).collect()
}

fn view() -> Vec<Marks> {
    marks(&[("view", "/srv/app.py"), ("Flask.dispatch_request", "/x/flask/app.py")])
}

fn pool_thread() -> Vec<Marks> {
    marks(&[("_worker", "/usr/lib/python3.11/concurrent/futures/thread.py")])
}

/// State, what it waits on and evidence, on x86_64.
#[track_caller]
fn check(seen: &Seen<'_>, state: State, on: Waiting, evidence: Evidence) {
    let judged = classify_on(Architecture::X86_64, seen);
    assert_eq!(judged, Judged { state, on, evidence }, "{seen:?}");
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The far end of [`upstream`].
fn peer(text: &str) -> Waiting {
    Waiting::Peer(Connection { local: Some(address("10.0.0.2:40000")), peer: address(text) })
}

fn upstream() -> Descriptor {
    Descriptor::Tcp {
        local: address("10.0.0.2:40000"),
        peer: address("10.0.0.5:5432"),
        accepted: false,
    }
}

fn client() -> Descriptor {
    Descriptor::Tcp {
        local: address("10.0.0.2:8000"),
        peer: address("10.0.0.9:50000"),
        accepted: true,
    }
}

#[test]
fn a_running_thread_is_running_whatever_its_frames() {
    let idle = pool_thread();
    let seen = Seen { syscall: Some(Syscall::Running), frames: Some(&idle), ..Seen::default() };
    check(&seen, State::Running, Waiting::Nothing, Evidence::Syscall);
}

#[test]
fn outside_of_a_call_only_a_disk_is_known() {
    let outside = Some(Syscall::Outside { stack_pointer: STACK, program_counter: 1 });
    let disk = Seen { syscall: outside, run_flag: Some(RunFlag::Disk), ..Seen::default() };
    check(&disk, State::Io, Waiting::Kind("disk"), Evidence::RunFlag);
    let other = Seen { syscall: outside, run_flag: Some(RunFlag::Blocked), ..Seen::default() };
    check(&other, State::Unknown, Waiting::Nothing, Evidence::Syscall);
}

#[test]
fn a_futex_is_the_gil_inside_of_it_alone() {
    let frames = view();
    let idle = pool_thread();
    let seen = |word: u64, frames| Seen {
        syscall: call(202, [word, 0x89, 0, 0, 0, 0]),
        gil: Some((RemoteAddress::new(GIL), 208)),
        frames: Some(frames),
        ..Seen::default()
    };
    for offset in [0, 64, 72, 76, 200, 207] {
        let inside = seen(GIL + offset, &frames);
        check(&inside, State::GilWait, Waiting::Gil, Evidence::Syscall);
        // An idle thread that was woken wants the GIL as well.
        let woken = seen(GIL + offset, &idle);
        check(&woken, State::GilWait, Waiting::Gil, Evidence::Syscall);
    }
    let lock = Waiting::Kind("threading.Lock");
    for outside in [GIL - 1, GIL + 208, STACK + 256, 0] {
        check(&seen(outside, &frames), State::Lock, lock, Evidence::Syscall);
    }
    check(&seen(GIL + 208, &idle), State::Idle, Waiting::Nothing, Evidence::SyscallAndFrame);
}

#[test]
fn a_lock_is_named_by_its_frames() {
    let threading = "/usr/lib/python3.12/threading.py";
    let queue = marks(&[
        ("Condition.wait", threading),
        ("Queue.get", "/usr/lib/python3.12/queue.py"),
        ("view", "/srv/app.py"),
    ]);
    let futex = |operation, value| call(202, [0x5555_0000, operation, value, 0, 0, 0]);
    let seen = Seen { syscall: futex(0x189, 0), frames: Some(&queue), ..Seen::default() };
    check(&seen, State::Lock, Waiting::Kind("queue.Queue"), Evidence::SyscallAndFrame);
    let frames = view();
    let seen = Seen { syscall: futex(0x80, 2), frames: Some(&frames), ..Seen::default() };
    check(&seen, State::Lock, Waiting::Kind("native mutex"), Evidence::Syscall);
    let seen = Seen { syscall: futex(0x189, 0), frames: None, ..Seen::default() };
    check(&seen, State::Lock, Waiting::Kind("threading.Lock"), Evidence::Syscall);
}

#[test]
fn sleeping_is_sleep_unless_it_is_an_arbiter() {
    let frames = view();
    for sleep in [
        call(230, [0, 0, STACK, 0, 0, 0]),
        call(35, [STACK, 0, 0, 0, 0, 0]),
        // time.sleep before 3.11.
        call(270, [0, 0, 0, 0, STACK, 0]),
        call(7, [0, 0, 1000, 0, 0, 0]),
    ] {
        let seen = Seen { syscall: sleep, frames: Some(&frames), ..Seen::default() };
        check(&seen, State::Sleep, Waiting::Nothing, Evidence::Syscall);
    }
    let reloader = marks(&[("Reloader.run", "/v/site-packages/gunicorn/reloader.py")]);
    let seen = Seen {
        syscall: call(230, [0, 0, STACK, 0, 0, 0]),
        frames: Some(&reloader),
        ..Seen::default()
    };
    check(&seen, State::Idle, Waiting::Nothing, Evidence::SyscallAndFrame);
}

#[test]
fn a_set_with_a_listening_socket_is_idle() {
    let select = call(270, [12, STACK, 0, 0, 0, 0]);
    let frames = marks(&[("serve", "/srv/own_server.py")]);
    let descriptors = [Descriptor::Listening, Descriptor::Pipe];
    let seen = Seen {
        syscall: select,
        frames: Some(&frames),
        descriptors: &descriptors,
        ..Seen::default()
    };
    check(&seen, State::Idle, Waiting::Nothing, Evidence::Syscall);
    let accept = Seen {
        syscall: call(288, [5, STACK, 0, 0, 0, 0]),
        frames: Some(&frames),
        ..Seen::default()
    };
    check(&accept, State::Idle, Waiting::Nothing, Evidence::Syscall);
    let watched = Watched { listens: true, clients: true, upstream: [Some(upstream()); 4] };
    let epoll = Seen {
        syscall: call(232, [5, STACK, 64, 1000, 0, 0]),
        frames: Some(&frames),
        watched: Some(watched),
        ..Seen::default()
    };
    check(&epoll, State::Idle, Waiting::Nothing, Evidence::Syscall);
}

#[test]
fn a_view_s_own_select_is_io_and_a_worker_s_is_idle() {
    let select = "/usr/lib/python3.11/selectors.py";
    let gthread = "/v/site-packages/gunicorn/workers/gthread.py";
    let poll = call(7, [STACK, 2, 5000, 0, 0, 0]);
    let descriptors = [Descriptor::Pipe, upstream()];
    let of_view = marks(&[("PollSelector.select", select), ("view", "/srv/app.py")]);
    let seen = Seen {
        syscall: poll,
        frames: Some(&of_view),
        descriptors: &descriptors,
        ..Seen::default()
    };
    check(&seen, State::Io, peer("10.0.0.5:5432"), Evidence::Syscall);
    let of_worker = marks(&[("EpollSelector.select", select), ("ThreadWorker.run", gthread)]);
    // As many connections as allowed: the listening socket is taken out of the set.
    let full = Watched { listens: false, clients: true, upstream: [None; 4] };
    let seen = Seen {
        syscall: call(232, [5, STACK, 64, 1000, 0, 0]),
        frames: Some(&of_worker),
        watched: Some(full),
        ..Seen::default()
    };
    check(&seen, State::Idle, Waiting::Nothing, Evidence::SyscallAndFrame);
    // A pool's thread that waits for a client's first bytes.
    let of_thread = marks(&[
        ("EpollSelector.select", select),
        ("TConn.wait_for_data", gthread),
        ("ThreadWorker.handle", gthread),
    ]);
    let seen = Seen { frames: Some(&of_thread), ..seen };
    check(&seen, State::Io, Waiting::Kind("client"), Evidence::Syscall);
}

#[test]
fn io_is_named_by_its_far_end() {
    let frames = view();
    let receive = call(45, [7, STACK, 4096, 0, 0, 0]);
    let peer = peer("10.0.0.5:5432");
    let dns = address("10.0.0.2:53");
    for (descriptor, on) in [
        (upstream(), peer),
        (client(), Waiting::Kind("client")),
        (Descriptor::Unix { path: None, accepted: true }, Waiting::Kind("client")),
        (Descriptor::Unix { path: None, accepted: false }, Waiting::UnixPeer(None)),
        (Descriptor::Udp { peer: Some(dns) }, Waiting::Peer(Connection { local: None, peer: dns })),
        (Descriptor::Socket, Waiting::Kind("socket")),
    ] {
        let descriptors = [descriptor];
        let seen = Seen {
            syscall: receive,
            frames: Some(&frames),
            descriptors: &descriptors,
            ..Seen::default()
        };
        check(&seen, State::Io, on, Evidence::Syscall);
    }
    let unresolved = Seen { syscall: receive, frames: Some(&frames), ..Seen::default() };
    check(&unresolved, State::Io, Waiting::Kind("socket"), Evidence::Syscall);
    let sets = [Descriptor::EventDescriptor, client(), upstream()];
    let poll = Seen {
        syscall: call(7, [STACK, 3, 5000, 0, 0, 0]),
        frames: Some(&frames),
        descriptors: &sets,
        ..Seen::default()
    };
    check(&poll, State::Io, peer, Evidence::Syscall);
}

#[test]
fn files_pipes_and_children() {
    let frames = view();
    let seen = |syscall, descriptors| Seen {
        syscall,
        frames: Some(&frames),
        descriptors,
        ..Seen::default()
    };
    let fsync = call(74, [9, 0, 0, 0, 0, 0]);
    check(&seen(fsync, &[]), State::Io, Waiting::Kind("disk"), Evidence::Syscall);
    let open = call(257, [0, 0, 0, 0, 0, 0]);
    check(&seen(open, &[]), State::Io, Waiting::Kind("disk"), Evidence::Syscall);
    let read = call(0, [3, 0, 0, 0, 0, 0]);
    let pipe = [Descriptor::Pipe];
    check(&seen(read, &pipe), State::Io, Waiting::Kind("pipe"), Evidence::Syscall);
    let wait = call(61, [77, 0, 0, 0, 0, 0]);
    check(&seen(wait, &[]), State::Io, Waiting::Kind("child process"), Evidence::Syscall);
    let flock = call(73, [9, 2, 0, 0, 0, 0]);
    check(&seen(flock, &[]), State::Lock, Waiting::Kind("file lock"), Evidence::Syscall);
    // Celery's child between two tasks.
    let billiard = "/v/site-packages/billiard";
    let child = marks(&[
        ("Connection._recv", &format!("{billiard}/connection.py")),
        ("_recv", &format!("{billiard}/pool.py")),
    ]);
    let idle = Seen { frames: Some(&child), ..seen(read, &pipe) };
    check(&idle, State::Idle, Waiting::Nothing, Evidence::SyscallAndFrame);
    // It is not idle while it waits for a disk.
    let slow = Seen { frames: Some(&child), ..seen(fsync, &[]) };
    check(&slow, State::Io, Waiting::Kind("disk"), Evidence::Syscall);
}

#[test]
fn no_python_frame_is_idle_and_an_unknown_stack_is_not() {
    let epoll = call(232, [5, STACK, 64, u64::MAX, 0, 0]);
    let seen = Seen { syscall: epoll, frames: Some(&[]), ..Seen::default() };
    check(&seen, State::Idle, Waiting::Nothing, Evidence::Syscall);
    let seen = Seen { syscall: epoll, frames: None, ..Seen::default() };
    check(&seen, State::Unknown, Waiting::Nothing, Evidence::Syscall);
}

#[test]
fn without_the_call_only_what_is_certain_is_said() {
    let idle = pool_thread();
    let busy = view();
    let seen = |run_flag, frames| Seen {
        run_flag: Some(run_flag),
        frames: Some(frames),
        ..Seen::default()
    };
    let nothing = Waiting::Nothing;
    check(&seen(RunFlag::Running, &idle), State::Running, nothing, Evidence::RunFlag);
    check(&seen(RunFlag::Disk, &busy), State::Io, Waiting::Kind("disk"), Evidence::RunFlag);
    check(&seen(RunFlag::Blocked, &idle), State::Idle, nothing, Evidence::RunFlag);
    check(&seen(RunFlag::Blocked, &busy), State::Unknown, nothing, Evidence::RunFlag);
    check(&seen(RunFlag::Gone, &busy), State::Unknown, nothing, Evidence::None);
    check(&Seen::default(), State::Unknown, nothing, Evidence::None);
}

#[test]
fn an_unknown_call_is_unknown_and_numbers_are_the_architecture_s() {
    let frames = view();
    let odd = Seen { syscall: call(9999, [0; 6]), frames: Some(&frames), ..Seen::default() };
    check(&odd, State::Unknown, Waiting::Nothing, Evidence::Syscall);
    let restart = Seen { syscall: call(219, [0; 6]), frames: Some(&frames), ..Seen::default() };
    check(&restart, State::Unknown, Waiting::Nothing, Evidence::Syscall);
    let futex = Seen {
        syscall: call(98, [GIL + 72, 0x89, 0, 0, 0, 0]),
        gil: Some((RemoteAddress::new(GIL), 208)),
        ..Seen::default()
    };
    assert_eq!(classify_on(Architecture::Aarch64, &futex).state, State::GilWait);
    check(&futex, State::Unknown, Waiting::Nothing, Evidence::Syscall);
}

#[test]
fn a_connection_in_the_making_is_known_by_its_address() {
    let frames = view();
    let to = address("10.0.0.5:5432");
    let seen = Seen {
        syscall: call(42, [7, STACK, 16, 0, 0, 0]),
        frames: Some(&frames),
        connecting_to: Some(to),
        ..Seen::default()
    };
    let on = Waiting::Peer(Connection { local: None, peer: to });
    check(&seen, State::Io, on, Evidence::Syscall);
}

#[test]
fn a_lock_without_a_telling_frame_is_named_by_its_type() {
    let frames = view();
    for (lock_type, expected) in [
        (Some("_thread.RLock"), "threading.RLock"),
        (Some("_thread.lock"), "threading.Lock"),
        (Some("_queue.SimpleQueue"), "queue.SimpleQueue"),
        (Some("\u{1}garbage"), "PyMutex"),
        (None, "threading.Lock"),
    ] {
        let seen = Seen {
            syscall: call(202, [STACK + 256, 0x89, 0, 0, 0, 0]),
            frames: Some(&frames),
            lock_type,
            ..Seen::default()
        };
        check(&seen, State::Lock, Waiting::Kind(expected), Evidence::Syscall);
    }
}

#[test]
fn a_connection_within_the_host_is_told_by_its_ends() {
    let connection = |local: Option<&str>, peer: &str| Connection {
        local: local.map(address),
        peer: address(peer),
    };
    assert!(connection(None, "127.0.0.1:1").is_within_host());
    assert!(connection(Some("10.0.0.2:9"), "10.0.0.2:1").is_within_host());
    assert!(!connection(Some("10.0.0.2:9"), "10.0.0.5:1").is_within_host());
    assert!(!connection(None, "10.0.0.5:1").is_within_host());
}
