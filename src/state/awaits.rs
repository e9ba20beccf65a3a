//! What a suspended coroutine waits for, by the functions of its chain of awaits: a table.
//!
//! ```text
//! leaf ─► StreamReader._wait_for_data   a socket
//!         Connection.read_response      of redis: the client library says whose
//!         view                          the application: nothing more is told from here on
//! ```
//!
//! No thread is in a system call for it, so frames are all there is to tell from. They are
//! looked at from the leaf up. A function that waits on behalf of its caller leaves it to the
//! caller to say more; a function of the application ends the search, since what it awaits it
//! awaits for itself.

use super::clients::Client;
use super::idle::{Place, names};
use crate::model::State;

/// What a function means in a chain of awaits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Nothing has been given to do, whatever is awaited below.
    Idle,
    /// It waits on behalf of its caller; nothing is known of what for.
    Through,
    /// It sleeps by its own wish.
    Sleep,
    /// It waits for this kind of lock, queue or task; a caller in a library may say more.
    Lock(&'static str),
    /// The same, and nobody can say more.
    Only(&'static str),
    /// It waits for this; a caller in a library may say whose.
    Io(&'static str),
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    place: Place,
    /// The qualified name, or the last part of it that interpreters before 3.11 keep.
    function: &'static str,
    meaning: Meaning,
}

/// What is known of a function in a chain of awaits. Worked out once for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AwaitMark {
    row: Option<&'static Row>,
    client: Client,
}

/// What a suspended task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Awaited {
    /// [`State::Io`], [`State::Lock`], [`State::Sleep`], [`State::Idle`] or
    /// [`State::Unknown`].
    pub state: State,
    /// The kind of thing: `asyncio.Lock`, `client`, `socket`.
    pub kind: Option<&'static str>,
    /// What the far end is spoken to in: `postgresql`.
    pub protocol: Option<&'static str>,
}

impl Awaited {
    const fn new(state: State, kind: Option<&'static str>) -> Self {
        Self { state, kind, protocol: None }
    }
}

use Meaning::{Idle, Io, Lock, Only, Sleep, Through};

macro_rules! rows {
    ($($place:ident $file:literal { $($function:literal => $meaning:expr),+ $(,)? })*) => {
        &[$($(Row {
            place: Place::$place($file),
            function: $function,
            meaning: $meaning,
        }),+),*]
    };
}

/// In a file, the first function that matches counts. A name without a class is of an
/// interpreter before 3.11, where several classes share it.
static TABLE: &[Row] = rows! {
    Library "asyncio/tasks.py" {
        "sleep" => Sleep,
        "__sleep0" => Sleep,
        "wait_for" => Lock("asyncio.Task"),
        "wait" => Lock("asyncio.wait"),
        "_wait" => Lock("asyncio.wait"),
        "_cancel_and_wait" => Lock("asyncio.Task"),
        "_wait_for_one" => Lock("asyncio.as_completed"),
        "_AsCompletedIterator._wait_for_one" => Lock("asyncio.as_completed"),
    }
    Library "asyncio/taskgroups.py" {
        "TaskGroup.__aexit__" => Lock("asyncio.TaskGroup"),
        "TaskGroup._aexit" => Lock("asyncio.TaskGroup"),
    }
    Library "asyncio/locks.py" {
        "acquire" => Lock("asyncio.Lock or Semaphore"),
        "wait" => Lock("asyncio.Event or Condition"),
        "Lock.acquire" => Lock("asyncio.Lock"),
        "Semaphore.acquire" => Lock("asyncio.Semaphore"),
        "Event.wait" => Lock("asyncio.Event"),
        "Condition.wait" => Lock("asyncio.Condition"),
        "Condition.wait_for" => Lock("asyncio.Condition"),
        "Barrier.wait" => Lock("asyncio.Barrier"),
        "Barrier._wait" => Through,
        "Barrier._block" => Through,
        "_ContextManagerMixin.__aenter__" => Through,
    }
    Library "asyncio/queues.py" {
        "Queue.get" => Lock("asyncio.Queue"),
        "Queue.put" => Lock("asyncio.Queue"),
        "Queue.join" => Lock("asyncio.Queue"),
    }
    Library "asyncio/threads.py" { "to_thread" => Only("thread") }
    Library "asyncio/streams.py" {
        "StreamReader._wait_for_data" => Io("socket"),
        "FlowControlMixin._drain_helper" => Io("socket"),
        "StreamWriter.drain" => Io("socket"),
        "StreamWriter.wait_closed" => Io("socket"),
        "open_connection" => Io("socket"),
        "open_unix_connection" => Io("socket"),
    }
    Library "asyncio/selector_events.py" {
        "BaseSelectorEventLoop.sock_recv" => Io("socket"),
        "BaseSelectorEventLoop.sock_recv_into" => Io("socket"),
        "BaseSelectorEventLoop.sock_recvfrom" => Io("socket"),
        "BaseSelectorEventLoop.sock_sendall" => Io("socket"),
        "BaseSelectorEventLoop.sock_sendto" => Io("socket"),
        "BaseSelectorEventLoop.sock_connect" => Io("socket"),
        "BaseSelectorEventLoop.sock_accept" => Idle,
    }
    Library "asyncio/base_events.py" {
        "Server.serve_forever" => Idle,
        "BaseEventLoop.create_connection" => Io("socket"),
        "BaseEventLoop._connect_sock" => Io("socket"),
        "BaseEventLoop._create_connection_transport" => Io("socket"),
        "BaseEventLoop.getaddrinfo" => Io("dns"),
        "BaseEventLoop.getnameinfo" => Io("dns"),
    }
    Library "asyncio/subprocess.py" {
        "Process.wait" => Only("child process"),
        "Process.communicate" => Only("child process"),
    }

    Package "anyio/_backends/_asyncio.py" {
        "SocketStream.receive" => Io("socket"),
        "SocketStream.send" => Io("socket"),
        "UNIXSocketStream.receive" => Io("socket"),
        "UNIXSocketStream.send" => Io("socket"),
        "AsyncIOBackend.run_sync_in_worker_thread" => Only("thread"),
        "run_sync_in_worker_thread" => Only("thread"),
        "TaskGroup.__aexit__" => Lock("anyio.TaskGroup"),
        "Event.wait" => Lock("anyio.Event"),
        "CapacityLimiter.acquire" => Lock("anyio.CapacityLimiter"),
        "CapacityLimiter.acquire_on_behalf_of" => Lock("anyio.CapacityLimiter"),
        "CapacityLimiter.__aenter__" => Lock("anyio.CapacityLimiter"),
    }
    Package "anyio/_core/_synchronization.py" {
        "EventAdapter.wait" => Lock("anyio.Event"),
        "Lock.acquire" => Lock("anyio.Lock"),
        "Lock.__aenter__" => Lock("anyio.Lock"),
        "Semaphore.acquire" => Lock("anyio.Semaphore"),
        "Semaphore.__aenter__" => Lock("anyio.Semaphore"),
        "Condition.wait" => Lock("anyio.Condition"),
    }
    Package "anyio/streams/memory.py" {
        "MemoryObjectReceiveStream.receive" => Lock("anyio memory stream"),
        "MemoryObjectSendStream.send" => Lock("anyio memory stream"),
    }
    Package "anyio/streams/tls.py" {
        "TLSStream._call_sslobject_method" => Through,
        "TLSStream.receive" => Through,
        "TLSStream.send" => Through,
        "TLSStream.wrap" => Through,
    }
    Package "anyio/_core/_sockets.py" { "connect_tcp" => Io("socket") }
    Package "anyio/_core/_eventloop.py" { "sleep" => Sleep }
    Package "anyio/to_thread.py" { "run_sync" => Only("thread") }
    Package "asgiref/sync.py" { "SyncToAsync.__call__" => Only("thread") }

    Package "uvicorn/server.py" { "Server.main_loop" => Idle }
    Package "uvicorn/lifespan/on.py" {
        "LifespanOn.receive" => Idle,
        "LifespanOn.startup" => Idle,
    }
    Package "uvicorn/protocols/http/h11_impl.py" { "RequestResponseCycle.receive" => Io("client") }
    Package "uvicorn/protocols/http/httptools_impl.py" {
        "RequestResponseCycle.receive" => Io("client"),
    }
    Package "uvicorn/protocols/http/flow_control.py" { "FlowControl.drain" => Io("client") }
    Package "uvicorn/workers.py" { "UvicornWorker._serve" => Idle }
    Package "uvicorn_worker/_workers.py" { "UvicornWorker._serve" => Idle }
    Package "starlette/responses.py" { "StreamingResponse.listen_for_disconnect" => Idle }
    Package "hypercorn/asyncio/run.py" { "worker_serve" => Idle }
    Package "aiohttp/web_protocol.py" { "RequestHandler.start" => Idle }

    // Pools that a request waits for.
    Package "asyncpg/pool.py" {
        "Pool._acquire" => Only("asyncpg pool"),
        "Pool._acquire.<locals>._acquire_impl" => Only("asyncpg pool"),
        "PoolConnectionHolder.wait_until_released" => Only("asyncpg pool"),
    }
    Package "redis/asyncio/connection.py" {
        "BlockingConnectionPool.get_connection" => Only("redis pool"),
    }
    Package "aiomysql/pool.py" { "Pool._acquire" => Only("aiomysql pool") }
    Package "httpcore/_async/connection_pool.py" {
        "AsyncPoolRequest.wait_for_connection" => Only("httpx pool"),
    }
    Package "httpcore/_synchronization.py" { "AsyncEvent.wait" => Through }
    Package "sqlalchemy/util/queue.py" { "AsyncAdaptedQueue.get" => Only("sqlalchemy pool") }
    Package "psycopg_pool/pool_async.py" {
        "AsyncConnectionPool.getconn" => Only("psycopg pool"),
        "AsyncConnectionPool.worker" => Idle,
    }
    Package "psycopg/waiting.py" { "wait_async" => Io("socket") }
};

/// What a future is called that is awaited as it is, by its type.
const FUTURES: &[(&str, &str)] = &[
    ("_asyncio.Task", "asyncio.Task"),
    ("_GatheringFuture", "asyncio.gather"),
    ("_asyncio.Future", "asyncio.Future"),
];

impl AwaitMark {
    /// How many frames from the leaf are worth giving to [`awaited`].
    pub const FRAMES: usize = 24;

    /// The mark of a function, by its name (qualified where the interpreter has that) and
    /// its file.
    pub fn of(function_name: &str, file: &str) -> Self {
        let matches = |row: &&Row| row.place.holds(file) && names(row.function, function_name);
        Self { row: TABLE.iter().find(matches), client: Client::of(function_name, file) }
    }
}

/// What is waited for in a chain with these frames, leaf first, that ends in an object of
/// this type.
pub fn awaited(frames: impl Iterator<Item = AwaitMark>, object: Option<&str>) -> Awaited {
    let mut said: Option<Awaited> = None;
    for AwaitMark { row, client } in frames.take(AwaitMark::FRAMES) {
        if let Some(row) = row {
            let lock = |name| Awaited::new(State::Lock, Some(name));
            match row.meaning {
                Idle => return Awaited::new(State::Idle, None),
                Only(name) => return lock(name),
                Through => {}
                Sleep => said = said.or(Some(Awaited::new(State::Sleep, None))),
                Lock(name) => said = Some(lock(name)),
                Io("dns") => {
                    return Awaited { protocol: Some("dns"), ..Awaited::new(State::Io, None) };
                }
                Io(kind) => said = Some(Awaited::new(State::Io, Some(kind))),
            }
            continue;
        }
        match client {
            Client::Through => {}
            // It waits between two tries.
            Client::Speaks(_) if said.is_some_and(|said| said.state == State::Sleep) => {}
            Client::Speaks(protocol) => {
                return Awaited { protocol: Some(protocol), ..Awaited::new(State::Io, None) };
            }
            Client::Unknown => break,
        }
    }
    said.unwrap_or_else(|| {
        let known = FUTURES.iter().find(|(name, _)| object == Some(name));
        match known {
            Some((_, kind)) => Awaited::new(State::Lock, Some(kind)),
            None => Awaited::new(State::Unknown, None),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIBRARY: &str = "/usr/lib/python3.11/asyncio/";
    const PACKAGES: &str = "/venv/lib/python3.11/site-packages/";

    fn told(frames: &[(&str, &str)], object: &str) -> (State, Option<&'static str>) {
        let marks = frames.iter().map(|(name, file)| AwaitMark::of(name, file));
        let Awaited { state, kind, protocol } = awaited(marks, Some(object));
        (state, protocol.or(kind))
    }

    fn library(function: &'static str, file: &str) -> (&'static str, String) {
        (function, format!("{LIBRARY}{file}"))
    }

    fn package(function: &'static str, file: &str) -> (&'static str, String) {
        (function, format!("{PACKAGES}{file}"))
    }

    #[test]
    fn the_first_that_can_say_says_what_is_awaited() {
        let app = ("view", "/srv/app.py".to_owned());
        let wait = library("StreamReader._wait_for_data", "streams.py");
        let event = library("Event.wait", "locks.py");
        let get = library("Queue.get", "queues.py");
        let sleep = library("sleep", "tasks.py");
        let read = package("Connection.read_response", "redis/asyncio/connection.py");
        let receive = package("SocketStream.receive", "anyio/_backends/_asyncio.py");
        let httpcore = package("AnyIOStream.read", "httpcore/_backends/anyio.py");
        let execute = package("Connection._execute", "asyncpg/connection.py");
        let pool = package("Pool._acquire.<locals>._acquire_impl", "asyncpg/pool.py");
        let body = package("RequestResponseCycle.receive", "uvicorn/protocols/http/h11_impl.py");
        let main = package("Server.main_loop", "uvicorn/server.py");
        for (frames, state, on) in [
            (vec![&wait, &app], State::Io, Some("socket")),
            (vec![&wait, &read, &app], State::Io, Some("redis")),
            (vec![&event, &receive, &httpcore, &app], State::Io, Some("http")),
            (vec![&event, &receive, &app], State::Io, Some("socket")),
            (vec![&event, &app, &read], State::Lock, Some("asyncio.Event")),
            (vec![&execute, &pool, &app], State::Io, Some("postgresql")),
            (vec![&get, &pool, &app], State::Lock, Some("asyncpg pool")),
            (vec![&event, &body, &app], State::Io, Some("client")),
            (vec![&sleep, &app], State::Sleep, None),
            (vec![&sleep, &read, &app], State::Sleep, None),
            (vec![&sleep, &main], State::Idle, None),
            (vec![&app], State::Lock, Some("asyncio.Future")),
        ] {
            let frames: Vec<_> = frames.iter().map(|(name, file)| (*name, &**file)).collect();
            assert_eq!(told(&frames, "_asyncio.Future"), (state, on), "{frames:?}");
        }
        assert_eq!(told(&[("view", "/srv/app.py")], "a.Thing"), (State::Unknown, None));
    }

    #[test]
    fn a_name_that_two_classes_share_is_not_guessed_at() {
        let file = "/usr/lib/python3.8/asyncio/locks.py";
        let told = told(&[("acquire", file)], "_asyncio.Future");
        assert_eq!(told, (State::Lock, Some("asyncio.Lock or Semaphore")));
    }
}
