use super::*;
use crate::units::Pid;

#[test]
fn a_schedstat_line_is_three_numbers() {
    let text = b"12498744837 38927473 10243\n";
    let expected = Schedstat {
        cpu: Nanos::from_nanos(12_498_744_837),
        runqueue: Nanos::from_nanos(38_927_473),
        slices: 10_243,
    };
    assert_eq!(parse_schedstat(text), Some(expected));
    for bad in [&b""[..], b"1 2", b"1 2 x", b"1 -2 3", b"99999999999999999999 1 1", b"\xff 1 1"] {
        assert_eq!(parse_schedstat(bad), None, "{bad:?}");
    }
}

#[test]
fn a_syscall_line_is_running_or_outside_or_a_call() {
    assert_eq!(parse_syscall(b"running\n"), Some(Syscall::Running));
    assert_eq!(
        parse_syscall(b"-1 0x7ffd3c5b8f50 0x7f1f0a2f7e1b\n"),
        Some(Syscall::Outside {
            stack_pointer: 0x7ffd_3c5b_8f50,
            program_counter: 0x7f1f_0a2f_7e1b
        })
    );
    let text = b"202 0x7f2c0c0012b0 0x189 0x0 0x0 0x0 0xffffffff 0x7f2c13ffe2d0 0x7f2c187d2f16\n";
    assert_eq!(
        parse_syscall(text),
        Some(Syscall::In(Call {
            number: 202,
            arguments: [0x7f2c_0c00_12b0, 0x189, 0, 0, 0, 0xffff_ffff],
            stack_pointer: 0x7f2c_13ff_e2d0,
            program_counter: 0x7f2c_187d_2f16,
        }))
    );
}

#[test]
fn malformed_syscall_lines_are_refused() {
    for bad in [
        &b""[..],
        b"\n",
        b"runnin",
        b"-1 0x1",
        b"202 0x1 0x2 0x3 0x4 0x5 0x6 0x7",
        b"202 1 2 3 4 5 6 7 8",
        b"- 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8",
        b"202 0x 0x2 0x3 0x4 0x5 0x6 0x7 0x8",
        b"202 0x11112222333344445 0x2 0x3 0x4 0x5 0x6 0x7 0x8",
    ] {
        assert_eq!(parse_syscall(bad), None, "{}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn the_state_follows_the_last_parenthesis() {
    let flag = |text: &str| parse_run_flag(text.as_bytes());
    assert_eq!(flag("4711 (gunicorn) S 1 4711"), Some(RunFlag::Blocked));
    assert_eq!(flag("4711 (a) R (b) D 1 4711"), Some(RunFlag::Disk));
    assert_eq!(flag("4711 () R 1"), Some(RunFlag::Running));
    assert_eq!(flag("4711 (x) Z 1"), Some(RunFlag::Gone));
    for bad in ["", "4711 (x", "4711 (x)", "4711 (x) ", "4711 (x) RS 1", "4711 (x) 9 1"] {
        assert_eq!(flag(bad), None, "{bad:?}");
    }
}

#[test]
fn the_cpu_is_the_thirty_ninth_field() {
    let numbers: Vec<String> = (4..=52).map(|field| (field * 10).to_string()).collect();
    let line = format!("4711 (a) b) S {}\n", numbers.join(" "));
    assert_eq!(parse_last_cpu(line.as_bytes()), Some(390));
    assert_eq!(parse_last_cpu(b"4711 (a) S 1 2 3"), None);
}

#[test]
fn a_thread_of_ours_is_seen_blocked_where_it_blocks_and_gone_when_it_is() {
    let process = Process::open(Pid::new(std::process::id())).unwrap();
    let (send, receive) = std::sync::mpsc::channel();
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let thread = std::thread::spawn(move || {
        send.send(nix::unistd::gettid()).unwrap();
        let mut byte = [0];
        nix::unistd::read(reader, &mut byte).unwrap();
    });
    let tid = Tid::new(u32::try_from(receive.recv().unwrap().as_raw()).unwrap());
    let files = ThreadFiles::open(&process, tid).unwrap();
    assert!(files.has_syscall());
    let call = loop {
        match files.syscall().unwrap() {
            // read(fd, buffer, 1)
            Syscall::In(call) if call.arguments[2] == 1 => break call,
            _ => std::thread::yield_now(),
        }
    };
    assert_ne!(call.stack_pointer, 0);
    assert_eq!(files.run_flag().unwrap(), RunFlag::Blocked);
    let before = files.schedstat().unwrap();
    assert!(before.slices > 0);
    assert_eq!(files.schedstat().unwrap(), before, "a blocked thread's counters stand still");
    nix::unistd::write(&writer, b"x").unwrap();
    thread.join().unwrap();
    // Joining waits for the thread's own end; the kernel lets go of it a moment later.
    let error = loop {
        match files.schedstat() {
            Ok(_) => std::thread::yield_now(),
            Err(error) => break error,
        }
    };
    assert_eq!(error, Error::Gone { pid: process.pid() });
    assert!(matches!(files.syscall(), Err(Error::Gone { .. })));
    assert!(matches!(ThreadFiles::open(&process, tid), Err(Error::Gone { .. })));
}

#[test]
fn our_limit_is_raised_and_our_cpu_time_grows() {
    assert_eq!(raise_descriptor_limit(), getrlimit(Resource::RLIMIT_NOFILE).unwrap().0);
    let before = own_cpu();
    while own_cpu() == before {}
    assert!(own_cpu() > before);
}
