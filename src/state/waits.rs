//! What has to be looked up before a blocked call can be judged.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use rustc_hash::FxHashMap;

use super::idle::{Marks, Said};
use super::syscalls::{self, Architecture, Class};
use crate::process::Call;
use crate::units::RemoteAddress;

/// What to fetch before [`super::classify`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The call and the frames say it all.
    Nothing,
    /// What this descriptor leads to.
    Descriptor(i32),
    /// An array of `struct pollfd`, [`POLLED_SIZE`] bytes each: read it, take the
    /// descriptors with [`polled`] and resolve them.
    PollArray {
        /// Where it begins.
        address: RemoteAddress,
        /// How many there are; at the most [`MOST_POLLED`], whatever was asked for.
        count: usize,
    },
    /// Three bit sets: read `length` bytes of each that is not null, take the
    /// descriptors with [`selected`] and resolve them.
    SelectSets {
        /// To read, to write, exceptional.
        sets: [RemoteAddress; 3],
        /// How many bytes each has; at the most 128.
        length: usize,
    },
    /// What the epoll set behind this descriptor watches.
    Epoll(i32),
    /// What this descriptor leads to; and before that, since a connection that is only being
    /// made may be on no list yet, the address that it is made to: read `length` bytes for
    /// [`connecting_to`].
    Connection {
        /// The socket.
        descriptor: i32,
        /// Where its address lies.
        address: RemoteAddress,
        /// How many bytes it has; at the most [`SOCKET_ADDRESS_SIZE`].
        length: usize,
    },
    /// The type of the object whose lock the thread waits for. From CPython 3.13 such a
    /// thread sleeps on a semaphore on its own stack, and the word before that is the
    /// lock's address (`Python/parking_lot.c`, `struct wait_entry`: `park_arg`, `addr`, then
    /// the semaphore).
    Lock {
        /// Where the lock's address lies.
        pointer: RemoteAddress,
    },
}

/// Bytes of a `struct pollfd`: `int fd; short events; short revents`.
pub const POLLED_SIZE: usize = 8;

/// As many descriptors of a set are looked at: what a program polls one by one is
/// seldom more than two.
pub const MOST_POLLED: usize = 32;

/// `FD_SETSIZE`, 1024 bits, in bytes.
const SELECTED_BYTES: usize = 128;

/// Bytes of the longest address of a socket that is understood: `struct sockaddr_in6`.
pub const SOCKET_ADDRESS_SIZE: usize = 28;

/// What to look up for a call of this machine's. `frames` are the topmost ones as for
/// [`super::Seen::frames`]: where they alone say that the thread is idle, nothing is, though
/// an event loop that runs a hundred times a second watches a thousand sockets.
pub fn wanted(call: &Call, frames: Option<&[Marks]>) -> Wanted {
    let class = syscalls::class(Architecture::NATIVE, call.number);
    let said = match frames {
        Some([]) => Said::Idle,
        frames => frames.map_or(Said::Nothing, Marks::say),
    };
    match (class, said) {
        (Some(class), Said::Idle) if super::may_be_idle(class) => Wanted::Nothing,
        // The frames say more of a queue or a pool than its lock does.
        (Some(Class::Futex), Said::Lock(_)) => Wanted::Nothing,
        _ => wanted_on(Architecture::NATIVE, call),
    }
}

pub(super) fn wanted_on(architecture: Architecture, call: &Call) -> Wanted {
    let [first, second, third, fourth, ..] = call.arguments;
    // A descriptor is an `int`: the upper half of the register may hold anything.
    let descriptor = first as u32 as i32;
    match syscalls::class(architecture, call.number) {
        Some(Class::Read | Class::Write | Class::Transfer | Class::File | Class::FileLock) => {
            Wanted::Descriptor(descriptor)
        }
        Some(Class::Connect) => Wanted::Connection {
            descriptor,
            address: RemoteAddress::new(second),
            length: usize::try_from(third).unwrap_or(0).min(SOCKET_ADDRESS_SIZE),
        },
        Some(Class::Futex) => match first.checked_sub(call.stack_pointer) {
            Some(above) if above < STACK_FRAMES => {
                Wanted::Lock { pointer: RemoteAddress::new(first.wrapping_sub(8)) }
            }
            _ => Wanted::Nothing,
        },
        Some(Class::Poll) if has_set(Class::Poll, call) => Wanted::PollArray {
            address: RemoteAddress::new(first),
            count: usize::try_from(second).unwrap_or(MOST_POLLED).min(MOST_POLLED),
        },
        Some(Class::Select) if has_set(Class::Select, call) => Wanted::SelectSets {
            sets: [second, third, fourth].map(RemoteAddress::new),
            // The kernel works in whole longs.
            length: usize::try_from(descriptor)
                .unwrap_or(0)
                .div_ceil(64)
                .saturating_mul(8)
                .min(SELECTED_BYTES),
        },
        Some(Class::Epoll) => Wanted::Epoll(descriptor),
        _ => Wanted::Nothing,
    }
}

/// A futex so little above the stack pointer is in the frames of the C functions that wait.
const STACK_FRAMES: u64 = 4096;

/// What a lock is called, by its object's type as C has it.
pub(super) fn lock_kind(type_name: &str) -> &'static str {
    match type_name {
        "_thread.lock" => "threading.Lock",
        "_thread.RLock" => "threading.RLock",
        "_queue.SimpleQueue" => "queue.SimpleQueue",
        // Of the interpreter's own structures, which are no objects.
        _ => "PyMutex",
    }
}

/// The address in a `struct sockaddr_in` or `sockaddr_in6`; `None` for other families.
pub fn connecting_to(bytes: &[u8]) -> Option<SocketAddr> {
    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    let (family, rest) = bytes.split_first_chunk::<2>()?;
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let ip = match u16::from_ne_bytes(*family) {
        AF_INET => Ipv4Addr::from(*rest.first_chunk::<4>()?).into(),
        // The flow's number comes before the address.
        AF_INET6 => Ipv6Addr::from(*rest.get(4..)?.first_chunk::<16>()?).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

/// Whether a poll or select has any descriptor: without, it is a way to sleep.
pub(super) fn has_set(class: Class, call: &Call) -> bool {
    let [first, second, third, fourth, ..] = call.arguments;
    match class {
        Class::Poll => first != 0 && second != 0,
        Class::Select => first as u32 as i32 > 0 && (second | third | fourth) != 0,
        _ => true,
    }
}

/// The descriptors in the bytes of an array of `struct pollfd`. A negative one is a
/// place that the program has left empty.
pub fn polled(bytes: &[u8]) -> impl Iterator<Item = i32> + '_ {
    bytes.chunks_exact(POLLED_SIZE).filter_map(|entry| {
        let (descriptor, _) = entry.split_first_chunk::<4>()?;
        Some(i32::from_ne_bytes(*descriptor)).filter(|descriptor| *descriptor >= 0)
    })
}

/// The descriptors whose bit is set in any of these sets, in no particular order; at
/// the most [`MOST_POLLED`].
pub fn selected<'b>(sets: impl IntoIterator<Item = &'b [u8]>) -> impl Iterator<Item = i32> {
    sets.into_iter()
        .flat_map(|set| {
            set.iter().enumerate().flat_map(|(index, byte)| {
                (0..8_usize)
                    .filter(move |bit| byte & (1 << bit) != 0)
                    .filter_map(move |bit| i32::try_from(index * 8 + bit).ok())
            })
        })
        .take(MOST_POLLED)
}

/// Which call an interrupted one was. After a stop and a continue the kernel shows
/// `restart_syscall` with the original's arguments and the same place in the code,
/// so the place tells. One of these per process.
#[derive(Debug, Default)]
pub struct Restarts {
    /// By program counter: the number of the call last seen there.
    numbers: FxHashMap<u64, u64>,
}

impl Restarts {
    /// There are not many places in a C library that make blocking calls; more than
    /// this is a program that makes code as it goes.
    const PLACES: usize = 1024;

    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The call as it was first made, as far as that was seen.
    pub fn settle(&mut self, mut call: Call) -> Call {
        if syscalls::class(Architecture::NATIVE, call.number) == Some(Class::Restart) {
            if let Some(number) = self.numbers.get(&call.program_counter) {
                call.number = *number;
            }
        } else if self.numbers.get(&call.program_counter) != Some(&call.number)
            && self.numbers.len() < Self::PLACES
        {
            self.numbers.insert(call.program_counter, call.number);
        }
        call
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: u64, arguments: [u64; 6]) -> Call {
        Call { number, arguments, stack_pointer: 0x7f00, program_counter: 0x1234 }
    }

    fn want(number: u64, arguments: [u64; 6]) -> Wanted {
        wanted_on(Architecture::X86_64, &call(number, arguments))
    }

    #[test]
    fn each_call_wants_what_its_arguments_name() {
        let garbage = 0xdead_beef_0000_0007;
        assert_eq!(want(45, [garbage, 1, 2, 0, 0, 0]), Wanted::Descriptor(7));
        let address = RemoteAddress::new(0x7f00);
        assert_eq!(
            want(42, [9, 0x7f00, 16, 0, 0, 0]),
            Wanted::Connection { descriptor: 9, address, length: 16 }
        );
        assert_eq!(want(202, [0x5600_0000, 0x189, 0, 0, 0, 0]), Wanted::Nothing);
        assert_eq!(want(232, [5, 0x7f00, 64, 1000, 0, 0]), Wanted::Epoll(5));
        assert_eq!(
            want(7, [0x7f00, 1, 5000, 0, 0, 0]),
            Wanted::PollArray { address: RemoteAddress::new(0x7f00), count: 1 }
        );
        assert_eq!(want(7, [0, 0, 5000, 0, 0, 0]), Wanted::Nothing);
        assert_eq!(
            want(270, [12, 0x10, 0, 0x30, 0, 0]),
            Wanted::SelectSets { sets: [0x10, 0, 0x30].map(RemoteAddress::new), length: 8 }
        );
        assert_eq!(want(270, [0, 0, 0, 0, 0x40, 0]), Wanted::Nothing);
        assert_eq!(want(9999, [1; 6]), Wanted::Nothing);
    }

    #[test]
    fn the_address_of_a_connection_in_the_making() {
        let v4 = [2, 0, 0x15, 0x38, 10, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(connecting_to(&v4), Some("10.0.0.5:5432".parse().unwrap()));
        let mut v6 = vec![10, 0, 0x15, 0x38, 0, 0, 0, 0];
        v6.extend_from_slice(&Ipv6Addr::LOCALHOST.octets());
        v6.extend_from_slice(&[0; 4]);
        assert_eq!(connecting_to(&v6), Some("[::1]:5432".parse().unwrap()));
        assert_eq!(connecting_to(&v4[..7]), None);
        assert_eq!(connecting_to(&v6[..20]), None);
        assert_eq!(connecting_to(b"\x01\x00/run/x"), None);
        assert_eq!(connecting_to(&[]), None);
    }

    #[test]
    fn a_semaphore_on_the_waiter_s_own_stack_is_a_lock_s() {
        let at =
            |above: i64| call(202, [0x7fff_0000_u64.wrapping_add_signed(above), 0x89, 0, 0, 0, 0]);
        let want = |above| {
            let call = Call { stack_pointer: 0x7fff_0000, ..at(above) };
            wanted_on(Architecture::X86_64, &call)
        };
        let pointer = RemoteAddress::new(0x7fff_0000 + 256 - 8);
        assert_eq!(want(256), Wanted::Lock { pointer });
        assert_eq!(want(4096), Wanted::Nothing);
        assert_eq!(want(-8), Wanted::Nothing);
    }

    #[test]
    fn nothing_is_read_where_the_frames_tell() {
        let idle = [Marks::of("SyncWorker.wait", "/v/site-packages/gunicorn/workers/sync.py")];
        let queue = [Marks::of("Queue.get", "/usr/lib/python3.11/queue.py")];
        let poll = call(7, [0x7f00, 1, 5000, 0, 0, 0]);
        assert_eq!(wanted(&poll, Some(&idle)), Wanted::Nothing);
        assert_eq!(wanted(&poll, Some(&[])), Wanted::Nothing);
        let array = Wanted::PollArray { address: RemoteAddress::new(0x7f00), count: 1 };
        for frames in [None, Some(&queue[..]), Some(&[Marks::default()])] {
            if cfg!(target_arch = "x86_64") {
                assert_eq!(wanted(&poll, frames), array);
            }
        }
    }

    #[test]
    fn hostile_counts_are_bounded() {
        let Wanted::PollArray { count, .. } = want(7, [0x7f00, u64::MAX, 0, 0, 0, 0]) else {
            panic!()
        };
        assert_eq!(count, MOST_POLLED);
        let most = i32::MAX as u64;
        let Wanted::SelectSets { length, .. } = want(270, [most, 1, 0, 0, 0, 0]) else { panic!() };
        assert_eq!(length, SELECTED_BYTES);
        assert_eq!(want(270, [u64::MAX, 1, 0, 0, 0, 0]), Wanted::Nothing);
        assert_eq!(selected([&[0xff_u8; 128][..], &[0xff; 128]]).count(), MOST_POLLED);
    }

    #[test]
    fn sets_are_decoded() {
        let mut bytes = Vec::new();
        for (descriptor, events) in [(7_i32, 1_i16), (-1, 1), (300, 4)] {
            bytes.extend_from_slice(&descriptor.to_ne_bytes());
            bytes.extend_from_slice(&events.to_ne_bytes());
            bytes.extend_from_slice(&0_i16.to_ne_bytes());
        }
        bytes.push(9);
        assert_eq!(polled(&bytes).collect::<Vec<_>>(), [7, 300]);
        let sets = [&[0b1000_0001, 0b10][..], &[], &[0b100]];
        assert_eq!(selected(sets).collect::<Vec<_>>(), [0, 7, 9, 2]);
    }

    #[test]
    fn an_interrupted_call_is_told_by_its_place() {
        let (poll, restart) = match Architecture::NATIVE {
            Architecture::X86_64 => (7, 219),
            Architecture::Aarch64 => (73, 128),
        };
        let mut restarts = Restarts::new();
        let arguments = [0x7f00, 1, 5000, 0, 0, 0];
        let unknown = call(restart, arguments);
        assert_eq!(restarts.settle(unknown), unknown);
        assert_eq!(restarts.settle(call(poll, arguments)), call(poll, arguments));
        assert_eq!(restarts.settle(unknown), call(poll, arguments));
        let elsewhere = Call { program_counter: 0x9999, ..unknown };
        assert_eq!(restarts.settle(elsewhere), elsewhere);
    }
}
